"""The thinking example runs, draws, and stays one readable file."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPT = EXAMPLES / "think_before_you_walk.py"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="runs in a checkout")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("think_before_you_walk", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_it_runs_and_draws(example: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "thinking.png"
    short = {"steps": 512, "think_steps": 256, "episodes": 40, "report_every": 1}
    (run,) = example.main(example.Args(figure=str(figure), **short))
    ways = ["one segment", "three segments", "its Q head", "think as an action"]
    assert list(run["judged"]) == ways
    assert run["curves"].keys() == {"steps", *ways[:3]}
    assert run["curves"]["steps"] == [256, 512]
    for way, segments in zip(ways, ((1, 1), (3, 3), (1, 3), (0, 3)), strict=True):
        figures = run["judged"][way]
        assert 0 <= figures["out"] <= 1
        assert segments[0] <= figures["segments"] <= segments[1]
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert json.loads(figure.with_suffix(".json").read_text())[0]["seed"] == 2
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) < 150
