"""The CartPole example runs and draws."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPT = EXAMPLES / "cartpole_ppo.py"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="runs in a checkout")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cartpole_ppo", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_it_runs_for_several_seeds_and_draws(example, tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "curve.png"
    short = {"total_steps": 1024, "hidden_size": 16, "n_epochs": 1, "evaluation_episodes": 2}
    first, second = example.main(example.Args(seeds=(1, 2), figure=str(figure), **short))
    assert (first["seed"], second["seed"]) == (1, 2) and first["steps"] == 1024
    assert first["mean_return"] >= first["min_return"] >= 1
    assert capsys.readouterr().out.count('"mean_return"') == 2
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) < 150
