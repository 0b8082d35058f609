"""The files of a sweep's folder, and what they say of each trial.

OUT/study.json                       the settings that all trials share, which may not change
OUT/sweep.json                       the report
OUT/GROUP/seed-0/                    the run folder of a trial; GROUP names its settings
OUT/GROUP/seed-0.toml                its settings, for `hrm-rl train --config`
OUT/GROUP/seed-0.log                 what its processes printed
OUT/GROUP/seed-0.json                its attempts: number, seconds, and why the last one failed
OUT/GROUP/seed-0.job                 the number of its Slurm job
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hrm_rl.files import read_text, write_text
from hrm_rl.messages import shortened
from hrm_rl.settings import read_json, reading, restore
from hrm_rl.sweep.study import Study, Trial
from hrm_rl.training.config.toml import as_toml
from hrm_rl.training.run_folder import RunFolder

State = Literal["new", "unfinished", "finished"]


@dataclass(frozen=True)
class Attempts:
    """The processes that worked on a trial."""

    number: int = 0
    seconds: float = 0.0
    """All of them together."""
    failure: str | None = None
    """The last line of the last one, if it failed."""


class TrialFiles:
    """One trial's files in a sweep's folder."""

    def __init__(self, folder: Path, trial: Trial) -> None:
        self.trial, self.run = trial, RunFolder(folder / trial.group / f"seed-{trial.seed}")
        base = self.run.path
        files = (base.with_name(base.name + suffix) for suffix in _SUFFIXES)
        self.config, self.log, self._attempts, self._job = files

    def step(self) -> int:
        """The step of the newest checkpoint; 0 without one."""
        try:
            return self.run.latest_step()
        except (OSError, ValueError):
            return 0

    def state(self) -> State:
        """Whether the trial has still to start, to continue, or neither."""
        if not (self.run.path / "config.json").is_file():
            return "new"
        return "finished" if self.step() >= self.trial.max_steps else "unfinished"

    def figures(self) -> dict[str, float]:
        """The figures of the newest validation by name, `exact_accuracy`; empty without one."""
        try:
            lines = [line for line in self.run.metrics() if "eval/exact_accuracy" in line]
        except FileNotFoundError:
            return {}
        named = {name.removeprefix("eval/"): name for name in (lines[-1] if lines else {}) if "eval/" in name}
        return {short: lines[-1][name] for short, name in named.items()}

    def fitted(self) -> dict[str, Any]:
        """What the run was fitted to its machine with, if nothing was given; empty without a run."""
        try:
            preset, compute = self.run.config()
        except (OSError, ValueError):
            return {}
        return {"dtype": compute.dtype, "batch_size": preset.batch_size}

    def command(self) -> list[str]:
        """The command that starts or continues the trial."""
        words = ["--config", str(self.config)] if self.state() == "new" else ["--resume"]
        called = [sys.executable, "-m", "hrm_rl.cli", "train", "--out", str(self.run.path)]
        return [*called, *words, "--no-progress"]

    def prepare(self) -> None:
        """Write the trial's config file, and make its folder."""
        self.config.parent.mkdir(parents=True, exist_ok=True)
        settings = {**self.trial.settings, "seed": self.trial.seed}
        write_text(self.config, as_toml(self.trial.preset, settings))

    def attempts(self) -> Attempts:
        """The attempts so far."""
        if not self._attempts.is_file():
            return Attempts()
        with reading(self._attempts, "a record of attempts"):
            return restore(Attempts, read_json(self._attempts, "JSON"))

    def store(self, attempts: Attempts) -> None:
        write_text(self._attempts, json.dumps(asdict(attempts)) + "\n")

    def job(self) -> str | None:
        """The number of the trial's last Slurm job; None if it had none."""
        return read_text(self._job).strip() or None if self._job.is_file() else None

    def store_job(self, number: str) -> None:
        self._job.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._job, f"{number}\n")

    def last_line(self) -> str:
        """The last line of the log, as the reason of a failure."""
        text = self.log.read_bytes()[-4000:].decode(errors="replace") if self.log.is_file() else ""
        lines = [line for line in text.splitlines() if line.strip()]
        return shortened(lines[-1], 300) if lines else "it printed nothing"


_SUFFIXES = (".toml", ".log", ".json", ".job")
_STUDY = "study.json"


def check_folder(folder: Path, study: Study) -> None:
    """Raise FileExistsError or ValueError if a folder holds anything but trials of this study."""
    file = folder / _STUDY
    if file.is_file():
        if difference := _difference(read_json(file, "a study"), study.fixed()):
            raise FileExistsError(f"{folder} holds another study: {difference}; choose another folder")
        return
    hidden = (path.name.startswith(".") for path in folder.iterdir()) if folder.is_dir() else ()
    if (folder.exists() and not folder.is_dir()) or not all(hidden):
        raise FileExistsError(f"{folder} already exists and holds no study; choose another folder")


def claim(folder: Path, study: Study) -> None:
    """Make the folder of a sweep, which `check_folder` has found fit."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / _STUDY, json.dumps(study.fixed(), indent=1) + "\n")


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str | None:
    """The first setting in which two studies differ, with both values."""
    before, now = theirs.get("settings", {}), ours["settings"]
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            was, new = (repr(s[key]) if key in s else "not given" for s in (before, now))
            return f"{key} is {was} there, {new} here"
    if theirs.get("varied") != ours["varied"]:
        names = [", ".join(s.get("varied") or ["nothing"]) for s in (theirs, ours)]
        return f"it varies {names[0]}, not {names[1]}"
    return None
