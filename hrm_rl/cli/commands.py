"""The commands by name, each loaded when it is called."""

import functools
import operator
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import tyro

from hrm_rl.messages import did_you_mean
from hrm_rl.parsing import UsageError, parse

COMMANDS = {
    "train": "train:Train",
    "eval": "evaluate:Eval",
    "trace": "trace:Trace",
    "compare": "compare:Compare",
    "solve": "solve:Solve",
    "puzzles": "puzzles:Puzzles",
    "import-reference": "import_reference:ImportReference",
    "push": "push:Push",
    "quickstart": "quickstart:Quickstart",
    "bench": "bench:Bench",
}
_CONFIG = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff)
_ABOUT = "Hierarchical reasoning as reinforcement learning: train, halt, evaluate."


def parse_command(words: Sequence[str]) -> Any:
    """The command that a command line calls, with its options.

    Raises UsageError for a mistake. `--help` prints and raises SystemExit.
    """
    if words and words[0] in COMMANDS:
        name, *rest = words
        try:
            return parse(_load(name, called=True), rest, prog=f"hrm-rl {name}", config=_CONFIG)
        except UsageError as error:
            raise UsageError(f"{error} (more: hrm-rl {name} --help)") from None
    if not words:
        raise UsageError(f"which command? Known: {', '.join(COMMANDS)}")
    if not words[0].startswith("-"):
        hint = did_you_mean(words[0], COMMANDS)
        known = f"the commands are {', '.join(COMMANDS)}"
        raise UsageError(f"unknown command {words[0]!r}; {hint and hint + ' '}{known}")
    every = [Annotated[_load(name), tyro.conf.subcommand(name)] for name in COMMANDS]
    union = functools.reduce(operator.or_, every)
    return parse(union, words, prog="hrm-rl", description=_ABOUT, config=_CONFIG)


def _load(name: str, called: bool = False) -> Any:
    """A command's class; `train`, when called, has an option for every setting, which loads torch."""
    module_name, _, class_name = COMMANDS[name].partition(":")
    module = import_module(f"hrm_rl.cli.{module_name}")
    if called and name == "train":
        return module.train_with_settings()
    return getattr(module, class_name)
