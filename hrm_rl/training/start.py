"""Starting a run from its settings, fitted to this machine, and continuing a stored one."""

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrm_rl.agents.learning.graphs import wants_graphs
from hrm_rl.distributed.ranks import current
from hrm_rl.messages import as_path
from hrm_rl.model.files.weights import read_config as read_model_config
from hrm_rl.settings import Switch
from hrm_rl.training.config import Layer, Run, resolve
from hrm_rl.training.config import resume as resume_settings
from hrm_rl.training.config.doubtful import stretch_note
from hrm_rl.training.config.layers import Given
from hrm_rl.training.config.settings import RunSettings, values_of
from hrm_rl.training.config.toml import read_settings
from hrm_rl.training.data import TrainingData, training_data
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import LONG_STEP, Compute, choose_again, choose_compute, pick_device
from hrm_rl.training.machine.memory import refuse_too_large
from hrm_rl.training.machine.pace import Pace
from hrm_rl.training.machine.threads import Threads, thread_counts
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.trackers import check_trackers
from hrm_rl.training.run_folder import RunFolder, version_note

_log = logging.getLogger(__name__)


def train(
    preset: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    graphs: Switch = "auto",
    progress: bool = True,
    track: Sequence[str] = (),
) -> Trainer:
    """Train a model into a run folder, as `hrm-rl train` does; the result has `model` and `run.path`.

        trained = hrm_rl.train("sudoku-4x4", "runs/mine", {"max_steps": 100, "learner.lr": 1e-3})
        print(hrm_rl.compare(trained.run.path, "q"))

    Args:
        preset: its name; not needed to resume.
        folder: new or empty, or the run's; runs/PRESET by default.
        settings: changes to the preset as in a config file, "learner.lr" or nested in tables.
        resume: continue the run from its newest checkpoint.
        graphs: replay each training step as CUDA graphs: "yes", "no", or "auto", on a GPU where they can be.
        progress: draw a bar on stderr.
        track: trackers beside TensorBoard: "wandb", "trackio" (extras of these names), or your own.

    Raises ValueError or OSError as `start_run` and `resume_run`, FloatingPointError if a loss becomes
    infinite or NaN, and MemoryError if the batch does not fit.
    """
    begin, tracked = resume_run if resume else start_run, check_trackers(track)
    folder = None if folder is None else as_path("folder", folder)
    trainer = begin([Layer(read_settings(settings or {}), preset)], folder, graphs=graphs)
    trainer.track = tracked
    trainer.train(progress)
    return trainer


def start_run(
    layers: Sequence[Layer], folder: str | os.PathLike[str] | None = None, *, graphs: Switch = "auto"
) -> Trainer:
    """A new run of these settings, fitted to this machine; in runs/PRESET by default. Without a preset, what
    is not given is as in the run that `init` names.

    Raises ValueError or OSError for a mistake in the settings or the data, or a folder in use.
    """
    given = resolve(*_of_init(layers), *layers)
    run = RunFolder(folder or Path("runs") / given.preset.name)
    with run.lock.kept_on_success():
        run.refuse_if_used(_way_on(run))
        return _begin(given, run, graphs)


def _way_on(run: RunFolder) -> str:
    """What --resume would do with a run; empty if it could not read its settings."""
    try:
        run.config()
    except (ValueError, OSError):
        return ""
    return ", or --resume to " + ("continue it" if run.checkpoints() else "start it over")


def _of_init(layers: Sequence[Layer]) -> list[Layer]:
    """The settings of the run that the weights come from, if no preset is named; none if they come from no
    run."""
    given = Given(*layers)
    if "init" not in given.values or any(layer.preset for layer in layers):
        return []
    run = RunFolder.named(str(given.values["init"]))
    if not run.path.is_dir() or not run.checkpoints():
        return []
    stored, compute = run.config()
    fitted = {"init", "init_ids"} | {field.name for field in dataclasses.fields(RunSettings)}
    values = {
        key: value
        for key, value in values_of(stored, compute).items()
        if value is not None and key not in fitted and not key.startswith("model.")
    }
    if given.values.get("data.family", stored.data.family) != stored.data.family:
        values = {key: value for key, value in values.items() if not key.startswith("data.")}
    if stored.learner.total_steps == stored.max_steps:
        del values["learner.total_steps"]
    return [Layer(values, stored.name)]


