"""Warnings about settings that are probably not intended."""

from hrm_rl.agents.learning.optim import learning_rate_factor
from hrm_rl.model import HRMConfig
from hrm_rl.training.presets import Preset


def warmup_note(preset: Preset) -> str | None:
    """A warning if the run ends before its warm-up, with a setting that would not; else None."""
    warmup, steps, lr = preset.learner.warmup_steps, preset.max_steps, preset.learner.lr
    if warmup < steps or warmup <= 1:
        return None
    reached = f"never reaches {lr:g}" if warmup > steps else f"reaches {lr:g} at the last step only"
    return (
        f"warmup_steps={warmup} >= max_steps={steps}: the learning rate {reached}; "
        f"a tenth of the steps would be --learner.warmup-steps {max(1, steps // 10)}"
    )


def identifier_note(model: HRMConfig, identifiers: int) -> str | None:
    """A warning if the puzzles have several identifiers and the model has no embedding of them; else None."""
    if identifiers <= 1 or model.puzzle_emb_ndim:
        return None
    return (
        f"the puzzles have {identifiers} identifiers, which the model does not see: puzzle_emb_ndim is 0; "
        f"--model.puzzle-emb-ndim {model.hidden_size} learns an embedding of each"
    )


def episode_note(preset: Preset) -> str | None:
    """A warning if the run ends before its first update, which a loss of whole episodes makes; else None."""
    limit, learner = preset.model.halt_max_steps, preset.learner
    if not learner.stopping.whole_episodes or preset.max_steps >= limit:
        return None
    return (
        f"max_steps={preset.max_steps} < halt_max_steps={limit}: halting_loss {learner.halting_loss!r} makes "
        "its first update at the end of an episode, so nothing is learned"
    )


def stretch_note(stored: Preset, resumed: Preset, step: int) -> str | None:
    """A warning if resuming at `step` changes the learning rate there, because the cosine has a new length;
    None if that step's rate stays, as in the warm-up."""
    before, after = (_rate(preset, step) for preset in (stored, resumed))
    if before == after:
        return None
    was, now = stored.learner.total_steps, resumed.learner.total_steps
    return (
        f"The schedule goes from {was} to {now} steps with max_steps: at step {step} the learning rate "
        f"changes from {before:.3g} to {after:.3g} (--learner.total-steps {was} keeps the old schedule)"
    )


def _rate(preset: Preset, step: int) -> float:
    """The learning rate of the step that follows `step`."""
    c = preset.learner
    return c.lr * learning_rate_factor(step, c.warmup_steps, c.total_steps, c.lr_min_ratio)
