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
    """The cells on one line, in rows, or as hrm-rl puzzles draws them: of a Sudoku digits, and . 0 _ or a
    space for a blank; of a maze # S G and spaces."""
    halting: str | None = None
    """Stopping rule; the run's rule by default."""
    show_drafts: bool = False
    """Show the draft after each segment, not only the last."""

    def run(self) -> None:
        from hrm_rl.evaluation import evaluate
        from hrm_rl.halting import parse_rule
        from hrm_rl.puzzles import maze, sudoku
        from hrm_rl.report.thinking import read_puzzle, think

        check_counts(self, "max_segments")
        parse_rule(self.halting or "q")
        trained = self.open()
        puzzle = read_puzzle(trained, self.puzzle, "solve", "evaluate it with hrm-rl eval")
        rule = self.halting or trained.rule
        family, size = (sudoku if trained.kind.name == "sudoku" else maze), trained.kind.size  # type: ignore
        question, solution = puzzle.inputs[0], puzzle.labels[0]
        result = evaluate(
            trained.model, puzzle, rule, max_segments=self.max_segments, validator=trained.validator()
        )
        answer, right = result.answers[0], bool(result.valid[0])
        segments = int(result.segments[0])
        drafts = [answer]
        if self.show_drafts:
            # Stopping does not change how a model thinks.
            drafts = [*think(trained, puzzle, rule, segments).drafts[:-1], answer]
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
        if result.declined is not None:
            found["declined"] = bool(result.declined[0])
            verdict = f"Declined, a draft with {wrong} wrong cells" if found["declined"] else verdict
        boards = [family.draw(question, size=size, draft=draft, labels=solution) for draft in drafts]
        if self.show_drafts:
            found["drafts"] = [family.to_text(draft) for draft in drafts]
            boards = [f"Segment {k}:\n{board}" for k, board in enumerate(boards, 1)]
        board = "\n\n".join(boards)
        taken = f"after {segments} of at most {result.max_segments} segments."
        self.report(found, f"{board}\n{verdict}, {taken}")
