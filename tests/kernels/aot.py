"""Compiles a Triton kernel for a GPU that is not there, and reads what the assembler says of it."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Bytes of shared memory that one block may ask for. Source: CUDA C++ Programming Guide, table of
# technical specifications per compute capability.
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}


@dataclass(frozen=True)
class Compiled:
    """What came out."""

    ptx: str
    registers: int
    """Of a thread."""
    spill_bytes: int
    """Stores and loads of registers that did not fit, of a thread."""
    shared_bytes: int
    """Shared memory of a block."""


def compile_kernel(
    fn: Any,
    signature: dict[str, str],
    constants: dict[str, Any],
    *,
    arch: int = 90,
    num_warps: int = 4,
    num_stages: int = 2,
) -> Compiled:
    """Compile a `triton.jit` function.

    Args:
        fn: the function; TRITON_INTERPRET must be off where it was imported.
        signature: the type of each argument that is no constant, such as "*bf16", "i32", "fp32"; "i32:16"
            for a number known to be a multiple of 16.
        constants: the value of each `tl.constexpr` argument (a dtype is `tl.float32`).
        arch: compute capability times ten; 90 compiles for sm_90a.
        num_warps: warps of a block.
        num_stages: depth of the software pipeline.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.compiler import get_ptxas
    from triton.compiler import ASTSource

    unknown = (signature.keys() | constants.keys()) ^ set(fn.arg_names)
    assert not unknown, f"{fn.__name__}: arguments missing or unknown: {sorted(unknown)}"
    given = {name: signature.get(name, "constexpr") for name in fn.arg_names}
    types = {name: kind.removesuffix(":16") for name, kind in given.items()}
    # As at run time: PyTorch's allocations start at multiples of 16 bytes and more.
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, kind in enumerate(given.values())
        if kind.startswith("*") or kind.endswith(":16")
    }
    source = ASTSource(fn, signature=types, constexprs=constants, attrs=aligned)
    options = {"num_warps": num_warps, "num_stages": num_stages}
    kernel = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    ptx = kernel.asm["ptx"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.ptx"
        file.write_text(ptx)
        name = f"sm_{arch}a" if arch >= 90 else f"sm_{arch}"
        said = subprocess.run(
            [get_ptxas(arch).path, "-v", f"-arch={name}", str(file), "-o", f"{folder}/cubin"],
            check=True,
            capture_output=True,
            text=True,
        ).stderr
    spills = re.findall(r"(\d+) bytes spill", said)
    registers = re.findall(r"Used (\d+) registers", said)
    assert registers, said
    return Compiled(
        ptx=ptx,
        registers=max(map(int, registers)),
        spill_bytes=sum(map(int, spills)),
        shared_bytes=kernel.metadata.shared,
    )
