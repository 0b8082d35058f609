"""`hrm-rl train`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from hrm_rl.cli.output import percent, print_json, say, show_log


@dataclass(frozen=True)
class Train:
    """Train an HRM on puzzles, one segment an environment step, and let its Q head learn to stop.

    Presets: sudoku-4x4 (minutes on a laptop), sudoku-6x6, sudoku-extreme (the paper's 27M-parameter
    model on 9x9 puzzles). Everything goes into a run folder; watch it with
    `tensorboard --logdir RUN`, judge it with `hrm-rl eval RUN`.
    """

    preset: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[PRESET]")] = None
    """What to train; not needed with --resume."""
    out: Path | None = None
    """Run folder, new or empty; runs/PRESET by default."""
    resume: bool = False
    """Go on with the run in --out from its newest checkpoint."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating) to learn from. Puzzles of held-out classes in
    it only validate."""
    max_steps: int | None = None
    """Optimizer steps in all; the preset's number by default."""
    batch_size: int | None = None
    """Environments side by side; the preset's number by default."""
    seed: int = 0
    """Seeds the weights, the puzzles drawn and the exploration."""
    q_target: str | None = None
    """What the continue value learns from: full (the paper: a second segment), every:K, subsample:P,
    delayed, lambda:L, or none (halting is then q_halt > 0)."""
    gradient: Literal["one-step", "last-cycle", "full"] | None = None
    """How much of a segment is differentiated."""
    device: str = "auto"
    """cpu, cuda, mps; auto takes cuda where there is one."""
    dtype: str = "auto"
    """float32 or bfloat16; auto measures which is faster."""
    json: bool = False
    """Print the result as one JSON object."""

    def run(self) -> None:
        from hrm_rl.training.loop import Trainer
        from hrm_rl.training.prepare import fit_to_machine
        from hrm_rl.training.run_folder import RunFolder

        show_log()
        if self.resume:
            run = RunFolder(self._resumed_folder())
            preset, compute = run.config()
            run.latest()
            preset = self._override(preset, resumed=True)
        else:
            preset = self._override(self._find_preset(), resumed=False)
            run = RunFolder(self.out or Path("runs") / preset.name)
            run.refuse_if_used()
            preset, compute = fit_to_machine(
                preset,
                device=self.device,
                dtype=self.dtype,
                keep_batch_size=self.batch_size is not None,
            )
        trainer = Trainer(preset, compute, run, self.seed)
        if self.resume:
            trainer.restore()
        else:
            run.create(preset, compute)
        say(
            f"{preset.name}: {trainer.model.num_parameters():,} parameters on {compute}; learning "
            f"from {trainer.data.description}; {preset.max_steps} steps of {preset.batch_size} segments"
        )
        result = trainer.train()
        self._report(run.path, preset.name, result)

    def _find_preset(self) -> Any:
        from hrm_rl.training.presets import PRESETS, find_preset

        if self.preset is None:
            raise ValueError(f"which preset? Known: {', '.join(PRESETS)}")
        return find_preset(self.preset)

    def _resumed_folder(self) -> Path:
        if self.out is None and self.preset is None:
            raise ValueError("--resume needs the run folder: --out RUN")
        return self.out or Path("runs") / str(self.preset)

    def _override(self, preset: Any, resumed: bool) -> Any:
        """The preset with what the command line changes."""
        changes: dict[str, Any] = {}
        if self.max_steps is not None:
            preset = preset.with_max_steps(self.max_steps)
        fixed = {"batch_size": self.batch_size, "data": self.data}
        learner = {"q_target": self.q_target, "gradient": self.gradient}
        given = [name for name, value in (fixed | learner).items() if value is not None]
        if resumed and given:
            option = given[0].replace("_", "-")
            raise ValueError(f"--{option} cannot change in a resumed run; leave it out")
        if self.batch_size is not None:
            changes["batch_size"] = self.batch_size
        if self.data is not None:
            if not self.data.is_file():
                raise FileNotFoundError(f"no file at {self.data}")
            changes["data"] = dataclasses.replace(preset.data, file=str(self.data))
        chosen = {name: value for name, value in learner.items() if value is not None}
        if chosen:
            changes["learner"] = dataclasses.replace(preset.learner, **chosen)
        return dataclasses.replace(preset, **changes)

    def _report(self, folder: Path, name: str, result: dict[str, Any]) -> None:
        if self.json:
            print_json({"run": str(folder), "preset": name, **result})
            return
        print(f"Trained {name} for {result['steps']} steps ({result['seconds']:.0f} s): {folder}")
        if "exact_accuracy" in result:
            print(
                f"Validation: {percent(result['exact_accuracy'])} exact after "
                f"{result['mean_segments']:.2f} segments on average."
            )
        print(f"Next: hrm-rl eval {folder}    tensorboard --logdir {folder}")
