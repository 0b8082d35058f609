"""From a preset and the settings given to a resolved run, and to a resumed one."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_rl.agents.learning.config import LearnerConfig, q_defaults
from hrm_rl.model import HRMConfig
from hrm_rl.model.files.checkpoints import BEST
from hrm_rl.puzzles.files import hub
from hrm_rl.settings import SettingError
from hrm_rl.training.config.init import Init, read_init
from hrm_rl.training.config.layers import Given, Layer
from hrm_rl.training.config.settings import RunSettings, run_settings, values_of
from hrm_rl.training.curriculum import stretch
from hrm_rl.training.data_settings import change_data, model_needs
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import PRESETS, Preset, find_preset

# What a resumed run may change: its length, its log, and the machine; all else stays as it was stored.
_MACHINE = ("device", "sharding", "threads")
FREE_ON_RESUME = (
    *("checkpoint_minutes", "keep", "log_every", "max_steps", "on_nan", "validate_every"),
    *_MACHINE,
)


@dataclass(frozen=True)
class Run:
    """A resolved run. `given` holds the keys that were set on top of the preset, `init` the weights to start
    from."""

    preset: Preset
    settings: RunSettings
    given: frozenset[str]
    init: Init | None = None


def resolve(*layers: Layer) -> Run:
    """The run that these layers describe, the last one winning.

    Some settings follow others unless they are given too: vocab_size and seq_len follow the puzzles
    (num_puzzle_identifiers their dataset folder), puzzle_emb_ndim a changed hidden_size, and total_steps
    max_steps; the settings of Q-learning return to their defaults if halting is learned otherwise. With
    `init` the model's settings are those of the weights, which are read.

    Raises:
        FileNotFoundError: data.file or init does not exist.
        ValueError: the preset is missing or unknown, or a value is out of range; the message names where
            it was given.
    """
    base, given = _base(layers), Given(*layers)
    top = given.table("")
    run_settings = {f.name: top.pop(f.name) for f in dataclasses.fields(RunSettings) if f.name in top}
    with given.blame():
        settings = RunSettings(**run_settings)
        preset = base.with_max_steps(top["max_steps"]) if "max_steps" in top else base
    with given.blame("data"):
        longer = preset.max_steps / base.max_steps
        stretched = dataclasses.replace(preset.data, curriculum=stretch(preset.data.curriculum, longer))
        data = change_data(stretched, given.table("data"))
        if data.phases and data.phases[-1][0] >= preset.max_steps:
            message = f"curriculum ends at step {data.phases[-1][0]}, the run at {preset.max_steps}"
            raise SettingError(message, "curriculum")
        if data.file is not None and not Path(data.file).exists() and hub.known_name(data.file):
            data = dataclasses.replace(data, file=str(hub.find(data.file)))
        if data.file is not None and not Path(data.file).exists():
            named = given.layers["data.file"].named("data.file")
            raise FileNotFoundError(f"{named}: no file at {data.file}")
        needs = model_needs(data)
    init, reset = _read_init(given, needs), top.get("init_ids", preset.init_ids) == "reset"
    if init is not None:
        with given.blame():
            rows = given.values.get("model.num_puzzle_identifiers")
            needs["num_puzzle_identifiers"] = init.rows(needs.get("num_puzzle_identifiers", 1), rows, reset)
    with given.blame("model"):
        model = _model(init.config if init else preset.model, given.table("model"), needs)
    if model.relation_bias and data.kind.relations is None:
        message = f"relation_bias needs puzzles whose cells are related; {data.kind.words} have no relations"
        with given.blame("model"):
            raise SettingError(message, "relation_bias")
    if init is not None:
        with given.blame():
            init = init.fitted(model, needs, reset).related(data.kind.relations)
        top["init"] = init.name
    with given.blame("learner"):
        learner = _learner(preset.learner, {**given.table("learner"), "seed": settings.seed})
    with given.blame():
        preset = dataclasses.replace(preset, data=data, model=model, learner=learner, **top)
    return Run(preset, settings, frozenset(given.values), init)


def _read_init(given: Given, needs: dict[str, int]) -> Init | None:
    source = given.values.get("init")
    if source is None:
        return None
    try:
        return read_init(str(source), needs["seq_len"])
    except (OSError, ValueError) as error:
        raise type(error)(f"{given.layers['init'].named('init')}: {error}") from None


def _base(layers: tuple[Layer, ...]) -> Preset:
    chosen = [layer for layer in layers if layer.preset is not None]
    if not chosen:
        init = Given(*layers).values.get("init")
        way = f"{init} is not a run, whose preset would do" if init else "or give --init RUN to go on as RUN"
        raise ValueError(f"which preset? Known: {', '.join(PRESETS)}; {way}")
    try:
        return find_preset(str(chosen[-1].preset))
    except ValueError as error:
        raise ValueError(f"{chosen[-1].file}: {error}" if chosen[-1].file else str(error)) from None


def _model(base: HRMConfig, given: dict[str, Any], needs: dict[str, int]) -> HRMConfig:
    changes = dict(given)
    if base.puzzle_emb_ndim == base.hidden_size:
        changes.setdefault("puzzle_emb_ndim", None)
    for name, needed in needs.items():
        if changes.setdefault(name, needed) != needed:
            message = f"{name} must be {needed} for these puzzles, got {changes[name]}"
            raise SettingError(message, name)
    return dataclasses.replace(base, **changes)


def _learner(base: LearnerConfig, given: dict[str, Any]) -> LearnerConfig:
    if given.get("halting_loss", base.halting_loss) != "q":
        given = q_defaults() | given
    return dataclasses.replace(base, **given)


def resume(stored: Preset, compute: Compute, where: object, *layers: Layer) -> Run:
    """The stored run with those settings of the layers that a resumed run may change (FREE_ON_RESUME).

    The device is `auto` if none was given but the stored one in a config file.

    Raises ValueError naming a setting that was given, differs from the stored one and may not change.
    """
    for layer in layers:
        if layer.preset not in (None, stored.name):
            named = f"{layer.file}: preset" if layer.file else "the preset"
            raise ValueError(_fixed(named, where, stored.name, layer.preset))
    given, settings = Given(*layers), run_settings(stored, compute)
    before = values_of(stored, compute)
    for key, value in given.values.items():
        if key in FREE_ON_RESUME or (value == "auto" and hasattr(settings, key)):
            continue
        was = before[key]
        if isinstance(value, Mapping) and isinstance(was, Mapping):
            value = {**was, **value}
        # The stored name has the checkpoint that RUN or RUN@best was.
        names = (was, str(was).rpartition("@")[0])
        if key == "init" and str(value).removesuffix(f"@{BEST}") in names:
            continue
        if was != value:
            raise ValueError(_fixed(given.layers[key].named(key), where, was, value))
    preset = stored
    free = {key: value for key, value in given.values.items() if key in FREE_ON_RESUME}
    machine = {"device": "auto"} | {key: free.pop(key) for key in _MACHINE if key in free}
    if machine["device"] == compute.device and given.layers["device"].file:
        machine["device"] = "auto"
    settings = dataclasses.replace(settings, **machine)
    with given.blame():
        if "max_steps" in free and "learner.total_steps" not in given.values:
            preset = stored.with_max_steps(free["max_steps"])
        preset = dataclasses.replace(preset, **free)
    return Run(preset, settings, frozenset(given.values))


def _fixed(named: str, where: object, stored: Any, given: Any) -> str:
    return (
        f"{named} cannot change in a resumed run: {where} has {stored!r}, got {given!r} "
        f"(free: {', '.join(FREE_ON_RESUME)})"
    )
