"""tyro's boxed usage errors as one short message."""

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from typing import Any


class UsageError(Exception):
    """The command line says nothing that can be run."""


def parse(command: Any, argv: Sequence[str] | None) -> Any:
    """The command that `argv` asks for. Raises UsageError; `--help` prints and raises SystemExit."""
    import tyro

    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(
                command,
                prog="hrm-rl",
                description="Hierarchical reasoning as reinforcement learning: "
                "train, halt, evaluate.",
                args=argv,
                config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as stop:
        if not stop.code:
            print(box.getvalue(), end="", file=sys.stderr)
            raise
        raise UsageError(one_message(box.getvalue())) from None


def one_message(box: str) -> str:
    """What the box says, on one line: the complaint, the near match, and where more is said."""
    lines = box.splitlines()
    if not box.startswith("╭"):  # an output without UTF-8: the title and a rule stand on top
        lines = lines[2:]
    rows = [line.strip("│").strip() for line in lines if line[:1] not in "╭╰"]
    sections = [s.strip() for s in re.split(r"\n(?:─|-){9,}\n", "\n".join(rows))]
    complaint = " ".join(sections[0].split("\n\n")[0].split())
    complaint = _plainer(complaint.removesuffix("."))
    for section in sections[1:]:
        if section.startswith("Perhaps you meant:"):
            near = re.search(r"--[\w.-]+", section)
            if near and near[0] not in re.split(r"[\s,]+", complaint):
                complaint += f"; did you mean {near[0]}?"
        elif section.startswith("Available subcommands:"):
            complaint += "; the commands are " + " ".join(section.split(":", 1)[1].split())
    more = re.search(r"hrm-rl[a-z -]*--help", " ".join(sections[-1].split()))
    closed = complaint if complaint.endswith("?") else complaint + "."
    return f"{closed} More: {more[0]}" if more else closed


def _plainer(complaint: str) -> str:
    """tyro's most common complaints in a user's words; any other stays as it is."""
    for pattern, words in (
        (r"Unrecognized (?:or misplaced )?options: (.*)", r"unknown or misplaced: \1"),
        (
            r"Error parsing (\S+): no type matching (.*) could be instantiated from \[(.*)\]",
            r"\1 takes \2, not \3",
        ),
        (r"Error parsing (\S+): invalid literal for int\(\) .*: (.*)", r"\1 takes INT, not \2"),
        (
            r"Error parsing (\S+): Could not parse arguments \[(.*)\] into .*",
            r"\1 does not take \2",
        ),
        (r"invalid choice (.*) for argument '(\S+)'\. Expected one of \((.*)\)", _choices),
        (r"Missing value for argument '(\S+)'\. Expected 1 values", r"\1 needs a value"),
        (r"Missing value for argument '(\S+)'\. Expected (\d+) values", r"\1 needs \2 values"),
        (r"Missing from hrm-rl ([a-z-]+): (.*)", r"\1 needs \2"),
        (r"Expected one of \{(.*)\}", r"which command? Known: \1"),
    ):
        match = re.fullmatch(pattern, complaint)
        if match:
            text = words(match) if callable(words) else match.expand(words)
            text = re.sub(r"\{(\w+(?: \w+)+)\}", r"\1", text)  # a tuple's {INT INT}
            return text.replace("{None}|", "").replace(" (required)", "").removesuffix(".")
    return complaint


def _choices(match: re.Match[str]) -> str:
    accepted = sorted(set(re.findall(r"'([^']*)'", match[3])) - {"None"})
    return f"{match[2]} must be one of {', '.join(accepted)}; got {match[1]}"
