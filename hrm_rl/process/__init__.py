"""The process of a command: its stop signals, and how its threads wait for one another."""

import os
import sys

from hrm_rl.process.stopping import end_on_signals


def is_command() -> bool:
    """Whether this process is `hrm-rl`, or `python -m hrm_rl` while its packages are imported."""
    if sys.argv[:1] == ["-m"]:
        return sys.orig_argv[sys.orig_argv.index("-m") + 1] in ("hrm_rl", "hrm_rl.cli")
    name, _ = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))
    return name == "hrm-rl"


def prepare_command() -> None:
    """Set this process up for a command; before torch is imported, since OpenMP reads its settings once.

    Threads that wait for one another sleep at once. By default they spin first, and beside another busy
    process they spin away the time that the thread they wait for needs: measured, 8 to 25 times slower. A
    setting of the user's stays.
    """
    end_on_signals()
    if not any(os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
