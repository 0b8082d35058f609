"""The pace of a run on a CPU: steps that stay slow show a crowded machine, so threads are chosen again."""

import dataclasses
import logging
import os
import statistics
import time
from collections.abc import Sequence

from hrm_rl.training.machine.compute import Compute, with_fastest_threads
from hrm_rl.training.presets import Preset

log = logging.getLogger(__name__)

# Steps are slow if they take this many times as long as expected.
SLOW = 2.0
# Steps and seconds over which the median step is taken.
_LEAST_STEPS, _LEAST_SECONDS = 5, 5.0
# Seconds of training between two probes: at least so many, and so many times what the last one took.
_PAUSE, _PAUSE_PER_COST = 30.0, 20.0
# After fewer threads were chosen, seconds until more are tried again, counted likewise.
_LOOK_BACK, _LOOK_BACK_PER_COST = 600.0, 50.0


class Pace:
    """Follows the time of a run's steps."""

    def __init__(self, preset: Preset, compute: Compute, counts: Sequence[int]) -> None:
        """
        Args:
            preset, compute: what the run trains, and how.
            counts: the numbers of threads to choose from (`thread_counts`); one if the user set it.
        """
        self.preset, self.compute, self.counts = preset, compute, counts
        self.expected = compute.step_seconds or None  # else the first steps count
        # The number of threads before fewer were chosen; 0 if none were.
        self._before = 0
        self._steps: list[float] = []
        # Seconds of training since the last probe, for how long none follows, and what the last one took.
        self._since, self._pause, self._cost = float("inf"), 0.0, 0.0

    def add(self, seconds: float) -> Compute | None:
        """Add a step's time; returns how to compute from now on if that changes, which a log line reports."""
        self._since += seconds
        self._steps.append(seconds)
        if len(self._steps) < _LEAST_STEPS or sum(self._steps) < _LEAST_SECONDS:
            return None
        typical = statistics.median(self._steps)
        self._steps.clear()
        self.expected = self.expected or typical
        slow = typical > SLOW * self.expected and self._since >= self._pause
        look_back = self._before and self._since >= max(_LOOK_BACK, _LOOK_BACK_PER_COST * self._cost)
        return self._choose(typical, self.expected, slow=slow) if slow or look_back else None

    def _choose(self, typical: float, expected: float, *, slow: bool) -> Compute | None:
        start, was = time.perf_counter(), self.compute
        now = self._fastest() if len(self.counts) > 1 else was
        self._cost, self._since = time.perf_counter() - start, 0.0
        changed = now.threads != was.threads
        # A pause grows for as long as nothing is found.
        self._pause = max(_PAUSE, _PAUSE_PER_COST * self._cost, 0 if changed else 2 * self._pause)
        if slow or changed:
            log.info(_report(typical, expected, was, now))
        if not changed:
            self.expected = max(expected, typical)
            return None
        most = max(self._before, was.threads or 0)
        self._before = most if (now.threads or 0) < most else 0
        self.compute, self.expected = now, now.step_seconds or typical
        return now

    def _fastest(self) -> Compute:
        """How to compute with the number of threads that is the fastest now."""
        counts = dict.fromkeys((self.compute.threads or 0, *self.counts, max(self.counts) // 2))
        way = dataclasses.replace(self.compute, cpus=None)
        few = [count for count in counts if count]
        return with_fastest_threads(way, few, self.preset.model, self.preset.learner, self.preset.batch_size)


def _report(typical: float, expected: float, was: Compute, now: Compute) -> str:
    words = f"Steps take {typical:.2g} s; on a free machine they took {expected:.2g} s."
    if now.threads != was.threads:
        return f"{words} From now on threads: {now.threads} instead of {was.threads}, the fastest measured."
    passive = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive"
    advice = "" if passive else " OMP_WAIT_POLICY=passive, set before Python starts, may help."
    return f"{words} Threads stay at {now.threads}.{advice}"
