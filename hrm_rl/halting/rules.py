"""Rules for stopping. A rule is `rule(features) -> bool [B]`: which rows stop after this segment.

A rule is a frozen dataclass of its thresholds with a `__call__` of a line or two; its spec string
(`confidence:0.9`) is its name and its field. The same object serves the live loop and recordings.
Your own: any callable of that form, given to `HRMAgent(rule=...)` or named `module:Class`.
"""

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.hashing import mix, uniform


class HaltingRule(Protocol):
    """Anything that says, after a segment, which rows stop."""

    def __call__(self, features: SegmentFeatures, /) -> Tensor: ...


@dataclass(frozen=True)
class Fixed:
    """Stop after n segments."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"fixed:N needs N >= 1, got {self.n}")

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.segment >= self.n


@dataclass(frozen=True)
class Random:
    """Stop after any segment with probability p, drawn from the puzzle's key: repeatable."""

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"random:P needs 0 < P <= 1, got {self.p}")

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return uniform(mix(mix(features.puzzle_key) + features.segment)) < self.p


@dataclass(frozen=True)
class Q:
    """The paper's rule: stop where halting is worth more than thinking on."""

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.q_halt > features.q_continue


@dataclass(frozen=True)
class QHalt:
    """Stop where the halt logit exceeds a threshold (halt-only training; TRM, arXiv 2510.04871)."""

    threshold: float = 0.0

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.q_halt > self.threshold


@dataclass(frozen=True)
class Confidence:
    """Stop where the mean over cells of the largest probability reaches a threshold."""

    threshold: float

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.confidence >= self.threshold


@dataclass(frozen=True)
class Margin:
    """Stop where the mean gap of the two largest probabilities reaches a threshold."""

    threshold: float

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.margin >= self.threshold


@dataclass(frozen=True)
class Entropy:
    """Stop where the mean entropy over cells, in nats, falls to a threshold."""

    threshold: float

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.entropy <= self.threshold


@dataclass(frozen=True)
class Stable:
    """Stop where the draft has stayed the same k segments in a row (PABEE, arXiv 2006.04152)."""

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"stable:K needs K >= 1, got {self.k}")

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.unchanged_for >= self.k


@dataclass(frozen=True)
class Residual:
    """Stop where z_H has come to rest: its relative change falls to a threshold."""

    threshold: float

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.residual_H <= self.threshold


@dataclass(frozen=True)
class KL:
    """Stop where a segment hardly moved the predictions (arXiv 2502.05171)."""

    threshold: float

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.kl <= self.threshold


RULES: dict[str, Callable[..., HaltingRule]] = {
    "fixed": Fixed,
    "random": Random,
    "q": Q,
    "q-halt": QHalt,
    "confidence": Confidence,
    "margin": Margin,
    "entropy": Entropy,
    "stable": Stable,
    "residual": Residual,
    "kl": KL,
}


def parse_rule(spec: str) -> HaltingRule:
    """The rule of a spec string such as `q`, `fixed:4`, `confidence:0.9` or `my.module:MyRule`.

    Raises ValueError naming the spec and what is accepted.
    """
    name, _, argument = spec.partition(":")
    if name in RULES:
        kind = RULES[name]
        parameters = fields(kind)  # type: ignore[arg-type]
        if not argument:
            try:
                return kind()
            except TypeError:
                raise ValueError(f"rule {spec!r} needs a value, as in {name}:VALUE") from None
        if not parameters:
            raise ValueError(f"rule {name!r} takes no value, got {spec!r}")
        convert: Callable[[str], float] = int if parameters[0].type is int else float
        try:
            value = convert(argument)
        except ValueError:
            wanted = "a whole number" if convert is int else "a number"
            raise ValueError(f"rule {spec!r}: {argument!r} is not {wanted}") from None
        if value != value:
            raise ValueError(f"rule {spec!r}: the threshold is not a number")
        return kind(value)
    if argument and all(part.isidentifier() for part in name.lstrip(".").split(".")):
        return _import_rule(name, argument, spec)
    near = difflib.get_close_matches(name, RULES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown rule {spec!r}; {hint}known: {', '.join(RULES)}, or module:Class")


def _import_rule(module: str, name: str, spec: str) -> HaltingRule:
    if not module or module.startswith("."):
        raise ValueError(f"rule {spec!r}: {module!r} is no full name of a module")
    near = difflib.get_close_matches(module, RULES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    try:
        rule = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ValueError(f"rule {spec!r}: {error}{hint}") from None
    except AttributeError:
        raise ValueError(f"rule {spec!r}: module {module!r} has no {name!r}") from None
    if isinstance(rule, type):
        try:
            rule = rule()
        except TypeError as error:
            raise ValueError(f"rule {spec!r}: {error}") from None
    if not callable(rule):
        raise ValueError(f"rule {spec!r}: {name!r} is {type(rule).__name__}, not a rule to call")
    return rule
