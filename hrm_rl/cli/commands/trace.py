"""`hrm-rl trace`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_rl.cli.options import Long, OnTrajectories, check_counts
from hrm_rl.cli.output import percent, show_log
from hrm_rl.puzzles.base.splits import Split

if TYPE_CHECKING:
    from hrm_rl.halting import TraceBank


@dataclass(frozen=True, kw_only=True)
class Trace(OnTrajectories, Long):
    """Record a trained model, segment by segment, as one file: a trace bank.

    Every puzzle runs to the limit. Any stopping rule can then be evaluated on the bank, exactly and
    at once (`hrm-rl compare`), and learned from it. Thresholds are chosen on the validation puzzles,
    results reported on the test puzzles; the two share no puzzle, up to symmetry.
    """

    out: Path
    """The file to write, such as bank.safetensors; an earlier one is replaced."""
    puzzles: int | None = None
    """Puzzles of each split: 1000 generated ones, or all of the file or folder, by default."""
    splits: tuple[Split, ...] = ("validation", "test")
    """Classes of puzzles: train, validation, test."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating) instead of generated ones; each belongs to the
    split of its class. Or a dataset folder: test is its test/, the others divide its train/. For custom
    puzzles the folder that the run learned from, by default."""
    pooled: bool = False
    """Also keep the mean of z_H over positions, for rules that use it."""
    drafts: bool = False
    """Also keep every draft."""

    def run(self) -> None:
        from hrm_rl.distributed.ranks import current
        from hrm_rl.training.open_run import record_run
        from hrm_rl.training.pools import pools

        self._check()
        show_log()
        trained = self.open()
        several = self.several(trained.kind)
        chosen = pools(trained, self.splits, data=self.data, puzzles=self.puzzles, seed=self.seed)
        self.note_unread_seed(self.data or trained.learned_folder())
        start = time.perf_counter()
        bank = record_run(
            trained,
            chosen,
            self.max_segments,
            batch_size=self.batch_size,
            pooled=self.pooled,
            drafts=self.drafts,
            trajectories=several,
            progress=self.progress and not self.json,
        )
        if not current().first:
            return
        bank.save(self.out)
        result = self._result(bank) | {"seconds": time.perf_counter() - start}
        self.report(result, _text(result))

    def _check(self) -> None:
        from hrm_rl.halting.bank.file import check_bank_path

        check_counts(self, "puzzles", "max_segments", "batch_size")
        if not self.splits or len(set(self.splits)) < len(self.splits):
            given = " ".join(self.splits) or "none"
            raise ValueError(f"--splits names one or more splits, each once; got {given}")
        check_bank_path(self.out)

    def _result(self, bank: "TraceBank") -> dict[str, Any]:
        last = {name: float(bank.in_split(name).correct[:, -1].mean()) for name in bank.counts()}
        return {
            "bank": str(self.out),
            "run": str(self.run_folder),
            "puzzles": bank.counts(),
            "max_segments": bank.num_segments,
            "width": bank.width,
            "exact_accuracy": last,
            "learned": {name: self._apart(bank.in_split(name)) for name in bank.counts()},
            "model_hash": bank.header.model_hash,
            "puzzles_hash": bank.header.puzzles_hash,
            "seconds_per_segment": dict(bank.header.seconds_per_segment),
            "cpu_share": bank.header.cpu_share,
            "bytes": self.out.stat().st_size,
        }

    def _apart(self, part: "TraceBank") -> dict[str, Any]:
        from hrm_rl.training.data.learned import scores_apart

        return scores_apart(part.correct[:, -1], part.learned)


def _text(result: dict[str, Any]) -> str:
    from hrm_rl.training.data.learned import told_apart

    apart = [(name, told_apart(figures)) for name, figures in result["learned"].items()]
    parts = ", ".join(
        f"{count} {name} ({percent(result['exact_accuracy'][name])} correct at the limit)"
        for name, count in result["puzzles"].items()
    )
    width = f"{result['width']} x " if result["width"] > 1 else ""
    return (
        f"{result['bank']}: {parts}; {width}{result['max_segments']} segments each, "
        f"{result['bytes'] / 1e6:.1f} MB, {result['seconds']:.0f} s."
        + "".join(f"\n{name}: {note}" for name, note in apart if note)
    )
