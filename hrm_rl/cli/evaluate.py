"""`hrm-rl eval`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hrm_rl.cli.output import Trained, open_trained, percent, print_json

if TYPE_CHECKING:
    from hrm_rl.puzzles.source import PuzzleArrays


@dataclass(frozen=True)
class Eval:
    """Answer puzzles, stopping by a rule, and count how many are right and how long it thought.

    Every puzzle is answered once. A row that stops keeps its draft and hands its place to the next
    puzzle, so stopping early saves time in proportion.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """A run folder, a folder with config.json and model.safetensors, or a Hub id, owner/name."""
    halting: str | None = None
    """Rule for stopping: q (the paper), q-halt:0, fixed:4, confidence:0.9, margin:0.5, entropy:0.1,
    stable:2, residual:0.01, kl:5e-4, random:0.2, or module:Class. The run's own rule by default."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating); generated test puzzles by default."""
    puzzles: int | None = None
    """How many: 1000 generated ones, or all of the file, by default."""
    seed: int = 0
    """Which generated puzzles."""
    max_segments: int | None = None
    """Limit; the run's halt_max_steps by default. May be larger."""
    batch_size: int = 256
    """Puzzles thought about side by side."""
    device: str = "auto"
    """cpu, cuda, mps; auto takes cuda where there is one."""
    json: bool = False
    """Print the result as one JSON object."""

    def run(self) -> None:
        from hrm_rl.envs.sudoku import sudoku_validator
        from hrm_rl.halting import parse_rule
        from hrm_rl.training.evaluate import evaluate

        for name in ("puzzles", "max_segments", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be >= 1, got {value}")
        parse_rule(self.halting or "q")
        trained = open_trained(self.run_folder, self.device)
        rule = self.halting or trained.rule
        puzzles = self._puzzles(trained)
        result = evaluate(
            trained.model,
            puzzles,
            rule,
            max_segments=self.max_segments,
            batch_size=self.batch_size,
            validator=sudoku_validator(trained.size, trained.model.device),
        ).summary()
        if self.json:
            where = {"run": str(self.run_folder), "step": trained.step, "halting": rule}
            print_json({**result, **where, "data": str(self.data) if self.data else "generated"})
            return
        print(
            f"{percent(result['exact_accuracy'])} of {result['count']} puzzles solved "
            f"({percent(result['cell_accuracy'])} of the cells), stopping by {rule} after "
            f"{result['mean_segments']:.2f} of at most {result['max_segments']} segments; "
            f"{result['puzzles_per_second']:.0f} puzzles a second."
        )

    def _puzzles(self, trained: Trained) -> "PuzzleArrays":
        from hrm_rl.puzzles import sudoku
        from hrm_rl.training.data import test_puzzles

        if self.data is not None:
            return sudoku.read_csv(self.data, trained.size, limit=self.puzzles, unique=True)
        count = self.puzzles or 1000
        if trained.preset is None:
            return sudoku.generate(count, trained.size, seed=self.seed, split="test")
        return test_puzzles(trained.preset, count, self.seed)
