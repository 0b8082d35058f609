"""Spec strings of rules: `confidence:0.9`, `recall(min(2, q))`, `lsm:FILE`, `my.module:MyRule:0.9`.

    rule = NAME | NAME:VALUE | KIND:FILE | sb3:ALGO:FILE | module:Class | module:Class:VALUE
         | WRAPPER(part, ...)

Nested as deep as one likes; spaces around commas and parentheses do not count. Names of files hold no
comma and no parenthesis. A value of `auto` is chosen on validation puzzles (tuning.py).
"""

import difflib
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hrm_rl.halting.rules import RULES, HaltingRule
from hrm_rl.halting.rules.combine import COMBINATORS, combine
from hrm_rl.halting.rules.custom import import_rule

# Where rules that are kept in files are loaded; by string, since some live on floors above.
LOADERS = {
    "lsm": "hrm_rl.halting.fit.linear:load_fitted",
    "voc": "hrm_rl.halting.fit.linear:load_fitted",
    "calm": "hrm_rl.halting.fit.linear:load_fitted",
    "pqn": "hrm_rl.halting.fit.network:load_pqn",
    "sb3": "hrm_rl.agents.sb3.rule:load_rule",
}
KNOWN = (*RULES, *LOADERS, *COMBINATORS)


@dataclass(frozen=True)
class Node:
    """One rule of a spec, taken apart but not yet made."""

    name: str
    argument: str = ""
    """What follows the colon."""
    parts: "tuple[Node, ...] | None" = None
    """What stands between its parentheses; None where there are none."""

    @property
    def is_auto(self) -> bool:
        """Whether this rule itself is to be chosen on validation puzzles."""
        if self.name == "calm" and self.parts is not None:
            return True
        before, _, last = self.argument.rpartition(":")
        return last == "auto" and (self.name in KNOWN or (self.is_own and bool(before)))

    @property
    def is_own(self) -> bool:
        """Whether it has the form of a rule of one's own, `module:Class`."""
        words = self.name.lstrip(".").split(".")
        named = bool(self.argument) and all(word.isidentifier() for word in words)
        return self.parts is None and self.name not in KNOWN and named

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
    """A spec taken apart. Raises ValueError where it does not read."""
    tokens = [token.strip() for token in re.findall(r"[(),]|[^(),]+", spec)]
    tokens = [token for token in tokens if token]
    if not tokens:
        raise _unknown(spec.strip())
    node, rest = _read(tokens, spec)
    if rest:
        raise ValueError(f"rule {spec!r}: unexpected {rest[0]!r} after {str(node)!r}")
    return node


def build(node: Node, choose: Callable[[Node], HaltingRule] | None = None) -> HaltingRule:
    """The rule of a spec taken apart; `choose` makes the rules that say `auto`."""
    if node.is_auto:
        if choose is None:
            raise ValueError(
                f"rule {str(node)!r} is to be chosen on validation puzzles, as `hrm-rl compare` does; "
                "give a value or a file here"
            )
        return choose(node)
    if node.parts is not None:
        return _build_wrapper(node, choose)
    name, argument = node.name, node.argument
    if name in RULES:
        return _build_plain(name, argument)
    if name in LOADERS:
        return _load(name, argument)
    if name in COMBINATORS:
        raise ValueError(f"rule {str(node)!r}: {name!r} wraps rules, as in {COMBINATORS[name]}")
    if node.is_own:
        return import_rule(name, argument, KNOWN)
    raise _unknown(str(node))


def _read(tokens: list[str], spec: str) -> tuple[Node, list[str]]:
    """The rule at the head of the tokens, and the tokens after it."""
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
        part, rest = _read(rest[1:], spec)
        parts.append(part)
    if not rest:
        raise ValueError(f"rule {spec!r}: the ')' of {head + '('!r} is missing")
    if rest[0] != ")":
        raise ValueError(f"rule {spec!r}: expected ',' or ')' after {str(part)!r}, got {rest[0]!r}")
    return Node(head, parts=tuple(parts)), rest[1:]


def _build_wrapper(node: Node, choose: Callable[[Node], HaltingRule] | None) -> HaltingRule:
    assert node.parts is not None
    name = node.name
    if name in RULES or ":" in name:
        raise ValueError(f"rule {str(node)!r}: {name!r} wraps no rules; its value follows a colon")
    if name not in COMBINATORS:
        raise _unknown(name, tuple(COMBINATORS), str(node))
    parts: list[Any] = list(node.parts)
    form = COMBINATORS[name]
    if name in ("recall", "min") and len(parts) != (1 if name == "recall" else 2):
        raise ValueError(f"rule {str(node)!r}: the form is {form}, got {len(parts)} parts")
    if name == "min":
        if not re.fullmatch(r"[+-]?\d+", str(parts[0])):
            raise ValueError(f"rule {str(node)!r}: {str(parts[0])!r} is not a whole number; {form}")
        return combine(name, (int(str(parts[0])), build(parts[1], choose)))
    return combine(name, tuple(build(part, choose) for part in parts))


def _build_plain(name: str, argument: str) -> HaltingRule:
    kind = RULES[name]
    spec = f"{name}:{argument}" if argument else name
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


def _load(kind: str, argument: str) -> HaltingRule:
    """A rule that is kept in a file: `lsm:FILE`, `sb3:ALGO:FILE`."""
    spec = f"{kind}:{argument}" if argument else kind
    algorithm, _, path = argument.partition(":") if kind == "sb3" else ("", "", argument)
    if not path:
        raise ValueError(
            f"rule {spec!r}: the form is {kind}:{'ALGO:' if kind == 'sb3' else ''}FILE"
        )
    if not Path(path).exists():
        raise ValueError(f"rule {spec!r}: no file {path!r}")
    module, _, name = LOADERS[kind].partition(":")
    load = getattr(importlib.import_module(module), name)
    if kind in ("lsm", "voc", "calm"):
        return load(path, kind)
    return load(algorithm, path) if kind == "sb3" else load(path)


def _unknown(token: str, known: tuple[str, ...] = KNOWN, spec: str | None = None) -> ValueError:
    name = token.partition(":")[0]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    where = f" in {spec!r}" if spec else ""
    last = "" if spec else ", or module:Class"
    return ValueError(f"unknown rule {token!r}{where}; {hint}known: {', '.join(known)}{last}")
