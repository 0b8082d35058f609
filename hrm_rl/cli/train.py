"""`hrm-rl train`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hrm_rl.cli.output import percent, print_json, refuse_graphs_without_gpu, say, show_log

if TYPE_CHECKING:
    from hrm_rl.training.presets import Preset


@dataclass(frozen=True)
class Train:
    """Train an HRM on puzzles, one segment an environment step, and let its Q head learn to stop.

    Presets: sudoku-4x4 and prefix-parity (minutes on a laptop), sudoku-6x6 and sudoku-9x9 (half an hour),
    sudoku-extreme (the paper's 27M-parameter model on 9x9 puzzles). Any of them learns puzzles of another
    family (--data.family, --data.dials) or from a file or dataset folder (--data). The preset is the base, a
    config file changes it, options change both. All goes into a run folder; watch it with
    `tensorboard --logdir RUN`, judge it with `hrm-rl eval RUN`.
    """

    preset: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[PRESET]")] = None
    """What to train; not needed with --resume, or where the config file says it."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """Config file: keys as below without the dashes, tables [model], [learner] and [data]."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Run folder, new or empty; runs/PRESET by default."""
    resume: bool = False
    """Go on with the run in --out from its newest checkpoint. Only max_steps, validate_every and
    log_every may change."""
    graphs: bool = False
    """Replay each training step as CUDA graphs (a GPU only; not with every:K or jointly trained halting).
    The run does not store it: say it again with --resume."""
    json: bool = False
    """Print the result as one JSON object."""
    settings: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """The settings given as options; `train_with_settings` lists them."""

    def run(self) -> None:
        from hrm_rl.agents.learning.graphs import check_can_be_graphed
        from hrm_rl.training.config import resolve, resume, to_toml
        from hrm_rl.training.data import training_data
        from hrm_rl.training.loop import Trainer
        from hrm_rl.training.machine.compute import pick_device
        from hrm_rl.training.machine.prepare import fit_to_machine
        from hrm_rl.training.run_folder import RunFolder
        from hrm_rl.training.schedule import stretch_note

        show_log()
        layers = self._layers()
        if self.resume:
            run = RunFolder(self._resumed_folder(layers))
            preset, compute = run.config()
            step = run.latest_step()
            asked = resume(preset, compute, run.path, *layers)
            if stretched := stretch_note(preset, asked.preset, step):
                say(stretched)
            preset, data = asked.preset, None
            if self.graphs:
                refuse_graphs_without_gpu(compute.device)
        else:
            asked = resolve(*layers)
            run = RunFolder(self.out or Path("runs") / asked.preset.name)
            run.refuse_if_used(", or --resume to go on with it")
            # The data first: a mistake in it should not wait for the probe.
            device = pick_device(asked.settings.device)
            if self.graphs:
                refuse_graphs_without_gpu(device)
                check_can_be_graphed(asked.preset.learner)
            data = training_data(asked.preset.data, device)
            preset, compute = fit_to_machine(
                asked.preset,
                device=device,
                dtype=asked.settings.dtype,
                compile=asked.settings.compile,
                keep_batch_size="batch_size" in asked.given,
            )
        trainer = Trainer(preset, compute, run, asked.settings.seed, data, graphs=self.graphs)
        if self.resume:
            trainer.restore()
            run.store(preset, compute)
        else:
            run.create(preset, compute)
        say(to_toml(preset, compute))
        say(
            f"{_named(preset)}: {trainer.model.num_parameters():,} parameters on {compute}; learning "
            f"from {trainer.data.description}; {preset.max_steps} steps of {preset.batch_size} segments"
        )
        result = trainer.train()
        self._report(run.path, preset, result)

    def _layers(self) -> list[Any]:
        """The config file's settings, then the options."""
        from hrm_rl.training.config import command_line, read_config

        options = command_line(self.settings, self.preset)
        return [options] if self.config is None else [read_config(self.config), options]

    def _resumed_folder(self, layers: Sequence[Any]) -> Path:
        names = [layer.preset for layer in layers if layer.preset is not None]
        if self.out is None and not names:
            raise ValueError("--resume needs the run folder: --out RUN")
        return self.out or Path("runs") / str(names[-1])

    def _report(self, folder: Path, preset: "Preset", result: dict[str, Any]) -> None:
        if self.json:
            print_json({"run": str(folder), "preset": preset.name, **result})
            return
        took = f"{result['steps']} steps ({result['seconds']:.0f} s)"
        print(f"Trained {_named(preset)} for {took}: {folder}")
        if "exact_accuracy" in result:
            print(
                f"Validation: {percent(result['exact_accuracy'])} exact after "
                f"{result['mean_segments']:.2f} segments on average."
            )
        print(f"Next: hrm-rl eval {folder}    tensorboard --logdir {folder}")


def _named(preset: "Preset") -> str:
    """A preset's name, and the family of its puzzles where that is not the one it is named for."""
    from hrm_rl.training.presets import PRESETS

    base, family = PRESETS.get(preset.name), preset.data.family
    if base is None or base.data.family == family:
        return preset.name
    return f"{preset.name} on puzzles of family {family}"


def train_with_settings() -> type[Train]:
    """`Train` with an option for every setting of a run; loads torch."""
    from hrm_rl.training.config import given_settings

    options = Annotated[given_settings(), tyro.conf.arg(name="")]
    return make_dataclass(
        "Train",
        [("settings", options, field(default_factory=dict))],
        bases=(Train,),
        frozen=True,
        namespace={"__doc__": Train.__doc__},
    )
