"""Custom rules: `module:Class` and `module:Class:VALUE`.

Any callable `rule(features) -> bool [B]` will do. If it compares a signal with a threshold, make it a
`ThresholdRule`: its threshold can then be chosen on validation puzzles (`module:Class:auto`).
"""

import importlib
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from hrm_rl.halting.rules.protocol import HaltingRule, is_built_in, where
from hrm_rl.halting.rules.threshold import ThresholdRule
from hrm_rl.messages import did_you_mean, shortened
from hrm_rl.settings import LARGEST

__all__ = ["ThresholdRule", "find_custom", "import_rule", "make_rule"]


def import_rule(module: str, argument: str, known: Sequence[str] = ()) -> HaltingRule:
    """The rule `module:Class`, `module:function` or `module:Class:VALUE`.

    Args:
        module: its full name.
        argument: what follows the module and a colon.
        known: names of rules that `module` may be a misspelling of.

    Raises ValueError, one line, if the rule does not exist or does not take the value.
    """
    name, _, value = argument.partition(":")
    spec = f"{module}:{argument}"
    rule = find_custom(module, name, known)
    if isinstance(rule, type):
        rule = make_rule(rule, value, spec)
    elif value:
        raise ValueError(f"rule {spec!r}: {name!r} is not a class and takes no value")
    if not callable(rule):
        raise ValueError(f"rule {spec!r}: {name!r} is {type(rule).__name__}, not a rule that can be called")
    return rule


def make_rule(kind: Any, text: str, spec: str) -> Any:
    """The rule of a class and the text after its name, "" if there is none.

    Raises ValueError naming the spec if the class does not take the value, or needs one.
    """
    values = fields(kind) if is_dataclass(kind) else ()
    # Several values would not print, so specs could not distinguish rules.
    if text and len(values) != 1:
        raise ValueError(
            f"rule {spec!r}: {kind.__name__!r} takes no value; a ThresholdRule does, and a dataclass of "
            "one number"
        )
    if not text and len(values) == 1 and values[0].default is MISSING:
        raise ValueError(f"rule {spec!r} needs a value, as in {spec.rstrip(':')}:VALUE")
    number = _number(kind, text, spec) if text else None
    try:
        return kind(number) if text else kind()
    except (TypeError, ValueError) as error:
        start = f"rule {spec!r}: "
        raise ValueError(start + str(error).removeprefix(start)) from None
    except Exception as error:
        if is_built_in(kind):
            raise
        raise ValueError(f"rule {spec!r}: {where(error)}") from error


def find_custom(module: str, name: str, known: Sequence[str] = ()) -> Any:
    """The object `name` of a module. Raises ValueError, one line, if there is none."""
    spec = f"{module}:{name}"
    if not module or module.startswith("."):
        raise ValueError(f"rule {spec!r}: {module!r} is not the full name of a module")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            path = "set PYTHONPATH=. to import a module of this folder"
            hint = f"; {did_you_mean(module, known) or path}"
        raise ValueError(f"rule {spec!r}: {error}{hint}") from None
    except AttributeError as error:
        if error.name == name:
            raise ValueError(f"rule {spec!r}: module {module!r} has no {name!r}") from None
        raise ValueError(f"rule {spec!r}: {where(error)}") from error
    except Exception as error:  # of the module's own code
        raise ValueError(f"rule {spec!r}: {where(error)}") from error


def whole_number(text: str) -> int:
    """The number of a text. Raises ValueError unless it is whole and of 32 bits."""
    number = int(text)
    if abs(number) > LARGEST:
        raise ValueError(f"{number} is too large")
    return number


def _number(kind: Any, text: str, spec: str) -> float:
    whole = getattr(kind, "whole", False) or fields(kind)[0].type in (int, "int")
    try:
        number = whole_number(text) if whole else float(text)
    except ValueError:
        wanted = "a whole number" if whole else "a number"
        given = shortened(text, 60)
        raise ValueError(f"rule {spec!r}: {given!r} is not {wanted}") from None
    if number != number:
        raise ValueError(f"rule {spec!r}: the value is not a number")
    return number
