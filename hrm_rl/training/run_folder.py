"""A run on disk: its configuration, its log, and checkpoints that appear whole or not at all.

RUN/config.json                     the resolved preset and how it computes
RUN/config.toml                     the same, as a file for `hrm-rl train --config`
RUN/metrics.jsonl                   one JSON object a log line
RUN/tensorboard/                    event files
RUN/checkpoints/step-0000500/       config.json + model.safetensors (what is evaluated)
                                    and state.pt (what a resume needs)
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from hrm_rl.model import HRM
from hrm_rl.model.files.weights import list_checkpoints, write_whole
from hrm_rl.training.config import to_toml
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset

CONFIG_FILE = "config.json"
STATE_FILE = "state.pt"
_KEPT = 2


class RunFolder:
    """Paths, and reading and writing, of one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def create(self, preset: Preset, compute: Compute) -> None:
        """Start a run here. Raises FileExistsError where the folder is in use."""
        self.refuse_if_used()
        self.store(preset, compute)

    def store(self, preset: Preset, compute: Compute) -> None:
        """Write the resolved configuration, over an earlier one."""
        self.path.mkdir(parents=True, exist_ok=True)
        config = {"preset": preset.to_dict(), "compute": vars(compute)}
        write_whole(self.path / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
        write_whole(self.path / "config.toml", to_toml(preset, compute))

    def refuse_if_used(self, otherwise: str = "") -> None:
        """Raises FileExistsError where the folder holds a run (`otherwise`: what one may do with
        it), or anything else."""
        if (self.path / CONFIG_FILE).exists():
            raise FileExistsError(
                f"{self.path} holds a run or a model already; choose another folder{otherwise}"
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FileExistsError(f"{self.path} exists and is no empty folder; choose another")

    def config(self) -> tuple[Preset, Compute]:
        """What `create` stored. Raises FileNotFoundError or ValueError where that cannot be."""
        file = self.path / CONFIG_FILE
        if not file.is_file():
            raise FileNotFoundError(f"{self.path} is no run folder: it has no {CONFIG_FILE}")
        return read_config_json(file)

    # --- checkpoints ---------------------------------------------------------------------------

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return list_checkpoints(self.path)

    def latest(self) -> Path:
        """The newest checkpoint. Raises FileNotFoundError where there is none."""
        checkpoints = self.checkpoints()
        if not checkpoints:
            self.config()  # says so where this is no run at all
            raise FileNotFoundError(f"{self.path} has no checkpoint yet")
        return checkpoints[-1]

    def latest_step(self) -> int:
        """The step of the newest checkpoint. Raises FileNotFoundError where there is none."""
        return int(self.latest().name[5:])

    def save(self, step: int, model: HRM, state: dict[str, Any]) -> Path:
        """Write a checkpoint beside its name, then rename it; keep the newest two."""
        folder = self.path / "checkpoints" / f"step-{step:07d}"
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        model.save_pretrained(partial)
        torch.save(state, partial / STATE_FILE)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
        for old in self.checkpoints()[:-_KEPT]:
            shutil.rmtree(old)
        return folder

    def load_model(self, dtype: str | None = None) -> tuple[HRM, int]:
        """The newest checkpoint's model (the weight average, where one is kept), and its step.

        It computes in `dtype`, by default in what it was trained in.
        """
        return HRM.from_pretrained(self.latest(), forward_dtype=dtype), self.latest_step()

    def load_state(self) -> dict[str, Any]:
        """The newest checkpoint's training state."""
        file = self.latest() / STATE_FILE
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"{file} is damaged or missing; the run cannot go on") from error


def read_config_json(file: Path) -> tuple[Preset, Compute]:
    """What `RunFolder.store` wrote. Raises ValueError where it is damaged."""
    try:
        stored = json.loads(file.read_text())
        return Preset.from_dict(stored["preset"]), Compute(**stored["compute"])
    except KeyError as error:
        raise ValueError(f"{file} is no run configuration: it lacks {error}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no run configuration: {error}") from None
