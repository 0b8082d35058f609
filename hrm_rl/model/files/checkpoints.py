"""The checkpoints of a run folder, and the names that choose one: RUN (the newest), RUN@500, RUN@best."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hrm_rl.files import open_text
from hrm_rl.stored.text import parse_json

_log = logging.getLogger(__name__)
Loaded = TypeVar("Loaded")

METRICS_FILE = "metrics.jsonl"
BEST = "best"
_LONGEST_LINE = 1 << 20  # characters of a line of the log


def split_name(source: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """A source's path, and what follows its @: a checkpoint (a step or `best`), or a revision on the Hub.

    A path that exists is not divided.
    """
    path = Path(source)
    name, at, which = path.name.rpartition("@")
    if not at or path.exists():
        return path, None
    return (path.with_name(name) if name else path.parent), which


def list_checkpoints(run: Path) -> list[Path]:
    """The whole checkpoints of a run folder, `checkpoints/step-NUMBER`, oldest first."""
    found = [p for p in (run / "checkpoints").glob("step-*") if is_checkpoint_name(p.name)]
    return sorted(found, key=step_of)


def newest_whole(run: Path, load: Callable[[Path], Loaded]) -> Loaded:
    """What `load` makes of the newest checkpoint that it can read; a warning names a newer one and its fault.

    Raises FileNotFoundError if it has none, and the newest one's ValueError or OSError if none can
    be read.
    """
    faults: list[ValueError | OSError] = []
    for checkpoint in reversed(list_checkpoints(run)):
        try:
            loaded = load(checkpoint)
        except (ValueError, OSError) as error:
            faults.append(error)
            continue
        for fault in faults:
            _log.warning("%s. The newest whole checkpoint is %s.", fault, checkpoint.name)
        return loaded
    raise (
        faults[0]
        if faults
        else FileNotFoundError(
            f"{run} has no checkpoint yet; hrm-rl train --resume --out {run} starts it from the beginning"
        )
    )


def is_checkpoint_name(name: str) -> bool:
    """Whether a folder of this name is a checkpoint."""
    return name.startswith("step-") and name[5:].isascii() and name[5:].isdigit()


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint's folder."""
    return int(checkpoint.name[5:])


def checkpoint_name(folder: Path) -> str | None:
    """The name RUN@STEP of a checkpoint's folder in a run; None for any other folder."""
    if folder.parent.name != "checkpoints" or not is_checkpoint_name(folder.name):
        return None
    return f"{folder.parent.parent}@{step_of(folder)}"


def find_checkpoint(run: Path, which: str) -> Path:
    """The checkpoint of a step, or the `best`. Raises FileNotFoundError naming those that there are."""
    found = {str(step_of(path)): path for path in list_checkpoints(run)}
    if not found:
        raise FileNotFoundError(f"{run}@{which}: {run} has no checkpoint")
    best = best_checkpoint(run)
    if best is not None:
        found[BEST] = best
    elif which == BEST:
        raise FileNotFoundError(
            f"{run}@{which}: no validation of its checkpoints is logged in {run / METRICS_FILE}; "
            f"name a step: {', '.join(found)}"
        )
    which = which.removeprefix("step-").lstrip("0") or which
    if which not in found:
        raise FileNotFoundError(f"{run} has no checkpoint {which!r}; it has {', '.join(found)}")
    return found[which]


def best_checkpoint(run: Path) -> Path | None:
    """The checkpoint with the best logged validation: most puzzles exact, then most cells right; of equals
    the newest. None if no validation of a checkpoint is logged."""
    left = {step_of(path): path for path in list_checkpoints(run)}
    names = ("eval/exact_accuracy", "eval/cell_accuracy", "step")
    scores = [tuple(line.get(name) for name in names) for line in read_metrics(run)]
    known = [score for score in scores if all(is_number(value) for value in score)]
    last: Any = max((score for score in known if score[-1] in left), default=None)
    return None if last is None else left[last[-1]]


def is_number(value: Any) -> bool:
    """Whether a value of the log is a finite number."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, without damaged ones and one that a killed process left incomplete."""
    file = run / METRICS_FILE
    if not file.is_file():
        return []
    found = []
    with open_text(file) as lines:
        while line := lines.readline(_LONGEST_LINE):
            with contextlib.suppress(ValueError):
                if line.endswith("\n"):
                    found.append(parse_json(line))
    return [line for line in found if isinstance(line, dict) and isinstance(line.get("step"), int)]
