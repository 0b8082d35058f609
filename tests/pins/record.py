"""Rewrites the JSON files of the pins. Run it on the commit whose results are to be kept:

    PYTHONPATH=. python tests/pins/record.py puzzles artifacts bank small
    PYTHONPATH=. python tests/pins/record.py quickstart        # minutes, on an idle machine, all threads

A case is a key in a JSON file; to add one, write its key with any value, then record. The artifacts
are what older code wrote and are not to be made again; `record.py make FOLDER` is how they were made.
"""

import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if "quickstart" not in sys.argv:  # as in the tests; read once, when torch and numba are imported
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parent))

import observe
from observe import command, stored


def puzzles() -> None:
    old = stored("puzzles")
    csv = {words: in_folder(observe.puzzles, words) for words in old["csv"]}
    arc = {words: observe.arc_tokens(words) for words in old["arc"]}
    write("puzzles", {"csv": csv, "arc": arc}, depth=2)


def artifacts() -> None:
    old = stored("artifacts")
    runs = {name: in_folder(observe.opened, observe.ARTIFACTS / name) for name in old["runs"]}
    rules = {spec: observe.stops(spec) for spec in old["rules"]}
    write("artifacts", {"bank": observe.bank_header(), "rules": rules, "runs": runs}, depth=3)


def bank() -> None:
    old = stored("bank")
    given = {spec: observe.stops(spec, None) for spec in old["given"]}
    policies = old["report"]["settings"]["policies"]
    reinforced = in_folder(observe.reinforced, list(old["reinforced"]))
    found = {"given": given, "reinforced": reinforced, **in_folder(observe.compared, policies)}
    write("bank", found, depth=3)


def small() -> None:
    found = {"command": in_folder(observe.trained), "python": in_folder(observe.learned)}
    write("quickstart", {**stored("quickstart"), "small": found}, depth=3)


def quickstart() -> None:
    start = time.perf_counter()
    rules, seconds = in_folder(observe.quickstart)
    comment = (
        f"{time.strftime('%Y-%m-%d')}: training took {seconds:.0f} s, all of it "
        f"{time.perf_counter() - start:.0f} s; {platform.machine()}, {os.cpu_count()} cores, "
        f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'unset')}, "
        f"load {os.getloadavg()[1]:.1f} over its last five minutes"
    )
    write("quickstart", {**stored("quickstart"), "comment": comment, "rules": rules}, depth=3)


def in_folder(observation: Callable[..., Any], *arguments: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return observation(*arguments, Path(folder))


def write(name: str, values: Any, depth: int) -> None:
    (observe.HERE / f"{name}.json").write_text(pretty(values, depth) + "\n")


def pretty(value: Any, depth: int) -> str:
    """JSON with a line for every value `depth` levels down."""
    if not depth or not value or not isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, list):
        return "[\n" + ",\n".join(pretty(inner, depth - 1) for inner in value) + "\n]"
    lines = (f"{json.dumps(key)}: {pretty(inner, depth - 1)}" for key, inner in value.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def make(folder: Path) -> None:
    """The artifacts, made anew in another folder."""
    plain = "--device cpu --dtype float32 --compile no"
    tiny = f"{plain} --max-steps 12 --batch-size 4 --learner.warmup-steps 2 --learner.lr 0.05 "
    tiny += "--learner.lr-min-ratio 1 --log-every 1 --data.train-puzzles 200 --data.validation-puzzles 8"
    sudoku = "--model.hidden-size 3 --model.num-heads 1"
    maze = (
        "--model.hidden-size 2 --model.num-heads 1 --model.puzzle-emb-ndim 2 --data.family maze "
        "--learner.optimizer adam-atan2 --data.dials 'size=6 perfect=true'"
    )
    for preset, name, given in (("sudoku-4x4", "run-sudoku", sudoku), ("prefix-parity", "run-maze", maze)):
        run = folder / name
        command("train", preset, *shlex.split(given), *tiny.split(), "--out", run, "--json")
        for events in run.glob("events.out.tfevents.*"):
            events.unlink()
        for unused in ("metrics.jsonl", "config.toml"):
            (run / unused).unlink()
    model, file = folder / "model", folder / "bank.safetensors"
    some = f"{plain} --max-steps 420 --batch-size 128 --learner.warmup-steps 20 --learner.lr 4e-3 "
    some += "--model.hidden-size 64"
    command("train", "sudoku-4x4", *some.split(), "--out", model, "--json")
    command("trace", model, "--puzzles", 40, "--max-segments", 6, "--out", file, "--json")
    rules = ("lsm:auto", "voc:auto", "pqn:auto", "sb3:dqn:auto", "calm(confidence, 0.3, 0.2)")
    words = ("compare", file, "--policies", "q", *rules, "--costs", 0.01, "--out", folder / "learned")
    for row in command(*words, "--json")["policies"]:
        if row["chosen"]:
            kind, _, path = row["spec"][0].replace("sb3:dqn", "dqn").partition(":")
            shutil.copy(path, folder / f"{kind}{Path(path).suffix}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make(Path(sys.argv[2]))
    else:
        for part in sys.argv[1:]:
            {f.__name__: f for f in (puzzles, artifacts, bank, small, quickstart)}[part]()
