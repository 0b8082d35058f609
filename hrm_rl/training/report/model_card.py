"""A model card from a run: what the run folder holds, and nothing that it does not."""

import json
from pathlib import Path
from typing import Any

import hrm_rl
from hrm_rl.agents import LearnerConfig
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.model.files.weights import CONFIG_FILE, RUN_FILE
from hrm_rl.training.data_settings import CUSTOM
from hrm_rl.training.presets import Preset, SudokuData
from hrm_rl.training.run_folder import RunFolder

TAGS = (
    "hierarchical-reasoning-model",
    "reinforcement-learning",
    "adaptive-computation-time",
    "gymnasium",
)
_FIGURES = {
    "exact_accuracy": "puzzles solved exactly",
    "valid_accuracy": "puzzles with a valid answer",
    "cell_accuracy": "cells right",
    "mean_segments": "segments taken, mean",
    "max_segments": "segments allowed",
    "count": "puzzles",
}
# By a rule's name, the part of its spec before the colon.


def model_card(run: RunFolder, repo_id: str) -> str:
    """The README.md of a run's newest checkpoint, with the Hub's front matter.

    Raises FileNotFoundError or ValueError where the folder holds no whole run.
    """
    preset, _ = run.config()
    model, step = run.load_model()
    return _card(preset, model, step, last_validation(run, step), repo_id)


def last_validation(run: RunFolder, step: int) -> dict[str, Any] | None:
    """The last logged validation up to a step: its figures and its `step`; None where there is none."""
    if not run.metrics_file.is_file():
        return None
    found = None
    for text in run.metrics_file.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:  # a run that was killed leaves half a line
            continue
        if "eval/exact_accuracy" in line and line["step"] <= step:
            found = line
    if found is None:
        return None
    figures = {k.removeprefix("eval/"): v for k, v in found.items() if k.startswith("eval/")}
    return {"step": found["step"], **figures}


def push_run(
    run: RunFolder, repo_id: str, *, private: bool = False, token: str | None = None
) -> str:
    """Upload a run's newest checkpoint with its card and settings; returns the address.

    Of a file of puzzles only the name goes along. Raises as `model_card` and `hrm_rl.model.files.hub.push`.
    """
    card = model_card(run, repo_id)
    model, step = run.load_model()
    stored = json.loads((run.path / CONFIG_FILE).read_text())
    if stored["preset"]["data"].get("file"):
        stored["preset"]["data"]["file"] = _base_name(stored["preset"]["data"]["file"])
    settings = json.dumps({"step": step, **stored}, indent=2) + "\n"
    files = {"README.md": card, RUN_FILE: settings}
    message = f"{stored['preset']['name']} after {step} steps"
    return model.push_to_hub(repo_id, private=private, token=token, message=message, files=files)


def _card(
    preset: Preset, model: HRM, step: int, validation: dict[str, Any] | None, repo_id: str
) -> str:
    kind = _kind(preset)
    front = ["---", "library_name: hrm_rl", "tags:", *(f"- {tag}" for tag in TAGS)]
    if preset.data.family != CUSTOM:
        front.append(f"- {preset.data.family}")
    parts = [
        "\n".join([*front, "---"]),
        f"# {repo_id.rpartition('/')[2]}",
        f"A [Hierarchical Reasoning Model](https://arxiv.org/abs/2506.21734) of "
        f"{model.num_parameters():,} parameters for {kind}, trained from hrm_rl's preset "
        f"`{preset.name}` (settings below) for {step:,} steps. It thinks one *segment* at a time "
        f"and learned {preset.learner.stopping.learned}. This card was written from the run's own "
        f"records by hrm_rl {hrm_rl.__version__}.",
        _use(preset, repo_id),
    ]
    if validation is not None:
        parts.append(_figures(preset, validation))
    parts += [
        "## Data\n\n" + _data(preset),
        "## Architecture\n\n" + _table(_architecture(model.config)),
        "## Training\n\n" + _table(_training(preset, step)),
        "## Licence\n\nNot stated by the run; the author adds `license:` to the lines at the top.",
    ]
    return "\n\n".join(parts) + "\n"


