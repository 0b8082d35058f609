import time

import pytest

from hrm_rl import stopwatch
from hrm_rl.stopwatch import Stopwatch, crowded, rate


@pytest.mark.parametrize(
    ("ran", "device", "share", "words"),
    [(1.0, "cpu", 0.1, "ran in 10% of the time"), (9.8, "cpu", 0.98, ""), (1.0, "cuda", 1.0, "")],
)
def test_a_crowded_machine_is_seen(ran, device, share, words, monkeypatch) -> None:
    for name, values in (("perf_counter", [5.0, 15.0]), ("thread_time", [2.0, 2.0 + ran])):
        monkeypatch.setattr(stopwatch.time, name, iter(values).__next__)
    seconds, found = Stopwatch(device).read()
    assert (seconds, found) == (10.0, pytest.approx(share))
    assert words in crowded(found) and bool(crowded(found)) == bool(words)


def test_waiting_is_not_computing() -> None:
    watch = Stopwatch()
    time.sleep(0.05)
    assert watch.read().cpu_share < 0.5


def test_a_rate_needs_a_clock_that_moves() -> None:
    assert (rate(10, 4.0), rate(10, 0.0), rate(10, -1.0)) == (2.5, 0.0, 0.0)
