"""Every setting of a training run, read off the dataclasses that hold them: one place each.

A knob's meaning is the docstring under its field, its default the presets' own value. The config file,
the command line's help and docs/knobs.md all come from here.
"""

import ast
import dataclasses
import inspect
import math
import textwrap
from collections import Counter
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hrm_rl.agents import LearnerConfig
from hrm_rl.model import HRMConfig
from hrm_rl.model.config import FORWARD_DTYPES
from hrm_rl.training.presets import PRESETS, Preset

TABLES = ("model", "learner", "data")
# Fields that another knob sets: the run's own name, seed and dtype.
_ELSEWHERE = ("name", "learner.seed", "model.forward_dtype")


@dataclass(frozen=True)
class RunSettings:
    """What a run is told beside its preset."""

    seed: int = 0
    """Seeds the weights, the puzzles drawn and the exploration."""
    device: str = "auto"
    """cpu, cuda, mps; auto takes cuda where there is one."""
    dtype: str = "auto"
    """float32 or bfloat16; auto measures which is faster."""

    def __post_init__(self) -> None:
        if self.dtype != "auto" and self.dtype not in FORWARD_DTYPES:
            accepted = ", ".join(("auto", *FORWARD_DTYPES))
            raise ValueError(f"dtype must be one of {accepted}; got {self.dtype!r}")


@dataclass(frozen=True)
class Knob:
    """One setting."""

    table: str
    """model, learner or data; empty at the top level."""
    name: str
    kind: Any
    """The type of its value, None left out."""
    meaning: str
    defaults: dict[str, Any]
    """Its value in every preset."""

    @property
    def key(self) -> str:
        """As a config file has it: `batch_size`, `learner.lr`."""
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def accepts(self) -> str:
        """The values it takes, in words."""
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(get_args(self.kind))
        if get_origin(self.kind) is tuple:
            plain = "whole numbers" if get_args(self.kind)[0] is int else "numbers"
            return f"{len(get_args(self.kind))} {plain}"
        return {int: "a whole number", float: "a finite number", str: "a string"}[self.kind]

    @property
    def default(self) -> str:
        """The presets' values: the commonest first, then who differs."""
        shown = {preset: _show(value) for preset, value in self.defaults.items()}
        common = Counter(shown.values()).most_common(1)[0][0]
        others = [f"{preset} {value}" for preset, value in shown.items() if value != common]
        return "; ".join([common, *others])

    def check(self, value: Any) -> Any:
        """The value as the dataclass takes it. Raises ValueError where its type is another."""
        checked = _convert(value, self.kind)
        if checked is None:
            raise ValueError(f"{self.key} must be {self.accepts}, got {value!r}")
        return checked


@cache
def knobs() -> dict[str, Knob]:
    """All of them by key, in the order of the dataclasses; the top level first."""
    data_classes = dict.fromkeys(type(preset.data) for preset in PRESETS.values())
    homes: list[tuple[str, Any]] = [("", RunSettings), ("", Preset)]
    homes += [("model", HRMConfig), ("learner", LearnerConfig)]
    homes += [("data", kind) for kind in data_classes]
    found: dict[str, Knob] = {}
    for table, home in homes:
        kinds, meanings = get_type_hints(home), field_meanings(home)
        for field in dataclasses.fields(home):
            kind = _without_none(kinds[field.name])
            knob = Knob(
                table,
                field.name,
                kind,
                meanings.get(field.name, ""),
                {name: _default(p, table, field) for name, p in PRESETS.items()},
            )
            if knob.key not in _ELSEWHERE and not dataclasses.is_dataclass(kind):
                found.setdefault(knob.key, knob)
    return found


def field_meanings(kind: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, on one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    meanings = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                meanings[name] = " ".join(text.split())
    return meanings


def setting(preset: Preset, key: str) -> Any:
    """What a preset holds under a knob's key; `seed` is its learner's. Not for device and dtype."""
    if key == "seed":
        return preset.learner.seed
    value: Any = preset
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _default(preset: Preset, table: str, field: "dataclasses.Field[Any]") -> Any:
    holder = getattr(preset, table) if table else preset
    return getattr(holder, field.name, field.default)


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (k for k in get_args(kind) if k is not NoneType)
    return kind


def _convert(value: Any, kind: Any) -> Any:
    """`value` as `kind`, or None where it is none."""
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else None
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        if not isinstance(value, (list, tuple)) or len(value) != len(parts):
            return None
        converted = tuple(_convert(v, k) for v, k in zip(value, parts, strict=True))
        return None if None in converted else converted
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    return value if type(value) is kind else None


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(_show(part) for part in value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
