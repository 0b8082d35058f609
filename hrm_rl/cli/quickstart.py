"""`hrm-rl quickstart`."""

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_rl.cli.output import percent, print_json, print_table, say, show_log

if TYPE_CHECKING:
    from hrm_rl.training.loop import Trainer
    from hrm_rl.training.run_folder import RunFolder

# In the folder of a quickstart; the next one may replace it.
_MARK = ".quickstart"


@dataclass(frozen=True)
class Quickstart:
    """Train sudoku-4x4 on this machine, then compare ways to stop on puzzles of kinds never seen.

    Starts afresh every time. Minutes on a laptop; needs matplotlib for the figure.
    """

    out: Path = Path("runs/quickstart")
    """Run folder; an earlier quickstart in it is replaced."""
    puzzles: int = 1000
    """Test puzzles, of held-out classes."""
    max_steps: int | None = None
    """Training steps; the preset's number by default."""
    seed: int = 0
    """Seeds the weights, the puzzles drawn and the exploration."""
    device: str = "auto"
    """cpu, cuda, mps; auto takes cuda where there is one."""
    json: bool = False
    """Print the result as one JSON object."""

    def run(self) -> None:
        from hrm_rl.training.loop import Trainer
        from hrm_rl.training.machine.prepare import fit_to_machine
        from hrm_rl.training.presets import find_preset
        from hrm_rl.training.run_folder import RunFolder

        preset = find_preset("sudoku-4x4")
        if self.max_steps is not None:
            preset = preset.with_max_steps(self.max_steps)
        self._check()
        show_log()
        run = RunFolder(self.out)
        self._clear(run)
        preset, compute = fit_to_machine(preset, device=self.device)
        trainer = Trainer(preset, compute, run, self.seed)
        run.create(trainer.preset, compute)
        (run.path / _MARK).touch()
        say(
            f"Training an HRM of {trainer.model.num_parameters():,} parameters on {compute}, from "
            f"{trainer.data.description}, one reasoning segment a step."
        )
        training = trainer.train()
        self._report(run, trainer, training)

    def _check(self) -> None:
        """What would otherwise be noticed after the training."""
        if self.puzzles < 1:
            raise ValueError(f"--puzzles must be >= 1, got {self.puzzles}")
        if importlib.util.find_spec("matplotlib") is None:
            raise ValueError("quickstart draws a figure: pip install matplotlib")

    def _clear(self, run: "RunFolder") -> None:
        """Remove an earlier quickstart; refuse to remove anything else."""
        if not run.path.exists():
            return
        if (run.path / _MARK).exists():
            shutil.rmtree(run.path)
        else:
            run.refuse_if_used()

    def _report(self, run: "RunFolder", trainer: "Trainer", training: dict[str, Any]) -> None:
        import numpy as np

        from hrm_rl.analysis.figures import thinking_figure
        from hrm_rl.evaluation.evaluate import evaluate
        from hrm_rl.evaluation.record import record
        from hrm_rl.puzzles import sudoku
        from hrm_rl.training.data import test_puzzles

        say(f"Evaluating on {self.puzzles} puzzles of classes that training never saw.")
        puzzles = test_puzzles(trainer.preset, self.puzzles)
        model = trainer.evaluated_model
        limit = model.config.halt_max_steps
        rows = [(f"fixed:{n}", n) for n in (1, 2, 4, limit, 2 * limit)] + [(trainer.rule, limit)]
        results = {
            rule: evaluate(
                model, puzzles, rule, max_segments=most, validator=trainer.data.validator
            )
            for rule, most in rows
        }
        accuracy = record(model, puzzles, 2 * limit).correct.mean(0)
        halting = results[trainer.rule]
        givens = (puzzles.inputs != sudoku.BLANK).sum(1)
        figure = thinking_figure(
            run.path / "quickstart.png",
            accuracy,
            limit,
            (float(halting.segments.mean()), float(halting.correct.mean())),
            np.asarray(givens),
            halting.segments,
            f"4x4 Sudoku, {len(puzzles)} puzzles of held-out classes",
        )
        summaries = {rule: result.summary() for rule, result in results.items()}
        if self.json:
            print_json(
                {
                    "run": str(run.path),
                    "figure": str(figure),
                    "training": training,
                    "rules": summaries,
                    "accuracy_by_segment": accuracy.tolist(),
                }
            )
            return
        self._print(run, figure, training, summaries, limit)
        print(f"Try:         hrm-rl solve {run.path} {sudoku.to_text(puzzles.inputs[0])}")

    def _print(
        self,
        run: "RunFolder",
        figure: Path,
        training: dict[str, Any],
        summaries: dict[str, dict[str, Any]],
        limit: int,
    ) -> None:
        names = {f"fixed:{limit}": "the limit", f"fixed:{2 * limit}": "twice the limit"}
        table = [
            [
                "Q-halting (the paper's rule)"
                if not rule.startswith("fixed")
                else f"{s['max_segments']} segment{'s' if s['max_segments'] > 1 else ''}"
                + (f", {names[rule]}" if rule in names else ""),
                percent(s["exact_accuracy"]),
                f"{s['mean_segments']:.2f}",
                f"{s['puzzles_per_second']:,.0f}",
            ]
            for rule, s in summaries.items()
        ]
        print_table(
            f"{self.puzzles} puzzles of classes held out of training",
            ["stop after", "solved", "mean segments", "puzzles / s"],
            table,
        )
        print(f"Trained in {training['seconds']:.0f} s ({training['steps']} steps).")
        print(f"Figure:      {figure}")
        print(f"TensorBoard: tensorboard --logdir {run.path}")
