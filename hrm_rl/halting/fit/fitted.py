"""The base class of fitted rules: their file, their provenance, and the rule of `NAME:auto`."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from hrm_rl.files import check_replaces, header_has, written_whole
from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.fit.provenance import FittedOn
from hrm_rl.halting.rules.learned import LEARNED, learned_class
from hrm_rl.halting.rules.protocol import Named
from hrm_rl.halting.vector import FEATURE_NAMES
from hrm_rl.settings import check_at_least, reading, restore, typed, within
from hrm_rl.stored.tensors import read_arrays
from hrm_rl.stored.text import parse_json

FORMAT_VERSION = 1
Arrays = dict[str, NDArray[Any]]
Settings = dict[str, Any]
Contents = tuple[Arrays, Settings]
"""What the file of a rule holds besides its provenance; the settings are written as JSON."""


@dataclass(frozen=True)
class _Header:
    """What a rule's file says of itself."""

    format: int
    kind: str
    model_hash: str
    split: str
    cost: float
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_at_least(self, 0, "cost")


class FittedRule(Named):
    """A rule fitted on a trace bank: a frozen dataclass with its provenance and, once saved, its path.

    Its row in `hrm_rl.halting.rules.learned.LEARNED` makes `NAME:FILE` and `NAME:auto` work.
    """

    suffix: ClassVar[str] = ".safetensors"
    """The usual suffix of its files."""
    Stored: ClassVar[type]
    """A dataclass of the settings in its file."""
    fitted_on: FittedOn | None
    path: str | None

    @property
    def pooled(self) -> bool:
        """Whether it reads the pooled states."""
        return False

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"pooled_z_H"} if self.pooled else ())

    def __str__(self) -> str:
        return f"{self.name}:{self.path}" if self.path else self.name

    @classmethod
    def auto(cls, words: tuple[str, ...], bank: TraceBank, cost: float, seed: int) -> Self:
        """Fit the rule of `NAME:auto`; `words`, one of `variants`, stand between name and `auto`."""
        raise NotImplementedError

    def contents(self) -> Contents:
        """The arrays and the settings (`Stored`) of its file."""
        raise NotImplementedError

    @classmethod
    def restore(cls, arrays: Arrays, settings: Any, fitted_on: FittedOn, path: str) -> Self:
        """The rule of a file's arrays and `Stored` settings. May raise KeyError, TypeError, ValueError,
        RuntimeError."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> Self:
        """Write the rule to a file, and return it with that file as its spec string.

        Raises ValueError if the path has a comma or a parenthesis, which a spec cannot hold, and
        FileExistsError if it would replace anything but a rule.
        """
        path = os.fspath(path)
        if set(path) & set("(),"):
            raise ValueError(f"{path!r}: the path of a rule's file must not contain commas or parentheses")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        check_replaces(path, "the file of a fitted rule", self._is_own)
        with written_whole(path) as partial:
            self._write(partial)
        return replace(self, path=path)  # type: ignore[type-var]

    _is_own = staticmethod(header_has(b'"halting_rule"'))
    """Whether a file is one of `_write`."""

    def _write(self, path: Path) -> None:
        """Write a safetensors file; a rule with a file of another format overrides this, `_is_own` and
        `load`."""
        assert self.fitted_on is not None
        arrays, settings = self.contents()
        header = {
            "format": FORMAT_VERSION,
            "kind": self.name,
            "model_hash": self.fitted_on.model_hash,
            "split": self.fitted_on.split,
            "cost": self.fitted_on.cost,
            "settings": settings | {"features": list(FEATURE_NAMES)},
        }
        arrays = arrays | {"puzzle_ids": self.fitted_on.puzzle_ids}
        tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        path.write_bytes(save(tensors, {"halting_rule": json.dumps(header)}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a rule that `save` wrote. Raises ValueError if the file is damaged or holds another kind."""
        return load_fitted(path, cls.name)


def load_fitted(path: str | os.PathLike[str], kind: str | None = None, custom: str = "") -> Any:
    """A rule that `FittedRule.save` wrote to a safetensors file, of whichever kind the file names.

    A calibrated rule of your class needs that class, `custom`, as `module:Class`.

    Raises ValueError for another file, a damaged one, or another kind than `kind` (`lsm`, `voc`, ...).
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(f"no file {path!r} with a fitted rule")
    with reading(path, "the file of a fitted rule"):
        arrays, metadata = read_arrays(path)
        stored = parse_json(metadata["halting_rule"])
        version = typed(stored, Mapping[str, Any])["format"]
    if version != FORMAT_VERSION:
        raise ValueError(f"{path} has format {version}; this version of hrm_rl reads {FORMAT_VERSION}")
    with reading(path, "the file of a fitted rule"):
        header = restore(_Header, stored)
        ids = arrays.pop("puzzle_ids")
        fitted_on = FittedOn(header.model_hash, ids, header.split, header.cost)
    found, settings = header.kind, dict(header.settings)
    if kind is not None and found != kind:
        raise ValueError(f"{path} holds a rule of kind {found!r}, not {kind!r}; its spec is {found}:{path}")
    if found not in LEARNED:
        raise ValueError(f"{path} holds a rule of unknown kind {found!r}")
    try:
        if settings.pop("features", list(FEATURE_NAMES)) != list(FEATURE_NAMES):
            raise ValueError("it was fitted on other features than this version of hrm_rl computes")
        rule = learned_class(found)
        with within("settings"):
            read = restore(rule.Stored, settings)
        words = (custom,) if custom else ()
        return rule.restore(arrays, read, fitted_on, path, *words)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is damaged: {reason}") from None
