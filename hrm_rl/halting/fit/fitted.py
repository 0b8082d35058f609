"""The base class of fitted rules: their file, their provenance, and the rule of `NAME:auto`."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hrm_rl.files import written_whole
from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.fit.provenance import FittedOn
from hrm_rl.halting.rules.learned import LEARNED, learned_class
from hrm_rl.halting.rules.protocol import Named
from hrm_rl.halting.vector import FEATURE_NAMES

FORMAT_VERSION = 1
Arrays = dict[str, NDArray[Any]]
Settings = dict[str, Any]
Contents = tuple[Arrays, Settings]
"""What the file of a rule holds besides its provenance; the settings are written as JSON."""


class FittedRule(Named):
    """A rule fitted on a trace bank: a frozen dataclass with its provenance and, once saved, its path.

    Its row in `hrm_rl.halting.rules.learned.LEARNED` makes `NAME:FILE` and `NAME:auto` work.
    """

    suffix: ClassVar[str] = ".safetensors"
    """The usual suffix of its files."""
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
        """The arrays and the settings of its file."""
        raise NotImplementedError

    @classmethod
    def restore(cls, arrays: Arrays, settings: Settings, fitted_on: FittedOn, path: str) -> Self:
        """The rule of a file's contents. May raise KeyError, TypeError, ValueError, RuntimeError."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> Self:
        """Write the rule to a file, and return it with that file as its spec string.

        Raises ValueError if the path has a comma or a parenthesis, which a spec cannot hold.
        """
        path = os.fspath(path)
        if set(path) & set("(),"):
            raise ValueError(
                f"{path!r}: the path of a rule's file must not contain commas or parentheses"
            )
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            self._write(partial)
        return replace(self, path=path)  # type: ignore[type-var]

    def _write(self, path: Path) -> None:
        """Write a safetensors file; a rule with a file of another format overrides this and `load`."""
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


def load_fitted(path: str | os.PathLike[str], kind: str | None = None) -> Any:
    """A rule that `FittedRule.save` wrote to a safetensors file, of whichever kind the file names.

    Raises ValueError for another file, a damaged one, or another kind than `kind` (`lsm`, `voc`, ...).
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(f"no file {path!r} with a fitted rule")
    try:
        with safe_open(path, "numpy") as file:
            header = json.loads((file.metadata() or {})["halting_rule"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        version = header["format"]
        if version == FORMAT_VERSION:
            ids = arrays.pop("puzzle_ids")
            fitted_on = FittedOn(header["model_hash"], ids, header["split"], header["cost"])
            found, settings = header["kind"], header["settings"]
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} is not the file of a fitted rule ({type(error).__name__}: {error})"
        ) from None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {version}; this version of hrm_rl reads {FORMAT_VERSION}"
        )
    if kind is not None and found != kind:
        raise ValueError(
            f"{path} holds a rule of kind {found!r}, not {kind!r}; its spec is {found}:{path}"
        )
    if found not in LEARNED:
        raise ValueError(f"{path} holds a rule of unknown kind {found!r}")
    try:
        if settings.pop("features", list(FEATURE_NAMES)) != list(FEATURE_NAMES):
            raise ValueError("it was fitted on other features than this version of hrm_rl computes")
        return learned_class(found).restore(arrays, settings, fitted_on, path)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
