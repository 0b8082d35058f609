"""A model card written from the records of a run folder."""

from pathlib import Path
from typing import Any

import hrm_rl
from hrm_rl.agents import LearnerConfig
from hrm_rl.model import ARCHITECTURES, ReasoningModel
from hrm_rl.model.files.checkpoints import is_number, split_name
from hrm_rl.model.files.hub import is_hub_id
from hrm_rl.training.data_settings import ARC, CUSTOM, STORED
from hrm_rl.training.presets import Preset, PuzzleData, SudokuData
from hrm_rl.training.run_folder import RunFolder

TAGS = ("reinforcement-learning", "adaptive-computation-time", "gymnasium")
_FIGURES = {
    "exact_accuracy": "puzzles solved exactly",
    "valid_accuracy": "puzzles with a valid answer",
    "cell_accuracy": "cells right",
    "mean_segments": "segments taken, mean",
    "max_segments": "segments allowed",
    "count": "puzzles",
    "learned_count": "puzzles among them that were learned from",
    "held_out_exact_accuracy": "of the others solved exactly",
}


def model_card(run: RunFolder, repo_id: str, licence: str | None = None) -> str:
    """The README.md of a run's chosen checkpoint, with the Hub's front matter; by default without a licence.

    Raises FileNotFoundError or ValueError if the folder does not hold a whole run.
    """
    preset, _ = run.config()
    model, step = run.load_model()
    return _card(preset, model, step, last_validation(run, step), repo_id, licence)


def last_validation(run: RunFolder, step: int) -> dict[str, Any] | None:
    """Figures and `step` of the last logged validation up to `step`; None if there is none. Values that are
    not numbers are left out."""
    lines = [{name: x for name, x in line.items() if is_number(x)} for line in run.metrics()]
    needed = {"step", "eval/exact_accuracy", "eval/count"}
    found = [line for line in lines if needed <= line.keys() and line["step"] <= step]
    if not found:
        return None
    return {name.removeprefix("eval/"): value for name, value in found[-1].items()}


