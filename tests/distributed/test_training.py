"""Ranks train and evaluate as one process with the same global batch does."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("training.py")


def script() -> Any:
    spec = importlib.util.spec_from_file_location("distributed_training", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return script().everything()


@pytest.mark.parametrize(
    ("count", "sharding"),
    [
        (2, []),
        pytest.param(4, [], marks=pytest.mark.slow),
        pytest.param(2, ["full"], marks=pytest.mark.slow),
        pytest.param(4, ["full"], marks=pytest.mark.slow),
    ],
)
def test_ranks_equal_one_process(
    count: int, sharding: list[str], job: Callable, alone: dict, tmp_path: Path
) -> None:
    """Losses, rows, halting, weights, puzzle embeddings, averages and states over 10 steps, to 1e-5; the
    states are also loaded in the middle of an episode. Evaluations, banks and votes are the same too."""
    for end in job(count, SCRIPT, tmp_path / "found.pt", *sharding):
        assert end.returncode == 0, end.stderr
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert found.keys() == alone.keys() - ({"judged"} if sharding else set())
    for name, theirs in found.items():
        ours = alone[name]
        if name == "in float32":  # the untrained network enlarges its rounding in carries and Q values
            ours = {"steps": [without_q(step) for step in ours["steps"]], "weights": ours["weights"]}
            theirs = {**theirs, "steps": [without_q(step) for step in theirs["steps"]]}
        differ = differences({key: theirs[key] for key in ours}, ours)
        assert not differ, (name, differ)
    halted = torch.stack([step["segments"][step["ended"]].float().mean() for step in alone["full"]["steps"]])
    assert 1 < halted.mean() < 3  # decisions were compared, not the limit
    touched = alone["full"]["weights"]["puzzle_emb.weights"]
    assert (touched != script().begin({})[0].puzzle_emb.weights).any(-1).all()


def without_q(step: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in step.items() if key not in ("q_halt", "q_continue", "q_target")}


def differences(found: Any, wanted: Any, where: str = "") -> list[str]:
    """The places where two nested records differ by more than 1e-5."""
    if isinstance(wanted, torch.Tensor):
        a, b = found.double(), wanted.double()
        close = a.shape == b.shape and torch.allclose(a, b, 1e-5, 1e-5, equal_nan=True)
        return [] if close else [where]
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), where
        return [d for key in wanted for d in differences(found[key], wanted[key], f"{where}/{key}")]
    if isinstance(wanted, list | tuple):
        assert len(found) == len(wanted), where
        pairs = enumerate(zip(found, wanted, strict=True))
        return [d for i, pair in pairs for d in differences(*pair, f"{where}/{i}")]
    return [] if found == wanted else [where]
