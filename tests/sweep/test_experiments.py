"""The studies under experiments/, and the figures of the soak."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from hrm_rl.sweep import read_study

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
STUDIES = {
    "q_targets/study": 6,
    "halting_policies/study": 6,
    "halting_policies/full": 10,
    "models/study": 21,
    "models/lower_rate": 9,
    "models/six": 15,
    "relation_bias/nine": 12,
    "relation_bias/six": 12,
}

pytestmark = pytest.mark.skipif(not EXPERIMENTS.is_dir(), reason="runs in a checkout of the repository")


def test_every_study_of_an_experiment_has_its_trials() -> None:
    files = sorted(EXPERIMENTS.glob("*/*.toml"))
    counts = {f"{file.parent.name}/{file.stem}": len(read_study(file).trials()) for file in files}
    assert counts == STUDIES


@pytest.fixture(scope="module")
def summarise() -> Any:
    spec = importlib.util.spec_from_file_location("report", EXPERIMENTS / "soak" / "report.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.summarise


def log_of(rss: Any) -> list[dict[str, Any]]:
    """The log of a soak of ten lives of 200 seconds each, with `rss(run, life, age)` KiB of memory."""
    common = {
        "orphans": 0,
        "temporary": 0,
        "code": -9,
        "signal": "SIGKILL",
        "moment": "any",
        "seconds_to_end": 0.1,
    }
    lines: list[dict[str, Any]] = []
    for life in range(1, 11):
        for age in range(0, 200, 10):
            for run, number, seconds in (
                ("disturbed", life, age),
                ("undisturbed", 1, 200 * (life - 1) + age),
            ):
                found = {"rss_kib": rss(run, number, seconds), "descriptors": 7, "threads": 4}
                lines.append({"event": "memory", "run": run, "life": number, "age": seconds, **found})
        steps = {"from_step": 100 * (life - 1), "to_step": 100 * life}
        lines.append({"event": "life", "run": "disturbed", "life": life, **steps, **common})
    end = {"seconds": 2000, "event": "compare", "step": 1000, "lines": 3, "different_lines": [500]}
    return [{"seconds": 0, **line} for line in lines] + [end]


def test_the_soak_tells_memory_that_grows_from_memory_that_does_not(summarise) -> None:
    flat = summarise(log_of(lambda run, life, age: 500_000 + 1000 * (age < 50)))
    assert (
        flat["lives"] == 10
        and flat["kills"] == {"SIGKILL any": 10}
        and flat["exit_codes"] == {"SIGKILL": [-9]}
    )
    assert flat["memory_within_a_life"]["growth_percent"] == flat["memory_over_lives"]["growth_percent"] == 0
    assert flat["memory_over_lives"]["lives"] == 9  # the first has no checkpoint to start from
    assert flat["compared"] == {"step": 1000, "lines": 3, "different_lines": [500]}
    within = summarise(log_of(lambda run, life, age: 500_000 + 10 * age * (run == "undisturbed")))
    assert within["memory_within_a_life"]["growth_percent"] > 2
    over = summarise(log_of(lambda run, life, age: 500_000 + 5000 * life))
    assert (
        over["memory_over_lives"]["growth_percent"] > 2
        and over["memory_within_a_life"]["growth_percent"] == 0
    )