def _use(preset: Preset, repo_id: str) -> str:
    rule = preset.learner.rule
    judged = f"`hrm-rl eval {repo_id}` judges it on puzzles of classes held out of training."
    if preset.data.family == CUSTOM:
        judged = (
            f"`hrm-rl eval {repo_id} --data FOLDER` judges it on a dataset folder's test puzzles."
        )
    return f"""## Use

```python
from hrm_rl import HRM, HRMAgent
model = HRM.from_pretrained("{repo_id}")
agent = HRMAgent(model, rule="{rule}")
```

{judged}"""


def _figures(preset: Preset, validation: dict[str, Any]) -> str:
    rows = {
        words: f"{100 * validation[name]:.1f} %" if name.endswith("accuracy") else validation[name]
        for name, words in _FIGURES.items()
        if name in validation
    }
    if "segments taken, mean" in rows:
        rows["segments taken, mean"] = f"{validation['mean_segments']:.2f}"
    rule, rule_in_words = preset.learner.rule, preset.learner.stopping.rule_in_words
    unseen = "" if preset.data.file else ", on puzzles of classes that training never saw"
    return (
        f"## Figures\n\nThe run's last validation, after {validation['step']:,} steps{unseen}.\n"
        f"Halting: `{rule}`, {rule_in_words}.\n\n{_table(rows)}"
    )


def _kind(preset: Preset) -> str:
    data = preset.data
    return "puzzles" if data.family == CUSTOM else data.kind.words


def _data(preset: Preset) -> str:
    data = preset.data
    if data.file is not None and _is_folder(data.file):
        origin = (
            f"Puzzles of the dataset folder `{_base_name(data.file)}`, at most "
            f"{data.train_puzzles:,} groups of its training set."
        )
        apart = "Validation puzzles never share a class with those learned from."
    elif data.file is not None:
        origin = (
            f"Puzzles of the file `{_base_name(data.file)}`, at most {data.train_puzzles:,}, those "
            "of test classes left out."
        )
        apart = "Test puzzles never share a class with those learned from."
    else:
        apart = "Training, validation and test puzzles never share a class."
        origin = f"{data.train_puzzles:,} generated puzzles (seed {data.seed})"
        if isinstance(data, SudokuData):
            low, high = data.extra_givens
            extra = f"{low} to {high} extra givens" if high else "no extra givens"
            origin += f", minimal ones with {extra}"
        origin += "."
    if data.family == CUSTOM:
        return origin
    if data.kind.augmentation is not None:
        origin += " Every time one is drawn, a random symmetry is applied."
    if isinstance(data, SudokuData):
        alike = (
            "Two Sudokus are of one class if relabelling digits, permuting rows, columns, bands or "
            "stacks, or transposing turns one into the other."
        )
    else:
        alike = "Two puzzles are of one class if they are the same up to the symmetries of their family."
    return f"{origin}\n\n{alike} {apart}"


def _is_folder(file: str) -> bool:
    """Of puzzles that may be gone by now, or lie on another machine, the name has to tell."""
    return Path(file).is_dir() or not Path(file).suffix


def _architecture(config: HRMConfig) -> dict[str, Any]:
    return {f"`{name}`": value for name, value in config.to_dict().items()}


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
        **_stopping(learner),
        "gradient": learner.gradient,
        "seed": learner.seed,
    }
    if learner.lr_min_ratio != 1.0:
        rows["cosine"] = f"to {learner.lr_min_ratio:g} of it at step {learner.total_steps:,}"
    if preset.ema_decay:
        rows["weights"] = f"an average of decay {preset.ema_decay:g}"
    return rows


def _stopping(learner: LearnerConfig) -> dict[str, Any]:
    """What stopping was learned from."""
    values = {words: getattr(learner, name) for name, words in learner.stopping.card.items()}
    return {k: f"`{v}`" if isinstance(v, str) else f"{v:g}" for k, v in values.items()}


def _base_name(file: str) -> str:
    """The name without the folder, of either system's paths."""
    return Path(file.replace("\\", "/")).name


def _table(rows: dict[str, Any]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in rows.items())])
