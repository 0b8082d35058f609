"""The trace bank's file: safetensors with a JSON header. docs/trace-banks.md describes it for readers."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from hrm_rl.files import check_replaces, header_has, written_whole
from hrm_rl.halting.bank.header import COUNTS, FEATURES, FORMAT_VERSION, BankHeader
from hrm_rl.puzzles.base.splits import SPLITS
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.settings import SettingError, restore, typed
from hrm_rl.stored.tensors import DamagedTensors, read_arrays
from hrm_rl.stored.text import parse_json

FORMAT = "hrm_rl trace bank"

Arrays = dict[str, Any]
"""The fields of a TraceBank but its header, and `first_correct`."""

_PLAIN = ("correct", "valid", "cell_accuracy", "puzzle_identifiers", "puzzle_key", "rating")
_TOKENS = ("inputs", "labels")
_CODES = ("source", "split")
_NAMES = ("source_names", "split_names")
_OPTIONAL = ("pooled_z_H", "drafts", "learned", "draft_ids")
_OTHERS = "others."
"""Begins the names of columns of the trajectories but the plain one."""
_REQUIRED = (*_PLAIN, *_TOKENS, *_CODES, "first_correct")
# These compare a segment with the last one: infinite at the first.
_INFINITE_AT_FIRST = ("kl", "residual_H", "residual_L")


def write_bank(path: str | os.PathLike[str], header: BankHeader, arrays: Arrays) -> None:
    """Write a bank whole or not at all; see `TraceBank.save`."""
    check_values(arrays, "the bank cannot be saved")
    check_bank_path(path)
    names, codes = np.unique(np.array(arrays["source"], dtype=np.str_), return_inverse=True)
    tensors = {name: arrays[name] for name in (*_PLAIN, *_OPTIONAL) if arrays[name] is not None}
    tensors |= arrays["features"]
    tensors |= {f"{_OTHERS}{name}": column for name, column in arrays["others"].items()}
    counts = [name for name in tensors if name.removeprefix(_OTHERS) in COUNTS]
    tensors |= {name: tensors[name].astype(np.int16) for name in counts}
    tensors |= {name: _pack(arrays[name]) for name in _TOKENS}
    tensors |= {
        "first_correct": arrays["first_correct"].astype(np.int16),
        "source": codes.astype(np.uint16 if len(names) < 1 << 16 else np.uint32),
        "split": np.array([SPLITS.index(name) for name in arrays["split"]], np.uint8),
    }
    metadata = {
        "format": FORMAT,
        "version": str(FORMAT_VERSION),
        "header": json.dumps(
            {k: v for k, v in dataclasses.asdict(header).items() if v or k != "trajectories"}
        ),
        "source_names": json.dumps(names.tolist()),
        "split_names": json.dumps(SPLITS),
    }
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with written_whole(path) as partial:
        partial.write_bytes(save(tensors, metadata))


def check_bank_path(path: str | os.PathLike[str]) -> None:
    """Raise OSError or ValueError if a bank cannot be written to `path`, or would replace another file."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a bank is one file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    check_replaces(path, "a trace bank", header_has(FORMAT.encode()))