def prepare_run(
    layers: Sequence[Layer], folder: str | os.PathLike[str] | None = None, *, graphs: Switch = "auto"
) -> Callable[[], Trainer]:
    """What makes the trainer that `start_run` would begin with; nothing is locked or written.

    Raises ValueError or OSError as `start_run`.
    """
    given = resolve(*_of_init(layers), *layers)
    run = RunFolder(folder or Path("runs") / given.preset.name)
    run.refuse_if_used(_way_on(run))
    return _prepare(given, run, graphs)


def _prepare(given: Run, run: RunFolder, graphs: Switch) -> Callable[[], Trainer]:
    device, rows = pick_device(given.settings.device), current().share(given.preset.batch_size)
    graphed = wants_graphs(graphs, device, given.preset.learner, current().count)
    refuse_too_large(given.preset.model, rows, device, _parts(given.settings))
    # Read the data first, so that a mistake in it shows before the probe.
    data = training_data(given.preset.data, device)
    preset, compute = _chosen_once(
        lambda: fit_to_machine(
            given.preset,
            device=device,
            dtype=given.settings.dtype,
            compile=given.settings.compile,
            threads=given.settings.threads or "auto",
            keep_batch_size="batch_size" in given.given,
        )
    )
    if init := given.init:
        _log.info("Starts from %s%s.", init.name, init.ids and f": {init.ids}")
    pace = _pace(preset, compute, given)
    options: Any = {"graphs": graphed, "sharding": given.settings.sharding, "pace": pace}

    def make() -> Trainer:
        trainer = Trainer(preset, compute, run, given.settings.seed, data, init, **options)
        trainer.given = given.given
        return trainer

    return make


def _begin(given: Run, run: RunFolder, graphs: Switch) -> Trainer:
    trainer = _prepare(given, run, graphs)()
    keys, init = trainer.data.learned(), given.init
    if init:
        before = RunFolder.named(init.folder).learned()
        if before is None:
            _log.warning(
                "%s does not name the puzzles it learned from: scores count them as held out.", init.name
            )
        else:
            keys = np.union1d(keys, before)
    run.store(trainer.preset, trainer.compute)
    run.store_learned(keys)
    return trainer


def resume_run(
    layers: Sequence[Layer], folder: str | os.PathLike[str] | None = None, *, graphs: Switch = "auto"
) -> Trainer:
    """The run in a folder, by default runs/PRESET, at its newest whole checkpoint, or at its beginning if it
    was stopped before the first. Layers with a preset start a run in a folder that is new or empty, so that
    a job that is started again needs no other command.

    Raises ValueError or OSError if it is damaged or in use, or a setting may not change.
    """
    names = [layer.preset for layer in layers if layer.preset is not None]
    if folder is None and not names:
        raise ValueError("--resume needs the run folder: --out RUN")
    run = RunFolder(folder or Path("runs") / str(names[-1]))
    # Every rank looks before the first one writes.
    if names and max(current().largest(int(run.is_unused()))):
        _log.info("%s holds no run yet: it starts.", run.path)
        return start_run(layers, folder, graphs=graphs)
    if not run.path.is_dir():
        run.config()  # raises, since there cannot be a run
    with run.lock.kept_on_success():
        return _resume(layers, run, graphs)


def _resume(layers: Sequence[Layer], run: RunFolder, graphs: Switch) -> Trainer:
    stored, compute = run.config()
    given = resume_settings(stored, compute, run.path, *layers)
    if not run.checkpoints():
        _log.info("%s has no checkpoint yet: it starts from the beginning.", run.path)
        values = values_of(given.preset, compute).items()
        again = resolve(Layer({key: value for key, value in values if value is not None}, stored.name))
        again = dataclasses.replace(again, settings=given.settings, given=frozenset(("batch_size",)))
        return _begin(again, run, graphs)
    run.set_damaged_aside()
    step = run.latest_step()
    run.check_settings(stored, step, read_model_config(run.latest()))
    if note := version_note(run.latest()):
        _log.info(note)
    if given.preset.max_steps < step:
        raise ValueError(
            f"{run.path} is at step {step}; max_steps must be larger to go on, got {given.preset.max_steps}"
        )
    if stretched := stretch_note(stored, given.preset, step):
        _log.info(stretched)
    preset, rows = given.preset, current().share(given.preset.batch_size)

    def choose() -> tuple[Preset, Compute]:
        device: str = given.settings.device
        threads: Threads = given.settings.threads or "auto"
        return preset, choose_again(
            compute, preset.model, preset.learner, rows, device=device, threads=threads
        )

    preset, compute = _chosen_once(choose)
    refuse_too_large(preset.model, rows, compute.device, _parts(given.settings))
    graphed = wants_graphs(graphs, compute.device, preset.learner, current().count)
    data = training_data(preset.data, compute.device)
    _refuse_other_puzzles(run, stored, data)
    pace = _pace(preset, compute, given)
    options: Any = {"graphs": graphed, "sharding": given.settings.sharding, "pace": pace}
    trainer = Trainer(preset, compute, run, given.settings.seed, data, **options)
    trainer.restore()
    run.store(preset, compute)
    return trainer


