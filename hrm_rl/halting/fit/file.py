"""The file of a fitted rule: safetensors, with a description as JSON in the metadata."""

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.halting.fit.provenance import FittedOn

FORMAT_VERSION = 1


def write_rule(
    path: str | os.PathLike[str],
    kind: str,
    fitted_on: FittedOn,
    arrays: dict[str, NDArray[Any]],
    settings: dict[str, Any],
) -> None:
    """Write the file of a fitted rule; `kind` is the rule's name, such as `lsm`."""
    from safetensors.numpy import save

    header = {
        "format": FORMAT_VERSION,
        "kind": kind,
        "model_hash": fitted_on.model_hash,
        "split": fitted_on.split,
        "cost": fitted_on.cost,
        "settings": settings,
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    tensors["puzzle_ids"] = fitted_on.puzzle_ids
    with open(path, "wb") as file:
        file.write(save(tensors, {"halting_rule": json.dumps(header)}))


def read_rule(path: str) -> tuple[str, FittedOn, dict[str, NDArray[Any]], dict[str, Any]]:
    """Read kind, provenance, arrays and settings. Raises ValueError naming the file and what is wrong."""
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
            f"{path} is not the file of a fitted rule ({type(error).__name__}: {error})"
        ) from None
    raise ValueError(f"{path} has format {version}; this version of hrm_rl reads {FORMAT_VERSION}")
