"""How runs are recorded for a report. Loads no torch, so the command line can show it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Recording:
    """How runs are recorded for a report."""

    puzzles: int = 300
    """Puzzles of each split, validation and test, that a run is recorded on."""
    max_segments: int | None = None
    """Segments to record a run for, or to show of a bank; by default the run's limit, or all of the bank."""
    data: Path | None = None
    """CSV of puzzles or dataset folder for runs; by default generated puzzles."""
    seed: int = 0
    """Seed of the generated puzzles, and of rules that are learned."""
    device: str = "auto"
    """Device that runs are recorded on: cpu, cuda, mps; auto takes cuda if there is one."""
