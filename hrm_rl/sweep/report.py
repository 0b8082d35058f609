"""The report of a sweep: each trial's state and figures, and means over seeds with 95 % intervals."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hrm_rl.analysis.statistics.stats import mean_interval
from hrm_rl.sweep.study import Study
from hrm_rl.sweep.trial_files import TrialFiles

Report = dict[str, Any]


def report(study: Study, trials: Sequence[TrialFiles], folder: str) -> Report:
    """The state of every trial, and the figures of each group of finished ones, ready for JSON."""
    rows = [_trial(files) for files in trials]
    groups = [
        {
            "group": name,
            "varied": varied,
            **_figures([row for row in rows if row["group"] == name and row["state"] == "finished"]),
        }
        for name, varied in study.groups.items()
    ]
    states = Counter(row["state"] for row in rows)
    return {"study": study.file, "folder": folder, "states": states, "groups": groups, "trials": rows}


def _trial(files: TrialFiles) -> dict[str, Any]:
    trial, attempts, state = files.trial, files.attempts(), files.state()
    return {
        "trial": trial.name,
        "group": trial.group,
        "seed": trial.seed,
        "state": "failed" if attempts.failure is not None and state != "finished" else state,
        "step": files.step(),
        "max_steps": trial.max_steps,
        "attempts": attempts.number,
        "seconds": attempts.seconds,
        "failure": attempts.failure if state != "finished" else None,
        "run": str(files.run.path),
        "fitted": files.fitted(),
        "figures": files.figures(),
    }


def _figures(finished: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The number of finished trials, and mean and interval of each figure that all of them have."""
    names = [name for name in (finished[0]["figures"] if finished else {})]
    found = {}
    for name in names:
        values = [row["figures"].get(name) for row in finished]
        if all(isinstance(value, int | float) for value in values):
            mean, interval = mean_interval(values)
            found[name] = {"mean": mean, "ci95": interval}
    return {"seeds": [row["seed"] for row in finished], "figures": found}


def table(found: Report) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the settings that vary, and what the validation of the finished trials found."""
    keys = list(dict.fromkeys(key for group in found["groups"] for key in group["varied"]))
    short = Counter(key.rpartition(".")[2] for key in keys)
    heads = [name if short[name := key.rpartition(".")[2]] == 1 else key for key in keys]
    rows = []
    for group in found["groups"]:
        figures = group["figures"]
        rows.append(
            [
                *(str(group["varied"].get(key, "")) for key in keys),
                str(len(group["seeds"])),
                _cell(figures.get("exact_accuracy"), 100, 1, " %"),
                _cell(figures.get("mean_segments"), 1, 2),
            ]
        )
    return [*heads, "seeds", "solved", "mean segments"], rows


def _cell(figure: dict[str, Any] | None, scale: float, digits: int, unit: str = "") -> str:
    """A mean with its interval: "98.7 % [97.9, 99.4]"."""
    if figure is None:
        return "-"
    mean = f"{scale * figure['mean']:.{digits}f}{unit}"
    if figure["ci95"] is None:
        return mean
    low, high = (f"{scale * end:.{digits}f}" for end in figure["ci95"])
    return f"{mean} [{low}, {high}]"


def notes(found: Report) -> list[str]:
    """A line for every failed trial, with its reason, and for what trials were fitted to differently."""
    failed = [row for row in found["trials"] if row["state"] == "failed"]
    lines = [f"{row['trial']} failed {row['attempts']} times: {row['failure']}" for row in failed]
    varied = {key for group in found["groups"] for key in group["varied"]}
    # Presets and sizes may ask for other batches, but for no other dtype.
    for name, sets in {"dtype": [""], "batch_size": [group["group"] for group in found["groups"]]}.items():
        for chosen in sets if name not in varied else []:
            rows = [row for row in found["trials"] if chosen in ("", row["group"]) and row["fitted"]]
            values = Counter(row["fitted"][name] for row in rows)
            if len(values) > 1:
                which = f"Trials of {chosen}" if chosen else "Trials"
                shares = ", ".join(f"{value} ({count})" for value, count in values.items())
                what = f"{which} differ in {name}, which was fitted to the machine: {shares}."
                lines.append(f"{what} Set it in the study.")
    return lines
