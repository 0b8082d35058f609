"""Opening a trained model: a run folder, a model folder, or a Hub id; and recording it."""

import copy
import dataclasses
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_rl.distributed.ranks import current
from hrm_rl.envs.core.source import Validator
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.evaluation import record
from hrm_rl.evaluation.evaluate import check_fits
from hrm_rl.evaluation.record import check_room, segment_seconds
from hrm_rl.evaluation.trajectories import ONE, Trajectories
from hrm_rl.halting import BankHeader, TraceBank
from hrm_rl.model import ReasoningModel, from_pretrained
from hrm_rl.model.config import FORWARD_DTYPES
from hrm_rl.model.files.checkpoints import find_checkpoint
from hrm_rl.model.files.checksums import STATE_FILE
from hrm_rl.model.files.weights import RUN_FILE, fetch_pretrained
from hrm_rl.puzzles import CustomPuzzles, family_of_shape
from hrm_rl.puzzles.arc.family import ArcPuzzles
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.pool import PuzzleArrays, concatenate
from hrm_rl.settings import read_json, reading, typed
from hrm_rl.stopwatch import Stopwatch, crowded
from hrm_rl.training.data import training_data
from hrm_rl.training.data.arc_files import ArcFiles
from hrm_rl.training.data.learned import Keys, puzzle_keys
from hrm_rl.training.data.puzzle_files import Stored, open_stored
from hrm_rl.training.machine.compute import pick_device, precision_here
from hrm_rl.training.machine.threads import Threads, fit_threads
from hrm_rl.training.presets import Preset
from hrm_rl.training.run_folder import RunFolder, read_config_json
from hrm_rl.training.run_folder.state import read_state

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A model and its origin. Made by `open_trained`."""

    path: Path
    """The path or Hub id that was opened."""
    model: ReasoningModel
    preset: Preset | None
    """None for a model folder without its run's configuration."""
    step: int
    kind: Family | CustomPuzzles
    """The puzzles it solves."""
    rule: str
    """The stopping rule it was trained with."""
    learned_keys: Keys | None = None
    """`puzzle_keys` of the puzzles it learned from; None for a run that did not store them."""

    def learned(self, puzzles: PuzzleArrays) -> NDArray[np.bool_] | None:
        """Which puzzles it learned from, up to symmetry: bool [N]; None if it is not known.

        Of a run that stored no keys, its puzzles are generated or read again.
        """
        if self.preset is None:
            return None
        found, keys, data = puzzle_keys(self.kind, puzzles), self.learned_keys, self.preset.data
        if keys is None:
            by_class = data.file is None or bool(Path(data.file).suffix)
            if by_class and not isinstance(self.kind, CustomPuzzles):
                train = self.kind.in_split(found, "train")
                if not train.any():
                    return train
            try:
                keys = training_data(data).learned()
            except (OSError, ValueError):
                return None
        return np.isin(found, keys)

    def validator(self) -> Validator | None:
        """The check for any correct answer; None if only the stored one is known."""
        return validator_of(self.kind)

    def open(self, data: Path) -> Stored:
        """The puzzles of a file or folder.

        Raises ValueError as `open_stored`, or if its ARC tasks are not those that the run learned.
        """
        most = self.preset.data.train_puzzles if self.preset else None
        stored = open_stored(data, self.kind, most)
        if isinstance(stored, ArcFiles) and self.learned_keys is not None:
            keys = puzzle_keys(self.kind, stored.originals())
            if not np.isin(keys, self.learned_keys).all():
                raise ValueError(
                    f"{data} has other tasks than {self.path} learned from: the rows of its puzzle embedding "
                    "would stand for others"
                )
        return stored

    def learned_folder(self) -> Path | None:
        """The dataset folder that the run learned from, for puzzles that cannot be generated; else None.

        Raises ValueError if such a run stored no folder, or the folder is missing.
        """
        if not isinstance(self.kind, CustomPuzzles):
            return None
        solves = f"{self.kind.name} puzzles" if self.preset else "no Sudoku and no maze"
        shape = f"{self.kind.seq_len} cells and {self.kind.vocab_size} tokens"
        solves = f"{self.path} solves {solves}, of {shape}"
        what = f"{'task' if isinstance(self.kind, ArcPuzzles) else 'dataset'} folder"
        if self.preset is None or self.preset.data.file is None:
            raise ValueError(f"{solves}: name their {what} with --data")
        folder = Path(self.preset.data.file)
        # A relative path starts from the current folder, which may differ from the training's.
        place = "" if folder.is_absolute() else f" in {Path.cwd()}"
        if not folder.is_dir():
            raise ValueError(
                f"{solves}. It learned from the {what} {folder}, which is not{place or ' there'}: "
                "name it with --data"
            )
        _log.info("Puzzles of %s%s, which %s learned from.", folder, place, self.path)
        return folder


