"""`benchmarks/kernels.py` on a CPU, in its dry run."""

import json
import sys
from typing import Any

import pytest
import torch

from hrm_rl.kernels import dispatch


@pytest.fixture
def benchmark(script, monkeypatch) -> Any:
    monkeypatch.setenv("HRM_KERNELS", "eager")
    module = script("kernels")
    monkeypatch.setattr(module, "ROUND_SECONDS", 1e-9)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return module


@pytest.fixture
def run(benchmark, monkeypatch, capsys):
    """Calls main with these words; returns the exit code and the JSON lines."""

    def call(*words: str) -> tuple[int, list[dict[str, Any]]]:
        monkeypatch.setattr(sys, "argv", ["kernels.py", *words])
        code = benchmark.main()
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call


def test_a_gpu_is_required(benchmark, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["kernels.py"])
    assert benchmark.main() == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "needs a CUDA device" in printed.err


def test_every_kernel_is_measured(run) -> None:
    code, (head, *rows) = run("--dry-run", "--sweep")
    assert code == 0 and head["dry_run"] and head["device"] == "cpu"
    measured = {row["name"] for row in rows}
    products = ("qkv_rope", "gate_up_swiglu", "o_residual", "down_residual")
    for name in (*products, "module", "add_rms_norm", "swiglu", "rope", "stablemax"):
        assert {f"{name}.h64.s5.b2.eager", f"{name}.h64.s5.b2.compiled"} <= measured
    for name in products:
        assert {f"{name}.h64.s5.b2.matmul", f"tile.{name}.h64.s5.b2.128x64x3"} <= measured
    for row in rows:
        assert set(row) == {"name", "ours", "other", "against", "ratio", "spread", "cpu_share"}
        assert row["spread"][0] <= row["ratio"] <= row["spread"][1]


def test_a_row_that_fails_leaves_the_others(benchmark, run, monkeypatch) -> None:
    """Also if it fails at its first run, or while its case is made."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no such instruction")

    cases = sys.modules["kernel_cases"]
    launch_of = cases.launch_of
    monkeypatch.setattr(cases, "swiglu", refuse)
    monkeypatch.setattr(
        cases,
        "launch_of",
        lambda name, device: refuse if name == "gate_up_swiglu" else launch_of(name, device),
    )
    code, (_, *rows) = run("--dry-run")
    failed = {row["name"]: row["error"] for row in rows if "ratio" not in row}
    names = [f"gate_up_swiglu.h64.s5.b2.{kind}" for kind in ("eager", "compiled", "matmul")]
    names += [f"swiglu.h64.s5.b2.{kind}" for kind in ("eager", "compiled")]
    assert code == 1 and list(failed) == names
    assert set(failed.values()) == {"RuntimeError: no such instruction"}
    assert len(rows) - len(failed) == 3 * 3 + 2 + 3 * 2


def test_every_case_is_made_with_the_kernels_of_our_side(benchmark, monkeypatch) -> None:
    """Not with those of the other side in the last row of the case before."""
    modes = []
    cases = sys.modules["kernel_cases"]
    launch_of = cases.launch_of

    def noting(name: str, device: torch.device) -> Any:
        modes.append(dispatch.mode())
        return launch_of(name, device)

    monkeypatch.setattr(cases, "launch_of", noting)
    bench = benchmark.Bench(1, ("auto", "eager"), dry=True)
    for tokens in (3, 4):
        case = benchmark.make_case(1, tokens, 64, "cpu", torch.float32)
        assert "ratio" in next(bench.rows(case, sweep=False))
    assert modes == ["auto", "auto"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "768"], "a shape is BATCHxTOKENS, such as 768x82; got '768'"),
        (["--rounds", "2"], "--rounds must be >= 5, got 2"),
        (["--width", "100"], "--width must be a multiple of 64 up to 1024, got 100"),
    ],
)
def test_refusals(benchmark, monkeypatch, capsys, words, message) -> None:
    monkeypatch.setattr(sys, "argv", ["kernels.py", *words])
    with pytest.raises(SystemExit) as left:
        benchmark.main()
    assert left.value.code == 2
    assert message in capsys.readouterr().err
