"""`hrm-rl quickstart`: `train` and `compare` on one small preset."""

import importlib.util
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_rl.cli.options import Long, check_counts
from hrm_rl.cli.output import percent, say, show_log, table_text

if TYPE_CHECKING:
    from hrm_rl.training.loop import Trainer
    from hrm_rl.training.run_folder import RunFolder

# In the folder of a quickstart; the next one may replace it.
_MARK = ".quickstart"
# What it may remove there, by path; `X.partial` is what a killed process leaves of X.
_WRITTEN = (
    r"\.quickstart|\.lock|config\.(json|toml)|learned\.npy|checksums\.sha256|metrics\.jsonl"
    r"|(tensorboard/)?events\.out\.tfevents\..*"
    r"|checkpoints/step-\d+(\.damaged.*)?/((config|run)\.json|model\.safetensors|state\.\w+|checksums\.sha256)"
    r"|compare/(compare\.(json|md)|\w+\.png|(bank-|rules/)[^/]*)|(.*/)?\.[^/]+\.partial(/.*)?"
)
_Rules = dict[str, tuple[str, str]]
"""By rule, its policy in the comparison and its name in the table."""


@dataclass(frozen=True, kw_only=True)
class Quickstart(Long):
    """Train sudoku-4x4 on this machine, then compare ways to stop on puzzles of held-out classes.

    Starts afresh every time. Minutes on a laptop; needs matplotlib for the figures.
    """

    out: Path = Path("runs/quickstart")
    """Run folder; an earlier quickstart in it is replaced."""
    puzzles: int = 1000
    """Test puzzles, of held-out classes."""
    max_steps: int | None = None
    """Training steps; the preset's number by default."""
    seed: int = 0
    """Seed of the weights, the puzzles drawn and the exploration."""
    device: str = "auto"
    """cpu, cuda, mps; auto takes cuda if there is one."""

    def run(self) -> None:
        from hrm_rl.training.comparison import compare
        from hrm_rl.training.config import Layer
        from hrm_rl.training.run_folder import RunFolder
        from hrm_rl.training.start import start_run

        check_counts(self, "puzzles", "max_steps")
        if importlib.util.find_spec("matplotlib") is None:
            raise ValueError("quickstart draws figures: pip install matplotlib")
        show_log()
        _clear(RunFolder(self.out))
        values = {"max_steps": self.max_steps, "seed": self.seed, "device": self.device}
        given = {name: value for name, value in values.items() if value is not None}
        trainer = start_run([Layer(given, "sudoku-4x4")], self.out)
        (self.out / _MARK).touch()
        say(
            f"Training an HRM of {trainer.model.num_parameters():,} parameters on {trainer.compute}, "
            f"from {trainer.data.description}, one reasoning segment a step."
        )
        training = trainer.train(self.progress)
        say(f"Comparing on {self.puzzles} puzzles of classes that training never saw.")
        limit, folder = trainer.model.config.halt_max_steps, self.out / "compare"
        rules = _rules(trainer.rule, limit)
        found = compare(
            self.out,
            [policy for policy, _ in rules.values()],
            folder=folder,
            puzzles=self.puzzles,
            max_segments=2 * limit,
            baseline=rules[trainer.rule][0],
            device=self.device,
            progress=self.progress and not self.json,
        )
        report = found.save(folder)
        result = {
            "run": str(self.out),
            "figure": report["files"]["figures"][0],
            "training": training,
            "rules": dict(zip(rules, report["policies"], strict=True)),
            "accuracy_by_segment": report["curves"]["fixed"]["accuracy"],
        }
        self.report(result, self._text(result, rules, trainer))

    def _text(self, result: dict[str, Any], rules: _Rules, trainer: "Trainer") -> str:
        from hrm_rl.puzzles import sudoku
        from hrm_rl.training.data import generated_puzzles

        rows = [
            [
                rules[rule][1],
                percent(row["exact_accuracy"]),
                f"{row['mean_segments']:.2f}",
                f"{row['wall_clock']['refilled'] or 0:,.0f}",
            ]
            for rule, row in result["rules"].items()
        ]
        table = table_text(
            f"{self.puzzles} puzzles of classes held out of training",
            ["stop after", "solved", "mean segments", "puzzles / s"],
            rows,
        )
        training, run = result["training"], result["run"]
        puzzle = sudoku.to_text(generated_puzzles(trainer.preset.data.kind, "test", 1).inputs[0])
        return f"""{table}
Trained in {training["seconds"]:.0f} s ({training["steps"]} steps).
Figure:      {result["figure"]}
TensorBoard: tensorboard --logdir {shlex.quote(str(self.out.parent))}
Try:         hrm-rl solve {run} {puzzle}"""


def _rules(rule: str, limit: int) -> _Rules:
    """The run's rule, up to the limit of training, and constants up to twice that limit."""
    which = {limit: ", the limit", 2 * limit: ", twice the limit"}
    rules = {
        f"fixed:{n}": (f"fixed:{n}", f"{n} segment{'s' if n > 1 else ''}{which.get(n, '')}")
        for n in sorted({1, 2, 4, limit, 2 * limit})
    }
    return rules | {rule: (f"any({rule}, fixed:{limit})", "Q-halting (the paper's rule)")}


def _clear(run: "RunFolder") -> None:
    """Remove an earlier quickstart; refuse to remove anything else."""
    if not run.path.exists():
        return
    if not (run.path / _MARK).exists():
        run.refuse_if_used()
        return
    files = (path for path in run.path.rglob("*") if path.is_symlink() or not path.is_dir())
    names = sorted(path.relative_to(run.path).as_posix() for path in files)
    foreign = [name for name in names if not re.fullmatch(_WRITTEN, name)]
    if foreign:
        raise FileExistsError(
            f"{run.path} holds {foreign[0]}, which no quickstart wrote: move it, or choose another folder"
        )
    with run.lock:
        shutil.rmtree(run.path)
