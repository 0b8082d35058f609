"""Observes what the pins hold: results of the command line and of the public API, as plain JSON values.

The tests compare what is observed with the JSON files beside them; record.py writes those files.
"""

import contextlib
import hashlib
import io
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

# --- all that is taken from hrm_rl: where a name moves, adapt it here and nowhere else ---------------
from hrm_rl import HRM, HRMAgent, HRMConfig, Learner, LearnerConfig
from hrm_rl.cli import main
from hrm_rl.halting import TraceBank, parse_rule
from hrm_rl.halting.bank.replay import replay
from hrm_rl.puzzles import arc

# -----------------------------------------------------------------------------------------------------

HERE = Path(__file__).parent
ARTIFACTS = HERE / "artifacts"
BANK = ARTIFACTS / "bank.safetensors"
ARC_TASKS = HERE.parent / "puzzles" / "arc_tasks"
FIGURES = ("exact_accuracy", "valid_accuracy", "cell_accuracy", "mean_segments", "count")


# --- shared --------------------------------------------------------------------------------------------


def command(*words: object) -> Any:
    """Runs `hrm-rl` in this process; what it prints under --json, else None."""
    out, err = io.StringIO(), io.StringIO()
    with switches_kept(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    assert code == 0, f"hrm-rl {' '.join(map(str, words))}: {code}: {err.getvalue()[-600:]}"
    return json.loads(out.getvalue()) if "--json" in words else None


@contextlib.contextmanager
def switches_kept() -> Iterator[None]:
    """A run sets PyTorch's process-wide switches; leave them as they were."""
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)


def sha256(*parts: Any) -> str:
    """Of bytes, and of arrays as little-endian int64."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.asarray(part).astype("<i8").tobytes())
    return digest.hexdigest()


def stored(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text())


def differences(found: Any, wanted: Any, rel: float, at: str = "") -> list[str]:
    """Where two JSON values differ, one line each: numbers by more than `rel`, small ones a tenth of it."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        lines = [f"{at}/{key}: only in one" for key in sorted(found.keys() ^ wanted.keys())]
        for key in found.keys() & wanted.keys():
            lines += differences(found[key], wanted[key], rel, f"{at}/{key}")
        return lines
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for i, (f, w) in pairs for line in differences(f, w, rel, f"{at}/{i}")]
    numbers = all(type(value) in (int, float) for value in (found, wanted))
    if numbers and math.isclose(found, wanted, rel_tol=rel, abs_tol=rel / 10):
        return []
    return [] if found == wanted else [f"{at}: {found!r}, pinned is {wanted!r}"]


# --- puzzles -------------------------------------------------------------------------------------------


def puzzles(words: str, folder: Path) -> str:
    """The hash of the CSV that `hrm-rl puzzles WORDS` writes."""
    file = folder / "puzzles.csv"
    command("puzzles", *words.split(), "-n", 40, "--seed", 7, "--out", file)
    return sha256(file.read_bytes())


def arc_tokens(words: str) -> str:
    """The hash of all rows of the small tasks, augmented; `words` is `SPLIT [translated]`."""
    split, *translated = words.split()
    tasks = arc.augment(arc.read_folder(ARC_TASKS), 12)
    rows = arc.ArcTable(tasks, split, translate=bool(translated)).arrays()
    return sha256(rows.inputs, rows.labels, rows.puzzle_identifiers)


# --- artifacts -----------------------------------------------------------------------------------------


def opened(run: Path, folder: Path) -> dict[str, Any]:
    """What comes of a run that older code wrote: evaluated, recorded, and gone on with."""
    return {
        "eval": {rule: evaluated(run, rule) for rule in ("q", "stable:1", "fixed:2")},
        "trace": traced(run, folder),
        "resume": resumed(run, folder),
    }


def evaluated(run: Path, rule: str) -> dict[str, float]:
    found = command("eval", run, "--halting", rule, "--puzzles", 100, "--device", "cpu", "--json")
    return {name: found[name] for name in (*FIGURES, "max_segments", "step")}


def traced(run: Path, folder: Path) -> dict[str, Any]:
    """What a new recording of a run says: its hashes, and the mean of every feature that is finite."""
    file = folder / "traced.safetensors"
    words = ("--puzzles", 20, "--max-segments", 3, "--device", "cpu", "--json")
    found = command("trace", run, "--out", file, *words)
    kept = ("puzzles", "max_segments", "exact_accuracy", "model_hash", "puzzles_hash")
    columns = TraceBank.load(file).features
    means = {name: float(column[:, 1:].mean()) for name, column in sorted(columns.items())}
    return {**{name: found[name] for name in kept}, "features": means}


def resumed(run: Path, folder: Path) -> list[dict[str, float]]:
    """The losses of three more steps of a copy of a run."""
    copy = folder / run.name
    shutil.copytree(run, copy)
    last = int(max((copy / "checkpoints").iterdir()).name[5:])
    command("train", "--resume", "--out", copy, "--max-steps", last + 3, "--json")
    return losses(copy)


