"""`hrm-rl train`."""

import shlex
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hrm_rl.cli.options import Long
from hrm_rl.cli.output import percent, say, show_log
from hrm_rl.messages import also_valid
from hrm_rl.settings import Switch

if TYPE_CHECKING:
    from hrm_rl.training.config import Layer
    from hrm_rl.training.presets import Preset


@dataclass(frozen=True, kw_only=True)
class Train(Long):
    """Train a model on puzzles, one segment per environment step, and let its Q head learn when to stop.

    A preset can learn puzzles of another family (--data.family, --data.dials), or from a file or dataset
    folder (--data). A config file changes the preset, and options change both. Results go into a run folder:
    watch them with `tensorboard --logdir runs`, and evaluate with `hrm-rl eval RUN`.
    """

    preset: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[PRESET]")] = None
    """What to train; not needed with --resume, --init RUN or a config file that names it."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """Config file: the settings below without dashes, in tables [model], [learner] and [data]."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Run folder, new or empty; runs/PRESET by default."""
    resume: bool = False
    """Continue the run in --out from its newest checkpoint, or start it if there is none. Only max_steps,
    validate_every, checkpoint_minutes, log_every, keep, on_nan, device and threads may change."""
    graphs: Switch = "auto"
    """Replay each training step as CUDA graphs; auto does on a GPU, but not with several processes, every:K,
    muon or jointly trained halting. Not stored with the run."""
    track: tuple[str, ...] = ()
    """Trackers beside TensorBoard: wandb, trackio (extras). Not stored with the run."""
    dry_run: bool = False
    """Train nothing and write no run: print the data's counts, the steps, the parameters, the memory, the
    time on this machine (from some measured steps), and what would be written."""
    settings: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)
    """The settings given as options; `train_with_settings` lists them."""

    def run(self) -> None:
        from hrm_rl.distributed.launch import is_restarted
        from hrm_rl.training.config import Layer, read_config, to_toml
        from hrm_rl.training.report.trackers import check_trackers
        from hrm_rl.training.start import resume_run, start_run

        show_log()
        tracked = check_trackers(self.track)
        layers = [read_config(self.config)] if self.config is not None else []
        layers.append(Layer(self.settings, self.preset))
        if self.dry_run:
            self._plan(layers)
            return
        begin = resume_run if self.resume or is_restarted() else start_run
        trainer = begin(layers, self.out, graphs=self.graphs)
        trainer.track = tracked
        preset, compute = trainer.preset, trainer.compute
        say(to_toml(preset, compute))
        say(
            f"{_named(preset)}: {trainer.model.num_parameters():,} parameters on {compute}; learning "
            f"from {trainer.data.description}; {preset.max_steps} steps of {preset.batch_size} segments"
        )
        result, folder = trainer.train(self.progress), trainer.run.path
        found = {"run": str(folder), "preset": preset.name, **result}
        self.report(found, _text(folder, preset, result))

    def _plan(self, layers: list["Layer"]) -> None:
        from hrm_rl.training.dry_run import dry_run
        from hrm_rl.training.start import prepare_run

        if self.resume:
            raise ValueError("--dry-run is for a run that begins: not with --resume")
        plan = dry_run(prepare_run(layers, self.out, graphs=self.graphs))
        self.report(plan.to_dict(), plan.text())


def _text(folder: Path, preset: "Preset", result: dict[str, Any]) -> str:
    from hrm_rl.training.data.learned import told_apart

    took = f"{result['steps']} steps ({result['seconds']:.0f} s)"
    text = f"Trained {_named(preset)} for {took}: {folder}\n"
    if "exact_accuracy" in result:
        learned = result.get("learned_count") == result["count"]
        puzzles = "On the puzzles learned from" if learned else "Validation"
        text += (
            f"{puzzles}: {percent(result['exact_accuracy'])} exact{also_valid(result)} after "
            f"{result['mean_segments']:.2f} segments on average.\n"
        )
    if (apart := told_apart(result)) and result["held_out_count"]:
        text += f"Of validation, {apart}\n"
    run, runs = shlex.quote(str(folder)), shlex.quote(str(folder.parent))
    return f"{text}Next: hrm-rl eval {run}    tensorboard --logdir {runs}"


def _named(preset: "Preset") -> str:
    """A preset's name, with the family of its puzzles if it is another than the preset's own."""
    from hrm_rl.training.presets import PRESETS

    base, family = PRESETS.get(preset.name), preset.data.family
    if base is None or base.data.family == family:
        return preset.name
    return f"{preset.name} on puzzles of family {family}"


def train_with_settings() -> type[Train]:
    """`Train` with an option for every setting of a run; loads torch."""
    from hrm_rl.training.config import given_settings
    from hrm_rl.training.presets import PRESETS

    options: Any = Annotated[given_settings(), tyro.conf.arg(name="")]
    known = ", ".join(PRESETS)
    about = f"What to train: {known}; not needed with --resume, --init RUN or a config file that names it."
    preset: Any = Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[PRESET]", help=about)]
    return make_dataclass(
        "Train",
        [("preset", preset, None), ("settings", options, field(default_factory=dict))],
        bases=(Train,),
        frozen=True,
        namespace={"__doc__": Train.__doc__},
    )
