"""Trials as Slurm jobs, through submitit (extra `slurm`)."""

import dataclasses
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrm_rl.messages import pip_install, shortened
from hrm_rl.sweep.local import MOST_ATTEMPTS, Ended, Process
from hrm_rl.sweep.trial_files import TrialFiles

_log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
# Of a job; submitit's own default is five minutes.
_MINUTES = 24 * 60
# States in which a job may still run.
_ALIVE = ("RUNNING", "PENDING", "REQUEUED", "SUSPENDED", "COMPLETING", "CONFIGURING", "RESIZING")


class TrialJob:
    """Runs a trial in a job. One that is preempted or out of time saves, and is queued again to go on."""

    def __init__(self, trial: TrialFiles, environment: Mapping[str, str]) -> None:
        self.trial, self.environment = trial, dict(environment)
        self.process: Process | None = None

    def __call__(self) -> None:
        for _ in range(MOST_ATTEMPTS):
            self.process = Process.start(self.trial, {**os.environ, **self.environment})
            self.process.wait()
            if self.process.end().failure is None:
                return

    def checkpoint(self) -> Any:
        """Have the process save, and return what submitit queues again."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self.process.stop()
        return DelayedSubmission(TrialJob(self.trial, self.environment))


def run_jobs(
    trials: Sequence[TrialFiles],
    folder: Path,
    parameters: Mapping[str, Any],
    ended: Ended,
    *,
    environment: Mapping[str, str],
    at_a_time: int | None = None,
    cluster: str = "slurm",
) -> None:
    """Run trials as jobs and wait for them; `ended` is called as each ends for good.

    A trial whose job of an earlier sweep still runs is waited for. An interruption leaves the jobs running.

    Args:
        trials: what to run.
        folder: of the jobs' scripts and logs, which every node must see.
        parameters: of the jobs, under submitit's names: partition, timeout_min, cpus_per_task, ...
        ended: takes a trial and its attempts.
        environment: of the trials, beside that of the job.
        at_a_time: jobs that run at a time; by default as many as the cluster allows.
        cluster: "slurm", or "local" for processes that stand for jobs, "debug" for calls.

    Raises ValueError for a parameter that submitit does not know, without submitit, or without Slurm.
    """
    executor = _executor(folder, parameters, at_a_time, cluster)
    jobs = {id(trial): _job_of_earlier(trial, folder) for trial in trials} if cluster == "slurm" else {}
    todo = list(trials)
    for _ in range(MOST_ATTEMPTS):
        new = [trial for trial in todo if jobs.get(id(trial)) is None]
        with executor.batch():
            submitted = [executor.submit(TrialJob(trial, environment)) for trial in new]
        for trial, job in zip(new, submitted, strict=True):
            trial.store_job(job.job_id)
            jobs[id(trial)] = job
        _log.info("%d jobs, %d of them new; their logs are in %s.", len(todo), len(new), folder)
        todo = _wait({trial: jobs.pop(id(trial)) for trial in todo}, ended)
        if not todo:
            return
    for trial in todo:
        lost = dataclasses.replace(trial.attempts(), failure=f"its job was lost; the logs are in {folder}")
        trial.store(lost)
        ended(trial, lost)


def _wait(jobs: dict[TrialFiles, Any], ended: Ended) -> list[TrialFiles]:
    """Wait for jobs; returns the trials whose job ended without a result, as when its node fails."""
    lost = []
    while jobs:
        for trial, job in list(jobs.items()):
            if job.done():
                del jobs[trial]
                attempts = trial.attempts()
                if trial.state() == "finished" or attempts.failure is not None:
                    ended(trial, attempts)
                else:
                    lost.append(trial)
        time.sleep(_POLL_SECONDS)
    return lost


def _executor(folder: Path, parameters: Mapping[str, Any], at_a_time: int | None, cluster: str) -> Any:
    try:
        import submitit
    except ImportError:
        raise ValueError(f"Slurm jobs need submitit: {pip_install('slurm')}") from None
    shared = ("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "name")
    given = {"timeout_min": _MINUTES, "name": "hrm-rl"} | dict(parameters)
    if at_a_time is not None:
        given["array_parallelism"] = at_a_time
    named = {name if name in shared else f"slurm_{name}": value for name, value in given.items()}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**named)
    except RuntimeError as error:
        raise ValueError(f"no Slurm here: {shortened(str(error), 100)}") from None
    except (NameError, AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"[slurm]: {shortened(str(error).replace('slurm_', ''), 300)}") from None
    return executor


def _job_of_earlier(trial: TrialFiles, folder: Path) -> Any:
    """The job of an earlier sweep that still runs the trial, or None."""
    from submitit import SlurmJob

    number = trial.job()
    if number is None:
        return None
    job: Any = SlurmJob(folder, number)
    return job if job.watcher.get_state(number, mode="force").split()[0] in _ALIVE else None
