"""Devices by name, and integers from outside (actions, observations), checked before they are used."""

import os
import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def usable_device(device: torch.device | str) -> torch.device:
    """The device. Raises ValueError if it is not here."""
    try:
        return torch.ones(1, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of") or isinstance(error, TypeError):
            reason = "unknown kind; the usual ones are cpu, cuda and mps"
        raise ValueError(f"device {str(device)!r} cannot be used here: {reason}") from None


def total_memory(device: str) -> int:
    """Bytes of a device's memory; a CPU's is the machine's, where the system tells it."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_properties(device).total_memory
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def as_tensor(name: str, values: Any) -> Tensor:
    """The values as a tensor, where they are. Raises ValueError for what is not an array of numbers."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from None


def in_range(name: str, values: Tensor, count: int | None, device: torch.device, note: str = "") -> Tensor:
    """The values on the device, if they are integers from 0 to `count` - 1 (None: no limit).

    Values on the host are checked in NumPy before they are sent, so no device is waited for. Of values on
    another device only the type is checked.

    Raises ValueError naming the first value that is not; `note` ends its message.
    """
    if values.is_floating_point() or values.is_complex():
        raise ValueError(f"{name} must be integers, got {values.dtype}")
    if values.device.type == "cpu" and values.numel():
        array = values.detach().numpy()
        size = array.dtype.itemsize
        # One pass: as unsigned numbers, those below 0 are the largest.
        if array.view(f"u{size}").max() >= (1 << 8 * size - 1 if count is None else count):
            known = "they are 0 or more" if count is None else f"they are 0 to {count - 1}"
            refuse(name, array, ~below(array, count), known + note)
    return values.to(device)


def row_numbers(rows: Any, count: int, device: torch.device) -> Tensor:
    """Numbers of some of `count` rows, int64 [K] on the device. Raises ValueError as `in_range`."""
    numbers = as_tensor("rows", rows)
    if numbers.ndim != 1 or numbers.dtype == torch.bool:
        raise ValueError(f"rows must be integers [K], got {numbers.dtype} of shape {tuple(numbers.shape)}")
    return in_range("rows", numbers, count, device).long()


def stored_tensor(name: str, found: Any, like: Tensor, count: int | None = None) -> Tensor:
    """A tensor of a stored state on the device of `like`, whose type and shape it must have.

    Integers are from 0 to `count` - 1 (None: any), wherever they lie. Raises ValueError naming what differs.
    """
    dense = isinstance(found, Tensor) and found.layout == torch.strided and not found.is_meta
    if not dense or found.dtype != like.dtype or found.shape != like.shape:
        got = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"{name} must be {like.dtype} {list(like.shape)}, got {got}")
    if count is not None:
        in_range(name, found.cpu(), count, torch.device("cpu"))
    return found.to(like.device)


def as_halt(name: str, values: Tensor, device: torch.device) -> Tensor:
    """Zeros and ones, or booleans, of any type as bool on the device. Raises ValueError as `in_range`."""
    if values.device.type == "cpu" and values.dtype != torch.bool:
        array = values.detach().numpy()
        refuse(name, array, (array != 0) & (array != 1), "it is 0 or 1")
    return values.to(device).bool()


def below(array: NDArray[Any], limit: int | None) -> NDArray[np.bool_]:
    """Where an array lies in 0 .. limit - 1; None for any limit."""
    return (array >= 0) & (True if limit is None else array < limit)


def refuse(name: str, array: NDArray[Any], wrong: NDArray[np.bool_], wanted: str) -> None:
    """Raise ValueError naming the first wrong number of [N] or [N, S], if there is one."""
    if wrong.any():
        place = np.argwhere(wrong)[0]
        words = (f"{part} {index}" for part, index in zip(("row", "cell"), place, strict=False))
        raise ValueError(f"{name}: {', '.join(words)} holds {array[tuple(place)]}; {wanted}")


def read_discrete(space: Any, action: Any) -> int:
    """An action of a Discrete space, from a number or an array of one. Raises ValueError for another."""
    first, last = int(space.start), int(space.start + space.n) - 1
    array = np.asarray(action)
    if array.size == 1 and array.dtype.kind in "iub" and first <= array.item() <= last:
        return int(array.item())
    raise ValueError(f"action must be an integer from {first} to {last}, got {action!r}")
