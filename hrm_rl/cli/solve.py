"""`hrm-rl solve`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hrm_rl.cli.output import open_trained, print_json


@dataclass(frozen=True)
class Solve:
    """Solve one Sudoku or maze with a trained model, and show how long it thought.

    A Sudoku must have exactly one solution, which the answer is checked against; of a maze any
    shortest path is right.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """A run folder, a folder with config.json and model.safetensors, or a Hub id, owner/name."""
    puzzle: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PUZZLE")]
    """The cells row by row: of a Sudoku digits, and . or 0 for a blank; of a maze # S G and spaces."""
    halting: str | None = None
    """Rule for stopping; the run's own by default."""
    max_segments: int | None = None
    """Limit; the run's halt_max_steps by default."""
    device: str = "auto"
    """cpu, cuda, mps; auto takes cuda where there is one."""
    dtype: str | None = None
    """float32, bfloat16, ...: what to compute in; by default what it was trained in."""
    json: bool = False
    """Print the result as one JSON object."""

    def run(self) -> None:
        import numpy as np

        from hrm_rl.evaluation.evaluate import evaluate
        from hrm_rl.halting import parse_rule
        from hrm_rl.puzzles.pool import PuzzleArrays

        if self.max_segments is not None and self.max_segments < 1:
            raise ValueError(f"--max-segments must be >= 1, got {self.max_segments}")
        parse_rule(self.halting or "q")
        trained = open_trained(self.run_folder, self.device, self.dtype)
        kind = trained.kind
        if kind.family not in ("sudoku", "maze"):
            raise ValueError(
                f"solve takes a Sudoku or a maze, and {self.run_folder} solves {kind.words}; "
                "hrm-rl eval judges it"
            )
        family, size = kind.module, kind.dials["size"]
        question = family.parse(self.puzzle, size)
        solution = family.check_puzzle(question, size)
        puzzles = PuzzleArrays(
            question[None], solution[None], np.zeros(1, np.int32), np.full(1, np.nan, np.float32)
        )
        rule = self.halting or trained.rule
        validator = kind.validator(trained.model.device)
        result = evaluate(
            trained.model, puzzles, rule, max_segments=self.max_segments, validator=validator
        )
        answer, right = result.answers[0], bool(result.valid[0])
        segments = int(result.segments[0])
        if self.json:
            print_json(
                {
                    "puzzle": family.to_text(question),
                    "answer": family.to_text(answer),
                    "solution": family.to_text(solution),
                    "correct": right,
                    "cell_accuracy": float(result.cell_accuracy[0]),
                    "segments": segments,
                    "max_segments": result.max_segments,
                    "halting": rule,
                }
            )
            return
        print(family.draw(question, size=size, draft=answer, labels=solution))
        wrong = int((answer != solution).sum())
        verdict = "Right" if right else f"Wrong in {wrong} of {len(answer)} cells"
        print(f"{verdict}, after {segments} of at most {result.max_segments} segments.")
