"""Checks of settings, shared by the frozen dataclasses that hold them, and typed reading of stored ones."""

import dataclasses
import math
import os
import reprlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hrm_rl.files import read_text
from hrm_rl.messages import did_you_mean, shortened
from hrm_rl.stored.text import parse_json

Kind = TypeVar("Kind")
Switch = Literal["auto", "yes", "no"]
# The largest count and seed of a setting.
LARGEST, LARGEST_SEED = (1 << 31) - 1, (1 << 63) - 1
_brief = reprlib.Repr()  # of what may be huge
_brief.maxlevel, _brief.maxstring, _brief.maxother, _brief.maxlong = 3, 80, 80, 80
_MOST_SETTINGS = 1 << 20  # bytes of a file of settings
_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string", NoneType: "null"}


class SettingError(ValueError):
    """A setting is out of range.

    `settings` names the fields concerned, the likeliest mistake first, so that a command line or a config
    file can point to the option or key that was given.
    """

    def __init__(self, message: str, *settings: str) -> None:
        super().__init__(message)
        self.settings = settings


def check_at_least(config: Any, minimum: float, *names: str) -> None:
    """Raise SettingError unless these fields of `config` are finite numbers >= `minimum`."""
    for name in names:
        value = _number(config, name, f" >= {minimum}")
        if not minimum <= value < math.inf:
            finite = "" if math.isfinite(value) else "a finite number "
            raise SettingError(f"{name} must be {finite}>= {minimum}, got {value}", name)


def check_integers(config: Any, minimum: int, *names: str, most: int = LARGEST) -> None:
    """Raise SettingError unless these fields of `config` are integers from `minimum` to `most`."""
    for name in names:
        value = getattr(config, name)
        if not _is(value, int) or not minimum <= value <= most:
            limit = f" and <= {most}" if _is(value, int) and value > most else ""
            raise SettingError(f"{name} must be an integer >= {minimum}{limit}, got {value!r}", name)


def _number(config: Any, name: str, limit: str = "") -> Any:
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingError(f"{name} must be a number{limit}, got {value!r}", name)
    return value


def check_counts(**arguments: Any) -> None:
    """Raise SettingError unless these arguments are integers >= 1, NumPy's too."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
            raise SettingError(f"{name} must be an integer >= 1, got {value!r}", name)


def check_interval(config: Any, interval: str, *names: str) -> None:
    """Raise SettingError unless these fields of `config` lie in an interval, such as "[0, 1)"."""
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    for name in names:
        value = _number(config, name, f" in {interval}")
        above = low <= value if interval[0] == "[" else low < value
        below = value <= high if interval[-1] == "]" else value < high
        if not (above and below):
            raise SettingError(f"{name} must lie in {interval}, got {value}", name)


def check_one_of(config: Any, accepted: Collection[str], *names: str) -> None:
    """Raise SettingError unless these fields of `config` are among the accepted values."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, str) or value not in accepted:
            raise SettingError(f"{name} must be one of {', '.join(accepted)}; got {value!r}", name)


@contextmanager
def about(*settings: str) -> Iterator[None]:
    """Raise any ValueError of the block as a SettingError about these settings."""
    try:
        yield
    except ValueError as error:
        raise SettingError(str(error), *settings) from None


# --- stored settings ---------------------------------------------------------------------------


@contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Raise any error of damaged content as a ValueError "PATH is not WHAT: ..."."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is not {what}: {shortened(reason, 300)}") from None


def read_json(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """The JSON object of a file. Raises ValueError as `reading`, or if it holds something else."""
    with reading(path, what):
        return typed(parse_json(read_text(path, _MOST_SETTINGS)), Mapping[str, Any])


def typed(value: Any, kind: Any, name: str = "") -> Any:
    """A stored value as `kind`: a plain type, Literal, union, tuple, mapping or dataclass.

    Lists become tuples, and objects dataclasses. Raises SettingError that names the field, `name` and the
    fields within it, and what it must be.
    """
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else restore(kind, value, name)  # type: ignore
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _of_union(value, inner, name)
    if origin is Literal:
        return _checked(value, value in inner, f"one of {', '.join(map(str, inner))}", name)
    if origin is tuple:
        return _of_tuple(value, inner, name)
    if origin is Mapping:
        named = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        _checked(value, named, "an object", name)
        return {key: typed(one, inner[1], f"{name}.{key}".lstrip(".")) for key, one in value.items()}
    return _checked(value, _is(value, kind), _WORDS[kind], name)


def restore(kind: type[Kind], values: Any, name: str = "") -> Kind:
    """A dataclass of a stored mapping; each error of its values names the field.

    Raises SettingError, also for an unknown field or a missing one.
    """
    given = typed(values, Mapping[str, Any], name)
    hints = _hints(kind)  # type: ignore[arg-type]
    prefix = f"{name}." if name else ""
    for key in given:
        if key not in hints:
            near = did_you_mean(key, hints)
            raise SettingError(f"unknown setting {prefix + key!r}{near and f'; {near}'}", prefix + key)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        needed = field.default is field.default_factory is dataclasses.MISSING
        if needed and field.name not in given:
            raise SettingError(f"it lacks {prefix}{field.name}", prefix + field.name)
    read = {key: typed(one, hints[key], prefix + key) for key, one in given.items()}
    with within(name):
        return kind(**read)


@contextmanager
def within(name: str) -> Iterator[None]:
    """Raise a SettingError of the block as one about the fields of `name`."""
    try:
        yield
    except SettingError as error:
        inner = [f"{name}.{key}".strip(".") for key in error.settings]
        words, first = str(error), error.settings[0]
        named = words.replace(first, inner[0], 1) if first in words else f"{inner[0]}: {words}"
        raise SettingError(named, *inner) from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def _is(value: Any, kind: type) -> bool:
    if kind in (int, float):
        number = int if kind is int else int | float
        known = isinstance(value, number) and not isinstance(value, bool)
        return known and (kind is int or abs(value) <= sys.float_info.max)
    return isinstance(value, kind)


def _checked(value: Any, good: bool, words: str, name: str) -> Any:
    if not good:
        raise SettingError(f"{name or 'it'} must be {words}, got {shortened(_brief.repr(value), 60)}", name)
    return value


def _of_union(value: Any, kinds: Sequence[Any], name: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    kinds = [kind for kind in kinds if kind is not NoneType]
    if len(kinds) == 1:
        return typed(value, kinds[0], name)
    words = " or ".join(_WORDS.get(kind, "an object") for kind in kinds)
    return _checked(value, any(_is(value, kind) for kind in kinds), words, name)


def _of_tuple(value: Any, inner: Sequence[Any], name: str) -> tuple[Any, ...]:
    many = len(inner) == 2 and inner[1] is Ellipsis
    listed = isinstance(value, list | tuple)
    good = listed and (many or len(value) == len(inner))
    words = "a list" if many else f"a list of {len(inner)} values"
    _checked(value, good, words, name)
    kinds = [inner[0]] * len(value) if many else inner
    return tuple(typed(one, kind, name) for one, kind in zip(value, kinds, strict=True))