def open_trained(
    path: str | os.PathLike[str], device: str = "auto", dtype: str | None = None, threads: Threads = None
) -> Trained:
    """Open a run folder (its newest checkpoint; RUN@500 or RUN@best another), a folder written by
    `save_pretrained` / `import-reference`, or a Hub id.

    A model without its run's configuration solves what its shape suggests: Sudoku, mazes, or custom puzzles.

    Args:
        path: the folder, or owner/name on the Hub.
        device: cpu, cuda, mps; auto takes cuda if there is one.
        dtype: computes in it; by default in the dtype of training.
        threads: of the CPU, for the whole process: a number; `auto` takes OMP_NUM_THREADS, or else measures
            whether one is faster than PyTorch's choice; by default they stay as they are.

    Raises:
        FileNotFoundError or ValueError: it holds no model; an unknown device or dtype.
    """
    if dtype is not None and dtype not in FORWARD_DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(FORWARD_DTYPES)}; got {dtype!r}")
    given, device = Path(path), pick_device(device)
    folder = fetch_pretrained(given)
    run = RunFolder.named(folder)
    if run.which is None and (folder / "model.safetensors").is_file():
        model, step, preset = from_pretrained(folder, forward_dtype=dtype), 0, None
        if (folder / RUN_FILE).is_file():
            preset, _ = read_config_json(folder / RUN_FILE)
            with reading(folder / RUN_FILE, "a run configuration"):
                step = typed(read_json(folder / RUN_FILE, "JSON").get("step", 0), int, "step")
    else:
        preset, compute = run.config()
        torch.set_float32_matmul_precision(precision_here(compute, device))
        model, step = run.load_model(dtype)
        run.check_settings(preset, step, model.config)
    keys = run.learned()
    model = model.to(device).eval()
    fit_threads(model, threads)
    return Trained(
        path=given,
        model=model,
        preset=preset,
        step=step,
        kind=_kind(model, preset),
        rule="q" if preset is None else preset.learner.rule,
        learned_keys=keys,
    )


def without_average(trained: Trained) -> ReasoningModel | None:
    """The model with the weights that training goes on from; None unless `trained` holds their average and
    the run's checkpoint has its training state."""
    if trained.preset is None or not trained.preset.ema_decay:
        return None
    run = RunFolder.named(trained.path)
    checkpoint = find_checkpoint(run.path, str(trained.step)) if run.checkpoints() else run.path
    if not (checkpoint / STATE_FILE).is_file():
        _log.info("%s has no training state: only the average of the weights is judged.", trained.path)
        return None
    model = copy.deepcopy(trained.model)
    model.load_state_dict(read_state(checkpoint)["weights"])
    return model


def _kind(model: ReasoningModel, preset: Preset | None) -> Family | CustomPuzzles:
    shape = model.config.vocab_size, model.config.seq_len
    if preset is None:
        return family_of_shape(*shape)
    custom = preset.data.family == CustomPuzzles.name
    return CustomPuzzles(*shape) if custom else preset.data.kind


def record_run(
    trained: Trained,
    pools: Mapping[str, PuzzleArrays],
    max_segments: int | None = None,
    *,
    batch_size: int = 256,
    pooled: bool = False,
    drafts: bool = False,
    trajectories: Trajectories = ONE,
    progress: bool = False,
) -> TraceBank:
    """Record a run on puzzles by split, with its segments timed. Arguments as in `evaluation.record`."""
    model, puzzles = trained.model, concatenate(list(pools.values()))
    check_fits(model.config, puzzles)
    limit, rows = max_segments or model.config.halt_max_steps, min(batch_size, len(puzzles))
    check_room(model, len(puzzles), limit, trajectories, pooled, drafts)
    watch = Stopwatch(model.device.type)
    seconds = segment_seconds(model, puzzles, {1, min(trajectories.width, rows), min(64, rows), rows})
    share = watch.read().cpu_share
    if note := crowded(share):
        _log.warning(note)
    _log.info("Recording %s puzzles, %d segments each.", f"{len(puzzles):,}", limit)
    bank = record(
        model,
        puzzles,
        limit,
        split=[name for name, pool in pools.items() for _ in range(len(pool))],
        batch_size=batch_size,
        validator=trained.validator(),
        pooled=pooled,
        drafts=drafts,
        trajectories=trajectories,
        header=BankHeader(
            trained_rule=trained.rule,
            preset=trained.preset.name if trained.preset else None,
            step=trained.step,
            seconds_per_segment=seconds,
            cpu_share=share,
        ),
        progress=progress,
        ranks=current(),
    )
    return dataclasses.replace(bank, learned=trained.learned(puzzles))
