"""Warnings about settings that are probably not intended."""

from collections.abc import Collection, Iterator

from hrm_rl.agents.learning.halting_loss import HALTING_LOSSES
from hrm_rl.agents.learning.optim import learning_rate_factor
from hrm_rl.model import ARCHITECTURES, HRMConfig
from hrm_rl.training.config.settings import option
from hrm_rl.training.presets import PRESETS, Preset


def doubts(preset: Preset, identifiers: int, given: Collection[str]) -> list[str]:
    """All warnings of a run on puzzles with this number of identifiers; `given` are keys."""
    notes = warmup_note(preset), episode_note(preset), identifier_note(preset.model, identifiers)
    return [note for note in notes if note] + unread_notes(preset, given)


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


def unread_notes(preset: Preset, given: Collection[str]) -> list[str]:
    """A warning for each setting among those `given`, by key, that this run does not read."""
    base = PRESETS.get(preset.name)
    notes = []
    for key, reason in _unread(preset):
        table, _, name = key.rpartition(".")
        value, usual = (getattr(getattr(p, table, p), name, None) for p in (preset, base))
        # A stored config file gives every setting, most of them as the preset has them.
        if key in given and value != usual:
            notes.append(f"{option(key)} {value} changes nothing: {reason}")
    return notes


def _unread(preset: Preset) -> Iterator[tuple[str, str]]:
    """The settings that this run does not read, by key, and why."""
    model, learner = preset.model, preset.learner
    for name, loss in HALTING_LOSSES.items():
        if name != learner.halting_loss:
            for setting in loss.settings():
                yield f"learner.{setting}", f"it is for halting_loss {name}, this is {learner.halting_loss}"
    if learner.stopping.whole_episodes:
        yield "model.halt_exploration_prob", f"halting_loss {learner.halting_loss} runs episodes to the limit"
    elif not model.halt_exploration_prob:
        yield "learner.exploration", "model.halt_exploration_prob is 0"
    if model.halt_max_steps == 1:
        for key in ("learner.q_target", "learner.exploration", "model.halt_exploration_prob"):
            yield key, "model.halt_max_steps is 1"
    if learner.q_target == "none" or model.halt_max_steps == 1:
        for key in ("learner.gamma", "learner.segment_cost"):
            yield key, "q_continue learns nothing (learner.q_target none or one segment)"
    if not model.embedding_width:
        for key in (
            "learner.puzzle_emb_lr",
            "learner.puzzle_emb_weight_decay",
            "model.num_puzzle_identifiers",
        ):
            width = model.hidden_size
            yield key, f"the model has no puzzle embedding; --model.puzzle-emb-ndim {width} adds one"
    if learner.train_only == "puzzle-embedding":
        rates = ("learner.muon_lr", "learner.muon_weight_decay")
        for key in ("learner.lr", "learner.weight_decay", "learner.betas", "learner.optimizer", *rates):
            yield key, "only the puzzle embedding learns, by learner.puzzle_emb_lr"
    if learner.optimizer != "muon":
        for key in ("learner.muon_lr", "learner.muon_weight_decay"):
            yield key, f"it is for optimizer muon, this is {learner.optimizer}"
    if model.mixer == "mlp":
        for key in ("model.num_heads", "model.rope_theta"):
            yield key, "model.mixer is mlp, which has no attention"
        if model.pos_encodings != "learned":
            yield "model.pos_encodings", "model.mixer is mlp, which knows each token by its place"
    else:
        yield "model.mixer_width", "model.mixer is attention"
    if model.mixer == "attention" and not model.pos_encodings.startswith("rope"):
        yield "model.rope_theta", f"model.pos_encodings is {model.pos_encodings}"
    yield from ARCHITECTURES[model.architecture].unread.items()
    if learner.lr_min_ratio == 1.0:
        yield "learner.total_steps", "the learning rate is constant (learner.lr_min_ratio 1)"


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
