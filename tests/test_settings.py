"""Checks of settings: what is refused, with which words, about which setting."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from hrm_rl.settings import (
    SettingError,
    about,
    check_at_least,
    check_integers,
    check_interval,
    check_one_of,
    reading,
    restore,
    typed,
    within,
)


@dataclass(frozen=True)
class Config:
    value: Any


@pytest.mark.parametrize(
    ("check", "limit", "good", "bad"),
    [
        (check_at_least, 0, [0, 0.5, 3], [-1, math.nan, math.inf, "2", None, True]),
        (check_integers, 1, [1, 7], [0, 1.0, True, "2", 1 << 60]),
        (check_interval, "[0, 1)", [0, 0.99], [-0.1, 1, math.nan, "0.5", None]),
        (check_interval, "(0, 1]", [0.1, 1], [0, 1.1]),
        (check_interval, "(0, inf)", [5.0], [math.inf, math.nan, 0]),
        (check_one_of, ("a", "b"), ["a", "b"], ["c", None, 3]),
    ],
)
def test_values_out_of_range_name_their_setting(check, limit, good, bad) -> None:
    for value in good:
        check(Config(value), limit, "value")
    for value in bad:
        with pytest.raises(SettingError, match=r"^value must .*got") as caught:
            check(Config(value), limit, "value")
        assert caught.value.settings == ("value",) and str(value) in str(caught.value)


def test_an_error_of_a_block_is_about_its_settings() -> None:
    for error in (ValueError("no such size"), SettingError("no such size", "inner")):
        with pytest.raises(SettingError, match=r"^no such size$") as caught, about("dials", "file"):
            raise error
        assert caught.value.settings == ("dials", "file")


# --- stored settings ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    width: int
    risk: Literal["low", "high"] = "low"

    def __post_init__(self) -> None:
        check_integers(self, 1, "width")


@dataclass(frozen=True)
class Stored:
    inner: Inner
    sizes: tuple[int, ...] = ()
    pair: tuple[float, float] = (0.0, 1.0)
    times: Mapping[str, float] = field(default_factory=dict)
    name: str | None = None


GOOD = {"inner": {"width": 3}}


def test_a_stored_mapping_becomes_its_dataclass() -> None:
    assert restore(Stored, GOOD) == Stored(Inner(3))
    full = GOOD | {"sizes": [1, 2], "pair": [1, 2.5], "times": {"a": 1}, "name": None}
    assert restore(Stored, full) == Stored(Inner(3), (1, 2), (1, 2.5), {"a": 1})
    assert typed(Inner(3), Inner) == Inner(3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], r"it must be an object, got \[\]"),
        ({}, "it lacks inner"),
        ({"inner": 3}, "inner must be an object, got 3"),
        ({"inner": {}}, "it lacks inner.width"),
        ({"inner": {"width": "3"}}, "inner.width must be an integer, got '3'"),
        ({"inner": {"width": 0}}, "inner.width must be an integer >= 1, got 0"),
        ({"inner": {"width": 3, "risk": "mid"}}, "inner.risk must be one of low, high, got 'mid'"),
        ({"inner": {"width": 3, "risc": "low"}}, "'inner.risc'; did you mean 'risk'"),
        (GOOD | {"sizes": 3}, "sizes must be a list, got 3"),
        (GOOD | {"sizes": [1, None]}, "sizes must be an integer, got None"),
        (GOOD | {"pair": [1, 2, 3]}, "pair must be a list of 2 values"),
        (GOOD | {"pair": [1, math.nan]}, "pair must be a number, got nan"),
        (GOOD | {"times": {"a": "b"}}, "times.a must be a number, got 'b'"),
        (GOOD | {"pair": [1, 10**400]}, "pair must be a number, got 1000"),
        (GOOD | {"name": 5}, "name must be a string, got 5"),
    ],
)
def test_a_damaged_mapping_names_its_field(values, words) -> None:
    with pytest.raises(ValueError, match=rf"^x.json is not a thing: .*{words}"), reading("x.json", "a thing"):
        restore(Stored, values)


def test_fields_within_a_table_have_its_name() -> None:
    with pytest.raises(SettingError, match=r"^a.b must be") as caught, within("a"):
        raise SettingError("b must be 3", "b")
    assert caught.value.settings == ("a.b",)
    with pytest.raises(SettingError, match=r"^a.b: no such thing"), within("a"):
        raise SettingError("no such thing", "b")
