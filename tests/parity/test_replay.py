"""The recorded reference runs replay within tolerance, and a replay notices what was changed."""

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXTURES = ("rope_puzzle_embedding", "learned_softmax", "learned_two_token_prefix")


@pytest.fixture(scope="module")
def replay_module():
    spec = importlib.util.spec_from_file_location("hrm_rl_parity_replay", HERE / "replay.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=FIXTURES)
def fixture(replay_module, request):
    return replay_module.Fixture.load(HERE / f"{request.param}.safetensors")


def with_tensor(module, fixture, key, tensor):
    return module.Fixture({**fixture.tensors, key: tensor}, fixture.meta)


def saved(fixture, folder, key, tensor) -> Path:
    """A file of the fixture with one tensor changed."""
    path = folder / "changed.safetensors"
    metadata = {"meta": json.dumps(fixture.meta)}
    save_file({**fixture.tensors, key: tensor}, path, metadata=metadata)
    return path


def notices(module, fixture, key, factor=1.01) -> bool:
    """Whether the replay fails, or refuses to run, with the tensor scaled."""
    scaled = with_tensor(module, fixture, key, fixture.tensors[key] * factor)
    try:
        return bool(module.replay(scaled).failures())
    except ValueError:
        return True


def changeable(fixture) -> list[str]:
    """Tensors that scaling changes at all; some `halted` and a fresh Q bias are exact zeros."""
    return sorted(key for key, tensor in fixture.tensors.items() if tensor.any())


def test_replay_is_within_the_recorded_tolerances(replay_module, fixture) -> None:
    errors = replay_module.replay(replay_module.Fixture(fixture.tensors, fixture.meta))
    assert errors.failures() == []
    for name, (_, _, tolerance) in errors.rows.items():
        assert tolerance <= (1e-4 if name.startswith("step0.") else 1e-3), name
    compared = set(errors.rows)
    for name in ("logits", "q_halt_logits", "q_continue_logits", "target_q_continue", "z_H", "z_L"):
        assert {f"step0.{name}", f"step*.{name}"} <= compared
    for name in ("halted", "steps", "labels_in_use"):
        assert f"step*.{name}" in compared
    assert {"metrics.loss", "eval.logits", "eval.predictions", "eval.q_halt_logits"} <= compared
    for kind in ("step0.grad.", "final."):
        recorded = {k.removeprefix(kind) for k in fixture.tensors if k.startswith(kind)}
        assert sum(name.startswith(kind) for name in compared) == len(recorded)


def test_a_sample_of_scaled_tensors_is_noticed(replay_module, fixture) -> None:
    keys = random.Random(0).sample(changeable(fixture), 12)
    assert [key for key in keys if not notices(replay_module, fixture, key)] == []


@pytest.mark.slow
def test_every_scaled_tensor_is_noticed(replay_module, fixture) -> None:
    keys = changeable(fixture)
    assert [key for key in keys if not notices(replay_module, fixture, key)] == []


def test_changed_labels_are_noticed(replay_module, fixture, tmp_path) -> None:
    """An ignored label that becomes another negative number is an error, not another label."""
    labels = fixture.tensors["step0.batch.labels"]
    changed = torch.where(labels == -100, -101, labels)
    path = saved(fixture, tmp_path, "step0.batch.labels", changed)
    assert replay_module.main(str(path)) == 1


def test_one_wrong_number_is_noticed(replay_module, fixture) -> None:
    for key in ("step1.logits", "final.inner.lm_head.weight", "init.inner.q_head.bias"):
        tensor = fixture.tensors[key].clone()
        tensor.view(-1)[0] += 0.02 * tensor.abs().max() + 0.01
        assert replay_module.replay(with_tensor(replay_module, fixture, key, tensor)).failures()
    halted = ~fixture.tensors["step0.halted"]
    changed = with_tensor(replay_module, fixture, "step0.halted", halted)
    assert "step*.halted" in replay_module.replay(changed).failures()


def test_not_a_number_is_noticed(replay_module, fixture) -> None:
    tensor = fixture.tensors["step2.q_halt_logits"].clone()
    tensor[0] = torch.nan
    changed = with_tensor(replay_module, fixture, "step2.q_halt_logits", tensor)
    assert "step*.q_halt_logits" in replay_module.replay(changed).failures()


def test_tensor_that_nothing_reads_is_noticed(replay_module, fixture) -> None:
    changed = with_tensor(replay_module, fixture, "step0.extra", torch.ones(1))
    assert replay_module.replay(changed).failures() == ["step0.extra (not compared)"]


# --- the command line -----------------------------------------------------------------------------


def run(path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(HERE / "replay.py"), *([str(path)] if path else [])]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_command_prints_every_quantity_and_exits_with_zero() -> None:
    result = run(HERE / "learned_softmax.safetensors")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[-1].endswith("0 of 67 quantities over their tolerance")
    assert len(lines) == 68 and any(line.startswith("step*.target_q_continue") for line in lines)


def test_main_exits_with_one_if_a_quantity_is_over(replay_module, fixture, tmp_path, capsys) -> None:
    scaled = fixture.tensors["final.inner.lm_head.weight"] * 1.01
    path = saved(fixture, tmp_path, "final.inner.lm_head.weight", scaled)
    assert replay_module.main(str(path)) == 1
    assert "final.lm_head.weight" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "no-meta"])
def test_main_exits_with_one_and_a_line_if_it_cannot_run(replay_module, tmp_path, capsys, damage) -> None:
    path = tmp_path / "damaged.safetensors"
    if damage == "empty":
        path.touch()
    elif damage == "cut":
        path.write_bytes((HERE / "learned_softmax.safetensors").read_bytes()[:50_000])
    elif damage == "no-meta":
        save_file({"a": torch.ones(1)}, path)
    assert replay_module.main(str(path)) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(path) in error


def test_command_without_a_file_shows_how_to_call_it() -> None:
    result = run(None)
    assert result.returncode == 1 and "usage:" in result.stderr
