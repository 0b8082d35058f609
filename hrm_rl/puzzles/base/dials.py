"""Dials: the fields of a puzzle family that set its difficulty, each declared with its range."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hrm_rl.settings import SettingError


def dial(
    default: Any, low: float | None = None, high: float | None = None, *, choices: tuple[Any, ...] = ()
) -> Any:
    """A dataclass field with a range: `size: int = dial(10, 4, 32)`.

    The default is a value in range, or None if the family then chooses. The dial takes any number between
    its bounds if the default or a bound is a float, else integers; `choices` are all values, if they are not
    a range.
    """
    if low is not None and high is not None and isinstance(default, float):
        low, high = float(low), float(high)
    return dataclasses.field(default=default, metadata={"range": Range(low, high, choices)})


def switch(default: bool = False) -> Any:
    """A dataclass field that is True or False."""
    return dial(default, choices=(False, True))


@dataclass(frozen=True)
class Range:
    """The values that a dial takes. Without bounds and choices it takes any; its family checks it."""

    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()

    @property
    def words(self) -> str:
        """For messages and help: "4 to 32", "2, 3, 6", "True or False"; "" for any value."""
        if self.choices == (False, True):
            return "True or False"
        if self.choices:
            return ", ".join(map(str, self.choices))
        return "" if self.low is None else f"{self.low} to {self.high}"

    def accepts(self, value: Any) -> bool:
        """Whether `value` is in range and of the right type."""
        if isinstance(value, (bool, np.bool_)):
            return self.choices == (False, True) or not self.words
        if self.choices:
            return self.choices != (False, True) and value in self.choices
        if self.low is None or self.high is None:
            return True
        kinds: Any = (int, np.integer)
        if isinstance(self.low, float) or isinstance(self.high, float):
            kinds = (*kinds, float, np.floating)
        return isinstance(value, kinds) and bool(self.low <= value <= self.high)


def range_of(field: dataclasses.Field[Any]) -> Range:
    """The range declared for a field of a family."""
    return field.metadata.get("range", Range())


def check_fields(family: type[Any]) -> None:
    """Raise TypeError for a field of a new class without a `dial`, whose values nothing would check."""
    for name, hint in inspect.get_annotations(family).items():
        declared = getattr(vars(family).get(name), "metadata", {})
        if "ClassVar" not in str(hint) and "range" not in declared:
            raise TypeError(
                f"{family.__name__}.{name} needs a range, such as {name}: int = dial(10, 4, 32); "
                "an attribute that is not a dial is a ClassVar"
            )


def as_integers(value: Any) -> list[int]:
    """Integers that tell the values of a dial apart: a whole number as it is, another float by its bits."""
    if isinstance(value, tuple):
        return [number for part in value for number in as_integers(part)]
    if value is None or isinstance(value, str):
        return list(str(value).encode())
    whole = int(value)
    return [whole % (1 << 64) if value == whole else int(np.float64(value).view(np.uint64))]


def check_dials(family: Any) -> None:
    """Raise ValueError for the first dial of a family that is out of its range."""
    for field in dataclasses.fields(family):
        value, allowed = getattr(family, field.name), range_of(field)
        chosen_by_family = value is None and field.default is None
        if not chosen_by_family and not allowed.accepts(value):
            raise SettingError(f"{field.name} must be {allowed.words}, got {value!r}", field.name)


def module_functions(family: type[Any]) -> Callable[[str], Any]:
    """A family module's `__getattr__`, for functions that take the dials by name.

    With it, `life.generate(1000, size=12)` is `Life(size=12).generate(1000)`, and `life.vocab_size(size=12)`
    is `Life(size=12).vocab_size`.
    """

    def function_of(name: str) -> Any:
        if name == "CHARACTERS":
            return family.characters
        if name.startswith("_") or not hasattr(family, name):
            raise AttributeError(f"{family.__module__} has no attribute {name!r}")
        return partial(_call, family, name)

    return function_of


def _call(family: type[Any], name: str, *args: Any, **given: Any) -> Any:
    """Call a method (or read a property) of the family that has the dials among the keywords `given`."""
    names = {field.name for field in dataclasses.fields(family)}
    value = getattr(family(**{dial: given.pop(dial) for dial in names & given.keys()}), name)
    return value(*args, **given) if callable(value) else value
