"""Train for hours under random kills and beside a busy neighbour, and compare with an undisturbed run.

    python experiments/soak/run.py --minutes 120         # two hours
    python experiments/soak/run.py --report              # the figures of the stored log

Two runs of the same tiny settings train side by side. The disturbed one is killed at random moments and
resumed; the undisturbed one is left alone. A process that only computes starts and stops at random. Every
event goes to log.jsonl as one JSON line, and the figures to summary.json beside it.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import tyro
from report import summarise

HERE = Path(__file__).parent
SETTINGS = (
    "--model.hidden-size=32 --model.num-heads=2 --model.halt-max-steps=4 --batch-size=32 --dtype=float32 "
    "--data.train-puzzles=2000 --data.validation-puzzles=64 --log-every=20 --validate-every=200 "
    "--max-steps=10000000 --learner.lr=2e-4 --learner.lr-min-ratio=1 --compile=no --no-progress "
    "--checkpoint-minutes=0.2"
)
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOMENTS = ("any", "any", "any", "starting", "saving")
PATIENCE = 60.0  # seconds in which a process must end after a signal
TIMINGS = ("eval/seconds", "eval/puzzles_per_second")  # and all of time/


@dataclass(frozen=True)
class Soak:
    """Kill and resume a small training at random, and check that nothing of it is lost."""

    minutes: float = 120.0
    """Length of the soak."""
    life: float = 60.0
    """Mean seconds from a start to a kill."""
    sample: float = 20.0
    """Seconds between samples of memory."""
    seed: int = 0
    """Seed of the moments, the signals and the neighbour."""
    settings: str = SETTINGS
    """Options of both trainings, beside the preset and the folder."""
    work: Path = Path("runs/soak")
    """Folder of the two runs and of temporary files; replaced."""
    log: Path = HERE / "log.jsonl"
    """File of the events; the summary is written beside it."""
    report: bool = False
    """Print the figures of the stored log, without training."""


class Log:
    """Writes one JSON object a line, with the seconds since the start."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.start = file, time.monotonic()

    def write(self, event: str, **fields: Any) -> None:
        line = {"seconds": round(time.monotonic() - self.start, 2), "event": event, **fields}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()


class Training:
    """A training in a process group of its own, and what can be seen of it from outside."""

    def __init__(self, soak: Soak, name: str, log: Log) -> None:
        self.soak, self.name, self.log = soak, name, log
        self.folder, self.temporary = soak.work / name, soak.work / f"tmp-{name}"
        self.temporary.mkdir(parents=True)
        self.digests: dict[int, str] = {}
        self.life = 0

    def start(self) -> None:
        """Start the run, or continue it if its folder holds one."""
        resume = (self.folder / "config.json").exists()
        words = ["--resume"] if resume else ["sudoku-4x4", *self.soak.settings.split()]
        if resume and "--no-progress" in self.soak.settings:
            words.append("--no-progress")
        self.life, self.begun, self.first_step = self.life + 1, time.monotonic(), self.step()
        with (self.soak.work / f"{self.name}.err").open("ab") as messages:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hrm_rl.cli", "train", "--out", str(self.folder), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary.resolve())},
                start_new_session=True,
            )

    def step(self) -> int:
        """The step of the last whole line of the log."""
        steps = [line["step"] for line in read_lines(self.folder / "metrics.jsonl", last=4096)]
        return max(steps, default=0)

    def is_saving(self) -> bool:
        """Whether this process is writing a checkpoint; what a killed one left has another number."""
        folder, mark = self.folder / "checkpoints", f".{self.process.pid}."
        return folder.is_dir() and any(mark in name for name in os.listdir(folder))

    def watch(self) -> None:
        """Keep the digest of the weights of each new checkpoint."""
        for checkpoint in self.folder.glob("checkpoints/step-*"):
            step = checkpoint.name.removeprefix("step-")
            if step.isdigit() and int(step) not in self.digests:
                try:
                    content = (checkpoint / "model.safetensors").read_bytes()
                except FileNotFoundError:  # removed meanwhile
                    continue
                self.digests[int(step)] = hashlib.sha256(content).hexdigest()

    def sample(self) -> None:
        """Log memory, descriptors and threads of the process."""
        try:
            root = Path("/proc") / str(self.process.pid)
            status = dict(line.split(":", 1) for line in (root / "status").read_text().splitlines())
            rss, threads = int(status["VmRSS"].split()[0]), int(status["Threads"])
            found = {"rss_kib": rss, "threads": threads, "descriptors": len(os.listdir(root / "fd"))}
        except (OSError, KeyError):  # it has just ended
            return
        age = round(time.monotonic() - self.begun, 1)
        self.log.write("memory", run=self.name, life=self.life, age=age, step=self.step(), **found)

    def end(self, sign: signal.Signals, moment: str) -> None:
        """Send a signal and log how the process ended and what it left."""
        before, sent = self.step(), time.monotonic()
        alive = self.process.poll() is None
        if alive:
            self.process.send_signal(sign)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.watch()
        self.log.write(
            "life",
            run=self.name,
            life=self.life,
            age=round(sent - self.begun, 1),
            from_step=self.first_step,
            to_step=before,
            saved_step=max(self.digests, default=0),
            signal=sign.name if alive else None,
            moment=moment,
            code=code,
            seconds_to_end=round(time.monotonic() - sent, 2),
            orphans=orphans(self.process.pid),
            partial=len(partial_files(self.folder)),
            temporary=sum(path.is_file() for path in self.temporary.rglob("*")),
        )