def read_bank(path: str | os.PathLike[str]) -> tuple[BankHeader, Arrays]:
    """Read a bank's header and arrays; `TraceBank.load` checks their shapes and values.

    Raises ValueError naming the file and what is wrong, or FileNotFoundError.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a bank is one file, made by `hrm-rl trace`")
    if not path.is_file():
        raise FileNotFoundError(f"no bank at {path}; `hrm-rl trace RUN --out {path}` makes one")
    try:
        tensors, metadata = read_arrays(path, _check_kind)
        missing = [name for name in _REQUIRED if name not in tensors]
        if missing:
            raise ValueError(f"the bank lacks {', '.join(missing)}")
        return _read_header(metadata), _read_arrays(metadata, tensors)
    except DamagedTensors as error:
        raise ValueError(f"{path} is not a trace bank, or is cut short: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_kind(metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError("a safetensors file, but not a trace bank; `hrm-rl trace` makes one")
    if metadata.get("version") != str(FORMAT_VERSION):
        raise ValueError(
            f"a trace bank of format {metadata.get('version')}, but this version of hrm_rl reads "
            f"format {FORMAT_VERSION}; record it again"
        )


def _read_header(metadata: Mapping[str, str]) -> BankHeader:
    stored = _read_json(metadata, "header")
    known = {field.name for field in dataclasses.fields(BankHeader)}
    try:
        values = typed(stored, Mapping[str, Any])
        # Later versions may add fields.
        return restore(BankHeader, {key: values[key] for key in known & values.keys()})
    except SettingError as error:
        raise ValueError(f"the header is damaged: {error}") from None


def _read_arrays(metadata: Mapping[str, str], tensors: dict[str, NDArray[Any]]) -> Arrays:
    names = (typed(_read_json(metadata, key), tuple[str, ...], key) for key in _NAMES)
    try:
        sources, splits = names
        source = tuple(sources[code] for code in tensors["source"].tolist())
        split = np.array([splits[code] for code in tensors["split"].tolist()], dtype=np.str_)
    except (IndexError, TypeError):  # TypeError: a code that is not an integer
        raise ValueError("a source or split code has no name in the header") from None
    arrays: Arrays = {name: tensors[name] for name in (*_PLAIN, "first_correct")}
    arrays |= {name: tensors.get(name) for name in _OPTIONAL}
    arrays |= {name: _unpack(tensors[name]) for name in _TOKENS}
    arrays["features"] = {name: tensors[name] for name in FEATURES if name in tensors}
    others = {name: column for name, column in tensors.items() if name.startswith(_OTHERS)}
    arrays["others"] = {name.removeprefix(_OTHERS): column for name, column in others.items()}
    return arrays | {"source": source, "split": split}


def _read_json(metadata: Mapping[str, str], name: str) -> Any:
    try:
        return parse_json(metadata[name])
    except (KeyError, ValueError):
        raise ValueError(f"the header's {name} is missing or damaged") from None


def check_values(arrays: Arrays, consequence: str) -> None:
    """Raise ValueError naming the first column that holds NaN, or infinity where it has no meaning."""
    columns: dict[str, NDArray[Any]] = {"cell_accuracy": arrays["cell_accuracy"]}
    columns |= arrays["features"]
    if arrays["pooled_z_H"] is not None:
        columns["pooled_z_H"] = arrays["pooled_z_H"]
    columns = {name: column[:, None] for name, column in columns.items()}  # [N, K, M, ...]
    columns |= {f"{_OTHERS}{name}": column for name, column in arrays["others"].items()}
    for name, column in columns.items():
        wrong = ~np.isfinite(column)
        if name.removeprefix(_OTHERS) in _INFINITE_AT_FIRST:
            wrong[:, :, 0] &= column[:, :, 0] != np.inf
        if wrong.any():
            row, _, segment = (int(index[0]) for index in np.nonzero(wrong)[:3])
            what = "NaN" if np.isnan(column[wrong]).any() else "infinity"
            raise ValueError(
                f"{consequence}: {name} holds {what} ({int(wrong.sum())} values, the first at "
                f"puzzle {row}, segment {segment + 1})"
            )
    if np.isinf(arrays["rating"]).any():
        raise ValueError(f"{consequence}: rating holds infinity")


def _pack(tokens: NDArray[np.int32]) -> NDArray[Any]:
    """Tokens as uint8, or uint16 from 255 tokens on; the largest number stands for IGNORE_LABEL."""
    kind = np.uint8 if tokens.max() < 255 else np.uint16
    top = np.iinfo(kind).max
    asked = tokens != IGNORE_LABEL
    if tokens.max() >= top or tokens[asked].min(initial=0) < 0:
        raise ValueError(f"tokens must be 0..{top - 1} (or {IGNORE_LABEL} in labels)")
    return np.where(asked, tokens, top).astype(kind)


def _unpack(packed: NDArray[Any]) -> NDArray[np.int32]:
    if packed.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"tokens must be uint8 or uint16, got {packed.dtype}")
    tokens = packed.astype(np.int32)
    return np.where(tokens == np.iinfo(packed.dtype).max, IGNORE_LABEL, tokens).astype(np.int32)
