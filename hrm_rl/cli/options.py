"""Options that several commands have, and their checks."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hrm_rl.cli.output import print_result, say

if TYPE_CHECKING:
    from hrm_rl.evaluation import Trajectories
    from hrm_rl.training.open_run import Trained


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command with a result."""

    json: bool = False
    """Print the result as one JSON object."""

    def report(self, result: dict[str, Any], text: str) -> None:
        """Print the result on stdout, as JSON or in words."""
        print_result(json.dumps(result) if self.json else text)


@dataclass(frozen=True, kw_only=True)
class Long(Command):
    """A command that shows its progress."""

    progress: bool = True
    """Hide progress, which is on stderr: a bar in a terminal, elsewhere a line a minute."""


@dataclass(frozen=True, kw_only=True)
class OnDevice(Command):
    """A command that computes."""

    device: str = "auto"
    """cpu, cuda, mps; auto takes cuda if there is one."""
    dtype: str | None = None
    """float32, bfloat16, ...: the dtype to compute in; that of training by default."""
    threads: int | None = None
    """Threads of the CPU; by default OMP_NUM_THREADS, or else the faster of PyTorch's choice and one."""


@dataclass(frozen=True, kw_only=True)
class OfRun(OnDevice):
    """A command that runs a trained model."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """An installed model (sudoku-4x4, sudoku-9x9, maze, ...), a run folder (its newest checkpoint; RUN@500 or
    RUN@best another), a folder with config.json and model.safetensors, or a Hub id, owner/name."""
    max_segments: int | None = None
    """Limit of segments; the run's halt_max_steps by default. May be larger."""

    def open(self) -> "Trained":
        from hrm_rl.training.open_run import open_trained

        return open_trained(
            self.run_folder, self.device, self.dtype, "auto" if self.threads is None else self.threads
        )


@dataclass(frozen=True, kw_only=True)
class OnPuzzles(OfRun):
    """A command that runs a trained model on many puzzles."""

    batch_size: int = 256
    """Puzzles in flight at once."""
    seed: int = 0
    """Seed of the generated puzzles."""

    def note_unread_seed(self, puzzles: Path | None) -> None:
        """Report a seed that was given and is not read, since the puzzles are those of a file or folder."""
        if self.seed and puzzles is not None:
            say(f"--seed {self.seed} changes nothing: the puzzles are those of {puzzles}")


@dataclass(frozen=True, kw_only=True)
class OnTrajectories(OnPuzzles):
    """A command that runs several trajectories of each puzzle."""

    width: int = 1
    """Trajectories of each puzzle, for rules that select among them."""
    trajectories: str | None = None
    """How they differ: start (random first states), noise:SIGMA (in the states between segments), views
    (symmetric ones of the puzzle), or several joined by +."""

    def several(self, kind: Any) -> "Trajectories":
        """The trajectories of puzzles of this kind. Raises ValueError if width and kind do not fit."""
        from hrm_rl.evaluation import Trajectories

        check_counts(self, "width")
        if (self.width > 1) != (self.trajectories is not None):
            raise ValueError(
                f"--width {self.width} needs --trajectories start, noise:0.01 or views"
                if self.width > 1
                else f"--trajectories {self.trajectories} needs --width 2 or more"
            )
        return (
            Trajectories.parse(self.trajectories, self.width, kind) if self.trajectories else Trajectories()
        )


def check_counts(command: Any, *names: str) -> None:
    """Raise ValueError for the first of these options that was given and is below 1, or a negative seed."""
    for name in names:
        value = getattr(command, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be >= 1, got {value}")
    if getattr(command, "seed", 0) < 0:
        raise ValueError(f"--seed must be an integer >= 0, got {command.seed}")
