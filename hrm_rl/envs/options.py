"""The keywords of `gym.make` and `gym.make_vec`, for the functions that make environments."""

from collections.abc import Callable, Hashable
from inspect import signature
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np

from hrm_rl.messages import did_you_mean

# Not among the keywords: the functions that make environments have these themselves.
_GIVEN = {"num_envs", "source", "drawer", "picture", "dataset", "device"}
_OF_VECTORS = "is an option of gym.make_vec without a vectorization_mode, which steps rows as one batch"
_ELSEWHERE = {
    "autoreset_mode": f"{_OF_VECTORS}; for others pass vector_kwargs={{'autoreset_mode': ...}}",
    "device": _OF_VECTORS,
    "order": _OF_VECTORS,
    "num_envs": "is an argument of gym.make_vec",
    "max_episode_steps": "truncates, which environments of one batch never do: set halt_max_steps, which "
    "ends an episode and judges its draft, or pass vectorization_mode='sync'",
    "render_mode": "is refused: this environment has nothing to draw",
}


_WORDS: dict[Any, str] = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a string",
    NoneType: "None",
}


def split_options(options: dict[str, Any], *takers: Callable[..., Any]) -> list[dict[str, Any]]:
    """The options of each taker, by the names and types of its parameters.

    Raises ValueError for an option that none has, with the name that was probably meant, and for a value of
    another type.
    """
    known = [_keywords(taker) for taker in takers]
    shares: list[dict[str, Any]] = [{} for _ in takers]
    for name, value in options.items():
        place = next((place for place, names in enumerate(known) if name in names), None)
        if place is None:
            raise unknown_option(name, [name for names in known for name in names])
        _check_type(name, value, known[place][name])
        shares[place][name] = value
    return shares


def unknown_option(name: str, known: list[str]) -> ValueError | TypeError:
    """The error for an option that is not among the known ones."""
    if name in _ELSEWHERE:
        # SB3's make_vec_env tries a render_mode, and goes on without it after a TypeError.
        kind = TypeError if name == "render_mode" else ValueError
        return kind(f"{name} {_ELSEWHERE[name]}")
    hint = did_you_mean(name, known)
    return ValueError(f"unknown option {name!r}; {hint or 'the options are ' + ', '.join(known)}")


def _keywords(taker: Callable[..., Any]) -> dict[str, Any]:
    """The parameters that a caller may give, with their types."""
    parameters = signature(taker, eval_str=True).parameters.values()
    return {p.name: p.annotation for p in parameters if p.kind != p.VAR_KEYWORD and p.name not in _GIVEN}


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Raise ValueError for a value of another type, where that is a plain one or a union of plain ones."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if not all(isinstance(each, Hashable) and each in _WORDS for each in kinds):
        return
    wider: dict[Any, Any] = {bool: (bool, np.bool_), int: Integral, float: Real}
    if isinstance(value, bool | np.bool_):
        fits = bool in kinds
    else:
        fits = any(isinstance(value, wider.get(each, each)) for each in kinds)
    if not fits:
        wanted = " or ".join(_WORDS[each] for each in kinds)
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