def _pace(preset: Preset, compute: Compute, given: Run) -> Pace | None:
    """What follows the run's steps; None on a GPU, and of several ranks, which wait for one another."""
    if compute.device != "cpu" or current().count > 1:
        return None
    return Pace(preset, compute, thread_counts(given.settings.threads or "auto", compute.threads))


def _parts(settings: RunSettings) -> int:
    """The number of parts that a model in training is divided into."""
    return current().count if settings.sharding == "full" else 1


def _chosen_once(choose: Callable[[], tuple[Preset, Compute]]) -> tuple[Preset, Compute]:
    """What `choose` returns on the first rank, which may measure, on all of them."""
    ranks, text = current(), ""
    if ranks.first:
        preset, compute = choose()
        if ranks.count == 1:
            return preset, compute
        text = json.dumps({"preset": preset.to_dict(), "compute": vars(compute)})
    found = json.loads(ranks.text(text))
    return Preset.from_dict(found["preset"]), Compute(**found["compute"])


def _refuse_other_puzzles(run: RunFolder, preset: Preset, data: TrainingData) -> None:
    """Raise ValueError if the puzzles to learn from are not those that the run began with."""
    began = run.learned()
    if began is None:
        return
    now = data.learned()
    new = int((~np.isin(now, began)).sum())
    gone = 0 if preset.init else len(began) - len(now) + new  # those of the weights count too
    if new or gone:
        source = preset.data.file or "the generator"
        raise ValueError(
            f"{source} has changed since {run.path} began: {new} of {len(now)} puzzles are new, {gone} are "
            f"gone. Restore it, or start another run from these weights: --init {run.path}"
        )


def fit_to_machine(
    preset: Preset,
    *,
    device: str = "auto",
    dtype: str = "auto",
    compile: Switch = "auto",
    threads: Threads = "auto",
    keep_batch_size: bool = False,
) -> tuple[Preset, Compute]:
    """The preset as it will run on this machine, and how it computes.

    The dtype is the fastest measured (bfloat16 on CUDA). If a step of the preset's batch would take more than
    20 seconds on a CPU, the batch is cut to the largest power of two that does not (times the ranks), and the
    validation set with it, unless `keep_batch_size`; a log line reports it.
    """
    ranks = current()
    share = ranks.share(preset.batch_size)
    choice = choose_compute(
        preset.model,
        preset.learner,
        share,
        steps=preset.max_steps,
        device=device,
        dtype=dtype,
        compile=compile,
        threads=threads,
    )
    model = dataclasses.replace(preset.model, forward_dtype=choice.compute.dtype)
    preset = dataclasses.replace(preset, model=model)
    whole = (choice.row_seconds or 0) * share
    compute = dataclasses.replace(choice.compute, step_seconds=whole or None)
    if choice.row_seconds is None or keep_batch_size or whole <= LONG_STEP:
        return preset, compute
    rows = ranks.count * max(1, 1 << int(LONG_STEP / choice.row_seconds).bit_length() - 1)
    _log.info(
        "A step of %d rows would take about %.0f s on this CPU; training on %d rows instead "
        "(--batch-size %d keeps the batch, as does a GPU)",
        preset.batch_size,
        whole,
        rows,
        preset.batch_size,
    )
    few = min(preset.data.validation_puzzles, 2 * rows)
    data = dataclasses.replace(preset.data, validation_puzzles=few)
    compute = dataclasses.replace(compute, step_seconds=rows * choice.row_seconds)
    return dataclasses.replace(preset, batch_size=rows, data=data), compute
