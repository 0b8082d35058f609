"""One segment of a model as a program that runs without this package: ONNX, or torch.export's .pt2.

The program has no loop: `docs/export.md` runs it segment by segment, and stops.
"""

import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrm_rl.files import write_text
from hrm_rl.messages import pip_install, shortened

FORMATS = {"onnx": "segment.onnx", "torch": "segment.pt2"}
MANIFEST = "manifest.json"
_OUTPUTS = ("next_z_H", "next_z_L", "logits", "q_halt", "q_continue")


class _Segment(nn.Module):
    """One segment of a model; the rows of `fresh`, bool [B], start from its initial carry."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(
        self, z_H: Tensor, z_L: Tensor, fresh: Tensor, inputs: Tensor, puzzle_identifiers: Tensor
    ) -> tuple[Tensor, ...]:
        start = self.model.initial_carry(1)
        carry = type(start)(z_H, z_L).replace_rows(fresh, start)
        after, *rest = self.model(carry, inputs, puzzle_identifiers)
        return (*after, *rest)


def export_segment(
    model: Any, folder: str | os.PathLike[str], form: str = "onnx", about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write a segment of a model, for any number of rows, and a manifest into `folder` (made if missing).

    Args:
        model: an HRM or another model of puzzles, on the CPU.
        folder: for segment.onnx or segment.pt2, and manifest.json.
        form: `onnx` or `torch`.
        about: what else the manifest tells, such as the stopping rule.

    Returns the manifest. Raises ValueError if the extra is missing, or the format cannot express the model.
    """
    if form not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; got {form!r}")
    if form == "onnx":
        _check_onnx(model.dtype)
    z_H, z_L = model.initial_carry(2)
    examples = {
        "z_H": z_H,
        "z_L": z_L,
        "fresh": torch.ones(2, dtype=torch.bool),
        "inputs": torch.zeros(2, model.config.seq_len, dtype=torch.int64),
        "puzzle_identifiers": torch.zeros(2, dtype=torch.int64),
    }
    segment, rows = _Segment(model).eval(), torch.export.Dim("batch", min=1)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), _one_message(form):
        outputs = segment(*examples.values())
        program = torch.export.export(
            segment, tuple(examples.values()), dynamic_shapes=tuple({0: rows} for _ in examples)
        )
        if form == "torch":
            torch.export.save(program, folder / FORMATS[form])
        else:
            names: Any = {"input_names": [*examples], "output_names": [*_OUTPUTS]}
            onnx = torch.onnx.export(program, dynamo=True, verbose=False, **names)
            assert onnx is not None
            onnx.save(folder / FORMATS[form])
    manifest = {
        "format": form,
        "file": FORMATS[form],
        "torch": torch.__version__,
        **(about or {}),
        "inputs": {name: _described(tensor) for name, tensor in examples.items()},
        "outputs": {name: _described(value) for name, value in zip(_OUTPUTS, outputs, strict=True)},
        "config": model.config.to_dict(),
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return manifest


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": ["batch", *tensor.shape[1:]]}


def _check_onnx(dtype: torch.dtype) -> None:
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"an export to ONNX needs {package}: {pip_install('export')}")
    if dtype == torch.bfloat16:
        raise ValueError("onnxruntime computes no bfloat16 on a CPU: export in float32 or float16")


@contextmanager
def _one_message(form: str) -> Iterator[None]:
    """Turn an exporter's errors into one ValueError, and keep its log to itself."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # the exporters raise errors of many kinds
        inner: BaseException = error
        while inner.__cause__ is not None:
            inner = inner.__cause__
        reason = shortened(str(inner) or type(inner).__name__, 200)
        other = "torch" if form == "onnx" else "onnx"
        raise ValueError(f"{form} cannot express this model: {reason} (try --format {other})") from error
    finally:
        log.setLevel(before)
