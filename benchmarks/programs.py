"""Run programs with a time limit, keeping all their output."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ran:
    """Exit code and output of a program."""

    exit: int | None
    """None if it ran out of time."""
    stdout: str
    stderr: str

    def outcome(self) -> dict[str, Any]:
        """Its exit code, or `unfinished`; on failure also the last lines of stderr."""
        if self.exit == 0:
            return {"exit": 0}
        how = {"unfinished": "out of time"} if self.exit is None else {"exit": self.exit}
        return how | {"stderr": self.stderr.strip().splitlines()[-10:]}


def run_program(
    words: Sequence[str], seconds: float, name: Path, cwd: Path, variables: Mapping[str, str], grace: float
) -> Ran:
    """Run a program for at most `seconds`, with `grace` seconds to end once it is interrupted.

    Its output goes to NAME.out and NAME.err, which survive this process. `variables` are added to the
    environment.
    """
    out, err = (name.with_name(name.name + end) for end in (".out", ".err"))
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=os.environ | variables,
            start_new_session=True,  # so that its children can be ended with it
            preexec_fn=_heed_interrupts if hasattr(os, "killpg") else None,
        )
        code = None
        try:
            code = process.wait(max(1, seconds))
        except subprocess.TimeoutExpired:
            pass
        finally:  # also if this process is interrupted
            if code is None:
                _stop(process, grace)
    return Ran(code, *(file.read_text(errors="replace") for file in (out, err)))


def _heed_interrupts() -> None:
    """Undo what `nohup` and background jobs of a script pass on: ignored interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _stop(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """End a program and its children: by an interrupt, on which pytest still reports, then by force."""
    if not hasattr(os, "killpg"):  # Windows
        process.kill()
        process.wait()
        return
    for kind in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)


def json_lines(text: str) -> list[dict[str, Any]]:
    """The lines that are JSON objects, without warnings between them."""
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