def losses(run: Path) -> list[dict[str, float]]:
    """The losses in the log of a run, step by step."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    steps = [line for line in lines if "train/loss" in line]
    return [{k: v for k, v in step.items() if k == "step" or k.startswith("train/")} for step in steps]


def bank_header() -> dict[str, Any]:
    bank = TraceBank.load(BANK)
    names = "model_hash puzzles_hash halt_max_steps trained_rule preset step dtype device created"
    return {
        **{name: getattr(bank.header, name) for name in names.split()},
        "seconds_per_segment": {str(k): v for k, v in bank.header.seconds_per_segment.items()},
        "counts": bank.counts(),
        "max_segments": bank.num_segments,
        "columns": {n: float(c[:, 1:].mean()) for n, c in sorted(bank.features.items())},
        "correct": sha256(bank.correct),
        "puzzles": sha256(bank.inputs, bank.labels, bank.puzzle_key, np.isnan(bank.rating)),
    }


def stops(spec: str, split: str | None = "test") -> dict[str, Any]:
    """Where a rule stops on the bank's puzzles and what it answers, a digit a puzzle; "@" in the spec is
    the artifacts' folder."""
    bank = TraceBank.load(BANK)
    bank = bank if split is None else bank.in_split(split)
    outcome = replay(bank, parse_rule(spec.replace("@", f"{ARTIFACTS}/")))
    return {
        "stopped": "".join(map(str, outcome.stopped)),
        "answered": "".join(map(str, outcome.answered)),
        "accuracy": float(outcome.correct.mean()),
        "mean_segments": float(outcome.stopped.mean()),
    }


# --- comparison ----------------------------------------------------------------------------------------


def report_of(policies: list[str], out: Path) -> dict[str, Any]:
    """What `hrm-rl compare` says of these rules on the bank."""
    words = ("--costs", 0.003, 0.03, "--draws", 300, "--out", out, "--json")
    report = command("compare", BANK, "--policies", *policies, *words)
    assert report == json.loads((out / "compare.json").read_text()), "compare.json is another"
    return report


def chosen_in(report: dict[str, Any]) -> dict[str, Any]:
    """Where the rules of a report stop that were chosen or learned for it."""
    return {row["policy"]: stops(row["spec"][0]) for row in report["policies"] if row["chosen"]}


def compared(policies: list[str], folder: Path) -> dict[str, Any]:
    """The report without times and paths, and where every rule stops that was chosen for it."""
    out = folder / "report"
    report = report_of(policies, out)
    chosen = chosen_in(report)
    for name in ("seconds", "files"):
        del report[name]
    for bank in report["banks"]:
        del bank["given"], bank["file"]
    text = json.dumps(report).replace(str(out), "OUT")
    report = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.11g}"))
    return {"chosen": chosen, "report": report}


def reinforced(policies: list[str], folder: Path) -> dict[str, Any]:
    """Where rules stop that are learned by reinforcement on the validation puzzles."""
    return chosen_in(report_of([*policies, "q"], folder / "learned"))


# --- training ------------------------------------------------------------------------------------------


def trained(folder: Path) -> list[dict[str, float]]:
    """25 steps of the preset sudoku-4x4, small."""
    words = (
        "--batch-size 16 --model.hidden-size 32 --max-steps 25 --learner.warmup-steps 2 --log-every 1 "
        "--data.train-puzzles 500 --data.validation-puzzles 32 --device cpu --dtype float32 --compile no"
    )
    command("train", "sudoku-4x4", *words.split(), "--out", folder / "run", "--json")
    return losses(folder / "run")


def learned(folder: Path) -> dict[str, Any]:
    """The same from Python: a learner on a vector of environments, then an agent on one."""
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "num_heads": 2,
        "H_layers": 1,
        "L_layers": 1,
        "halt_max_steps": 4,
    }
    config = HRMConfig(6, 16, puzzle_emb_ndim=0, forward_dtype="float32", **shape)
    torch.manual_seed(3)
    model = HRM(config)
    envs: Any = gym.make_vec("HRM/Sudoku-v0", num_envs=16, size=4, halt_max_steps=4)
    learner = Learner.for_envs(model, envs, LearnerConfig(optimizer="adamw", lr=1e-3, seed=3))
    found: dict[str, Any] = {"losses": []}
    obs, info = envs.reset(seed=3)
    for _ in range(10):
        out, action = learner.act(obs)
        next_obs, _, _, _, next_info = envs.step(action)
        found["losses"].append(float(learner.learn(out, obs, info["labels"], next_info)["loss"]))
        obs, info = next_obs, next_info
    model.save_pretrained(folder / "model")
    agent: Any = HRMAgent(HRM.from_pretrained(folder / "model"), rule="stable:1")
    env = gym.make("HRM/Sudoku-v0", size=4, split="test", halt_max_steps=4, render_mode="ansi")
    obs, info = env.reset(seed=3)
    state, done, rewards = None, False, []
    while not done:
        action, state = agent.predict(obs, state)
        obs, reward, terminated, truncated, info = env.step(action)
        rewards.append(float(reward))
        done = terminated or truncated
    return {**found, "inputs": sha256(obs["inputs"]), "rewards": rewards, "drawn": env.render()}


def quickstart(folder: Path) -> tuple[dict[str, dict[str, float]], float]:
    """The figures of its table, rule by rule, and the seconds of its training."""
    found = command("quickstart", "--json", "--out", folder / "quickstart")
    kept = ("exact_accuracy", "mean_segments")
    rules = {rule: {n: figures[n] for n in kept} for rule, figures in found["rules"].items()}
    return rules, found["training"]["seconds"]
