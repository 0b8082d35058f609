"""`hrm-rl compare`."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hrm_rl.analysis.compare.settings import DEFAULT_COSTS, DEFAULT_POLICIES
from hrm_rl.cli.options import Device, Dtype, Json, check_counts
from hrm_rl.cli.output import print_json, show_log


@dataclass(frozen=True)
class Compare:
    """Compare stopping rules: accuracy against segments, with intervals, on the same puzzles.

    Validation puzzles choose thresholds, test puzzles judge. Several runs (training seeds) are pooled.
    Writes compare.json, compare.md, figures, recordings of runs and learned rules into --out.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN|BANK ...")]
    """Runs (folder or Hub id), recorded first, or banks made by `hrm-rl trace`."""
    out: Path
    """Folder for the report. A run's recording is kept there and used again."""
    policies: tuple[str, ...] = DEFAULT_POLICIES
    """Rules, such as q, fixed:4, recall(q), lsm:FILE, module:Class. NAME:auto is chosen on validation
    puzzles: fixed confidence margin entropy stable residual kl q-halt lsm voc pqn sb3:dqn ...; LIMIT is
    the number of segments."""
    puzzles: int | None = None
    """Puzzles of each split; by default 1000 of a run, all of a bank."""
    max_segments: int | None = None
    """Limit of segments; by default a run's halt_max_steps, all of a bank."""
    cost: float = 0.01
    """Price of a segment, in correct answers, at which rules are chosen and tested."""
    costs: tuple[float, ...] = DEFAULT_COSTS
    """Prices at which the adaptive gain is given, each with rules chosen at that price."""
    draws: int = 10_000
    """Bootstrap draws."""
    seed: int = 0
    """Seed of a run's generated puzzles, of the bootstrap, and of rules that are learned."""
    baseline: str = "q"
    """The policy that the others are tested against."""
    allow_mismatch: bool = False
    """Judge learned rules given as files on other models than they were fitted on."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating) or dataset folder for runs. By default generated
    puzzles, or, for custom puzzles, the folder that each run learned from."""
    device: Device = "auto"
    dtype: Dtype = None
    json: Json = False

    def run(self) -> None:
        from hrm_rl.training.comparison import compare

        check_counts(self, "puzzles", "max_segments")
        show_log()
        options = {name: value for name, value in vars(self).items() if name not in _OWN}
        found = compare(self.runs, folder=self.out, progress=not self.json, **options)
        report = found.save(self.out)
        if self.json:
            print_json(report)
        else:
            _show(report)


_OWN = ("runs", "out", "json")
"""Options that are not arguments of `hrm_rl.compare`."""


def _show(report: dict[str, Any]) -> None:
    """Print the table, its legend, the rules as chosen, and the files written."""
    from hrm_rl.analysis.compare.table import legend, resolved, text

    print(
        text(report, shutil.get_terminal_size().columns if sys.stdout.isatty() else None),
        end="\n\n",
    )
    print(*legend(report), sep="\n", end="\n\n")
    width = max((len(name) for name, _ in resolved(report)), default=0)
    for name, spec in resolved(report):
        print(f"{name:{width}}  {spec}")
    files = report["files"]
    print(f"\nWritten: {' '.join([files['markdown'], files['json'], *files['figures']])}")
