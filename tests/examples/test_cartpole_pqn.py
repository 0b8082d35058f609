"""The CartPole example runs, draws its curves, and keeps a network that can be had again."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hrm_rl.agents.pqn.hrm_pqn import evaluate
from hrm_rl.agents.pqn.q_network import HRMQNetwork

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "cartpole_pqn.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="runs in a checkout")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cartpole_pqn", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_it_runs_and_keeps_what_it_learned(example, tmp_path, capsys) -> None:
    args = example.Args(steps=512, num_envs=4, episodes=4, save=str(tmp_path / "kept"))
    (result,) = example.main(args).values()
    assert "seed 0: return" in capsys.readouterr().out
    envs = example.make_envs(20)
    network = HRMQNetwork.load(tmp_path / "kept", envs.single_observation_space)
    again = evaluate(network, envs, 4, seed=10_000)
    assert again.returns.tolist() == result.returns.tolist()


def test_it_draws(example, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    curve = example.np.array([[100.0, float("nan"), 1.0], [200.0, 9.0, 1.5]])
    example.draw({0: curve}, str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_it_is_short() -> None:
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) < 150
