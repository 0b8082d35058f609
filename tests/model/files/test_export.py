"""A segment as a program of its own: torch.export's and ONNX, run by the loop of docs/export.md."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrm_rl.evaluation import evaluate
from hrm_rl.model import HRM, Carry, HRMConfig, ReasoningModel, SegmentOutput, make_model
from hrm_rl.model.files import export
from hrm_rl.model.files.export import export_segment
from hrm_rl.puzzles import sudoku

TINY = HRMConfig(6, 16, H_cycles=1, L_cycles=1, H_layers=1, L_layers=1, hidden_size=16, num_heads=2)
KINDS: dict[str, dict[str, Any]] = {
    "relations": {"pos_encodings": "rope-2d", "relation_bias": True, "puzzle_emb_ndim": 0},
    "many tokens": {"seq_len": 144, "relation_bias": True},  # PyTorch's attention instead of plain products
    "trm": {"architecture": "trm", "mixer": "mlp", "pos_encodings": "none", "relaxation": 0.9},
    "recurrent": {"architecture": "recurrent"},
    "direct": {"architecture": "direct", "halt_max_steps": 1},
    "puzzle embedding": {"pos_encodings": "learned", "num_puzzle_identifiers": 4, "puzzle_emb_ndim": 20},
}


def made(**changes: Any) -> ReasoningModel:
    config = dataclasses.replace(TINY, **{"forward_dtype": "float32"} | changes)
    torch.manual_seed(0)
    relations = np.arange(config.seq_len**2).reshape(config.seq_len, -1) % 3
    model = make_model(config, relations if config.relation_bias else None).eval()
    torch.nn.init.normal_(dict(model.named_parameters())["q_head.weight"])
    return model


@torch.no_grad()
def assert_runs(run: Any, model: ReasoningModel) -> None:
    """Three segments of one row and of three equal the model's, the first from a carry that is not read."""
    for rows in (1, 3):
        config, carry = model.config, model.initial_carry(rows)
        inputs = torch.randint(config.vocab_size, (rows, config.seq_len))
        ids = torch.arange(rows) % config.num_puzzle_identifiers
        state: tuple[Tensor, ...] = tuple(torch.full_like(z, torch.nan) for z in carry)
        for segment in range(3):
            out = model(carry, inputs, ids)
            carry = out.carry
            z_H, z_L, *others = run(*state, torch.full((rows,), segment == 0), inputs, ids)
            state = (z_H, z_L)
            for ours, theirs in zip((*carry, *out[1:]), (z_H, z_L, *others), strict=True):
                torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "kind", ["relations", *(pytest.param(kind, marks=pytest.mark.slow) for kind in [*KINDS][1:])]
)
def test_torch_program(tmp_path: Path, kind: str) -> None:
    model = made(**KINDS[kind])
    manifest = export_segment(model, tmp_path, "torch")
    assert_runs(torch.export.load(tmp_path / "segment.pt2").module(), model)
    assert manifest["inputs"]["inputs"] == {"dtype": "int64", "shape": ["batch", model.config.seq_len]}
    assert manifest["outputs"]["q_halt"] == {"dtype": "float32", "shape": ["batch"]}


@pytest.fixture
def onnxruntime() -> Any:
    pytest.importorskip("onnxscript")
    return pytest.importorskip("onnxruntime")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_program(tmp_path: Path, kind: str, onnxruntime: Any) -> None:
    model = made(**KINDS[kind])
    names = export_segment(model, tmp_path)["inputs"]
    session = onnxruntime.InferenceSession(tmp_path / "segment.onnx")

    def run(*tensors: Tensor) -> list[Tensor]:
        feeds = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return [torch.from_numpy(array) for array in session.run(None, feeds)]

    assert_runs(run, model)


