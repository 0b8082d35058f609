"""`RunFolder`: the files of one run."""

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.distributed.ranks import on_first_rank
from hrm_rl.files import remove, written_whole
from hrm_rl.model import HRMConfig, ReasoningModel, from_pretrained
from hrm_rl.model.files.checkpoints import (
    METRICS_FILE,
    best_checkpoint,
    find_checkpoint,
    is_checkpoint_name,
    list_checkpoints,
    newest_whole,
    read_metrics,
    split_name,
    step_of,
)
from hrm_rl.model.files.checksums import STATE_FILE, check_files, write_checksums
from hrm_rl.model.files.tensors import not_finite
from hrm_rl.model.files.weights import CONFIG_FILE, LEARNED_FILE, RUN_FILE, check_model, read_pretrained
from hrm_rl.stored.npy import read_npy
from hrm_rl.training.config import FREE_ON_RESUME
from hrm_rl.training.config.layers import flat
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset
from hrm_rl.training.run_folder.configuration import (
    Configuration,
    read_checked,
    read_configuration,
    run_json,
    write_configuration,
)
from hrm_rl.training.run_folder.lock import LOCK_FILE, FolderLock
from hrm_rl.training.run_folder.state import read_state, write_state

_log = logging.getLogger(__name__)

# What may differ between the checkpoints of a run: a length stretches the schedule, a machine has its dtype.
_FREE = (*FREE_ON_RESUME, "learner.total_steps", "model.forward_dtype")


