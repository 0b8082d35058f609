"""`hrm-rl trace`."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from hrm_rl.cli.output import Trained, open_trained, percent, print_json, say

if TYPE_CHECKING:
    from hrm_rl.halting import TraceBank
    from hrm_rl.puzzles.pool import PuzzleArrays

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Trace:
    """Record what a trained model does, segment by segment, as one file: a trace bank.

    Every puzzle runs to the limit. Any rule for stopping can then be judged on the bank, exactly and
    at once (`hrm-rl compare`), and learned from it. Thresholds are chosen on the validation puzzles,
    results reported on the test puzzles; the two share no puzzle, up to symmetry.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """A run folder, a folder with config.json and model.safetensors, or a Hub id, owner/name."""
    out: Path
    """The file to write, such as bank.safetensors; an earlier one is replaced."""
    puzzles: int | None = None
    """How many of each split: 1000 generated ones, or all of the file or folder, by default."""
    max_segments: int | None = None
    """Segments of every puzzle; the run's halt_max_steps by default. May be larger."""
    splits: tuple[Split, ...] = ("validation", "test")
    """Which classes of puzzles: train, validation, test."""
    seed: int = 0
    """Which generated puzzles."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating) instead of generated ones; each belongs to the
    split of its class. Or a dataset folder: test is its test/, the others divide its train/. Of family
    own the folder that the run learned from, by default."""
    pooled: bool = False
    """Keep the mean of z_H over positions too, for rules that look at it."""
    drafts: bool = False
    """Keep every draft too."""
    batch_size: int = 256
    """Puzzles thought about side by side."""
    device: str = "auto"
    """cpu, cuda, mps; auto takes cuda where there is one."""
    dtype: str | None = None
    """float32, bfloat16, ...: what to compute in; by default what it was trained in."""
    json: bool = False
    """Print the result as one JSON object."""

    def run(self) -> None:
        self._check()
        trained = open_trained(self.run_folder, self.device, self.dtype)
        pools = self.pools(trained)
        start = time.perf_counter()
        bank = self.record(trained, pools)
        bank.save(self.out)
        seconds = time.perf_counter() - start
        last = {name: float(bank.in_split(name).correct[:, -1].mean()) for name in bank.counts()}
        if self.json:
            header = bank.header
            print_json(
                {
                    "bank": str(self.out),
                    "run": str(self.run_folder),
                    "puzzles": bank.counts(),
                    "max_segments": bank.num_segments,
                    "exact_accuracy": last,
                    "model_hash": header.model_hash,
                    "puzzles_hash": header.puzzles_hash,
                    "seconds_per_segment": dict(header.seconds_per_segment),
                    "bytes": self.out.stat().st_size,
                    "seconds": seconds,
                }
            )
            return
        parts = ", ".join(
            f"{count} {name} ({percent(last[name])} right at the limit)"
            for name, count in bank.counts().items()
        )
        size = self.out.stat().st_size / 1e6
        print(
            f"{self.out}: {parts}; {bank.num_segments} segments each, {size:.1f} MB, {seconds:.0f} s."
        )

    def pools(self, trained: Trained) -> dict[str, "PuzzleArrays"]:
        """The puzzles to record, by split."""
        data = self.data or trained.own_folder(self.run_folder)
        return self._generated(trained) if data is None else self._stored(trained, data)

    def record(self, trained: Trained, pools: dict[str, "PuzzleArrays"]) -> "TraceBank":
        """What the model does on these puzzles, with segments timed."""
        from hrm_rl.evaluation.evaluate import check_fits
        from hrm_rl.evaluation.record import record, segment_seconds
        from hrm_rl.halting import BankHeader
        from hrm_rl.puzzles.pool import concatenate

        model, puzzles = trained.model, concatenate(list(pools.values()))
        check_fits(model.config, puzzles)
        limit = self.max_segments or model.config.halt_max_steps
        say(f"Recording {len(puzzles):,} puzzles, {limit} segments each.")
        rows = min(self.batch_size, len(puzzles))
        batch_sizes = {1, min(64, rows), rows}
        return record(
            model,
            puzzles,
            limit,
            split=[name for name, pool in pools.items() for _ in range(len(pool))],
            batch_size=self.batch_size,
            validator=trained.kind.validator(model.device),
            pooled=self.pooled,
            drafts=self.drafts,
            header=BankHeader(
                trained_rule=trained.rule,
                preset=trained.preset.name if trained.preset else None,
                step=trained.step,
                seconds_per_segment=segment_seconds(model, puzzles, batch_sizes),
            ),
            progress=not self.json,
        )

    def _check(self) -> None:
        for name in ("puzzles", "max_segments", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be >= 1, got {value}")
        if not self.splits or len(set(self.splits)) < len(self.splits):
            given = " ".join(self.splits) or "none"
            raise ValueError(f"--splits names one or more splits, each once; got {given}")
        if self.out.is_dir():
            raise ValueError(f"--out {self.out} is a folder; name the file to write")
        if not self.out.parent.is_dir():
            raise ValueError(f"--out {self.out}: there is no folder {self.out.parent}")

    def _generated(self, trained: Trained) -> dict[str, "PuzzleArrays"]:
        """Puzzles of the run's kind by split, rated and named after their kind."""
        from hrm_rl.training.data import generated_puzzles

        count = self.puzzles or 1000
        pools: dict[str, PuzzleArrays] = {}
        for split in self.splits:
            pool = generated_puzzles(trained.kind, split, count, self.seed, rate=True)
            name = trained.kind.source_name(pool)
            pools[split] = dataclasses.replace(pool, source=(name,) * count)
        return pools

    def _stored(self, trained: Trained, data: Path) -> dict[str, "PuzzleArrays"]:
        """The file's or folder's puzzles by split."""
        from hrm_rl.training.data.puzzle_files import open_stored

        stored = open_stored(data, trained.kind)
        rows = {split: stored.rows(split)[: self.puzzles] for split in self.splits}
        if not any(len(found) for found in rows.values()):
            raise ValueError(
                f"{data} has no puzzle of a class for {' or '.join(self.splits)} "
                f"among its {len(stored)}"
            )
        return {split: stored.take(split, found) for split, found in rows.items()}