class Neighbour:
    """A process that only computes, started and stopped at random."""

    def __init__(self, dice: random.Random, log: Log) -> None:
        self.dice, self.log = dice, log
        self.process: subprocess.Popen[bytes] | None = None
        self.change = time.monotonic() + dice.expovariate(1 / 60)

    def step(self) -> None:
        if time.monotonic() >= self.change:
            self.stop() if self.process else self._start()
            self.change = time.monotonic() + self.dice.expovariate(1 / 60)

    def _start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        self.log.write("neighbour", busy=True)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.log.write("neighbour", busy=False)


def read_lines(file: Path, last: int | None = None) -> Iterator[dict[str, Any]]:
    """The whole lines of a JSON-lines file, or those in its `last` bytes."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = max(0, size - last) if last else 0
            stream.seek(start)
            text = stream.read()
    except FileNotFoundError:
        return
    lines = text.split(b"\n")[:-1]
    for line in lines[1 if start else 0 :]:
        yield json.loads(line)


def partial_files(folder: Path) -> list[str]:
    """What a killed process left half written."""
    return [str(path) for path in folder.rglob("*") if ".partial" in path.name]


def orphans(group: int) -> int:
    """The number of live processes of a process group."""
    found = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += fields[2] == str(group) and fields[0] != "Z"
    return found


def disturb(soak: Soak, trainings: tuple[Training, Training], log: Log, end: float) -> None:
    """Kill and resume the first training until `end`; the second is only watched."""
    dice, (first, second) = random.Random(soak.seed), trainings
    neighbour, sampled = Neighbour(dice, log), 0.0
    second.start()
    try:
        while time.monotonic() < end:
            first.start()
            moment, sign = dice.choice(MOMENTS), dice.choice(SIGNALS)
            wait = dice.uniform(0, 10) if moment == "starting" else dice.expovariate(1 / soak.life)
            due = first.begun + wait
            while time.monotonic() < end and first.process.poll() is None:
                late = time.monotonic() >= due
                if late and (moment != "saving" or first.is_saving()):
                    break
                neighbour.step()
                for training in trainings:
                    training.watch()
                if time.monotonic() >= sampled + soak.sample:
                    sampled = time.monotonic()
                    for training in trainings:
                        training.sample()
                time.sleep(0.01 if late else 0.5)
            first.end(sign, moment if time.monotonic() < end else "end")
        # One more life, which must find a run that goes on, and leave nothing half written.
        first.start()
        reached = max(first.digests, default=0)
        while max(first.digests, default=0) <= reached and first.process.poll() is None:
            time.sleep(0.5)
            first.watch()
        while first.is_saving() and first.process.poll() is None:
            time.sleep(0.1)
        first.end(signal.SIGKILL, "last")
    finally:
        neighbour.stop()
        # The undisturbed run is as far as the disturbed one, or has to catch up.
        while second.process.poll() is None and max(second.digests, default=0) < max(
            first.digests, default=0
        ):
            time.sleep(0.5)
            second.watch()
        second.end(signal.SIGKILL, "last")


def is_timing(name: str) -> bool:
    return name.startswith("time/") or name in TIMINGS


def compare(first: Training, second: Training, log: Log) -> None:
    """Log whether the two runs wrote the same figures and the same weights."""

    def figures(training: Training) -> dict[tuple[int, bool], dict[str, Any]]:
        lines = read_lines(training.folder / "metrics.jsonl")
        whole = [{name: line[name] for name in line if not is_timing(name)} for line in lines]
        return {(line["step"], any(name.startswith("eval/") for name in line)): line for line in whole}

    mine, other = figures(first), figures(second)
    last = min(max(mine)[0], max(other)[0])
    lines = [key for key in mine.keys() | other.keys() if key[0] <= last]
    different = sorted(key[0] for key in lines if mine.get(key) != other.get(key))
    common = sorted(first.digests.keys() & second.digests.keys())
    log.write(
        "compare",
        step=last,
        lines=len(lines),
        different_lines=different[:20],
        checkpoints=len(common),
        different_checkpoints=[s for s in common if first.digests[s] != second.digests[s]][:20],
        partial_files=partial_files(first.folder),
        folders=sorted(path.name for path in (first.folder / "checkpoints").iterdir()),
    )


def main(soak: Soak) -> None:
    if not soak.report:
        shutil.rmtree(soak.work, ignore_errors=True)
        with soak.log.open("w", encoding="utf-8") as file:
            log = Log(file)
            trainings = Training(soak, "disturbed", log), Training(soak, "undisturbed", log)
            log.write("start", command=" ".join(sys.argv), nice=os.nice(0), load=os.getloadavg())
            disturb(soak, trainings, log, time.monotonic() + 60 * soak.minutes)
            compare(*trainings, log)
    summary = summarise(list(read_lines(soak.log)))
    soak.log.with_name("summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Soak, description=__doc__))
