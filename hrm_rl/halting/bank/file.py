"""The trace bank's file: safetensors with a JSON header. docs/trace-banks.md describes it for readers."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hrm_rl.halting.bank import FEATURES, FORMAT_VERSION, SPLITS, BankHeader, TraceBank
from hrm_rl.puzzles.pool import IGNORE_LABEL

FORMAT = "hrm_rl trace bank"

_REQUIRED = (
    "correct",
    "valid",
    "cell_accuracy",
    "inputs",
    "labels",
    "puzzle_identifiers",
    "puzzle_key",
    "rating",
    "source",
    "split",
    "first_correct",
)
# These compare a segment with the last one: infinite at the first.
_INFINITE_AT_FIRST = ("kl", "residual_H", "residual_L")


def write_bank(bank: TraceBank, path: str | os.PathLike[str]) -> None:
    """Write a bank whole or not at all; see `TraceBank.save`."""
    _check_values(bank, "the bank cannot be saved")
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a bank is one file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    names, codes = np.unique(np.array(bank.source, dtype=np.str_), return_inverse=True)
    tensors: dict[str, NDArray[Any]] = {
        "correct": bank.correct,
        "valid": bank.valid,
        "cell_accuracy": bank.cell_accuracy,
        **bank.features,
        "inputs": _pack(bank.inputs),
        "labels": _pack(bank.labels),
        "puzzle_identifiers": bank.puzzle_identifiers,
        "puzzle_key": bank.puzzle_key,
        "rating": bank.rating,
        "first_correct": bank.first_correct.astype(np.int16),
        "source": codes.astype(np.uint16 if len(names) < 1 << 16 else np.uint32),
        "split": np.array([SPLITS.index(name) for name in bank.split], np.uint8),
    }
    if "unchanged_for" in tensors:
        tensors["unchanged_for"] = tensors["unchanged_for"].astype(np.int16)
    for name in ("pooled_z_H", "drafts"):
        if getattr(bank, name) is not None:
            tensors[name] = getattr(bank, name)
    metadata = {
        "format": FORMAT,
        "version": str(FORMAT_VERSION),
        "header": json.dumps(dataclasses.asdict(bank.header)),
        "source_names": json.dumps(names.tolist()),
        "split_names": json.dumps(SPLITS),
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(
            save({name: np.ascontiguousarray(t) for name, t in tensors.items()}, metadata)
        )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_bank(path: str | os.PathLike[str]) -> TraceBank:
    """Read and check a bank; see `TraceBank.load`."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a bank is one file, made by `hrm-rl trace`")
    if not path.is_file():
        raise FileNotFoundError(f"no bank at {path}; `hrm-rl trace RUN --out {path}` makes one")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            _check_kind(metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        bank = _assemble(metadata, tensors)
        _check_values(bank, "it is damaged")
    except SafetensorError as error:
        raise ValueError(f"{path} is no trace bank, or is cut short: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return bank


def _check_kind(metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError("a safetensors file, but no trace bank; `hrm-rl trace` makes one")
    if metadata.get("version") != str(FORMAT_VERSION):
        raise ValueError(
            f"a trace bank of format {metadata.get('version')}, and this version of hrm_rl reads "
            f"format {FORMAT_VERSION}; record it again"
        )


def _assemble(metadata: Mapping[str, str], tensors: dict[str, NDArray[Any]]) -> TraceBank:
    missing = [name for name in _REQUIRED if name not in tensors]
    if missing:
        raise ValueError(f"the bank lacks {', '.join(missing)}")
    stored, sources, splits = (
        _read_json(metadata, name) for name in ("header", "source_names", "split_names")
    )
    known = {field.name for field in dataclasses.fields(BankHeader)}
    try:
        header = BankHeader(**{name: value for name, value in stored.items() if name in known})
    except (AttributeError, TypeError) as error:
        raise ValueError(f"the header is damaged: {error}") from None
    try:
        source = tuple(sources[code] for code in tensors["source"].tolist())
        split = np.array([splits[code] for code in tensors["split"].tolist()], dtype=np.str_)
    except (IndexError, TypeError):
        raise ValueError("a source or split code has no name in the header") from None
    bank = TraceBank(
        correct=tensors["correct"],
        valid=tensors["valid"],
        cell_accuracy=tensors["cell_accuracy"],
        features={name: tensors[name] for name in FEATURES if name in tensors},
        inputs=_unpack(tensors["inputs"]),
        labels=_unpack(tensors["labels"]),
        puzzle_identifiers=tensors["puzzle_identifiers"],
        puzzle_key=tensors["puzzle_key"],
        rating=tensors["rating"],
        source=source,
        split=split,
        header=header,
        pooled_z_H=tensors.get("pooled_z_H"),
        drafts=tensors.get("drafts"),
    )
    if bank.header.puzzles_hash != header.puzzles_hash:
        raise ValueError("the puzzles are not those of the header (puzzles_hash differs)")
    if not np.array_equal(tensors["first_correct"], bank.first_correct):
        raise ValueError("first_correct does not follow from correct")
    return bank


def _read_json(metadata: Mapping[str, str], name: str) -> Any:
    try:
        return json.loads(metadata[name])
    except (KeyError, ValueError):
        raise ValueError(f"the header's {name} is missing or damaged") from None


def _check_values(bank: TraceBank, consequence: str) -> None:
    """ValueError naming the first column that holds what it should not."""
    columns: dict[str, NDArray[Any]] = {"cell_accuracy": bank.cell_accuracy, **bank.features}
    if bank.pooled_z_H is not None:
        columns["pooled_z_H"] = bank.pooled_z_H
    for name, column in columns.items():
        wrong = ~np.isfinite(column)
        if name in _INFINITE_AT_FIRST:
            wrong[:, 0] &= column[:, 0] != np.inf
        if wrong.any():
            row, segment = (int(index[0]) for index in np.nonzero(wrong)[:2])
            what = "NaN" if np.isnan(column[wrong]).any() else "infinity"
            raise ValueError(
                f"{consequence}: {name} holds {what} ({int(wrong.sum())} values, the first at "
                f"puzzle {row}, segment {segment + 1})"
            )
    if np.isinf(bank.rating).any():
        raise ValueError(f"{consequence}: rating holds infinity")


def _pack(tokens: NDArray[np.int32]) -> NDArray[Any]:
    """Tokens as uint8 (uint16 from 255 tokens on); the largest number stands for IGNORE_LABEL."""
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
