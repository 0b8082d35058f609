"""`hrm-rl depth`."""

import dataclasses
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_rl.cli.options import Long, OnPuzzles, check_counts
from hrm_rl.cli.output import percent, say, show_log, table_text


@dataclass(frozen=True, kw_only=True)
class Depth(OnPuzzles, Long):
    """Run a model far beyond the limit it was trained with: accuracy, and whether its state settles.

    Every puzzle runs to 1, 2, 4, ... times the limit (--max-segments). If the run keeps an average of its
    weights, the weights without it are judged too. Writes depth.json and a figure into --out.
    """

    out: Path
    """Folder for the report."""
    times: int = 64
    """The largest multiple of the limit, rounded down to a power of 2."""
    puzzles: int = 200
    """Test puzzles."""
    tolerance: float = 0.01
    """A row has settled if no relative change of z_H exceeds this in the last quarter of its segments."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating) or dataset folder, instead of generated ones."""

    def run(self) -> None:
        from hrm_rl.analysis.depth import depth_figure, depth_rows
        from hrm_rl.evaluation import record
        from hrm_rl.files import check_replaces, write_text
        from hrm_rl.model.config import MOST_SEGMENTS
        from hrm_rl.training.open_run import without_average
        from hrm_rl.training.pools import evaluation_pool

        check_counts(self, "max_segments", "times", "puzzles", "batch_size")
        if not 0 < self.tolerance < float("inf"):
            raise ValueError(f"--tolerance must be > 0, got {self.tolerance:g}")
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f"--out {self.out} is a file; name a folder")
        file = self.out / "depth.json"
        check_replaces(file, "a report of hrm-rl depth", lambda path: b'"tolerance"' in path.read_bytes())
        show_log()
        trained = self.open()
        limit = self.max_segments or trained.model.config.halt_max_steps
        deepest = limit << self.times.bit_length() - 1
        if deepest > MOST_SEGMENTS:
            fit = f"at most {MOST_SEGMENTS:,} are possible; give --times {MOST_SEGMENTS // limit}"
            raise ValueError(f"--times {self.times} of {limit} segments are {deepest:,}, but {fit}")
        pool = evaluation_pool(trained, "test", data=self.data, puzzles=self.puzzles, seed=self.seed)
        self.note_unread_seed(self.data or trained.learned_folder())
        models = {"weights": trained.model}
        if (last := without_average(trained)) is not None:
            models = {"average": trained.model, "last weights": last}
        found: dict[str, list[dict[str, Any]]] = {}
        for name, model in models.items():
            say(f"{name}: {len(pool):,} puzzles, {deepest:,} segments each")
            bank = record(
                model,
                pool,
                deepest,
                batch_size=self.batch_size,
                validator=trained.validator(),
                progress=self.progress and not self.json,
            )
            found[name] = [dataclasses.asdict(row) for row in depth_rows(bank, limit, self.tolerance)]
        result: dict[str, Any] = {
            "run": str(self.run_folder),
            "step": trained.step,
            "limit": limit,
            "tolerance": self.tolerance,
            "puzzles": len(pool),
            "models": found,
            "files": [str(file)],
        }
        self.out.mkdir(parents=True, exist_ok=True)
        if importlib.util.find_spec("matplotlib") is not None:
            result["files"].append(str(depth_figure(found, self.out / "depth.png")))
        write_text(file, json.dumps(result, indent=1) + "\n")
        self.report(result, _text(result))


def _text(result: dict[str, Any]) -> str:
    shares = ("exact_accuracy", "gained", "lost", "settled", "moving", "drifting")
    header = ["", "depth", "segments", "solved", *shares[1:], "residual"]
    rows = [
        [name, f"{row['multiple']}x", str(row["segments"]), *(_share(row[kind]) for kind in shares)]
        + ["-" if row["residual"] is None else f"{row['residual']:.1e}"]
        for name, depths in result["models"].items()
        for row in depths
    ]
    title = f"{result['puzzles']:,} test puzzles; the limit in training is {result['limit']} segments"
    return table_text(title, header, rows) + f"\nWritten: {' '.join(result['files'])}"


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)
