"""A checkpoint as others get it: the model, its card, its settings, and the puzzles it learned from."""

import json
from pathlib import Path

import torch

from hrm_rl.files import write_text
from hrm_rl.model.files.weights import LEARNED_FILE, RUN_FILE, write_folder
from hrm_rl.training.report.model_card import base_name, model_card, origin_name
from hrm_rl.training.run_folder import RunFolder, as_stored

CARD_FILE = "README.md"


def push_run(run: RunFolder, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
    """Upload a run's chosen checkpoint with its card, its settings and the keys of the puzzles it learned
    from; returns the address.

    Of the paths of puzzle files, and of the weights it started from, only the names are published. Raises
    the errors of `model_card` and of `hrm_rl.model.files.hub.push`.
    """
    model, step = run.load_model()
    files: dict[str, str | bytes] = {CARD_FILE: model_card(run, repo_id), RUN_FILE: _settings(run, step)}
    if run.learned() is not None:
        files[LEARNED_FILE] = (run.path / LEARNED_FILE).read_bytes()
    message = f"{run.config()[0].name} after {step} steps"
    return model.push_to_hub(repo_id, private=private, token=token, message=message, files=files)


def save_small(run: RunFolder, folder: Path) -> int:
    """Write a run's chosen checkpoint with its settings into `folder`, the weights in half precision; returns
    its step.

    Its puzzles are generated again where they matter, so their keys are left out. It computes in float32,
    which no CPU has to emulate.
    """
    model, step = run.load_model("float32")
    tensors = {name: t.half() if t.dtype == torch.float32 else t for name, t in model.state_dict().items()}
    write_folder(model.config.to_dict(), tensors, folder)
    write_text(folder / RUN_FILE, _settings(run, step))
    return step


def _settings(run: RunFolder, step: int) -> str:
    stored = as_stored(*run.config())
    preset = stored["preset"]
    if preset["data"].get("file"):
        preset["data"]["file"] = base_name(preset["data"]["file"])
    if preset.get("init"):
        preset["init"] = origin_name(preset["init"])
    return json.dumps({"step": step, **stored}, indent=2) + "\n"
