"""The commands by name, each loaded when it is called."""

import functools
import operator
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import tyro

from hrm_rl import __version__
from hrm_rl.cli.output import print_result
from hrm_rl.messages import did_you_mean
from hrm_rl.parsing import UsageError, parse

COMMANDS = {
    "train": "train:Train",
    "sweep": "sweep:Sweep",
    "eval": "evaluate:Eval",
    "trace": "trace:Trace",
    "compare": "compare:Compare",
    "depth": "depth:Depth",
    "report": "report:Report",
    "solve": "solve:Solve",
    "watch": "watch:Watch",
    "puzzles": "puzzles:Puzzles",
    "import-reference": "exchange:ImportReference",
    "push": "exchange:Push",
    "export": "exchange:Export",
    "quickstart": "quickstart:Quickstart",
    "bench": "bench:Bench",
    "doctor": "doctor:Doctor",
}
_CONFIG = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff)
_ABOUT = "Hierarchical reasoning as reinforcement learning: train, halt, evaluate (--version: of hrm_rl)."


class Version:
    """`hrm-rl --version`."""

    def run(self) -> None:
        print_result(f"hrm_rl {__version__}")


def parse_command(words: Sequence[str]) -> Any:
    """The command that a command line calls, with its options.

    Raises UsageError for a mistake. `--help` prints and raises SystemExit.
    """
    if words and words[0] in COMMANDS:
        kind, name, options = _called(*words)
        try:
            return parse(kind, options, prog=f"hrm-rl {name}", config=_CONFIG)
        except UsageError as error:
            raise UsageError(f"{error} (more: hrm-rl {name} --help)") from None
    if not words:
        raise UsageError(f"which command? Known: {', '.join(COMMANDS)}")
    if words[0] == "--version":
        return Version()
    if not words[0].startswith("-"):
        hint = did_you_mean(words[0], COMMANDS)
        known = f"the commands are {', '.join(COMMANDS)}"
        raise UsageError(f"unknown command {words[0]!r}; {hint and hint + ' '}{known}")
    every = [Annotated[_load(name), tyro.conf.subcommand(name)] for name in COMMANDS]
    union = functools.reduce(operator.or_, every)
    return parse(union, words, prog="hrm-rl", description=_ABOUT, config=_CONFIG)


def _called(name: str, *words: str) -> tuple[Any, str, Sequence[str]]:
    """A command's class with all its options, its full name, and the words that are left.

    The options of `train` load torch, and the families of `puzzles` load numba.
    """
    if name == "train":
        return import_module("hrm_rl.cli.commands.train").train_with_settings(), name, words
    if name == "puzzles":
        puzzles = import_module("hrm_rl.cli.commands.puzzles")
        if words and not words[0].startswith("-"):
            return puzzles.family_command(words[0]), f"{name} {words[0]}", words[1:]
        return puzzles.puzzles_command(), name, words
    return _load(name), name, words


def _load(name: str) -> Any:
    module_name, _, class_name = COMMANDS[name].partition(":")
    return getattr(import_module(f"hrm_rl.cli.commands.{module_name}"), class_name)
