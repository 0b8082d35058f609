"""A run on disk: its configuration, its log and its checkpoints, each of which appears whole or not at all.

RUN/config.json                     the resolved preset and how it computes
RUN/config.toml                     the same, as a file for `hrm-rl train --config`
RUN/learned.npy                     `puzzle_keys` of the puzzles it learns from
RUN/metrics.jsonl                   one JSON object a log line
RUN/events.out.tfevents.*           for TensorBoard, which names a run by the folder of these files
RUN/checkpoints/step-0000500/       config.json + model.safetensors (what is evaluated)
                                    and state.pt (what a resume needs)
"""

import dataclasses
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_rl.files import portable_path, write_text, written_whole
from hrm_rl.model import HRM, HRMConfig
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
from hrm_rl.model.files.weights import LEARNED_FILE, read_config
from hrm_rl.settings import read_json, reading, restore, typed, within
from hrm_rl.training.config import to_toml
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset

_log = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
STATE_FILE = "state.pt"


class RunFolder:
    """Reads and writes the files of one run. `which` is the checkpoint that `load_model` loads: a step, best,
    or the newest."""

    def __init__(self, path: str | os.PathLike[str], which: str | None = None) -> None:
        self.path, self.which = Path(path), which

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

    def store(self, preset: Preset, compute: Compute) -> None:
        """Write the resolved configuration, replacing an earlier one."""
        self.path.mkdir(parents=True, exist_ok=True)
        if preset.data.file is not None:
            data = dataclasses.replace(preset.data, file=portable_path(preset.data.file))
            preset = dataclasses.replace(preset, data=data)
        config = {"preset": preset.to_dict(), "compute": vars(compute)}
        write_text(self.path / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
        write_text(self.path / "config.toml", to_toml(preset, compute))

    def store_learned(self, keys: NDArray[np.uint64]) -> None:
        """Keep the keys of the puzzles that the run learns from."""
        with written_whole(self.path / LEARNED_FILE) as partial, partial.open("wb") as file:
            np.save(file, keys)

    def learned(self) -> NDArray[np.uint64] | None:
        """The keys that `store_learned` kept, also beside a pushed model; None if there are none, or, with a
        warning, damaged ones."""
        file = self.path / LEARNED_FILE
        if not file.is_file():
            return None
        try:
            keys = np.load(file, allow_pickle=False)
        except (ValueError, EOFError):
            keys = None
        if not isinstance(keys, np.ndarray) or keys.dtype != np.uint64 or keys.ndim != 1:
            _log.warning("%s is damaged; the run's puzzles are read again.", file)
            return None
        return keys

    def refuse_if_used(self, alternative: str = "") -> None:
        """Raise FileExistsError if the folder holds a run (the message ends in `alternative`) or anything
        else."""
        if (self.path / CONFIG_FILE).exists():
            message = f"{self.path} already holds a run or a model; choose another folder"
            raise FileExistsError(message + alternative)
        if self.path.exists() and (not self.path.is_dir() or any(map(_counts, self.path.iterdir()))):
            raise FileExistsError(
                f"{self.path} already exists and is not an empty folder; choose another folder"
            )

    def config(self) -> tuple[Preset, Compute]:
        """The stored configuration. Raises FileNotFoundError or ValueError if it cannot be read."""
        file = self.path / CONFIG_FILE
        if not file.is_file():
            raise FileNotFoundError(f"{self.path} is not a run folder: it has no {CONFIG_FILE}")
        return read_config_json(file)

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

    def save(self, step: int, model: HRM, state: dict[str, Any], keep: int = 2) -> Path:
        """Write a checkpoint; keep the newest `keep` and the best, and nothing that a killed process left
        half written."""
        folder = self.path / "checkpoints" / f"step-{step:07d}"
        for stale in folder.parent.glob("*.partial"):
            shutil.rmtree(stale)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(folder) as partial:
            model.save_pretrained(partial)
            torch.save(state, partial / STATE_FILE)
        best = best_checkpoint(self.path)
        for old in self.checkpoints()[:-keep]:
            if old != best:
                shutil.rmtree(old)
        return folder

    def load_model(self, dtype: str | None = None) -> tuple[HRM, int]:
        """The chosen checkpoint's model (the weight average, if one is kept) and its step.

        It computes in `dtype`, by default in the dtype it was trained in.
        """

        def load(checkpoint: Path) -> tuple[HRM, int]:
            return HRM.from_pretrained(checkpoint, forward_dtype=dtype), step_of(checkpoint)

        if self.which is None:
            self.config()  # raises if this is not a run at all
            return newest_whole(self.path, load)
        return load(self.chosen())

    def set_damaged_aside(self) -> None:
        """Rename checkpoints that are newer than the newest whole one, with a warning.

        Raises ValueError if none is whole.
        """

        def check(checkpoint: Path) -> int:
            HRM.from_pretrained(checkpoint)
            _read_state(checkpoint)
            return step_of(checkpoint)

        whole = newest_whole(self.path, check)
        for checkpoint in self.checkpoints():
            if step_of(checkpoint) > whole:
                checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.damaged"))

    def check_model(self, preset: Preset, config: HRMConfig | None = None) -> None:
        """Raise ValueError if the chosen checkpoint (or one with this `config`) has another architecture than
        the run's configuration."""
        kept = (config or read_config(self.chosen())).to_dict()
        for name, value in preset.model.to_dict().items():
            if name != "forward_dtype" and value != kept[name]:
                raise ValueError(
                    f"{self.path / CONFIG_FILE}: preset.model.{name} is {value!r}, but {self.chosen()} has "
                    f"{kept[name]!r}: one of the two is damaged"
                )

    def load_state(self) -> dict[str, Any]:
        """The newest checkpoint's training state. Raises ValueError if the file is damaged."""
        return _read_state(self.latest())


def _read_state(checkpoint: Path) -> dict[str, Any]:
    file = checkpoint / STATE_FILE
    try:
        with zipfile.ZipFile(file) as archive:  # torch compares no checksums
            assert archive.testzip() is None
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{file} is damaged or missing (--init starts a new run from its weights)"
        ) from error


def _counts(path: Path) -> bool:
    """Whether a path is more than what a process that was killed while writing leaves."""
    return not path.name.endswith(".partial")


def read_config_json(file: Path) -> tuple[Preset, Compute]:
    """The preset and Compute that `RunFolder.store` wrote. Raises ValueError if the file is damaged."""
    stored = read_json(file, "a run configuration")
    with reading(file, "a run configuration"):
        values = typed(stored["preset"], Mapping[str, Any], "preset")
        with within("preset"):
            preset = Preset.from_dict(values)
        return preset, restore(Compute, stored["compute"], "compute")
