"""What TensorBoard shows of a run beside its figures: the settings, and which figures belong together."""

from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from hrm_rl.training.config import to_toml
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset

AFTER_SEGMENT = "eval_after_segment"
"""The group of the cards of exact accuracy after each segment."""
_LAYOUT = {
    "thinking": {
        "exact accuracy after each segment": ["Multiline", [rf"{AFTER_SEGMENT}/\d+"]],
        "does it stop? mean segments": ["Multiline", [r"(eval|rollout)/mean_segments"]],
        "does q_halt know? calibration": ["Multiline", [r"eval/q_halt_\w+"]],
    }
}
_RESULTS = ("eval/exact_accuracy", "eval/mean_segments", "train/token_loss")


def write_settings(board: SummaryWriter, preset: Preset, compute: Compute) -> None:
    """Write the config file as text, the settings as hyperparameters, and the custom dashboard."""
    board.add_text("config", f"```toml\n{to_toml(preset, compute)}\n```")
    board.add_custom_scalars(_LAYOUT)
    # SummaryWriter.add_hparams would make a run of its own.
    for summary in hparams(_flat(preset.to_dict()), dict.fromkeys(_RESULTS, 0.0)):
        board._get_file_writer().add_summary(summary)


def constant_figures(preset: Preset) -> frozenset[str]:
    """Figures that cannot change in such a run, and are in the log only."""
    constant = {"eval/max_segments", "eval/count"}
    learner, limit = preset.learner, preset.model.halt_max_steps
    joint = learner.stopping.whole_episodes
    if joint:
        constant |= {"train/q_halt_loss", "train/q_continue_loss"}
    if limit == 1 or learner.q_target == "none":
        constant.add("train/q_continue_loss")
    if limit == 1:
        constant.add("eval/mean_segments")
    if joint or limit == 1:  # no row halts before the limit
        constant |= {"rollout/mean_segments", "rollout/segments"}
        if preset.log_every % limit == 0:
            constant.add("rollout/episodes")
    if learner.warmup_steps <= preset.log_every and learner.lr_min_ratio == 1:
        constant.add("train/learning_rate")
    return frozenset(constant)


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, bool | float | str]:
    """`{"learner": {"lr": 1}}` as `{"learner.lr": 1}`, with lists as text."""
    flat: dict[str, bool | float | str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            plain = isinstance(value, bool | int | float | str)
            flat[prefix + name] = value if plain else str(value)
    return flat
