"""`hrm-rl solve`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from hrm_rl.cli.options import OfRun, check_counts


@dataclass(frozen=True, kw_only=True)
class Solve(OfRun):
    """Solve one Sudoku or maze with a trained model, and show how long it thought.

    A Sudoku must have exactly one solution, which the answer is checked against; of a maze any
    shortest path is correct.
    """

    puzzle: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PUZZLE")]
    """The cells row by row: of a Sudoku digits, and . or 0 for a blank; of a maze # S G and spaces."""
    halting: str | None = None
    """Stopping rule; the run's rule by default."""

    def run(self) -> None:
        from hrm_rl.evaluation import evaluate
        from hrm_rl.halting import parse_rule
        from hrm_rl.puzzles import maze, sudoku
        from hrm_rl.puzzles.pool import PuzzleArrays

        check_counts(self, "max_segments")
        parse_rule(self.halting or "q")
        trained = self.open()
        kind = trained.kind
        if not isinstance(kind, (sudoku.Sudoku, maze.Maze)):
            raise ValueError(
                f"solve takes a Sudoku or a maze, but {self.run_folder} solves {kind.words}; "
                "evaluate it with hrm-rl eval"
            )
        family, size = (sudoku if kind.name == "sudoku" else maze), kind.size
        question = family.parse(self.puzzle, size)
        solution = family.check_puzzle(question, size)
        rule = self.halting or trained.rule
        result = evaluate(
            trained.model,
            PuzzleArrays(question[None], solution[None]),
            rule,
            max_segments=self.max_segments,
            validator=trained.validator(),
        )
        answer, right = result.answers[0], bool(result.valid[0])
        segments = int(result.segments[0])
        found = {
            "puzzle": family.to_text(question),
            "answer": family.to_text(answer),
            "solution": family.to_text(solution),
            "correct": right,
            "cell_accuracy": float(result.cell_accuracy[0]),
            "segments": segments,
            "max_segments": result.max_segments,
            "halting": rule,
        }
        wrong = int((answer != solution).sum())
        verdict = "Correct" if right else f"Wrong in {wrong} of {len(answer)} cells"
        board = family.draw(question, size=size, draft=answer, labels=solution)
        taken = f"after {segments} of at most {result.max_segments} segments."
        self.report(found, f"{board}\n{verdict}, {taken}")
