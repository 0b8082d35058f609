"""Rules of your own: what `module:Class` and `module:Class:VALUE` stand for.

Any callable `rule(features) -> bool [B]` will do. One that holds a signal against a threshold had better
be a `ThresholdRule`: its threshold can then be chosen on validation puzzles, like that of the rules here.
"""

import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules import HaltingRule, Named, for_all_rows, spec_of
from hrm_rl.halting.rules.families import INF, Family

_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class ThresholdRule(Named, ABC):
    """Stop where a signal of your own reaches a threshold: subclass it with a `signal`.

        class Sure(ThresholdRule):
            def signal(self, features):
                return features.confidence_min

    In module `my_rules` that is `my_rules:Sure:0.9`, and `my_rules:Sure:auto` where values may be `auto`.
    With `rises = False` it stops where the signal falls to the threshold. A signal that is no number does
    not reach any but the most lenient threshold.
    """

    threshold: float
    rises: ClassVar[bool] = True

    @abstractmethod
    def signal(self, features: SegmentFeatures) -> Tensor:
        """What is held against the threshold, a number a row, [B]; it may not depend on the threshold."""

    def finite_signal(self, features: SegmentFeatures) -> Tensor:
        """The signal in float32 [B], infinities cut to the largest number there is."""
        worst = -_LARGEST if self.rises else _LARGEST
        with for_all_rows(self):
            signal: Any = self.signal(features)
        rows = features.segment.shape
        if not isinstance(signal, Tensor) or signal.shape != rows:
            got = list(signal.shape) if isinstance(signal, Tensor) else type(signal).__name__
            raise ValueError(
                f"rule {spec_of(self)!r}: its signal has to be a tensor {list(rows)}, got {got}"
            )
        return torch.nan_to_num(signal.float(), nan=worst, posinf=_LARGEST, neginf=-_LARGEST)

    def __call__(self, features: SegmentFeatures) -> Tensor:
        signal = self.finite_signal(features)
        return signal >= self.threshold if self.rises else signal <= self.threshold

    def __str__(self) -> str:
        return f"{type(self).__module__}:{type(self).__qualname__}:{self.threshold}"


def own_family(module: str, name: str, known: Sequence[str] = ()) -> Family:
    """The rules of a `ThresholdRule` of that module; `known` as for `import_rule`.

    Raises ValueError where it is none.
    """
    kind = _find(module, name, known)
    if not (isinstance(kind, type) and issubclass(kind, ThresholdRule)):
        raise ValueError(
            f"rule '{module}:{name}:auto': only of a hrm_rl.halting.ThresholdRule can the threshold be "
            f"chosen, and {name!r} is none"
        )
    any_rule: Any = import_rule(module, f"{name}:0.0", known)
    sign = 1 if kind.rises else -1
    return Family(
        kind,
        any_rule.finite_signal,
        always=-sign * _LARGEST,
        never=sign * INF,
        grid=(),
        rises=kind.rises,
    )


def import_rule(module: str, argument: str, known: Sequence[str] = ()) -> HaltingRule:
    """The rule `module:Class`, `module:function` or `module:Class:VALUE`.

    Args:
        module: its full name.
        argument: what follows it.
        known: names of rules that the module may be a misspelling of.

    Raises ValueError, one line, where there is no such rule or it does not take the value.
    """
    name, _, value = argument.partition(":")
    spec = f"{module}:{argument}"
    rule = _find(module, name, known)
    if isinstance(rule, type):
        if value:
            _check_value(rule, spec)
        try:
            rule = rule(*([_number(rule, value, spec)] if value else ()))
        except TypeError as error:
            raise ValueError(f"rule {spec!r}: {error}") from None
    elif value:
        raise ValueError(f"rule {spec!r}: {name!r} is no class, so it takes no value")
    if not callable(rule):
        raise ValueError(f"rule {spec!r}: {name!r} is {type(rule).__name__}, not a rule to call")
    return rule


def _find(module: str, name: str, known: Sequence[str] = ()) -> Any:
    spec = f"{module}:{name}"
    if not module or module.startswith("."):
        raise ValueError(f"rule {spec!r}: {module!r} is no full name of a module")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            near = difflib.get_close_matches(module, known, n=1)
            finds = "a module of this folder is found with PYTHONPATH=."
            hint = f"; did you mean {near[0]!r}?" if near else f"; {finds}"
        raise ValueError(f"rule {spec!r}: {error}{hint}") from None
    except AttributeError:
        raise ValueError(f"rule {spec!r}: module {module!r} has no {name!r}") from None


def _check_value(kind: Any, spec: str) -> None:
    """Another class would not print with its value, and be taken for the same class with another."""
    name = kind.__name__
    if not (is_dataclass(kind) and len(fields(kind)) == 1):
        raise ValueError(
            f"rule {spec!r}: {name!r} takes no value; a ThresholdRule does, and a dataclass of one number"
        )


def _number(kind: Any, value: str, spec: str) -> float:
    """The value as its class declares it: whole where its one field is an int."""
    whole = fields(kind)[0].type in (int, "int")
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        wanted = "a whole number" if whole else "a number"
        raise ValueError(f"rule {spec!r}: {value!r} is not {wanted}") from None
    if number != number:
        raise ValueError(f"rule {spec!r}: the value is not a number")
    return number
