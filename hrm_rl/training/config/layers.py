"""Settings as somebody gave them: on the command line or in a TOML file."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hrm_rl.messages import did_you_mean
from hrm_rl.parsing import UsageError, parse
from hrm_rl.training.config.settings import ALIASES, TABLES, given_settings, option, settings
from hrm_rl.training.presets import PRESETS


@dataclass(frozen=True)
class Layer:
    """The settings given in one place, by key (`learner.lr`)."""

    values: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    file: str | None = None
    """The config file; None is the command line."""

    def named(self, key: str) -> str:
        """A setting's name in messages: its option, or the file and its key."""
        return f"{self.file}: {key}" if self.file else option(key)


def command_line(given: Mapping[str, Any], preset: str | None = None) -> Layer:
    """The layer of what tyro read as `given_settings`."""
    return Layer(dict(_flat(given)), preset)


def read_config(path: str | os.PathLike[str]) -> Layer:
    """The layer of a TOML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not TOML (with the line), a key is unknown (with the nearest known one), or
            a value has the wrong type (with what the setting takes). Each message starts with the file.
    """
    file = str(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"no config file at {file}")
    try:
        tables = _read_toml(Path(path))
        preset = tables.pop("preset", None)
        if preset is not None and not isinstance(preset, str):
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        return Layer(_read_tables(tables), preset, file)
    except ValueError as error:
        separator = "" if str(error).startswith(",") else ": "
        raise ValueError(f"{file}{separator}{error}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).removesuffix(")").rpartition(" (at ")
        line = place.removeprefix("line ").partition(",")[0]
        last = max(1, len(text.splitlines()))
        raise ValueError(f", line {line if line.isdigit() else last}: {what or error}") from None


def _read_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file by key, each as its type. Raises ValueError naming the key."""
    for name, value in tables.items():
        if name in TABLES and not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a table, [{name}], got {value!r}")
        if name not in TABLES and isinstance(value, Mapping):
            near = did_you_mean(name, TABLES)
            raise ValueError(f"unknown table [{name}]{near and f'; {near}'}")
    found: dict[str, Any] = {}
    for key, value in _flat(tables):
        name = ALIASES.get(key, key)
        if name not in settings():
            raise ValueError(_unknown(key))
        read = _read_value(name, value)
        if name in found and found[name] != read:
            raise ValueError(f"{key} is {value!r}, but {name} is {found[name]!r}")
        found[name] = read
    return found


def _read_value(key: str, value: Any) -> Any:
    """A TOML value as the setting's type, read as the option is on the command line."""
    words = [f"--{key}={value}"]
    if isinstance(value, Mapping):
        words = [f"--{key}={' '.join(f'{name}={part}' for name, part in value.items())}"]
    elif isinstance(value, list):
        words = [f"--{key}", *map(str, value)]
    try:
        read = parse(given_settings(key), words, "hrm-rl", use_underscores=True)
    except UsageError as error:
        said = str(error).removeprefix("--")
        raise ValueError(said if said.startswith(key) else f"{key}: {said}") from None
    return dict(_flat(read))[key]


def _flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in tables.items():
        if name in TABLES:
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def _unknown(key: str) -> str:
    """A message for an unknown key, with the nearest one of its table, or the same name elsewhere."""
    table, _, name = key.rpartition(".")
    beside = [s.name for s in settings().values() if s.table == table]
    near = did_you_mean(name, beside if table else [*beside, *TABLES, "preset"])
    if near and table:
        near = did_you_mean(key, [f"{table}.{each}" for each in beside])
    elsewhere = {s.name: s.key for s in settings().values()}
    if not near and name in elsewhere:
        near = f"did you mean {elsewhere[name]!r}?"
    return f"unknown key {key}{near and f'; {near}'}"
