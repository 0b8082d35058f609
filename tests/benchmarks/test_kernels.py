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
    code, (head, *rows) = run("--dry-run")
    assert code == 0 and head["dry_run"] and head["device"] == "cpu"
    kernels = ["adam_atan2.h64", *(f"{k}.h64.s5.b2" for k in ("add_rms_norm", "swiglu", "rope", "stablemax"))]
    assert [row["name"] for row in rows] == [f"{k}.{a}" for k in kernels for a in ("eager", "compiled")]
    for row in rows:
        assert set(row) == {"name", "ours", "other", "against", "ratio", "spread", "cpu_share"}
        assert row["spread"][0] <= row["ratio"] <= row["spread"][1]


def test_a_row_that_fails_leaves_the_others(benchmark, run, monkeypatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(benchmark, "swiglu", refuse)
    code, (_, *rows) = run("--dry-run")
    failed = {row["name"]: row["error"] for row in rows if "ratio" not in row}
    assert code == 1 and list(failed) == [f"swiglu.h64.s5.b2.{kind}" for kind in ("eager", "compiled")]
    assert set(failed.values()) == {"RuntimeError: no such instruction"}
    assert len(rows) == 10


def test_each_side_runs_with_its_own_kernels(benchmark, monkeypatch) -> None:
    """Also in the second row, and the program's choice stays."""
    modes: list[list[str]] = [[], [], []]
    works = [lambda seen=seen: seen.append(dispatch.mode()) for seen in modes]
    rows = list(benchmark.Bench(1, ("auto", "eager"), dry=True).rows(benchmark.Case("a", *works)))
    assert [row["name"] for row in rows] == ["a.eager", "a.compiled"]
    assert [set(seen) for seen in modes] == [{"auto"}, {"eager"}, {"eager"}]
    assert dispatch.mode() == "eager"


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
