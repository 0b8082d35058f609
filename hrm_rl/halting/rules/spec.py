"""Spec strings of rules: `confidence:0.9`, `recall(min(2, q))`, `lsm:FILE`, `my.module:MyRule:0.9`.

    rule = NAME | NAME:VALUE | KIND:FILE | sb3:ALGO:FILE | module:Class | module:Class:VALUE
         | WRAPPER(part, ...)

Rules nest up to 32 deep; spaces around commas and parentheses do not count. File names hold no comma and
no parenthesis. `auto` stands for a value that is chosen on validation puzzles (hrm_rl.halting.fit.tuning).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from inspect import isabstract
from itertools import accumulate
from pathlib import Path
from typing import Any

from hrm_rl.halting.rules import RULES
from hrm_rl.halting.rules.combine import COMBINATORS
from hrm_rl.halting.rules.custom import find_custom, import_rule, make_rule, whole_number
from hrm_rl.halting.rules.learned import FILES, LEARNED, learned_class
from hrm_rl.halting.rules.protocol import HaltingRule
from hrm_rl.halting.rules.select import SELECTORS
from hrm_rl.halting.rules.threshold import ThresholdRule
from hrm_rl.messages import did_you_mean, shortened

MOST_NESTED, _MOST_TOKENS = 32, 1000
"""How deep rules nest, and how many names and signs a spec has, at most."""

_WRAPPERS = COMBINATORS | SELECTORS
KNOWN = (*RULES, *LEARNED, *_WRAPPERS)

Choose = Callable[["Node"], HaltingRule]


@dataclass(frozen=True)
class Node:
    """One rule of a parsed spec, before it is built."""

    name: str
    argument: str = ""
    """What follows the colon."""
    parts: "tuple[Node, ...] | None" = None
    """What stands between the parentheses; None if there are none."""

    @property
    def is_auto(self) -> bool:
        """Whether this rule itself is to be chosen on validation puzzles."""
        if self.parts is not None:
            return self.name == "calm" or (self.name == "abstain" and self.parts[-1].is_auto)
        before, _, last = self.argument.rpartition(":")
        return last == "auto" and (self.name in KNOWN or (self.is_custom and bool(before)))

    @property
    def is_custom(self) -> bool:
        """Whether it has the form of a custom rule, `module:Class`."""
        words = self.name.lstrip(".").split(".")
        named = bool(self.argument) and all(word.isidentifier() for word in words)
        return self.parts is None and self.name not in KNOWN and named

    @property
    def words(self) -> tuple[str, ...]:
        """What a rule to be chosen is given: ("blinkered",) of `voc:blinkered:auto`, or the parts."""
        if self.parts is not None:
            return tuple(map(str, self.parts))
        return tuple(self.argument.split(":")[:-1])

    def autos(self) -> "Iterator[Node]":
        """The rules in it that are to be chosen on validation puzzles."""
        if self.is_auto:
            yield self
        else:
            for part in self.parts or ():
                yield from part.autos()

    def __str__(self) -> str:
        if self.parts is not None:
            return f"{self.name}({', '.join(map(str, self.parts))})"
        return f"{self.name}:{self.argument}" if self.argument else self.name


def parse_rule(spec: str) -> HaltingRule:
    """The rule of a spec string such as `q`, `fixed:4`, `min(2, q)` or `my.module:MyRule`.

    Raises ValueError, one line, naming what is wrong in the spec and what would be right.
    """
    return build(parse_tree(spec))


def parse_tree(spec: str) -> Node:
    """The parsed spec. Raises ValueError if its syntax is wrong."""
    if not isinstance(spec, str):
        raise ValueError(f"a rule's spec is a string such as 'q' or 'fixed:4', got {spec!r}")
    tokens = [token.strip() for token in re.findall(r"[(),]|[^(),]+", spec)]
    tokens = [token for token in tokens if token]
    if not tokens:
        raise _unknown(spec.strip())
    depth = max(accumulate((token == "(") - (token == ")") for token in tokens))
    if depth > MOST_NESTED or len(tokens) > _MOST_TOKENS:
        limits = f"rules nest at most {MOST_NESTED} deep, and a spec has at most {_MOST_TOKENS} parts"
        raise ValueError(f"rule {shortened(spec, 60)!r}: {limits}")
    node, rest = _parse(tokens, spec)
    if rest:
        hint = "; several rules are given apart" if rest[0] == "," else ""
        raise ValueError(f"rule {spec!r}: unexpected {rest[0]!r} after {str(node)!r}{hint}")
    return node


def threshold_class(name: str, spec: str = "") -> type[ThresholdRule]:
    """The class of a rule with a threshold, `confidence` or `module:Class`.

    Raises ValueError, naming the spec, if the class does not exist or is not a ThresholdRule.
    """
    module, colon, attribute = name.partition(":")
    kind = find_custom(module, attribute, KNOWN) if colon else RULES.get(name)
    if isinstance(kind, type) and issubclass(kind, ThresholdRule):
        if isabstract(kind):
            raise ValueError(f"rule {(spec or name)!r}: {name!r} needs a method signal(features)")
        return kind
    if not colon and kind is None:
        raise _unknown(name)
    raise ValueError(
        f"rule {(spec or name)!r}: {name!r} has no threshold to choose; it must be a "
        "hrm_rl.halting.ThresholdRule"
    )


def build(node: Node, choose: Choose | None = None) -> HaltingRule:
    """The rule of a parsed spec; `choose` makes the rules that are `auto`.

    Raises ValueError as `parse_rule`, and if a rule is `auto` and `choose` is None.
    """
    if node.is_auto:
        if choose is None:
            raise ValueError(
                f"rule {str(node)!r} is chosen on validation puzzles, as `hrm-rl compare` does; "
                "give a value or a file here"
            )
        return choose(node)
    if node.parts is not None:
        return _build_wrapper(node, choose)
    if node.name in RULES:
        return make_rule(RULES[node.name], node.argument, str(node))
    if node.name in LEARNED:
        return _load(node.name, node.argument)
    if node.name in _WRAPPERS:
        form = _WRAPPERS[node.name].form
        raise ValueError(f"rule {str(node)!r}: {node.name!r} wraps rules, as in {form}")
    if node.is_custom:
        return import_rule(node.name, node.argument, KNOWN)
    raise _unknown(str(node))


def _parse(tokens: list[str], spec: str) -> tuple[Node, list[str]]:
    """The first rule of the tokens, and the tokens after it."""
    head, rest = (tokens[0], tokens[1:]) if tokens else ("", [])
    if head in ("", "(", ")", ","):
        where = f"before {head!r}" if head else "at the end"
        raise ValueError(f"rule {spec!r}: a rule or a value is missing {where}")
    name, _, argument = head.partition(":")
    if not rest or rest[0] != "(":
        return Node(name, argument), rest
    parts = []
    rest = ["," if i == 0 else token for i, token in enumerate(rest)]
    while rest and rest[0] == ",":
        part, rest = _parse(rest[1:], spec)
        parts.append(part)
    if not rest:
        raise ValueError(f"rule {spec!r}: the ')' of {head + '('!r} is missing")
    if rest[0] != ")":
        raise ValueError(f"rule {spec!r}: expected ',' or ')' after {str(part)!r}, got {rest[0]!r}")
    return Node(head, parts=tuple(parts)), rest[1:]


def _build_wrapper(node: Node, choose: Choose | None) -> HaltingRule:
    name, parts = node.name, list(node.parts or ())
    if name in RULES or ":" in name:
        raise ValueError(f"rule {str(node)!r}: {name!r} wraps no rules; its value follows a colon")
    if name not in _WRAPPERS:
        raise _unknown(name, _WRAPPERS, str(node))
    kind: Any = _WRAPPERS[name]
    if name in ("any", "all"):
        return kind(tuple(build(part, choose) for part in parts))
    if len(parts) != kind.form.count(",") + 1 - (name == "select" and len(parts) == 2):
        raise ValueError(f"rule {str(node)!r}: the form is {kind.form}, got {len(parts)} parts")
    if name in ("recall", "particles", "abstain"):
        return kind(*(build(part, choose) for part in parts))
    if name == "select":
        return kind(build(parts[0], choose), str(parts[1]), *(_count(node, part) for part in parts[2:]))
    return kind(_count(node, parts[0]), build(parts[1], choose))


def _count(node: Node, part: Node) -> int:
    """The whole number that a part of a wrapper is."""
    try:
        return whole_number(str(part))
    except ValueError:
        given, form = shortened(str(part), 60), _WRAPPERS[node.name].form
        raise ValueError(f"rule {str(node)!r}: {given!r} is not a whole number; {form}") from None


def _load(name: str, argument: str) -> HaltingRule:
    """A rule that is kept in a file: `lsm:FILE`, `sb3:ALGO:FILE`."""
    spec = f"{name}:{argument}" if argument else name
    colons = FILES[name].count(":")
    *words, path = argument.split(":", colons)
    if name == "calm" and argument.count(":") > 1 and not Path(argument).exists():
        module, kind, path = argument.split(":", 2)
        return learned_class(name).load(path, f"{module}:{kind}")
    if len(words) != colons or not path:
        raise ValueError(f"rule {spec!r}: the form is {name}:{FILES[name]}")
    if not Path(path).exists():
        raise ValueError(f"rule {spec!r}: no file {path!r}")
    return learned_class(name).load(path, *words)


def _unknown(token: str, known: Iterable[str] = KNOWN, spec: str | None = None) -> ValueError:
    hint = did_you_mean(token.partition(":")[0], known)
    start = f"unknown rule {shortened(token, 60)!r}" + (f" in {shortened(spec, 60)!r}" if spec else "")
    last = "" if spec else ", or module:Class"
    return ValueError(f"{start}; {hint}{' ' if hint else ''}known: {', '.join(known)}{last}")
