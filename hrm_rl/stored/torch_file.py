"""What `torch.save` wrote, read without torch's unpickler.

The file is a zip: a pickle of the objects, whose tensors name other entries. Of the pickle only tensors,
plain values, lists, tuples and dicts are read; any other name in it is refused, or skipped, before it is
looked up, so no code is imported or called. Each tensor must lie within its entry.
"""

import math
import os
import pickle
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from hrm_rl.messages import shortened
from hrm_rl.stored.archives import open_archive, read_entry

_MOST_PICKLE, _MOST_STEPS = 1 << 24, 1 << 18
# Steps of a pickle that make objects of other classes; the latter may be skipped.
_REFUSED = {"EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER"}
_OBJECTS = {"NEWOBJ", "NEWOBJ_EX"}
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_torch_file(source: str | os.PathLike[str] | BinaryIO, *, skip_objects: bool = False) -> Any:
    """The tensors and plain values of a file that `torch.save` wrote, on the CPU.

    With `skip_objects` a `Skipped` stands for every other object. Raises ValueError if the file is damaged or
    holds anything else; OSError if it cannot be read.
    """
    with open_archive(source) as archive:
        names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError("it is not a file of torch.save, or one of before PyTorch 1.6")
        folder = names[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and read_entry(archive, order) != b"little":
            raise ValueError("it was saved on a big-endian machine")
        content = read_entry(archive, names[0])
        _check_steps(content, set() if skip_objects else _OBJECTS)
        try:
            return _checked(_Reader(content, archive, folder, skip_objects).load())
        except ValueError:
            raise
        except Exception as error:  # a damaged pickle can raise anything
            raise ValueError(f"its objects are damaged: {shortened(str(error), 100)}") from None


def _check_steps(content: bytes, refused: set[str]) -> None:
    """Raise ValueError unless a pickle is short, and has no step that makes an object of another class, nor
    one of those refused."""
    if len(content) > _MOST_PICKLE:
        raise ValueError(f"its objects take {len(content):,} bytes beside the tensors")
    steps = pickletools.genops(content)
    for number in range(_MOST_STEPS):
        try:
            step, argument, _ = next(steps)
        except StopIteration:
            return
        except Exception as error:  # a damaged pickle can raise anything
            raise ValueError(f"its objects are damaged: {shortened(str(error), 100)}") from None
        if step.name in _REFUSED | refused:
            raise ValueError("it holds objects, which are not loaded")
        # A place in the memo beyond the steps would only take memory.
        if step.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > number:
            raise ValueError("its objects are damaged")
    raise ValueError(f"it holds more than {_MOST_STEPS:,} objects")


def _checked(value: Any) -> Any:
    """The value. Raises ValueError if a walk through it would take long: an object may hold another often."""
    left, seen = [value], 0
    while left:
        one, seen = left.pop(), seen + 1
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
        if seen + len(left) > _MOST_STEPS:
            raise ValueError(f"it holds more than {_MOST_STEPS:,} objects")
    return value


class _Storage(NamedTuple):
    dtype: torch.dtype
    content: bytearray


class Skipped:
    """Stands for an object that is not loaded; whatever the pickle does with it has no effect."""

    def __new__(cls, *_: Any, **__: Any) -> "Skipped":
        return super().__new__(cls)

    def __call__(self, *_: Any, **__: Any) -> "Skipped":
        return self

    __setstate__ = __setitem__ = append = extend = __call__


class _Reader(pickle.Unpickler):
    """Builds tensors and plain values; every other name in the pickle is refused, or skipped."""

    def __init__(self, content: bytes, archive: zipfile.ZipFile, folder: str, skips: bool) -> None:
        super().__init__(BytesIO(content))
        self._archive, self._folder, self._skips = archive, folder, skips
        self._contents: dict[str, bytearray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "Size"): torch.Size,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
            ("_codecs", "encode"): _encode,
        }
        if (module, name) not in known and self._skips:
            return Skipped
        if (module, name) not in known:
            raise ValueError(f"it holds objects, which are not loaded ({shortened(f'{module}.{name}', 80)})")
        return known[module, name]

    def persistent_load(self, named: Any) -> _Storage:
        kind, dtype, key, _, count = named
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError("its tensors are damaged")
        if key not in self._contents:
            self._contents[key] = bytearray(read_entry(self._archive, f"{self._folder}data/{key}"))
        content = self._contents[key]
        if not 0 <= count * dtype.itemsize <= len(content):
            raise ValueError(f"its tensor {key} is cut short")
        return _Storage(dtype, content)


def _tensor(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor that lies within its storage, without gaps, and takes no more memory than that."""
    dtype, content = storage
    size, stride, count = tuple(size), tuple(stride), math.prod(size)
    held = len(content) // dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (count and last >= held) or count > held:
        raise ValueError(f"a tensor of shape {list(size)[:8]} is larger than its entry")
    if not count:
        return torch.empty(size, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat = torch.frombuffer(content, dtype=dtype, count=held)
    return flat.as_strided(size, stride, offset)


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError("its objects are damaged")
    return text.encode("latin1")