def test_the_loop_of_the_page_stops_as_the_rule(tmp_path: Path, onnxruntime: Any, run_page: Any) -> None:
    model = HRM.from_pretrained("sudoku-4x4")
    export_segment(model, tmp_path, about={"rule": "q", "max_segments": model.config.halt_max_steps})
    loop = run_page("docs/export.md", skip=(1,))
    puzzles = sudoku.generate(100, 4, split="test")
    answers, taken = loop["Solver"](tmp_path).solve(puzzles.inputs)
    found = evaluate(model, puzzles, "q")
    assert (answers == found.answers).all() and (taken == found.segments).all()
    assert len(set(taken.tolist())) > 2


@pytest.mark.slow
@torch.no_grad()
def test_a_thousand_puzzles_equal_pytorch(tmp_path: Path, onnxruntime: Any) -> None:
    """In float64, since rounding in float32 moves PyTorch's logits as far: a segment from the same carry to
    1e-4, the whole run to 1e-3, every draft alike. (The exporter keeps the graph's constants in float32.)"""
    model = HRM.from_pretrained("sudoku-4x4", forward_dtype="float64")
    names = export_segment(model, tmp_path)["inputs"]
    session = onnxruntime.InferenceSession(tmp_path / "segment.onnx")
    inputs = torch.from_numpy(sudoku.generate(1000, 4, split="test").inputs).long()
    ids, carry = torch.zeros(len(inputs), dtype=torch.int64), model.initial_carry(len(inputs))
    alone: Any = [z.numpy() for z in carry]
    for segment in range(model.config.halt_max_steps):
        fresh = np.full(len(inputs), segment == 0)
        given = (fresh, inputs.numpy(), ids.numpy())
        *alone, logits, _, _ = session.run(None, dict(zip(names, (*alone, *given), strict=True)))
        same = session.run(None, dict(zip(names, (*(z.numpy() for z in carry), *given), strict=True)))
        carry, *wanted = model(carry, inputs, ids)
        for found, right in zip(same[2:], wanted, strict=True):
            np.testing.assert_allclose(found, right.numpy(), rtol=0, atol=1e-4)
        np.testing.assert_allclose(logits, wanted[0].numpy(), rtol=0, atol=1e-3)
        assert (logits.argmax(-1) == wanted[0].numpy().argmax(-1)).all()


class Odd(HRM):
    """Computes what ONNX has no operator for."""

    def forward(self, carry: Carry, *args: Any, **options: Any) -> SegmentOutput:
        out = super().forward(carry, *args, **options)
        return out._replace(q_halt=torch.special.bessel_j0(out.q_halt))


class Branching(HRM):
    def forward(self, *args: Any, **options: Any) -> SegmentOutput:
        out = super().forward(*args, **options)
        return out if out.q_halt.sum() > 0 else out._replace(logits=-out.logits)


@pytest.mark.parametrize(
    ("kind", "form", "words"),
    [
        (HRM, "onx", "format must be one of onnx, torch; got 'onx'"),
        (Branching, "torch", "torch cannot express this model: "),
        (Odd, "onnx", "onnx cannot express this model: No ONNX function found for .*bessel.*--format torch"),
    ],
)
def test_refused(tmp_path: Path, kind: type[HRM], form: str, words: str, request: Any) -> None:
    if form == "onnx":
        request.getfixturevalue("onnxruntime")
    with pytest.raises(ValueError, match=words) as error:
        export_segment(kind(dataclasses.replace(TINY, forward_dtype="float32")), tmp_path / "out", form)
    assert "\n" not in str(error.value) and not (tmp_path / "out" / "manifest.json").exists()


def test_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: name != "onnxscript" or None)
    with pytest.raises(ValueError, match=r"needs onnxscript: pip install .*\[export\]"):
        export_segment(made(), tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: True)
    with pytest.raises(ValueError, match="no bfloat16 on a CPU: export in float32"):
        export_segment(made(forward_dtype="bfloat16"), tmp_path)
    assert not any(tmp_path.iterdir())
