"""The training state of a checkpoint: nested lists, tuples and dictionaries of tensors and plain values."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hrm_rl.model.files.checksums import STATE_FILE
from hrm_rl.model.files.tensors import not_finite, write_tensors
from hrm_rl.stored.tensors import open_tensors
from hrm_rl.stored.text import parse_json
from hrm_rl.stored.torch_file import read_torch_file

_OLD_FILE = "state.pt"  # of earlier versions
# A value in these that is not finite spoils every later step.
_FINITE = ("weights/", "learner/optimizers/")


def write_state(checkpoint: Path, state: Mapping[str, Any]) -> None:
    """Write a state. Raises FloatingPointError if weights or optimizer hold NaN or infinite values."""
    tensors: dict[str, Tensor] = {}
    structure = _pack(state, tensors)
    if broken := _broken(tensors):
        raise FloatingPointError(f"{broken} holds NaN or infinite values; nothing was saved")
    write_tensors(checkpoint / STATE_FILE, tensors, {"state": json.dumps(structure)})


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What `write_state`, or an earlier version, wrote. No code in it is run.

    Raises ValueError if it is damaged, missing, or not finite.
    """
    old = (checkpoint / _OLD_FILE).exists() and not (checkpoint / STATE_FILE).exists()
    file = checkpoint / (_OLD_FILE if old else STATE_FILE)
    try:
        state, tensors = (_read_old if old else _read)(file)
    except Exception as error:
        raise ValueError(f"{file} is damaged or missing") from error
    if not isinstance(state, dict):
        raise ValueError(f"{file} is damaged: it holds no training state")
    if broken := _broken(tensors):
        raise ValueError(f"{file} is damaged: {broken} holds NaN or infinite values")
    return state


def _read(file: Path) -> tuple[Any, dict[str, Tensor]]:
    with open_tensors(file) as stored:
        # Clones, since the file may go while the run trains on.
        tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118
        structure = parse_json(stored.metadata()["state"])
    return _unpack(structure, tensors), tensors


def _read_old(file: Path) -> tuple[Any, dict[str, Tensor]]:
    state = read_torch_file(file)
    tensors: dict[str, Tensor] = {}
    _pack(state, tensors)
    return state, tensors


def _broken(tensors: Mapping[str, Tensor]) -> str | None:
    return next(iter(not_finite({k: t for k, t in tensors.items() if k.startswith(_FINITE)})), None)


def _pack(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """A state as JSON; its tensors go to `tensors`, named by their place: learner/optimizers/0/..."""
    inner = f"{name}/" if name else ""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        # Pairs, since the keys of JSON objects are strings and optimizers have numbers.
        return {"mapping": [[key, _pack(one, tensors, f"{inner}{key}")] for key, one in value.items()]}
    if isinstance(value, list | tuple):
        packed = [_pack(one, tensors, f"{inner}{index}") for index, one in enumerate(value)]
        return packed if isinstance(value, list) else {"tuple": packed}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a state holds tensors and plain values; {name} is a {type(value).__name__}")


def _unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(packed, list):
        return [_unpack(one, tensors) for one in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_unpack(one, tensors) for one in content)
    if kind == "mapping":
        return {key: _unpack(one, tensors) for key, one in content}
    raise ValueError(f"unknown kind {kind!r}")
