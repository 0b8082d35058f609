"""The choice of a kernel's implementation: Triton on CUDA, the eager twin elsewhere.

The environment variable HRM_KERNELS is `auto` (the default), `eager`, or `triton`, which refuses to run
anything else. Without a GPU, `triton` runs in Triton's interpreter (TRITON_INTERPRET=1, set before the
program starts): for tests, as it is thousands of times slower.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hrm_rl.files import cache_folders, can_write, temporary_folder

Backend = Literal["eager", "triton"]
Function = TypeVar("Function", bound=Callable[..., Any])

VARIABLE = "HRM_KERNELS"
MODES = ("auto", "eager", "triton")
OLDEST_TRITON = (3, 2)

log = logging.getLogger(__name__)


def mode() -> str:
    """The value of HRM_KERNELS, `auto` by default. Raises ValueError for another than those of MODES."""
    value = os.environ.get(VARIABLE, MODES[0])
    if value not in MODES:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(MODES)}; got {value!r}")
    return value


@contextlib.contextmanager
def forced(value: str) -> Iterator[None]:
    """Set HRM_KERNELS for the block."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = value
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def interpreting() -> bool:
    """Whether Triton's interpreter replaces its compiler."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")


def backend(device: torch.device) -> Backend:
    """The implementation that runs on `device`.

    `auto` falls back to eager, on a GPU with one log line. Raises ValueError, with the reason, if the mode is
    `triton` and Triton cannot run, and for an unknown mode.
    """
    wanted = mode()
    if wanted == "eager":
        return "eager"
    obstacle = _obstacle(device, interpreting() and wanted == "triton")
    if obstacle is None:
        return "triton"
    if wanted == "triton":
        raise ValueError(f"{VARIABLE}=triton cannot run here: {obstacle}; set {VARIABLE}=auto")
    if device.type == "cuda":
        warn_once(f"eager kernels on {device}: {obstacle}")
    return "eager"


def uses_triton(device: torch.device) -> bool:
    """Whether a kernel on `device` runs in Triton; also while torch.compile traces.

    Under torch.compile, `auto` means eager: Inductor makes the same fused kernel from the eager twin and can
    fuse it with its surroundings. `triton` keeps our kernels there too. The result is part of the compiled
    code: changing HRM_KERNELS afterwards has no effect on it.
    """
    if torch.compiler.is_compiling():
        return _uses_triton_compiled(device)
    return backend(device) == "triton"


def runs_in_few_passes(x: Tensor, *more: torch.dtype) -> bool:
    """Whether a kernel on a CPU takes the form with fewer passes over memory.

    Where it does, Triton does not run. True in float32, float64 and the dtypes of `more`; not while
    torch.compile traces, which fuses by itself, nor under torch.func or in forward mode, which cannot
    differentiate a hand-written backward pass. HRM_KERNELS=eager keeps the formulas.
    """
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64, *more)
        and mode() == "auto"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def _uses_triton_compiled(device: torch.device) -> bool:
    return mode() == "triton" and backend(device) == "triton"


# torch.compile calls it once, while it traces, and keeps the result: torch.compiler.assume_constant_result
# without importing torch._dynamo, which takes longer than everything else that `import hrm_rl.model` loads.
_uses_triton_compiled._dynamo_marked_constant = True  # type: ignore[attr-defined]


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
def warn_once(message: str) -> None:
    """Log a warning the first time its message comes up."""
    log.warning(message)


def triton_form(module: str) -> ModuleType:
    """A module of hrm_rl.kernels that launches Triton kernels; imported on use, since it needs triton."""
    place_triton_cache()
    return import_module(f"hrm_rl.kernels.{module}")


@functools.cache
def place_triton_cache() -> None:
    """Where triton cannot write its cache, and would fail, let it use a temporary folder."""
    home = os.environ.get("TRITON_HOME") or os.path.expanduser("~")
    _place_cache("Triton", "TRITON_CACHE_DIR", os.path.join(home, ".triton", "cache"), "triton")


@functools.cache
def place_inductor_cache() -> None:
    """Let torch.compile keep its code where later runs find it: in TORCHINDUCTOR_CACHE_DIR, else the user's
    cache folder; in a temporary one where that cannot be written."""
    name, places = "TORCHINDUCTOR_CACHE_DIR", cache_folders()
    try:
        from torch._inductor.runtime.cache_dir_utils import default_cache_dir
    except ImportError:  # another version of PyTorch has it elsewhere
        return
    # PyTorch writes its default there as soon as it reads it: a folder among the temporary files.
    if places and os.environ.get(name, "") in ("", default_cache_dir()):
        os.environ[name] = str(places[0] / "inductor")
    _place_cache("torch.compile", name, os.environ.get(name, ""), "inductor")


def _place_cache(whose: str, variable: str, default: str, name: str) -> None:
    """Set the variable of a cache to a temporary folder if its own, or its default, cannot be written."""
    folder, place = os.environ.get(variable) or default, temporary_folder()
    if not can_write(folder) and place is not None:
        os.environ[variable] = str(place / name)
        log.warning("%s keeps its code in %s, since %s cannot be written.", whose, place, folder)


def operator(
    name: str, launch: str, fake: Callable[..., Any], mutates: tuple[str, ...] = ()
) -> Callable[[Function], Any]:
    """A decorator: the eager function as the operator `hrm_rl::NAME`, which torch.compile does not open.

    Args:
        name: of the operator.
        launch: its Triton form, as `MODULE.FUNCTION` of hrm_rl.kernels; runs where Triton does.
        fake: makes empty results of the right shapes and dtypes.
        mutates: names of the arguments changed in place.
    """
    module, function = launch.rsplit(".", 1)

    def register(eager: Function) -> Any:
        @functools.wraps(eager)  # torch reads the schema from its signature
        def run(first: Tensor, *rest: Any) -> Any:
            if backend(first.device) == "triton":
                return getattr(triton_form(module), function)(first, *rest)
            return eager(first, *rest)

        registered = torch.library.custom_op(f"hrm_rl::{name}", run, mutates_args=mutates)
        registered.register_fake(fake)
        return registered

    return register
