"""The thinking example runs, draws, and stays one readable file."""

from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def example(load_example) -> ModuleType:
    return load_example("think_before_you_walk")


def test_it_runs_and_draws(example: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "thinking.png"
    short = {"updates": 2, "steps": 512, "episodes": 40}
    (run,) = example.main(example.Args(figure=str(figure), **short))
    most = {"only 1": (1, 1), "1": (1, 1), "2": (2, 2), "4": (4, 4), "Q head": (1, 4)}
    most["an action"] = (0, 4)
    assert run["seed"] == 2 and list(run["judged"]) == list(most)
    assert run["curves"].keys() == {"only 1", "Q head"}
    assert [steps for steps, _ in run["curves"]["Q head"]] == [256]
    for name, (fewest, limit) in most.items():
        found = run["judged"][name]
        assert 0 <= found["out"] <= 1 and len(found["by"]) == example.DEPTH
        assert all(fewest <= segments <= limit for segments in (found["segments"], *found["by"]))
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_thinking_pays_and_is_spent_where_it_does(example: ModuleType) -> None:
    """Four segments beat one, price included; the Q head is no worse than four, with fewer."""
    (run,) = example.main(example.Args(seeds=(2,)))
    one, limit, learned = (run["judged"][name] for name in ("1", "4", "Q head"))
    assert limit["return"] > one["return"] + 0.2
    assert learned["return"] > one["return"] + 0.3
    assert learned["return"] > limit["return"] - 0.1
    assert learned["segments"] < 3
    assert learned["by"][-1] > learned["by"][0] + 0.5
