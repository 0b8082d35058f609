"""Weights in and out of our folders, config.json + model.safetensors.

Reading returns (config, tensors, name), from which `PuzzleModel.from_state` makes a model.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.files import write_text
from hrm_rl.model.config import ARCHITECTURES, HRMConfig
from hrm_rl.model.files.checkpoints import list_checkpoints, newest_whole
from hrm_rl.model.files.checksums import check_files
from hrm_rl.model.files.hub import resolve
from hrm_rl.model.files.tensors import not_finite, write_tensors
from hrm_rl.model.layers import stored_relations
from hrm_rl.settings import read_json, reading
from hrm_rl.stored.tensors import read_tensors

CONFIG_FILE = "config.json"
_CONTENT = "a model configuration"
WEIGHTS_FILE = "model.safetensors"
# How the model was trained; beside the two if it was pushed from a run.
RUN_FILE = "run.json"
# Which puzzles it learned from; in a run's folder, and beside a pushed model.
LEARNED_FILE = "learned.npy"
PUZZLE_TABLE = "puzzle_emb.weights"


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
    folder = resolve(source, (CONFIG_FILE, WEIGHTS_FILE, LEARNED_FILE), revision)
    if list_checkpoints(folder) and not (folder / WEIGHTS_FILE).exists():
        return newest_whole(folder, lambda checkpoint: _read(checkpoint, forward_dtype))
    return _read(folder, forward_dtype)


def _read(folder: Path, forward_dtype: str | None) -> Loaded:
    _, tensors = read_folder(folder)
    config = read_config(folder)
    if forward_dtype is not None:
        config = dataclasses.replace(config, forward_dtype=forward_dtype)
    return config, tensors, str(folder / WEIGHTS_FILE)


def read_config(folder: Path) -> HRMConfig:
    """The configuration in a model's folder. Raises ValueError naming file and field if it is damaged."""
    file = folder / CONFIG_FILE
    settings = read_json(file, _CONTENT)
    with reading(file, _CONTENT):
        return HRMConfig.from_dict(settings)


def fetch_pretrained(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of a model: as given, of the checkpoint RUN@500 or RUN@best, or the cached copy of one on
    the Hub, with RUN_FILE and LEARNED_FILE.

    Raises FileNotFoundError if it is none of these.
    """
    return resolve(source, (CONFIG_FILE, WEIGHTS_FILE, RUN_FILE, LEARNED_FILE), revision)


def write_folder(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], directory: str | os.PathLike[str]
) -> None:
    """Write config.json and model.safetensors; each file appears whole or not at all.

    Raises FileExistsError if the folder is a run's, whose config.json they would replace.
    """
    folder = Path(directory)
    if list_checkpoints(folder):
        raise FileExistsError(f"{folder} is a run's folder; save the model in another")
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS_FILE, tensors)
    write_text(folder / CONFIG_FILE, json.dumps(settings, indent=2) + "\n")


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The content of config.json and the tensors of model.safetensors.

    Raises FileNotFoundError if one is missing, ValueError if one is damaged.
    """
    config_path, weights_path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    for path in (config_path, weights_path):
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no model: {path.name} is missing")
    check_files(folder, (CONFIG_FILE, WEIGHTS_FILE))
    settings = read_json(config_path, _CONTENT)
    try:
        tensors = read_tensors(weights_path)
    except ValueError as error:
        raise ValueError(f"{weights_path} is damaged: {error}") from None
    if broken := not_finite(tensors):
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise ValueError(f"{weights_path} is damaged: {broken[0]}{more} holds NaN or infinite values")
    return settings, tensors


def check_fit(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise ValueError with the first differences if `tensors` differ from `wanted` in names or shapes."""
    problems = [f"{key} is missing" for key in wanted if key not in tensors]
    for key, tensor in tensors.items():
        if key not in wanted:
            problems.append(f"{key} has no place in this architecture")
        elif tensor.is_floating_point() != wanted[key].is_floating_point():
            problems.append(f"{key} holds {tensor.dtype}, the architecture {wanted[key].dtype}")
        elif tensor.shape != wanted[key].shape:
            problems.append(
                f"{key} has shape {tuple(tensor.shape)}, the architecture {tuple(wanted[key].shape)}"
            )
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise ValueError(f"{name} does not fit: " + "; ".join(problems[:3]) + more)


def check_model(config: HRMConfig, tensors: Mapping[str, Tensor], name: str) -> NDArray[Any] | None:
    """The relations of cells that the tensors hold, if any.

    Raises ValueError with the first differences if the tensors do not fit the model of the configuration and
    those relations.
    """
    kind = ARCHITECTURES[config.architecture]
    layers = sum(stack.layers for stack in config.stacks.values())
    if layers > len(tensors):  # before seconds are spent on making them
        raise ValueError(f"{name} does not fit: {len(tensors)} tensors are too few for {layers} layers")
    relations = stored_relations(tensors, config)
    if (relations is not None) != config.relation_bias:
        has = "no" if relations is None else "a"
        raise ValueError(
            f"{name} does not fit: it has {has} relation bias, but relation_bias is {config.relation_bias}"
        )
    if config.pos_encodings.startswith("rope"):
        # Rotary tables are not stored, and arange on meta loads torch._dynamo, a third of a command's start.
        config = dataclasses.replace(config, pos_encodings="none")
    with torch.device("meta"):  # takes no memory, however wrong the configuration is
        check_fit(kind(config, relations).state_dict(), tensors, name)
    return relations


def with_puzzle_ids(loaded: Loaded, count: int | None, reset: bool) -> Loaded:
    """The model with `count` rows in its puzzle embedding (None: as many as it has): its own, then fresh
    ones, which are zero; with `reset` all are fresh.

    Raises ValueError if it has no puzzle embedding, or more rows than `count` without `reset`.
    """
    config, tensors, name = loaded
    if count is None and not reset:
        return loaded
    if not config.embedding_width:
        raise ValueError(f"{name} has no puzzle embedding: its puzzle_emb_ndim is 0")
    has = config.num_puzzle_identifiers
    count = has if count is None else count
    config = dataclasses.replace(config, num_puzzle_identifiers=count)
    if count < has and not reset:
        raise ValueError(
            f"{name} has {has} puzzle identifiers, more than the {count} asked for; reset them to have fewer"
        )
    rows = tensors[PUZZLE_TABLE]
    fresh = rows.new_zeros(count if reset else count - has, rows.shape[1])
    table = fresh if reset else torch.cat((rows, fresh))
    return config, {**tensors, PUZZLE_TABLE: table}, name
