"""The file of a fitted rule: safetensors, with what it is as JSON in the metadata."""

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.halting.fit.provenance import FittedOn

FORMAT_VERSION = 1


def write_rule(
    path: str, kind: str, fitted_on: FittedOn, arrays: dict[str, NDArray], **settings: Any
) -> None:
    """Write the file, whole or not at all. Raises ValueError for a path that no spec can name."""
    from safetensors.numpy import save

    path = os.fspath(path)
    if set(path) & set("(),"):
        raise ValueError(f"{path!r}: a rule's file may hold no comma and no parenthesis")
    header = {
        "format": FORMAT_VERSION,
        "kind": kind,
        "model_hash": fitted_on.model_hash,
        "split": fitted_on.split,
        "cost": fitted_on.cost,
        "settings": settings,
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = save(
        tensors | {"puzzle_ids": fitted_on.puzzle_ids}, {"halting_rule": json.dumps(header)}
    )
    if directory := os.path.dirname(path):
        os.makedirs(directory, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def read_rule(path: str) -> tuple[str, FittedOn, dict[str, NDArray], dict[str, Any]]:
    """kind, provenance, tables and settings. Raises ValueError naming the file and what is wrong."""
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(path):
        raise ValueError(f"no file {path!r} with a fitted rule")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata["halting_rule"])
        version = header["format"]
        if version == FORMAT_VERSION:
            ids = arrays.pop("puzzle_ids")
            fitted_on = FittedOn(header["model_hash"], ids, header["split"], header["cost"])
            return header["kind"], fitted_on, arrays, header["settings"]
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} is no file of a fitted rule ({type(error).__name__}: {error})"
        ) from None
    raise ValueError(f"{path} has format {version}, this version reads {FORMAT_VERSION}")
