"""Timings of this machine, kept from run to run, so that a second run like the first starts at once."""

import dataclasses
import hashlib
import json
import math
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

import hrm_rl
from hrm_rl.agents import LearnerConfig
from hrm_rl.files import cache_folders, read_text, write_text
from hrm_rl.model import HRMConfig
from hrm_rl.process.cpus import usable_cpus
from hrm_rl.stopwatch import Stopwatch, crowded

# What takes less time than this to measure, in seconds, is measured again.
_WORTH_KEEPING = 1.0
# The code whose speed is measured.
_TIMED = ("kernels", "model", "agents/learning")


class Measured:
    """Seconds by name for one model, learner and batch, in a file of the user's cache folder.

    A file belongs to this processor, PyTorch, code of hrm_rl and clock. A timing is kept unless the machine
    was crowded: `Stopwatch` tells, and only one thread's CPU seconds (`alone`) stand that.
    """

    def __init__(self, model: HRMConfig, learner: LearnerConfig, rows: int, *, alone: bool) -> None:
        self.alone = alone
        self.about: dict[str, Any] = {
            "processor": processor(),
            "cpus": usable_cpus(),
            "torch": torch.__version__,
            "code": _code(),
            "HRM_KERNELS": os.environ.get("HRM_KERNELS", ""),
            "model": model.to_dict(),
            "learner": dataclasses.asdict(dataclasses.replace(learner, seed=0)),
            "rows": rows,
            "clock": "CPU" if alone else "wall",
        }
        text = json.dumps(self.about, sort_keys=True, default=str)
        self._name = f"measured/{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
        self.seconds = self._read()
        self.began_empty = not self.seconds

    def get(self, name: str, measure: Callable[[], float]) -> float:
        """The seconds of this name, measured now if they are not known."""
        if name not in self.seconds:
            watch = Stopwatch()
            found = measure()
            took = watch.read()
            if took.seconds < _WORTH_KEEPING or (not self.alone and crowded(took.cpu_share)):
                return found
            self.seconds[name] = found
            self._write()
        return self.seconds[name]

    def _read(self) -> dict[str, float]:
        for folder in cache_folders():
            with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                found = json.loads(read_text(folder / self._name))["seconds"]
                return {name: float(x) for name, x in found.items() if 0 < float(x) < math.inf}
        return {}

    def _write(self) -> None:
        for folder in cache_folders():
            path = folder / self._name
            with suppress(OSError, ValueError):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, json.dumps(self.about | {"seconds": self.seconds}, default=str) + "\n")
                return


def processor() -> str:
    """The name of the CPU."""
    with suppress(OSError, ValueError):
        for line in read_text("/proc/cpuinfo").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@cache
def _code() -> str:
    """A hash of the code that a training step runs."""
    root, found = Path(hrm_rl.__file__).parent, hashlib.sha256(hrm_rl.__version__.encode())
    for folder in _TIMED:
        for path in sorted((root / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]
