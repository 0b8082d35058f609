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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hrm_rl.agents import LearnerConfig
from hrm_rl.model import HRMConfig
from hrm_rl.model.config import FORWARD_DTYPES
from hrm_rl.training.data_settings import FamilyData, SudokuData
from hrm_rl.training.machine.compute import Compiling
from hrm_rl.training.presets import PRESETS, Preset

TABLES = ("model", "learner", "data")
# Fields that another knob sets: the run's own name, seed and dtype.
_SWITCHES = {"true": True, "True": True, "false": False, "False": False}
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
    compile: Compiling = "auto"
    """Compile the model's block with torch.compile; auto does on a CPU, for runs of a quarter of an hour and
    more, where it measures faster."""

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
    """Its value in every preset that has it."""

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
        if get_origin(self.kind) is Mapping:
            return 'a table such as {size = 12} or the words "size=12"'
        return {int: "a whole number", float: "a finite number", str: "a string"}[self.kind]

    @property
    def default(self) -> str:
        """The presets' values: the commonest first, then who differs."""
        shown = {preset: _show(value) for preset, value in self.defaults.items()}
        if not shown:
            return "none"
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
    homes: list[tuple[str, Any]] = [("", RunSettings), ("", Preset)]
    homes += [("model", HRMConfig), ("learner", LearnerConfig)]
    homes += [("data", SudokuData), ("data", FamilyData)]
    found: dict[str, Knob] = {}
    for table, home in homes:
        kinds, meanings = get_type_hints(home), field_meanings(home)
        for field in dataclasses.fields(home):
            if field.name in TABLES:
                continue
            kind = _without_none(kinds[field.name])
            knob = Knob(
                table,
                field.name,
                kind,
                meanings.get(field.name, ""),
                _defaults(table, field),
            )
            if knob.key not in _ELSEWHERE:
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
    """What a preset holds under a knob's key, None where its data have no such setting; `seed` is its
    learner's. Not for device and dtype."""
    if key == "seed":
        return preset.learner.seed
    value: Any = preset
    for name in key.split("."):
        value = getattr(value, name, None)
    return value


def _defaults(table: str, field: "dataclasses.Field[Any]") -> dict[str, Any]:
    """By preset; those whose data are another family's have not all of them."""
    holders = {name: getattr(p, table) if table else p for name, p in PRESETS.items()}
    if table:
        return {n: getattr(h, field.name) for n, h in holders.items() if hasattr(h, field.name)}
    return {name: getattr(h, field.name, field.default) for name, h in holders.items()}


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
    if get_origin(kind) is Mapping:
        return _dials(value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    return value if type(value) is kind else None


def _dials(value: Any) -> dict[str, Any] | None:
    """A table of numbers and switches, or the words that say one: "size=12 perfect=true"."""
    if isinstance(value, str):
        pairs = [word.split("=", 1) for word in value.replace(",", " ").split()]
        if any(len(pair) != 2 for pair in pairs):
            return None
        value = {name: _SWITCHES.get(text, _number(text)) for name, text in pairs}
    if not isinstance(value, Mapping):
        return None
    return dict(value) if all(type(v) in (int, float, bool) for v in value.values()) else None


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={inner}" for name, inner in value.items()) or "none"
    if isinstance(value, tuple):
        return " ".join(_show(part) for part in value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
