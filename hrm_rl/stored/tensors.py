"""Safetensors files. The library checks a header against the file's bytes before it reads a tensor."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from hrm_rl.files import open_regular
from hrm_rl.stored.text import parse_json

# Bytes of a header: half a million names. Parsing takes some twenty times its memory.
_MOST_HEADER = 1 << 24


class DamagedTensors(ValueError):
    """A file is not a whole safetensors file."""


@contextmanager
def open_tensors(path: str | os.PathLike[str], framework: str = "pt") -> Iterator[Any]:
    """An open safetensors file, safetensors' `safe_open`; `framework` is pt or numpy.

    Raises DamagedTensors if it is cut short or damaged, ValueError if it is not a regular file, OSError if it
    cannot be read.
    """
    try:
        _check_header(path)
        with safe_open(path, framework) as opened:
            yield opened
    except SafetensorError as error:
        raise DamagedTensors(str(error)) from None


def _check_header(path: str | os.PathLike[str]) -> None:
    """Raise DamagedTensors if the library would take much memory to parse a header."""
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _MOST_HEADER:
            raise DamagedTensors(f"its header has {length:,} bytes")
        try:
            parse_json(file.read(length))
        except ValueError as error:
            raise DamagedTensors(f"its header is damaged: {error}") from None


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Any]:
    """All tensors of a safetensors file by name, on the CPU. Raises as `open_tensors`."""
    with open_tensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_arrays(
    path: str | os.PathLike[str], check: Callable[[dict[str, str]], None] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """All tensors of a safetensors file as NumPy arrays by name, and its metadata.

    `check` sees the metadata before a tensor is read. Raises as `open_tensors` and `check`, and ValueError
    for a type that NumPy lacks.
    """
    with open_tensors(path, "numpy") as file:
        metadata = file.metadata() or {}
        if check is not None:
            check(metadata)
        try:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (TypeError, AttributeError) as error:
            raise ValueError(f"it holds a type of numbers that NumPy lacks: {error}") from None
        wrong = [name for name, array in arrays.items() if np.asarray(array).dtype.kind not in "biuf"]
        if wrong:
            raise ValueError(f"{wrong[0]} should hold numbers, and holds {arrays[wrong[0]].dtype}")
        return arrays, metadata
