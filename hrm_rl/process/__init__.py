"""The process of a command: its stop signals, and how its threads wait for one another."""

import os
import sys

from hrm_rl.process.stopping import end_on_signals

SPINS = "4000"


def is_command() -> bool:
    """Whether this process is `hrm-rl`, or `python -m hrm_rl` while its packages are imported."""
    if sys.argv[:1] == ["-m"]:
        return sys.orig_argv[sys.orig_argv.index("-m") + 1] in ("hrm_rl", "hrm_rl.cli")
    name, _ = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))
    return name == "hrm-rl"


def prepare_command() -> None:
    """Set this process up for a command, before torch is imported: its stop signals, and how long its OpenMP
    threads spin while they wait for one another. A setting of the user's stays.

    GNU OpenMP, that of PyTorch's wheels for Linux, lets them spin 300,000 times before they sleep. Beside
    another busy process that takes away the time that the awaited thread needs, and a step takes several
    times as long. Far fewer spins bridge the gaps between operations as well (`benchmarks/crowded.py`: 1000
    are too few, 20,000 too many).
    """
    end_on_signals()
    if not any(os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        os.environ["GOMP_SPINCOUNT"] = SPINS
