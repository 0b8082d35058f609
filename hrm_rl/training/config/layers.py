"""Settings as they were given, in layers: a config file, then the command line."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hrm_rl.settings import SettingError
from hrm_rl.training.config.settings import TABLES, option


@dataclass(frozen=True)
class Layer:
    """The settings given in one place, in tables or by key (`learner.lr`), which `values` has."""

    values: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    file: str | None = None
    """The config file; None is the command line."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", flat(self.values))

    def named(self, key: str) -> str:
        """A setting's name in messages: its option, or the file and its key."""
        return f"{self.file}: {key}" if self.file else option(key)


class Given:
    """The settings of several layers by key, the last layer winning, each with its layer."""

    def __init__(self, *layers: Layer) -> None:
        self.values: dict[str, Any] = {}
        self.layers: dict[str, Layer] = {}
        for layer in layers:
            for key, value in layer.values.items():
                # Dials of an earlier layer stay unless this one sets them too.
                before = self.values.get(key) if isinstance(value, Mapping) else None
                self.values[key] = {**before, **value} if before else value
                self.layers[key] = layer

    def table(self, name: str) -> dict[str, Any]:
        """The settings of a table by field name; "" is the top level."""
        split = [(*key.rpartition("."), value) for key, value in self.values.items()]
        return {field: value for table, _, field, value in split if table == name}

    @contextmanager
    def blame(self, table: str = "") -> Iterator[None]:
        """Raise a SettingError about a table's fields as a ValueError that names where they were given."""
        try:
            yield
        except SettingError as error:
            raise ValueError(self._located(error, table)) from None

    def _located(self, error: SettingError, table: str) -> str:
        keys = [f"{table}.{name}".lstrip(".") for name in error.settings]
        given = [key for key in keys if key in self.layers]
        if not given:
            return f"{table}: {error}" if table else str(error)
        # An option is the likelier mistake than a line of a file.
        key = min(given, key=lambda key: self.layers[key].file is not None)
        place, name, words = self.layers[key].named(key), key.rpartition(".")[2], str(error)
        return place + words.removeprefix(name) if words.startswith(name) else f"{place}: {words}"


def flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in tables, by key."""
    found = {name: value for name, value in tables.items() if name not in TABLES}
    for table in TABLES:
        found |= {f"{table}.{name}": value for name, value in tables.get(table, {}).items()}
    return found
