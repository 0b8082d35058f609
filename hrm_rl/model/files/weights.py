"""Weights in and out: our folders (config.json + model.safetensors) and the reference's checkpoints.

Reading returns (config, tensors, name), from which `HRM.from_state` makes a model.
"""

import dataclasses
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from hrm_rl.files import written_whole
from hrm_rl.model.config import HRMConfig
from hrm_rl.model.files.checkpoints import list_checkpoints
from hrm_rl.model.files.hub import resolve

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
# How the model was trained; beside the two if it was pushed from a run.
RUN_FILE = "run.json"

# Prefixes of tensor names from torch.compile and the reference's wrappers.
_WRAPPER_PREFIXES = ("_orig_mod.", "module.", "model.", "inner.")
# Scratch tensors, and tensors that are computed, of some versions of the reference.
_DERIVED = ("puzzle_emb.local_weights", "puzzle_emb.local_ids", "rotary_emb.")


Loaded = tuple[HRMConfig, dict[str, Tensor], str]
"""Configuration, tensors, and where they come from, for messages."""


def read_pretrained(
    source: str | os.PathLike[str], revision: str | None = None, forward_dtype: str | None = None
) -> Loaded:
    """A model's configuration and tensors, from a folder, from a run folder (its newest checkpoint; RUN@500
    or RUN@best another), or from the Hugging Face Hub if huggingface_hub is installed; `forward_dtype`
    replaces the stored one.

    Raises:
        FileNotFoundError: neither such a folder nor a hub id, or a file is missing from the folder.
        ValueError: a file is damaged.
    """
    folder = resolve(source, (CONFIG_FILE, WEIGHTS_FILE), revision)
    checkpoints = list_checkpoints(folder)
    if checkpoints and not (folder / WEIGHTS_FILE).exists():
        folder = checkpoints[-1]
    settings, tensors = read_folder(folder)
    try:
        config = HRMConfig.from_dict(settings)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / CONFIG_FILE} is not a model configuration: {error}") from None
    if forward_dtype is not None:
        config = dataclasses.replace(config, forward_dtype=forward_dtype)
    return config, tensors, str(folder / WEIGHTS_FILE)


def fetch_pretrained(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of a model: as given, of the checkpoint RUN@500 or RUN@best, or the cached copy of one on
    the Hub, with RUN_FILE.

    Raises FileNotFoundError if it is none of these.
    """
    return resolve(source, (CONFIG_FILE, WEIGHTS_FILE, RUN_FILE), revision)


def read_reference(
    checkpoint: Mapping[str, Tensor] | str | os.PathLike[str],
    arch: HRMConfig | Mapping[str, Any],
    seq_len: int,
) -> Loaded:
    """The configuration and tensors of a checkpoint of the reference implementation.

    Args:
        checkpoint: its state dict, or the path of one (read with `weights_only=True`).
        arch: its `arch` settings (`all_config.yaml` beside the checkpoint), or an HRMConfig.
            Vocabulary, number of puzzle ids and their width are read from the tensors.
        seq_len: cells of a puzzle: 81 for Sudoku, 900 for Maze and ARC.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint of an HRM, or wrong settings in `arch`.
    """
    name = "the state dict" if isinstance(checkpoint, Mapping) else str(checkpoint)
    tensors = read_reference_state(checkpoint)
    settings = arch.to_dict() if isinstance(arch, HRMConfig) else dict(arch)
    settings["vocab_size"] = tensors["embed_tokens.embedding_weight"].shape[0]
    settings["seq_len"] = seq_len
    table = tensors.get("puzzle_emb.weights")
    settings["num_puzzle_identifiers"] = 1 if table is None else table.shape[0]
    settings["puzzle_emb_ndim"] = 0 if table is None else table.shape[1]
    try:
        config = HRMConfig.from_dict(settings)
    except ValueError as error:
        raise ValueError(f"the settings given for {name} are wrong: {error}") from None
    return config, tensors, name


def write_folder(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], directory: str | os.PathLike[str]
) -> None:
    """Write config.json and model.safetensors; each file appears whole or not at all."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS_FILE, tensors)
    with written_whole(folder / CONFIG_FILE) as partial:
        partial.write_text(json.dumps(settings, indent=2) + "\n")


def read_folder(folder: Path) -> tuple[Any, dict[str, Tensor]]:
    """The content of config.json and the tensors of model.safetensors.

    Raises FileNotFoundError if one is missing, ValueError if one is damaged.
    """
    config_path, weights_path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    for path in (config_path, weights_path):
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no model: {path.name} is missing")
    try:
        settings = json.loads(config_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{config_path} is not a model configuration: {error}") from None
    try:
        return settings, load_file(weights_path)
    except SafetensorError as error:
        raise ValueError(f"{weights_path} is damaged: {error}") from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file that appears whole or not at all."""
    whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    with written_whole(path) as partial:
        # Not save_file, whose files are readable by their owner alone.
        partial.write_bytes(save(whole, metadata={"format": "pt"}))


def read_reference_state(
    checkpoint: Mapping[str, Tensor] | str | os.PathLike[str],
) -> dict[str, Tensor]:
    """A reference checkpoint's tensors under their bare names; raises as `read_reference`."""
    if isinstance(checkpoint, Mapping):
        name, tensors = "the state dict", dict(checkpoint)
    else:
        name, tensors = str(checkpoint), _read_torch_file(Path(checkpoint))
    tensors = {_bare_name(key): t for key, t in tensors.items()}
    if "embed_tokens.embedding_weight" not in tensors:
        raise ValueError(
            f"{name} is not an HRM checkpoint: it has no embed_tokens.embedding_weight"
        )
    return {key: t for key, t in tensors.items() if not key.startswith(_DERIVED)}


def _bare_name(key: str) -> str:
    while key.startswith(_WRAPPER_PREFIXES):
        key = key.split(".", 1)[1]
    return key


def _read_torch_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's protocol
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is not a PyTorch state dict: it is damaged, or holds objects, which are not loaded"
        ) from error
    if not isinstance(loaded, Mapping) or not all(isinstance(t, Tensor) for t in loaded.values()):
        raise ValueError(f"{path} is not a PyTorch state dict: it holds more than named tensors")
    return dict(loaded)


def check_fit(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise ValueError with the first differences if `tensors` differ from `wanted` in names or shapes."""
    problems = [f"{key} is missing" for key in wanted if key not in tensors]
    for key, tensor in tensors.items():
        if key not in wanted:
            problems.append(f"{key} has no place in this architecture")
        elif tensor.shape != wanted[key].shape:
            problems.append(
                f"{key} has shape {tuple(tensor.shape)}, the architecture {tuple(wanted[key].shape)}"
            )
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise ValueError(f"{name} does not fit: " + "; ".join(problems[:3]) + more)
