"""`hrm-rl eval`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hrm_rl.cli.output import (
    Trained,
    open_trained,
    percent,
    print_json,
    refuse_graphs_without_gpu,
)

if TYPE_CHECKING:
    from hrm_rl.halting import TraceBank
    from hrm_rl.puzzles.pool import PuzzleArrays

_SPLIT = "--split goes with --bank, a dataset folder (--data FOLDER) or a run that learned from one"


@dataclass(frozen=True)
class Eval:
    """Answer puzzles, stopping by a rule, and count how many are right and how long it thought.

    Every puzzle is answered once. A row that stops keeps its draft and hands its place to the next
    puzzle, so stopping early saves time in proportion. With --bank the puzzles are a trace bank's, and
    what happens is compared with what the bank says, puzzle by puzzle.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """A run folder, a folder with config.json and model.safetensors, or a Hub id, owner/name."""
    halting: str | None = None
    """Rule for stopping: q (the paper), q-halt:0, fixed:4, confidence:0.9, margin:0.5, entropy:0.1,
    stable:2, residual:0.01, kl:5e-4, random:0.2, recall(q), min(2, q), any(q, stable:2), or
    module:Class. The run's own rule by default."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating), or a dataset folder, whose test/ is asked. By
    default generated test puzzles, or, of family own, the folder that the run learned from."""
    bank: Path | None = None
    """A trace bank of this run (`hrm-rl trace`), whose puzzles to answer and outcomes to compare."""
    split: Literal["train", "validation", "test"] | None = None
    """Of a bank, the puzzles of this split only; of a dataset folder, test by default."""
    allow_mismatch: bool = False
    """Take a bank that was recorded from another model, or a rule fitted for one, all the same."""
    puzzles: int | None = None
    """How many: 1000 generated ones, or all of the file, folder or bank, by default."""
    seed: int = 0
    """Which generated puzzles."""
    max_segments: int | None = None
    """Limit; the run's halt_max_steps by default. May be larger."""
    batch_size: int = 256
    """Puzzles thought about side by side."""
    speedup: bool = False
    """Also time the rule against running every puzzle to the limit, three times each by turns."""
    device: str = "auto"
    """cpu, cuda, mps; auto takes cuda where there is one."""
    dtype: str | None = None
    """float32, bfloat16, ...: what to compute in; by default what it was trained in."""
    graphs: bool = False
    """Replay each segment as a CUDA graph (a GPU only)."""
    json: bool = False
    """Print the result as one JSON object."""

    def run(self) -> None:
        from hrm_rl.evaluation.confirm import check_bank, measure_speedup
        from hrm_rl.evaluation.evaluate import evaluate
        from hrm_rl.halting import parse_rule
        from hrm_rl.halting.bank.replay import replay
        from hrm_rl.halting.fit.provenance import check_may_judge, is_fitted
        from hrm_rl.model.files.fingerprint import model_hash
        from hrm_rl.training.machine.compute import pick_device

        self._check()
        if self.graphs:
            refuse_graphs_without_gpu(pick_device(self.device))
        if not is_fitted(parse_rule(self.halting or "q")) and self.allow_mismatch and not self.bank:
            raise ValueError("--allow-mismatch goes with --bank, or with a rule that was fitted")
        bank = self._bank()
        trained = open_trained(self.run_folder, self.device, self.dtype)
        model = trained.model
        name = self.halting or trained.rule
        rule = parse_rule(name)
        limit = self.max_segments or model.config.halt_max_steps
        options: dict[str, Any] = {"batch_size": self.batch_size, "graphs": self.graphs}
        data = self.data
        if bank is None:
            data = data or trained.own_folder(self.run_folder)
            puzzles, replayed = self._puzzles(trained, data), None
            check_may_judge(
                rule, model_hash(model), puzzles.inputs, puzzles.labels, self.allow_mismatch
            )
        else:
            check_bank(model, bank, rule, allow_mismatch=self.allow_mismatch)
            if self.max_segments is None:
                limit = min(limit, bank.num_segments)
            replayed = replay(bank, rule, max_segments=limit)
            puzzles, options["puzzle_keys"] = bank.puzzles, bank.puzzle_key
        options["max_segments"] = limit
        validator = trained.kind.validator(model.device)
        found = evaluate(model, puzzles, rule, validator=validator, **options)
        result: dict[str, Any] = found.summary()
        if replayed is not None:
            result["agree_segments"] = float((found.segments == replayed.stopped).mean())
            result["agree_correct"] = float((found.correct == replayed.correct).mean())
        if self.speedup:
            result |= measure_speedup(model, puzzles, rule, **options)
        if self.json:
            where = {"run": str(self.run_folder), "step": trained.step, "halting": name}
            print_json({**result, **where, "data": str(self.bank or data or "generated")})
            return
        self._print(result, name)

    def _print(self, result: dict[str, Any], rule: str) -> None:
        print(
            f"{percent(result['exact_accuracy'])} of {result['count']} puzzles solved "
            f"({percent(result['cell_accuracy'])} of the cells), stopping by {rule} after "
            f"{result['mean_segments']:.2f} of at most {result['max_segments']} segments; "
            f"{result['puzzles_per_second']:.0f} puzzles a second."
        )
        if self.bank is not None:
            alike = [round(result[f"agree_{x}"] * result["count"]) for x in ("segments", "correct")]
            print(
                f"As {self.bank} says: {alike[0]} of {result['count']} puzzles stop at its segment, "
                f"{alike[1]} are right or wrong as in it."
            )
        if self.speedup:
            print(
                f"{result['speedup']:.2f} times as fast as running to the limit; "
                f"{result['promised_speedup']:.2f} times fewer segments."
            )

    def _check(self) -> None:
        for name in ("puzzles", "max_segments", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be >= 1, got {value}")
        if self.bank is not None and self.data is not None:
            raise ValueError(f"--bank {self.bank} and --data {self.data}: choose one of the two")
        if self.split is not None and self.data is not None and not self.data.is_dir():
            raise ValueError(_SPLIT)

    def _bank(self) -> "TraceBank | None":
        from hrm_rl.halting import TraceBank

        if self.bank is None:
            return None
        bank = TraceBank.load(self.bank)
        bank = bank if self.split is None else bank.in_split(self.split)
        return bank.take(slice(self.puzzles))

    def _puzzles(self, trained: Trained, data: Path | None) -> "PuzzleArrays":
        from hrm_rl.training.data import generated_puzzles
        from hrm_rl.training.data.puzzle_files import CsvFile, open_stored

        if data is None:
            if self.split is not None:
                raise ValueError(_SPLIT)
            return generated_puzzles(trained.kind, "test", self.puzzles or 1000, self.seed)
        stored = open_stored(data, trained.kind)
        if isinstance(stored, CsvFile):
            return stored.first(self.puzzles)
        split = self.split or "test"
        rows = stored.rows(split)[: self.puzzles]
        if not len(rows):
            raise ValueError(f"{data} has no puzzle of the split {split}")
        return stored.take(split, rows)
