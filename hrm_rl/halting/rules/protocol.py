"""The interface of halting rules: names, needs, and checked decisions."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.messages import did_you_mean, shortened


class HaltingRule(Protocol):
    """A callable that returns, after a segment, which rows stop: bool [B].

    It may have `needs: frozenset[str]`: the optional features that it reads, or "future" if it decides
    in hindsight and therefore runs on recordings only.
    """

    def __call__(self, features: SegmentFeatures, /) -> Tensor: ...


class Named:
    """A dataclass that prints as its spec string: its name, and its first field if it has one.

    Only rules of this package go by `name`; a rule from elsewhere goes by `module:Class`.
    """

    name: ClassVar[str]
    value: ClassVar[str] = ""
    """What the number after the colon is; "" if there is none."""
    needs: ClassVar[frozenset[str]] = frozenset()
    variants: ClassVar[frozenset[tuple[str, ...]]] = frozenset({()})
    """What may stand between the name and `auto`, of rules with a method `auto`: () for `lsm:auto`."""

    def __str__(self) -> str:
        name = name_of(type(self))
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
        return f"{name}:{values[0]}" if values else name


def name_of(kind: type[Named]) -> str:
    """The name of a class of rules in specs: `confidence`, or `module:Class` of one from elsewhere."""
    return kind.name if is_built_in(kind) else f"{kind.__module__}:{kind.__qualname__}"


def auto_spec(kind: type[Any]) -> str:
    """The spec that chooses the threshold of a class of rules: `confidence:auto`.

    Raises ValueError if a class has no name that a spec can give.
    """
    if not issubclass(kind, Named):
        raise ValueError(f"{kind.__qualname__} is not a ThresholdRule; give a rule instead of its class")
    if "<locals>" in kind.__qualname__:
        raise ValueError(f"define {kind.__name__} at the top of a module, where its spec can find it")
    return f"{name_of(kind)}:auto"


def needs_of(rule: HaltingRule) -> frozenset[str]:
    """The optional features that a rule reads, and "future" if it decides in hindsight."""
    return frozenset(getattr(rule, "needs", ()))


def parts_of(rule: HaltingRule) -> Iterator[HaltingRule]:
    """The rule and all rules wrapped in it."""
    yield rule
    for part in getattr(rule, "rules", ()):
        yield from parts_of(part)


def spec_of(rule: HaltingRule) -> str:
    """The spec string of a rule, which `parse_rule` reads back.

    A custom rule is `module:Class`, with `:VALUE` if it is a dataclass of one number, or `module:function`.
    """
    if isinstance(rule, Named):
        return str(rule)
    kind: Any = rule if hasattr(rule, "__qualname__") else type(rule)
    spec = f"{kind.__module__}:{kind.__qualname__}"
    values: list[Any] = [getattr(rule, field.name) for field in fields(rule)] if is_dataclass(rule) else []
    number = len(values) == 1 and type(values[0]) in (int, float)
    return f"{spec}:{values[0]}" if number else spec


@contextmanager
def for_all_rows(rule: HaltingRule) -> Iterator[None]:
    """Raise ValueError with the remedy if the rule branches on the value of a tensor, or reads a feature that
    does not exist; and with the place of any other error in a rule of your own."""
    try:
        yield
    except AttributeError as error:
        if not isinstance(error.obj, SegmentFeatures):
            _of_custom(rule, error)
            raise
        known = SegmentFeatures._fields
        hint = did_you_mean(str(error.name), known) or f"the features are {', '.join(known)}"
        raise ValueError(
            f"rule {spec_of(rule)!r} reads a feature that does not exist, {error.name!r}; {hint}"
        ) from error
    except RuntimeError as error:
        if "Boolean value of Tensor" not in str(error):
            _of_custom(rule, error)
            raise
        raise ValueError(
            f"rule {spec_of(rule)!r} decides for all rows at once and cannot use `if`, `and`, `or` or "
            "`not` on tensors; use `&`, `|`, `~` and torch.where"
        ) from error
    except ValueError:
        raise
    except Exception as error:
        _of_custom(rule, error)
        raise


def _of_custom(rule: HaltingRule, error: Exception) -> None:
    """Raise an error of a rule from elsewhere as a ValueError with its place."""
    kind: Any = rule if hasattr(rule, "__qualname__") else type(rule)
    if not is_built_in(kind):
        raise ValueError(f"rule {spec_of(rule)!r}: {where(error)}") from error


def is_built_in(kind: Any) -> bool:
    """Whether a class or function is of this package."""
    return str(kind.__module__).startswith("hrm_rl.")


def where(error: Exception) -> str:
    """An error with the file and line that raised it, on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return shortened(f"{type(error).__name__}: {error}{place}", 300)


def stops_of(rule: HaltingRule, features: SegmentFeatures) -> Tensor:
    """Which rows a rule stops, bool [B].

    Scores returned by mistake would stop every row whose score is not zero, so the result is checked.

    Raises ValueError if the result is not a bool tensor with one value a row, or if the rule branches
    on the value of a tensor.
    """
    with for_all_rows(rule):
        stops: Any = rule(features)
    rows = tuple(features.segment.shape)
    if not isinstance(stops, Tensor):
        got = type(stops).__name__
    elif stops.is_meta and not features.segment.is_meta:
        got = "one without values (device meta)"
    elif stops.dtype != torch.bool or tuple(stops.shape) != rows:
        got = f"{str(stops.dtype).removeprefix('torch.')} {list(stops.shape)}"
    else:
        return stops
    scores = isinstance(stops, Tensor) and stops.dtype != torch.bool
    hint = "; compare it with a threshold" if scores else ""
    raise ValueError(f"rule {spec_of(rule)!r} must return a bool tensor {list(rows)}, got {got}{hint}")


def required(features: SegmentFeatures, name: str) -> Tensor:
    """An optional feature. Raises ValueError with the way to compute it if it is missing."""
    value = getattr(features, name)
    if value is None:
        pooled = " with pooled=True" if name == "pooled_z_H" else ""
        raise ValueError(
            f"the rule needs feature {name}, which these features lack; compute it live with "
            f"segment_features{pooled}, or on a trace bank with bank_features(bank, needs={{'{name}'}})"
        )
    return value
