"""Checks of settings: what is refused, with which words, about which setting."""

import math
from dataclasses import dataclass
from typing import Any

import pytest

from hrm_rl.settings import (
    SettingError,
    about,
    check_at_least,
    check_integers,
    check_interval,
    check_one_of,
)


@dataclass(frozen=True)
class Config:
    value: Any


@pytest.mark.parametrize(
    ("check", "limit", "good", "bad"),
    [
        (check_at_least, 0, [0, 0.5, 3], [-1, math.nan, math.inf]),
        (check_integers, 1, [1, 7], [0, 1.0, True, "2"]),
        (check_interval, "[0, 1)", [0, 0.99], [-0.1, 1, math.nan]),
        (check_interval, "(0, 1]", [0.1, 1], [0, 1.1]),
        (check_interval, "(0, inf)", [5.0], [math.inf, math.nan, 0]),
        (check_one_of, ("a", "b"), ["a", "b"], ["c", None]),
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
