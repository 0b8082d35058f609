"""Compiles Triton kernels for GPUs that are not present, and reads the assembler's report."""

import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch

# Bytes of shared memory that one block may use. Source: CUDA C++ Programming Guide, table of technical
# specifications per compute capability.
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}
TYPES = {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.float64: "*fp64", torch.int64: "*i64"}


class Launch(NamedTuple):
    """A kernel, its arguments, and its constants with `num_warps`."""

    kernel: Any
    arguments: tuple[Any, ...]
    constants: dict[str, Any]


@dataclass(frozen=True)
class Compiled:
    """The compiler's result."""

    ptx: str
    registers: int
    """Of a thread."""
    spill_bytes: int
    """Stores and loads of registers that did not fit, of a thread."""
    shared_bytes: int
    """Shared memory of a block."""


def launches(
    monkeypatch: pytest.MonkeyPatch, modules: list[ModuleType], run: Callable[[], Any]
) -> list[Launch]:
    """The launches of `run`, through these modules' `launch`, caught on their way to the GPU, so that what is
    compiled is what would run."""
    caught: list[Launch] = []

    def catch(kernel: Any, grid: Any, device: Any, *arguments: Any, **constants: Any) -> None:
        caught.append(Launch(kernel, arguments, constants))

    for module in modules:
        monkeypatch.setattr(module, "launch", catch)
    run()
    return caught


def compile_launch(launch: Launch, arch: int) -> Compiled:
    """Compile a launch for `arch`, the compute capability times ten; 90 compiles for sm_90a.

    TRITON_INTERPRET must be off where the kernel was imported. Pointers are aligned to 16 bytes, as PyTorch
    allocates; numbers divisible by 16 are specialised, as at run time.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.compiler import get_ptxas
    from triton.compiler import ASTSource

    fn, constants = launch.kernel, dict(launch.constants)
    options = {"num_warps": constants.pop("num_warps", 4)}
    free = [param for param in fn.params if param.name not in constants]
    given = dict(zip([param.name for param in free], launch.arguments, strict=True))
    types = {
        name: TYPES[value.dtype] if isinstance(value, torch.Tensor) else "i32"
        for name, value in given.items()
    }
    aligned = {
        (param.num,): [["tt.divisibility", 16]]
        for param in free
        if isinstance(value := given[param.name], torch.Tensor) or value % 16 == 0
    }
    signature = {name: types.get(name, "constexpr") for name in fn.arg_names}
    source = ASTSource(fn, signature=signature, constexprs=constants, attrs=aligned)
    kernel = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    ptx = kernel.asm["ptx"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.ptx"
        file.write_text(ptx)
        name = f"sm_{arch}a" if arch >= 90 else f"sm_{arch}"
        report = subprocess.run(
            [get_ptxas(arch).path, "-v", f"-arch={name}", str(file), "-o", f"{folder}/cubin"],
            check=True,
            capture_output=True,
            text=True,
        ).stderr
    spills = re.findall(r"(\d+) bytes spill", report)
    registers = re.findall(r"Used (\d+) registers", report)
    assert registers, report
    return Compiled(
        ptx=ptx,
        registers=max(map(int, registers)),
        spill_bytes=sum(map(int, spills)),
        shared_bytes=kernel.metadata.shared,
    )
