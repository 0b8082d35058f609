"""The processors that this process may use."""

import os
from collections.abc import Iterator
from pathlib import Path

from hrm_rl.files import read_text


def usable_cpus(root: Path = Path("/")) -> int:
    """Processors that this process may use: of its affinity, and of the quotas of its control groups
    (a container's, a Slurm job's), rounded up."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([count, *_quotas(root)]))


def _quotas(root: Path) -> Iterator[int]:
    """The quotas of this process's control groups and those above them, in whole processors."""
    groups = root / "sys/fs/cgroup"
    for line in _words(root / "proc/self/cgroup", "\n"):
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        place = Path(path.lstrip("/"))
        for group in (place, *place.parents):
            if controllers:
                names = (f"cpu/{group}/cpu.cfs_quota_us", f"cpu/{group}/cpu.cfs_period_us")
                words = [word for name in names for word in _words(groups / name)]
            else:
                words = _words(groups / group / "cpu.max")
            if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
                yield -(-int(words[0]) // int(words[1]))


def _words(path: Path, separator: str | None = None) -> list[str]:
    """The words of a file of the kernel; [] if it cannot be read."""
    try:
        return read_text(path).split(separator)
    except (OSError, ValueError):
        return []