class RunFolder:
    """Reads and writes the files of one run. `which` is the checkpoint that `load_model` loads: a step, best,
    or the newest. Of several ranks all read, and the first one writes."""

    def __init__(self, path: str | os.PathLike[str], which: str | None = None) -> None:
        self.path, self.which = Path(path), which
        self._stored: Configuration | None = None
        self._checked: _Checkpoint | None = None
        self._keys: NDArray[np.uint64] | None = None
        self.lock = FolderLock(self.path)

    @classmethod
    def named(cls, source: str | os.PathLike[str]) -> Self:
        """The run of a name: its folder, RUN@STEP, RUN@best, or the folder of a checkpoint."""
        path, which = split_name(source)
        run = path.parent.parent
        inside = path.parent.name == "checkpoints" and (run / CONFIG_FILE).is_file()
        if which is None and inside and is_checkpoint_name(path.name):
            return cls(run, str(step_of(path)))
        return cls(path, which)

    @property
    def metrics_file(self) -> Path:
        return self.path / METRICS_FILE

    @property
    def tensorboard(self) -> Path:
        """The folder of the event files; earlier versions made one of their own."""
        earlier = self.path / "tensorboard"
        return earlier if earlier.is_dir() else self.path

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the log, without one that a killed process left incomplete."""
        return read_metrics(self.path)

    def create(self, preset: Preset, compute: Compute) -> None:
        """Start a run here. Raises FileExistsError if the folder is in use."""
        self.refuse_if_used()
        self.store(preset, compute)

    @on_first_rank
    def store(self, preset: Preset, compute: Compute) -> None:
        """Write the resolved configuration, replacing an earlier one."""
        write_configuration(self.path, preset, compute)
        self._stored = preset, compute

    @on_first_rank
    def store_learned(self, keys: NDArray[np.uint64]) -> None:
        """Keep the keys of the puzzles that the run learns from."""
        self._keys = keys
        with written_whole(self.path / LEARNED_FILE) as partial, partial.open("wb") as file:
            np.save(file, keys)
        write_checksums(self.path, [LEARNED_FILE])

    def learned(self) -> NDArray[np.uint64] | None:
        """The keys that `store_learned` kept, also beside a pushed model; None if there are none, or, with a
        warning, damaged ones."""
        file = self.path / LEARNED_FILE
        if not file.is_file():
            return None
        try:
            check_files(self.path, [LEARNED_FILE])
            keys = read_npy(file)
        except ValueError:
            keys = None
        if keys is None or keys.dtype != np.uint64 or keys.ndim != 1:
            _log.warning("%s is damaged; the run's puzzles are read again.", file)
            return None
        self._keys = keys
        return keys

    @on_first_rank
    def refuse_if_used(self, alternative: str = "") -> None:
        """Raise FileExistsError if the folder holds a run (the message ends in `alternative`) or anything
        else."""
        if (self.path / CONFIG_FILE).exists() or self.checkpoints():
            message = f"{self.path} already holds a run or a model; choose another folder"
            raise FileExistsError(message + alternative)
        if not self.is_unused():
            raise FileExistsError(
                f"{self.path} already exists and is not an empty folder; choose another folder"
            )

    def is_unused(self) -> bool:
        """Whether the folder is new, or holds nothing but what a killed start left."""
        if not self.path.exists():
            return True
        return self.path.is_dir() and not any(map(_counts, self.path.iterdir()))

    def config(self) -> Configuration:
        """The stored configuration, with a warning if config.json is damaged and another file has it.

        Raises FileNotFoundError or ValueError if it cannot be read.
        """
        return read_configuration(self.path)

    # --- checkpoints ---------------------------------------------------------------------------

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return list_checkpoints(self.path)

    def latest(self) -> Path:
        """The newest checkpoint. Raises FileNotFoundError if there is none."""
        if not self.checkpoints():
            self.config()  # raises if this is not a run at all
        return newest_whole(self.path, lambda checkpoint: checkpoint)

    def latest_step(self) -> int:
        """The step of the newest checkpoint. Raises FileNotFoundError if there is none."""
        return step_of(self.latest())

    def chosen(self) -> Path:
        """The checkpoint `which`. Raises FileNotFoundError if there is none such."""
        if self.which is None:
            return self.latest()
        self.config()  # raises if this is not a run at all
        return find_checkpoint(self.path, self.which)

    @on_first_rank
    def save(self, step: int, model: ReasoningModel, state: dict[str, Any], keep: int = 2) -> Path:
        """Write a checkpoint; keep the newest `keep` and the best, and nothing that a killed process left
        half written.

        Raises FloatingPointError, and saves nothing, if weights or optimizer hold NaN or infinite values.
        """
        if broken := not_finite(model.state_dict()):
            raise FloatingPointError(f"{broken[0]} holds NaN or infinite values; nothing was saved")
        folder = self.path / "checkpoints" / f"step-{step:07d}"
        try:
            self._restore_removed()
            for stale in folder.parent.glob("*.partial"):
                with suppress(OSError):
                    remove(stale)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(folder) as partial:
                partial.mkdir()
                write_state(partial, state)
                model.save_pretrained(partial)
                text = run_json(*(self._stored or self.config()), step)
                (partial / RUN_FILE).write_text(text, encoding="utf-8")
                write_checksums(partial)
        except OSError as error:
            if error.strerror is None:
                raise
            kept = self.checkpoints()
            last = f"the newest is {kept[-1].name}" if kept else "there is none yet"
            reason = f"{error.strerror}. This checkpoint was not saved; {last}"
            raise OSError(
                error.errno, f"{reason}. --resume goes on once that is mended", str(folder)
            ) from None
        try:
            best = best_checkpoint(self.path)
        except OSError as error:
            _log.warning("%s cannot be read (%s): older checkpoints stay.", self.metrics_file, error.strerror)
            return folder
        for old in self.checkpoints()[:-keep]:
            if old != best:
                with suppress(OSError):
                    remove(old)
        return folder

    def _restore_removed(self) -> None:
        """Write the run's files again if its folder was removed or renamed while it trained.

        Raises BlockingIOError if another process uses the folder of that name.
        """
        self.lock.check(make=True)
        if self._stored is None or (self.path / CONFIG_FILE).exists():
            return
        _log.warning("%s was removed or renamed: a new folder of that name takes what follows.", self.path)
        self.store(*self._stored)
        if self._keys is not None:
            self.store_learned(self._keys)

    def load_model(self, dtype: str | None = None) -> tuple[ReasoningModel, int]:
        """The chosen checkpoint's model (the weight average, if one is kept) and its step.

        It computes in `dtype`, by default in the dtype it was trained in.
        """

        def load(checkpoint: Path) -> tuple[ReasoningModel, int]:
            return from_pretrained(checkpoint, forward_dtype=dtype), step_of(checkpoint)

        if self.which is None:
            self.config()  # raises if this is not a run at all
            return newest_whole(self.path, load)
        return load(self.chosen())

    @on_first_rank
    def set_damaged_aside(self) -> None:
        """Rename checkpoints that are newer than the newest whole one, with a warning.

        Raises ValueError if none is whole.
        """
        try:
            self._checked = newest_whole(self.path, _check)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{error}. No checkpoint is whole: --init starts a new run from weights, and --resume starts "
                "this one over once its checkpoints are removed"
            ) from error
        for checkpoint in self.checkpoints():
            if step_of(checkpoint) > step_of(self._checked.folder):
                checkpoint.rename(_free_name(checkpoint.with_name(f"{checkpoint.name}.damaged")))

    def check_settings(self, preset: Preset, step: int, config: HRMConfig) -> None:
        """Raise ValueError if the checkpoint of a step, whose model has this configuration, was made with
        other settings than the run's, but for those that a resume may change."""
        checkpoint = find_checkpoint(self.path, str(step))
        made, remedy = flat({"model": config.to_dict()}), "one of the two is damaged"
        if (checkpoint / RUN_FILE).is_file():
            made = flat(read_checked(checkpoint / RUN_FILE)[0].to_dict())
            remedy = f"it is damaged or was changed. Without {CONFIG_FILE} those of the checkpoint are taken"
        for name, value in flat(preset.to_dict()).items():
            if name not in _FREE and made.get(name, value) != value:
                raise ValueError(
                    f"{self.path / CONFIG_FILE}: preset.{name} is {value!r}, but {checkpoint} was made with "
                    f"{made[name]!r}: {remedy}"
                )

    def load_state(self) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        """The newest checkpoint's training state and the weights of its model. What `set_damaged_aside` has
        read is not read again.

        Raises ValueError if a file is damaged.
        """
        latest, checked, self._checked = self.latest(), self._checked, None
        return (checked if checked and checked.folder == latest else _check(latest))[1:]


class _Checkpoint(NamedTuple):
    folder: Path
    state: Any
    weights: Mapping[str, Tensor]


def _check(folder: Path) -> _Checkpoint:
    """What a resume reads of a checkpoint. Raises ValueError or OSError if it is damaged."""
    check_files(folder, (STATE_FILE, RUN_FILE))
    config, tensors, name = read_pretrained(folder)
    check_model(config, tensors, name)
    return _Checkpoint(folder, read_state(folder), tensors)


def _free_name(path: Path) -> Path:
    """`path`, with a number if it is taken."""
    names = (path.with_name(f"{path.name}-{number}") for number in range(2, 1000))
    return next((name for name in (path, *names) if not name.exists()), path)


def _counts(path: Path) -> bool:
    """Whether a path is more than what a process that was killed while writing leaves."""
    return not path.name.endswith(".partial") and path.name != LOCK_FILE