def _card(
    preset: Preset,
    model: ReasoningModel,
    step: int,
    validation: dict[str, Any] | None,
    repo_id: str,
    licence: str | None,
) -> str:
    data, custom = preset.data, preset.data.family in STORED
    named = data.family != CUSTOM
    kind = ARCHITECTURES[model.config.architecture]
    tags = (kind.title.lower().replace(" ", "-"), *TAGS, *((data.family,) if named else ()))
    folder = custom or (data.file is not None and _is_folder(data.file))
    unseen = "a dataset folder's test puzzles" if folder else "puzzles of classes held out of training"
    stated = [f"license: {licence.lower()}"] if licence else []
    parts = [
        "\n".join(["---", "library_name: hrm_rl", "tags:", *(f"- {tag}" for tag in tags), *stated, "---"]),
        f"# {repo_id.rpartition('/')[2]}",
        f"A {f'[{kind.title}]({kind.paper})' if kind.paper else kind.title} of "
        f"{model.num_parameters():,} parameters for {data.kind.words if named else 'puzzles'}, "
        f"trained from hrm_rl's preset `{preset.name}` (settings below) for {step:,} steps"
        f"{_start(preset)}. It thinks "
        f"one *segment* at a time and learned {preset.learner.stopping.learned}. This card was "
        f"written from the run's own records by hrm_rl {hrm_rl.__version__}.",
        f"""## Use

```python
from hrm_rl import HRMAgent, from_pretrained
model = from_pretrained("{repo_id}")
agent = HRMAgent(model, rule="{preset.learner.rule}")
```

`hrm-rl eval {repo_id}{" --data FOLDER" if folder else ""}` evaluates it on {unseen}.""",
        "" if validation is None else _figures(preset, validation),
        "## Data\n\n" + _origin(data) + ("" if custom else f"\n\n{_classes(data)}"),
        "## Architecture\n\n" + _table({f"`{k}`": v for k, v in model.config.to_dict().items()}),
        "## Training\n\n" + _table(_training(preset, step)),
        "## Licence\n\n"
        + (licence or "Not stated by the run; the author adds `license:` to the lines at the top."),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _start(preset: Preset) -> str:
    """What was there before training, and what stayed, as the end of a sentence."""
    if preset.init is None:
        return ""
    only = "" if preset.learner.train_only == "all" else ", of which only the puzzle embedding learned"
    fresh = " with a fresh puzzle embedding" if preset.init_ids == "reset" else ""
    return f", starting from the weights of `{origin_name(preset.init)}`{fresh}{only}"


def _figures(preset: Preset, validation: dict[str, Any]) -> str:
    forms = {"mean_segments": "{:.2f}", "max_segments": "{}", "count": "{}", "learned_count": "{}"}
    rows = {
        words: forms.get(name, "{:.1%}").format(validation[name]).replace("%", " %")
        for name, words in _FIGURES.items()
        if validation.get(name) is not None
    }
    learned = validation.get("learned_count")
    unseen = "" if preset.data.file or learned else ", on puzzles of classes that training never saw"
    if learned == validation["count"]:
        unseen = ", on the puzzles that it learned from"
    return (
        f"## Figures\n\nThe run's last validation, after {validation['step']:,} steps{unseen}.\n"
        f"Halting: `{preset.learner.rule}`, {preset.learner.stopping.rule_in_words}.\n\n{_table(rows)}"
    )


def _origin(data: PuzzleData) -> str:
    """Where the puzzles come from."""
    if data.file is not None:
        name, most = base_name(data.file), f"at most {data.train_puzzles:,}"
        if data.family == ARC:
            text = f"Tasks of the folder `{name}`, {most} training and evaluation ones, augmented."
        elif _is_folder(data.file):
            text = f"Puzzles of the dataset folder `{name}`, {most} groups of its training set."
        else:
            text = f"Puzzles of the file `{name}`, {most}, without those of test classes."
    else:
        text = f"{data.train_puzzles:,} generated puzzles (seed {data.seed})"
        if isinstance(data, SudokuData):
            low, high = data.extra_givens
            extra = f"{low} to {high} extra givens" if high else "no extra givens"
            text += f", minimal ones with {extra}"
        text += "."
    if data.family not in STORED and data.kind.augmentation is not None:
        text += " Every time one is drawn, a random symmetry is applied."
    return text


def _classes(data: PuzzleData) -> str:
    """When two puzzles are the same, and which splits share no such puzzles."""
    alike = "Two puzzles are of one class if they are the same up to the symmetries of their family."
    if isinstance(data, SudokuData):
        alike = (
            "Two Sudokus are of one class if relabelling digits, permuting rows, columns, bands or "
            "stacks, or transposing turns one into the other."
        )
    if data.file is None:
        return f"{alike} Training, validation and test puzzles never share a class."
    apart = "Validation" if _is_folder(data.file) else "Test"
    return f"{alike} {apart} puzzles never share a class with those learned from."


def _is_folder(file: str) -> bool:
    """Judged by the name if the puzzles are gone or on another machine."""
    return Path(file).is_dir() or not Path(file).suffix


def _training(preset: Preset, step: int) -> dict[str, Any]:
    learner: LearnerConfig = preset.learner
    rows: dict[str, Any] = {
        "steps": f"{step:,} of {preset.max_steps:,}",
        "batch, segments a step": preset.batch_size,
        "optimizer": learner.optimizer,
        "learning rate": f"{learner.lr:g}",
        "warm-up, steps": learner.warmup_steps,
        "weight decay": f"{learner.weight_decay:g}",
        "token loss": learner.token_loss,
        **{words: _value(getattr(learner, name)) for name, words in learner.stopping.card.items()},
        "gradient": learner.gradient,
        "seed": learner.seed,
    }
    if learner.optimizer == "muon":
        rows["Muon"] = f"learning rate {learner.muon_lr:g}, weight decay {learner.muon_weight_decay:g}"
    if learner.label_smoothing:
        rows["label smoothing"] = f"{learner.label_smoothing:g}"
    if learner.noise:
        starts = "random starts" if learner.random_start else "no random starts"
        rows["noise"] = f"{starts}; between segments {learner.path_noise:g}"
    if learner.lr_min_ratio != 1.0:
        rows["cosine"] = f"to {learner.lr_min_ratio:g} of it at step {learner.total_steps:,}"
    if preset.ema_decay:
        rows["weights"] = f"an average of decay {preset.ema_decay:g}"
    return rows


def _value(setting: str | float) -> str:
    return f"`{setting}`" if isinstance(setting, str) else f"{setting:g}"


def base_name(file: str) -> str:
    """The name without its folder, for POSIX and Windows paths."""
    return Path(file.replace("\\", "/")).name


def origin_name(source: str) -> str:
    """A Hub id, or the name of a path without its folder."""
    return source if is_hub_id(split_name(source)[0].as_posix()) else base_name(source)


def _table(rows: dict[str, Any]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in rows.items())])
