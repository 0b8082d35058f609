"""Wall-clock time, and whether other work on the machine lengthened it."""

import time
from typing import NamedTuple

# A thread that computes runs for nearly all of the time; less means that it waited for a processor.
_CROWDED = 0.9


def clock(threads: int | None) -> float:
    """Seconds from an arbitrary start, for timing a CPU's work: where one thread computes, the process's CPU
    seconds, which busy neighbours lengthen least; otherwise the wall clock's."""
    return time.process_time() if threads == 1 else time.perf_counter()


class Timing(NamedTuple):
    """A time measured on the CPU's clock."""

    seconds: float
    cpu_share: float
    """Share of the time in which the measuring thread ran, 0 to 1; 1 where a GPU computes."""


class Stopwatch:
    """Measures from when it is made."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._wall, self._ran = time.perf_counter(), time.thread_time()

    def read(self) -> Timing:
        """The time until now, in the thread that made the watch."""
        seconds, ran = time.perf_counter() - self._wall, time.thread_time() - self._ran
        # The clock of a thread is coarse on some systems.
        on_cpu = self.device == "cpu" and seconds > 0
        return Timing(seconds, min(1.0, ran / seconds) if on_cpu else 1.0)


def rate(count: float, seconds: float) -> float:
    """How many a second; 0 if the clock did not move."""
    return count / seconds if seconds > 0 else 0.0


def crowded(cpu_share: float) -> str:
    """A sentence for times taken on a crowded machine; "" if it was free."""
    if cpu_share >= _CROWDED:
        return ""
    return (
        f"Timed on a crowded machine: this process ran in {cpu_share:.0%} of the time, so a free machine "
        "is faster."
    )
