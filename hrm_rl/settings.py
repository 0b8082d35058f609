"""Checks of settings, shared by the frozen dataclasses that hold them."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any


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
        value: Any = getattr(config, name)
        if not isinstance(value, Real):
            raise SettingError(f"{name} must be a number >= {minimum}, got {value!r}", name)
        if not minimum <= float(value) < math.inf:
            finite = "" if math.isfinite(value) else "a finite number "
            raise SettingError(f"{name} must be {finite}>= {minimum}, got {value}", name)


def check_integers(config: Any, minimum: int, *names: str) -> None:
    """Raise SettingError unless these fields of `config` are integers >= `minimum`."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise SettingError(f"{name} must be an integer >= {minimum}, got {value!r}", name)


def check_counts(**arguments: Any) -> None:
    """Raise SettingError unless these arguments are integers >= 1, NumPy's too."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
            raise SettingError(f"{name} must be an integer >= 1, got {value!r}", name)


def check_interval(config: Any, interval: str, *names: str) -> None:
    """Raise SettingError unless these fields of `config` lie in an interval, such as "[0, 1)"."""
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    for name in names:
        value: Any = getattr(config, name)
        if not isinstance(value, Real):
            raise SettingError(f"{name} must be a number in {interval}, got {value!r}", name)
        number = float(value)
        above = low <= number if interval[0] == "[" else low < number
        below = number <= high if interval[-1] == "]" else number < high
        if not (above and below):
            raise SettingError(f"{name} must lie in {interval}, got {value}", name)


def check_one_of(config: Any, accepted: Collection[str], *names: str) -> None:
    """Raise SettingError unless these fields of `config` are among the accepted values."""
    for name in names:
        value = getattr(config, name)
        if value not in accepted:
            raise SettingError(f"{name} must be one of {', '.join(accepted)}; got {value!r}", name)


@contextmanager
def about(*settings: str) -> Iterator[None]:
    """Raise any ValueError of the block as a SettingError about these settings."""
    try:
        yield
    except ValueError as error:
        raise SettingError(str(error), *settings) from None
