"""Words parsed by tyro, from a command line or a config file; a mistake raises one short message."""

import dataclasses
import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

import tyro
from tyro import _errors as events  # private: pyproject.toml bounds the versions of tyro

from hrm_rl.messages import meant

# What others call an option.
_CALLED = {
    "rule": ("halting",),
    "policy": ("halting",),
    "epochs": ("max-steps",),
    "iterations": ("max-steps",),
    "checkpoint": ("init",),
    "pretrained": ("init",),
    "batch": ("batch-size",),
    "n": ("puzzles",),
}


class UsageError(ValueError):
    """Words that cannot be parsed; the message names the option and what it takes."""


def parse(kind: Any, words: Sequence[str], prog: str, **options: Any) -> Any:
    """The `kind` that these words describe; `options` go to `tyro.cli`.

    Raises UsageError for a mistake. `--help` prints and raises SystemExit.
    """

    def refuse(event: events.ParseErrorEvent) -> None:
        raise UsageError(_message(event, kind, words))

    with events.on_parse_error(refuse):
        return tyro.cli(kind, args=list(words), prog=prog, **options)


def _message(event: events.ParseErrorEvent, kind: Any, words: Sequence[str]) -> str:
    match event:
        case events.UnrecognizedArgs(tokens=tokens):
            return _unknown(tokens, kind)
        case events.MissingArgs(unrecognized_tokens=[_, *_] as tokens):
            return _unknown(tokens, kind)
        case events.MissingArgs(missing_arguments=missing):
            needed = " and ".join(_name(each.arg) for each in missing)
            return f"{event.prog.rpartition(' ')[2]} needs {needed}"
        case events.MissingSubcommand(subcommand_spec=group):
            return f"{event.prog} needs one of: {', '.join(group.parser_from_name)}"
        case events.InvalidChoice(argument=argument, value=value, choices=choices):
            accepted = ", ".join(sorted({*choices} - {"None"}))
            return f"{_name(argument)} must be one of {accepted}; got {value!r}"
        case events.BadValue(argument=argument):
            known = dict(_options(kind))
            unknown = [word for word in words if _is_unknown(word, known.values())]
            if unknown and argument.is_positional():
                return _unknown(unknown, kind)
            count = argument.lowered.nargs
            return f"{_name(argument)} needs {'a value' if count == 1 else f'{count} values'}"
        case events.InstantiationFailure(argument=argument, message=message):
            if argument is None:
                return message
            takes = str(argument.lowered.metavar).replace("{None}|", "")
            return f"{_name(argument)} takes {takes}, not {_given(argument, words)}"
        case _:
            return f"these options do not go together ({type(event).__name__})"


def _is_unknown(word: str, known: Collection[str]) -> bool:
    return word.startswith("--") and word.partition("=")[0].replace("_", "-") not in known


def _name(argument: Any) -> str:
    """An option's first spelling, or a positional argument's metavar."""
    lowered = argument.lowered
    return str(lowered.metavar if argument.is_positional() else lowered.name_or_flags[0])


def _given(argument: Any, words: Sequence[str]) -> str:
    """The words that were given for an option."""
    spellings = [flag.replace("_", "-") for flag in argument.lowered.name_or_flags]
    for i, word in enumerate(words):
        option, has_value, value = word.partition("=")
        if option.replace("_", "-") in spellings:
            count = argument.lowered.nargs if isinstance(argument.lowered.nargs, int) else 1
            return " ".join(map(repr, [value] if has_value else words[i + 1 : i + 1 + count]))
    return "what was given"


def _unknown(tokens: Sequence[str], kind: Any) -> str:
    """A message for words that no option takes, with the nearest option."""
    known = dict(_options(kind))
    misspelt = [token.partition("=")[0] for token in tokens if token.startswith("--")]
    hints = [_nearest(option.lstrip("-").replace("_", "-"), known) for option in misspelt]
    hint = next((f"; {hint}" for hint in hints if hint), "")
    return f"unknown or misplaced: {', '.join(misspelt or tokens)}{hint}"


def _nearest(option: str, known: Mapping[str, str]) -> str:
    """The question whether an option was meant, or that it is given without one."""
    if option in known and not known[option].startswith("-"):
        return f"{known[option]} is given without an option"
    options = {name: spelt for name, spelt in known.items() if spelt.startswith("-")}
    return meant([options[name] for name in nearest_option(option, options)])


def nearest_option(option: str, known: Collection[str]) -> list[str]:
    """The name `table.some-words` that was meant, if any: one with this name or these initials in another
    table, one with these words among others, one that others call so, or the most similar."""
    table, _, name = option.rpartition(".")
    words, initials = set(name.split("-")), "".join(word[:1] for word in name.split("-"))
    ways: list[Callable[[str], bool]] = [
        lambda last: last == name,
        lambda last: len(initials) > 1 and last == initials,
        lambda last: words < set(last.split("-")),
        lambda last: last in _CALLED.get(name, ()),
    ]
    for is_meant in ways:
        found = [each for each in known if is_meant(each.rpartition(".")[2])]
        if found:
            return sorted(found, key=lambda each: each.rpartition(".")[0] != table)[:1]
    return difflib.get_close_matches(option, known, n=1, cutoff=0.65)


def _options(kind: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The options of a dataclass, a TypedDict or a union of them, and how each is given; nested ones with
    their prefix."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if not _has_options(bare):
        for member in get_args(bare):
            yield from _options(member, prefix)
        return
    defaults = {f.name: f.default for f in dataclasses.fields(bare)} if dataclasses.is_dataclass(bare) else {}
    for name, hint in get_type_hints(bare, include_extras=True).items():
        marks = getattr(hint, "__metadata__", ())
        named = next((str(mark.name) for mark in marks if getattr(mark, "name", None)), name)
        flat = any(getattr(mark, "name", None) == "" for mark in marks)
        nested = list(_options(hint, prefix if flat else f"{prefix}{name}."))
        if nested or tyro.conf.Suppress in marks:
            yield from nested
            continue
        option = f"{prefix}{named}".replace("_", "-")
        if tyro.conf.Positional in marks:
            metavars = (str(mark.metavar) for mark in marks if getattr(mark, "metavar", None))
            yield option, next(metavars, named.upper())
        else:
            yield option, f"--{'no-' if defaults.get(name) is True else ''}{option}"


def _has_options(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) or is_typeddict(kind)
