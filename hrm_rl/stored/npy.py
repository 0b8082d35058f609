"""Arrays of numbers in NumPy's format."""

import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hrm_rl.files import open_regular

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(path: str | os.PathLike[str], *, mapped: bool = False) -> NDArray[Any]:
    """The array of a .npy file, read into memory or, read-only, mapped.

    Raises ValueError if it is damaged, shorter than its header says, or not of numbers; OSError if it cannot
    be read.
    """
    with open_regular(path) as file:
        shape, in_columns, dtype = _header(file)
        if mapped and 0 not in shape:
            order: Any = "F" if in_columns else "C"
            return np.memmap(Path(path), dtype, "r", file.tell(), shape, order)
        return _array(file, shape, in_columns, dtype)


def read_npy_stream(file: BinaryIO) -> NDArray[Any]:
    """The array of an open .npy file, in memory; raises as `read_npy`."""
    return _array(file, *_header(file))


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type of an array that the rest of the file can hold."""
    try:
        shape, in_columns, dtype = _HEADERS[npy.read_magic(file)](file)
    except Exception as error:  # NumPy raises many kinds for a damaged header
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"it is not a whole .npy file: {reason}") from None
    if dtype.kind not in "biuf":
        raise ValueError(f"it is not a whole .npy file of numbers, but of {dtype}")
    start = file.tell()
    left = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > left:
        raise ValueError(f"it is not a whole .npy file: {list(shape)} of {dtype} do not fit {left} bytes")
    return shape, in_columns, dtype


def _array(file: BinaryIO, shape: tuple[int, ...], in_columns: bool, dtype: np.dtype[Any]) -> NDArray[Any]:
    content = bytearray(file.read(math.prod(shape) * dtype.itemsize))
    return np.frombuffer(content, dtype).reshape(shape, order="F" if in_columns else "C")
