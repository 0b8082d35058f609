"""Trials as processes of this machine, several at a time."""

import math
import os
import signal
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_rl.process.cpus import usable_cpus
from hrm_rl.process.stopping import postponed
from hrm_rl.sweep.trial_files import Attempts, TrialFiles

# Attempts of a trial: one, and one more if it fails.
MOST_ATTEMPTS = 2
# Seconds in which a process may save and end after SIGTERM.
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.1
Ended = Callable[[TrialFiles, Attempts], None]


def thread_variables(threads: int | None) -> dict[str, str]:
    """Environment variables that set the CPU threads; {} for None, or where the user set them."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    if threads is None or any(map(os.environ.get, names)):
        return {}
    return dict.fromkeys(names, str(threads))


@dataclass(frozen=True)
class Workers:
    """How many trials run at a time, and what each may use."""

    count: int
    threads: int
    """CPU threads of each trial."""
    gpus: tuple[str, ...] = ()
    """GPUs, which the workers share in turn; none leaves each trial what it sees."""

    def environment(self, slot: int) -> dict[str, str]:
        """The environment of the trials of a worker."""
        gpu = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        return {**os.environ, **thread_variables(self.threads), **gpu}


def plan_workers(count: int | None, trials: int, threads: int | None = None, gpus: int = 0) -> Workers:
    """Workers for a number of trials: by default one a GPU, or else one a processor; threads by default as
    many as the workers do not have to share."""
    cpus = usable_cpus()
    workers = max(1, min(count or gpus or cpus, trials))
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    names = (visible or [str(number) for number in range(gpus)]) if gpus else []
    return Workers(workers, threads or max(1, cpus // workers), tuple(names))


def run_local(trials: Sequence[TrialFiles], workers: Workers, ended: Ended) -> None:
    """Run trials to their end, a failed one once more; `ended` is called as each ends for good.

    A stop signal, as Ctrl-C, is passed on to every process, which saves and ends, and then takes its course.
    """
    waiting, failures = deque(trials), Counter[Path]()
    running: dict[int, Process] = {}
    with postponed() as stop:
        try:
            while (waiting or running) and not stop.requested:
                for slot in range(workers.count):
                    if waiting and slot not in running:
                        running[slot] = Process.start(waiting.popleft(), workers.environment(slot))
                time.sleep(_POLL_SECONDS)
                for slot, process in list(running.items()):
                    if process.is_running():
                        continue
                    del running[slot]
                    trial, attempts = process.trial, process.end()
                    failures[trial.config] += attempts.failure is not None
                    if attempts.failure is not None and failures[trial.config] < MOST_ATTEMPTS:
                        waiting.append(trial)
                    else:
                        ended(trial, attempts)
        finally:
            for process in running.values():  # all of them save at a time
                process.terminate()
            for process in running.values():
                process.stop()


@dataclass(frozen=True)
class Process:
    """A trial's process, in a group of its own, so that only the sweep passes signals on to it."""

    trial: TrialFiles
    popen: "subprocess.Popen[bytes]"
    begun: float

    @classmethod
    def start(cls, trial: TrialFiles, environment: Mapping[str, str]) -> "Process":
        """Start or continue a trial."""
        trial.prepare()
        with trial.log.open("ab") as log:
            streams: Any = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            popen = subprocess.Popen(trial.command(), env=environment, start_new_session=True, **streams)
        # A handler of signals that waits in the middle of another wait would wait for its lock, for ever.
        threading.Thread(target=popen.wait, daemon=True).start()
        return cls(trial, popen, time.monotonic())

    def is_running(self) -> bool:
        return self.popen.returncode is None

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait for the end, but no longer than this; returns whether it has come."""
        deadline = time.monotonic() + seconds
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return not self.is_running()

    def end(self, *, stopped: bool = False) -> Attempts:
        """Store and return the trial's attempts, of which this one has ended, by itself or `stopped`."""
        before, code = self.trial.attempts(), self.popen.returncode
        attempts = Attempts(
            number=before.number + 1,
            seconds=round(before.seconds + time.monotonic() - self.begun, 2),
            failure=None if stopped or code == 0 else _failure(code, self.trial.last_line()),
        )
        self.trial.store(attempts)
        return attempts

    def terminate(self) -> None:
        """Ask the process to save and end."""
        if self.is_running():
            self.popen.terminate()

    def stop(self) -> None:
        """Have the process save and end; kill it if it takes too long."""
        self.terminate()
        if not self.wait(_PATIENCE_SECONDS):
            self.popen.kill()
            self.wait()
        self.end(stopped=True)


def _failure(code: int, last_line: str) -> str:
    return f"killed by {signal.Signals(-code).name} after: {last_line}" if code < 0 else last_line
