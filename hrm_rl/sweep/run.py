"""Running a study: what is finished is skipped, what was interrupted goes on, what failed is tried again."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrm_rl.files import write_text
from hrm_rl.sweep.local import plan_workers, run_local, thread_variables
from hrm_rl.sweep.report import Report, report
from hrm_rl.sweep.study import read_study
from hrm_rl.sweep.trial_files import Attempts, TrialFiles, check_folder, claim
from hrm_rl.training.run_folder.lock import FolderLock

_log = logging.getLogger(__name__)


def sweep(
    study: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    workers: int | None = None,
    threads: int | None = None,
    slurm: str | None = None,
    dry_run: bool = False,
) -> Report:
    """Train every trial of a study into a folder, as `hrm-rl sweep` does; returns the report.

    Args:
        study: a TOML file (`hrm_rl.sweep.study`).
        folder: new, empty, or with trials of this study; by default runs/NAME of the file.
        seeds: instead of the file's.
        workers: trials at a time; by default one a GPU, or else one a processor, and of Slurm all.
        threads: CPU threads of each trial; by default the workers share the processors.
        slurm: run trials as jobs: "slurm", or "local" for processes that stand for jobs, "debug" for calls.
        dry_run: run nothing, and write nothing.

    Raises ValueError or OSError for a mistake in the study, or a folder that is in use or holds
    anything else.
    """
    described = read_study(study, seeds)
    place = Path(folder or Path("runs") / Path(study).stem)
    trials = [TrialFiles(place, trial) for trial in described.trials()]
    check_folder(place, described)
    if dry_run:
        return report(described, trials, str(place))
    with FolderLock(place):
        claim(place, described)
        todo = [trial for trial in trials if trial.state() != "finished"]

        def ended(files: TrialFiles, attempts: Attempts) -> None:
            what = f"failed: {attempts.failure}" if attempts.failure else _result(files)
            done = sum(trial.state() == "finished" for trial in trials)
            _log.info("%d of %d finished. %s %s", done, len(trials), files.trial.name, what)

        if slurm is not None:
            from hrm_rl.sweep.slurm import run_jobs

            options: Any = {"environment": thread_variables(threads), "at_a_time": workers, "cluster": slurm}
            run_jobs(todo, place / "jobs", described.slurm, ended, **options)
        elif todo:
            plan = plan_workers(workers, len(todo), threads, _gpus(described.common.get("device")))
            numbers = len(todo), plan.count, plan.threads
            _log.info("Trials to run: %d, at a time: %d, threads of each: %d.", *numbers)
            run_local(todo, plan, ended)
        found = report(described, trials, str(place))
        write_text(place / "sweep.json", json.dumps(found, indent=1) + "\n")
    return found


def _gpus(device: str | None) -> int:
    """The GPUs that trials may use."""
    import torch

    return torch.cuda.device_count() if device in (None, "auto", "cuda") else 0


def _result(files: TrialFiles) -> str:
    figures = files.figures()
    solved = f"{100 * figures['exact_accuracy']:.1f} % solved, " if "exact_accuracy" in figures else ""
    return f"finished: {solved}{files.attempts().seconds:.0f} s"
