"""Which implementation of a kernel runs: Triton on CUDA, the eager twin elsewhere.

The environment variable HRM_KERNELS decides: `auto` (the default), `eager`, or `triton`, which refuses
to run anything else. Without a GPU, `triton` runs in Triton's interpreter (TRITON_INTERPRET=1, set
before the program starts): for tests, since it is thousands of times slower.
"""

import functools
import logging
import os
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

import torch

Backend = Literal["eager", "triton"]
Function = TypeVar("Function", bound=Callable[..., Any])

VARIABLE = "HRM_KERNELS"
MODES = ("auto", "eager", "triton")
OLDEST_TRITON = (3, 2)

log = logging.getLogger(__name__)


def mode() -> str:
    """The value of HRM_KERNELS. Raises ValueError for one that is none of `MODES`."""
    value = os.environ.get(VARIABLE, "auto")
    if value not in MODES:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(MODES)}; got {value!r}")
    return value


def interpreting() -> bool:
    """Whether Triton's interpreter stands in for its compiler."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")


def backend(device: torch.device) -> Backend:
    """What runs on `device`.

    `auto` falls back to eager, with one log line where a GPU is left idle by it. Raises ValueError
    where `triton` was asked for and cannot run, saying why, and for an unknown mode.
    """
    asked = mode()
    if asked == "eager":
        return "eager"
    obstacle = _obstacle(device, interpreting() and asked == "triton")
    if obstacle is None:
        return "triton"
    if asked == "triton":
        raise ValueError(f"{VARIABLE}=triton cannot run here: {obstacle}; set {VARIABLE}=auto")
    if device.type == "cuda":
        _tell(f"eager kernels on {device}: {obstacle}")
    return "eager"


def constant_when_traced(function: Function) -> Function:
    """A decorator: torch.compile calls the function once, while it traces, and keeps its answer.

    What torch.compiler.assume_constant_result does, without its import of all of torch._dynamo, which
    takes longer than all else that `import hrm_rl.model` loads.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def uses_triton(device: torch.device) -> bool:
    """What a kernel's front asks; also answers while torch.compile traces.

    Under torch.compile, `auto` means eager: Inductor makes the same fused kernel from the eager
    twin and can fuse it with what stands around it, which it cannot do with a kernel of ours.
    `triton` keeps ours there too. The answer is part of the compiled code: changing HRM_KERNELS
    afterwards changes nothing in it.
    """
    if torch.compiler.is_compiling():
        return _uses_triton_compiled(device)
    return backend(device) == "triton"


def runs_in_few_passes(x: torch.Tensor) -> bool:
    """Whether a kernel's front should take the form that goes over memory less often, written for a CPU.

    In float32 and float64; not while torch.compile traces, which fuses by itself, nor under torch.func,
    which cannot see through a hand-written backward pass. HRM_KERNELS=eager keeps the formulas.
    """
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and mode() == "auto"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


@constant_when_traced
def _uses_triton_compiled(device: torch.device) -> bool:
    return mode() == "triton" and backend(device) == "triton"


@functools.cache
def _obstacle(device: torch.device, interpreted: bool) -> str | None:
    """Why Triton cannot run on `device`, or None."""
    if device.type != "cuda" and not interpreted:
        return f"the tensors are on {device.type}, not on a CUDA device"
    version = _triton_version()
    if version is None:
        return "triton is not installed"
    if version < OLDEST_TRITON:
        found, wanted = (".".join(map(str, v)) for v in (version, OLDEST_TRITON))
        return f"triton {found} is older than {wanted}"
    if device.type == "cuda" and not interpreted:
        if torch.version.hip is not None:
            return "the kernels are made for NVIDIA GPUs"
        capability = torch.cuda.get_device_capability(device)
        if capability < (8, 0):
            return f"compute capability {capability[0]}.{capability[1]} has no bfloat16 (8.0 has)"
    return None


def _triton_version() -> tuple[int, ...] | None:
    try:
        import triton
    except ImportError:
        return None
    return tuple(int(part) for part in cast(str, triton.__version__).split(".")[:2])


@functools.cache
def _tell(message: str) -> None:
    """Logs a message the first time it comes up."""
    log.warning(message)
