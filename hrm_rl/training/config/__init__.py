"""From a preset, a config file and a command line to one resolved run, and to a resumed one.

    preset = "sudoku-4x4"      # the base: what is not said below is the preset's
    max_steps = 3000

    [model]
    hidden_size = 128

The file's tables are `[model]` (HRMConfig), `[learner]` (LearnerConfig) and `[data]` (SudokuData, or
FamilyData with a table `[data.dials]`); the top level has the rest. A later layer wins over an earlier
one. `hrm_rl.training.config.knobs` has them all.
"""

import dataclasses
import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hrm_rl.agents.learning.learner import Q_SETTINGS, LearnerConfig
from hrm_rl.model import HRMConfig
from hrm_rl.training.config.knobs import TABLES, RunSettings, knobs, setting
from hrm_rl.training.data_settings import change_data, model_needs
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import PRESETS, Preset, find_preset

# What a resumed run may change; everything else is as it was stored.
FREE_ON_RESUME = frozenset({"max_steps", "validate_every", "log_every"})
# Names that a dataclass has and that are set at the top level.
_ALIASES = {"model.forward_dtype": "dtype", "learner.seed": "seed"}

Built = TypeVar("Built")


@dataclass(frozen=True)
class Layer:
    """Settings from one place, by key (`learner.lr`)."""

    values: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    file: str | None = None
    """The config file; None is the command line."""

    def named(self, key: str) -> str:
        """How a message calls a setting of this layer."""
        return f"{self.file}: {key}" if self.file else option(key)


@dataclass(frozen=True)
class Run:
    """A resolved run. `given` holds the keys that somebody set, whatever the preset says."""

    preset: Preset
    settings: RunSettings
    given: frozenset[str]


def option(key: str) -> str:
    """A knob's option on the command line: `--learner.lr`, `--batch-size`; short where there is one."""
    short = {"learner.q_target": "q_target", "learner.gradient": "gradient", "data.file": "data"}
    return "--" + short.get(key, key).replace("_", "-")


# --- layers --------------------------------------------------------------------------------------


def command_line(values: Mapping[str, Any], preset: str | None = None) -> Layer:
    """The layer of a command line; None is what was not said. Raises ValueError for a wrong type."""
    layer = Layer(preset=preset)
    given = {key: value for key, value in values.items() if value is not None}
    return dataclasses.replace(layer, values=_checked(given, layer))


def read_config(path: str | os.PathLike[str]) -> Layer:
    """The layer of a TOML file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no TOML (with the line), a key is unknown (with the nearest known one), or
            a value has the wrong type (with what is accepted). Each names the file.
    """
    file = str(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"no config file at {file}")
    text = Path(path).read_bytes()
    try:
        tables = tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(_syntax_error(file, text.decode(), str(error))) from None
    preset = tables.pop("preset", None)
    if preset is not None and not isinstance(preset, str):
        raise ValueError(f"{file}: preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if key in TABLES:
            if not isinstance(value, dict):
                raise ValueError(f"{file}: {key} must be a table, [{key}], got {value!r}")
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif isinstance(value, dict):
            raise ValueError(f"{file}: unknown table [{key}]{_nearest(key, TABLES, '[{}]')}")
        else:
            flat[key] = value
    layer = Layer(preset=preset, file=file)
    return dataclasses.replace(layer, values=_checked(flat, layer))


def _checked(values: Mapping[str, Any], layer: Layer) -> dict[str, Any]:
    """Known keys with values of their types; aliases under their own names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = _ALIASES.get(key, key)
        if name not in knobs():
            raise ValueError(_unknown(key, layer))
        try:
            checked = knobs()[name].check(value)
        except ValueError as error:
            words = str(error).removeprefix(name)
            raise ValueError(f"{layer.named(key)}{words}") from None
        if found.setdefault(name, checked) != checked:
            raise ValueError(f"{layer.named(key)} is {value!r}, but {name} is {found[name]!r}")
    return found


def _unknown(key: str, layer: Layer) -> str:
    table, _, name = key.rpartition(".")
    beside = [knob.name for knob in knobs().values() if knob.table == table]
    if table:
        hint = _nearest(name, beside, f"{table}.{{}}")
    else:
        hint = _nearest(name, [*beside, *TABLES, "preset"])
    if not hint:  # the right name in another place, perhaps
        places = {k.rpartition(".")[2]: k for k in reversed(knobs())}
        near = difflib.get_close_matches(name, places, n=1)
        hint = f"; did you mean {places[near[0]]}?" if near else ""
    return f"{layer.file}: unknown key {key}{hint}"


def _nearest(name: str, known: Sequence[str], form: str = "{}") -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {form.format(near[0])}?" if near else ""


def _syntax_error(file: str, text: str, message: str) -> str:
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message)
    if match is None:
        return f"{file}: {message}"
    line = match[2] or str(max(1, len(text.splitlines())))
    return f"{file}, line {line}: {match[1]}"


# --- resolving -----------------------------------------------------------------------------------


def resolve(*layers: Layer) -> Run:
    """The run that these layers ask for, the last one winning.

    What hangs together follows what was given, unless it was given too: vocab_size and seq_len the
    puzzles (num_puzzle_identifiers their dataset folder), puzzle_emb_ndim a changed hidden_size,
    total_steps max_steps, and what only Q-learning reads its absence.

    Raises:
        FileNotFoundError: no file of puzzles at data.file.
        ValueError: no preset or an unknown one, or a value out of range; the message names where it
            was given.
    """
    chosen = [layer for layer in layers if layer.preset is not None]
    if not chosen:
        raise ValueError(f"which preset? Known: {', '.join(PRESETS)}")
    try:
        base = find_preset(str(chosen[-1].preset))
    except ValueError as error:
        raise ValueError(f"{chosen[-1].file}: {error}" if chosen[-1].file else str(error)) from None
    values, origins = _merge(layers)

    def table(name: str) -> dict[str, Any]:
        return {k[len(name) + 1 :]: v for k, v in values.items() if k.startswith(f"{name}.")}

    plain = {k: v for k, v in values.items() if "." not in k}
    told = {f.name: plain.pop(f.name) for f in dataclasses.fields(RunSettings) if f.name in plain}
    settings = _build(lambda: RunSettings(**told), "", origins)
    preset = base
    if "max_steps" in plain:
        preset = _build(lambda: base.with_max_steps(plain["max_steps"]), "", origins)
    data = _build(lambda: change_data(preset.data, table("data")), "data", origins)
    if data.file is not None and not Path(data.file).exists():
        raise FileNotFoundError(
            f"{origins['data.file'].named('data.file')}: no file at {data.file}"
        )
    needs = _build(lambda: model_needs(data), "data", origins)
    model = _build(lambda: _model(preset.model, table("model"), needs), "model", origins)
    learner = {**table("learner"), "seed": settings.seed}
    if learner.get("halting", preset.learner.halting) != "q":
        learner = {name: getattr(LearnerConfig, name) for name in Q_SETTINGS} | learner
    built = _build(lambda: dataclasses.replace(preset.learner, **learner), "learner", origins)
    parts: dict[str, Any] = {"data": data, "model": model, "learner": built}
    preset = _build(lambda: dataclasses.replace(preset, **parts, **plain), "", origins)
    return Run(preset, settings, frozenset(values))


def resume(stored: Preset, compute: Compute, where: object, *layers: Layer) -> Run:
    """The stored run with what these layers may change: max_steps, validate_every, log_every.

    Raises ValueError naming a setting that was given, differs from the stored one and is fixed.
    """
    for layer in layers:
        if layer.preset not in (None, stored.name):
            named = f"{layer.file}: preset" if layer.file else "the preset"
            raise ValueError(_fixed(named, where, stored.name, layer.preset))
    values, origins = _merge(layers)
    computing = _computing(compute)
    for key, value in values.items():
        if key in FREE_ON_RESUME or (key in computing and value == "auto"):
            continue
        was = computing[key] if key in computing else setting(stored, key)
        if isinstance(value, Mapping) and isinstance(was, Mapping):
            value = {**was, **value}
        if was != value:
            raise ValueError(_fixed(origins[key].named(key), where, was, value))
    preset = stored
    if "max_steps" in values and "learner.total_steps" not in values:
        preset = _build(lambda: stored.with_max_steps(values["max_steps"]), "", origins)
    free = {k: v for k, v in values.items() if k in FREE_ON_RESUME}
    preset = _build(lambda: dataclasses.replace(preset, **free), "", origins)
    return Run(preset, RunSettings(stored.learner.seed, **computing), frozenset(values))


def _computing(compute: Compute) -> dict[str, Any]:
    """The settings of RunSettings that a way to compute has decided."""
    compiled = "yes" if compute.compile else "no"
    return {"device": compute.device, "dtype": compute.dtype, "compile": compiled}


def _merge(layers: Sequence[Layer]) -> tuple[dict[str, Any], dict[str, Layer]]:
    values: dict[str, Any] = {}
    origins: dict[str, Layer] = {}
    for layer in layers:
        for key, value in layer.values.items():
            # Of a table of dials those that a later layer does not say stay.
            before = values.get(key) if isinstance(value, Mapping) else None
            values[key] = {**before, **value} if before else value
        origins |= dict.fromkeys(layer.values, layer)
    return values, origins


def _model(base: HRMConfig, given: dict[str, Any], needs: dict[str, int]) -> HRMConfig:
    changes = dict(given)
    if base.puzzle_emb_ndim == base.hidden_size:
        changes.setdefault("puzzle_emb_ndim", None)
    for name, wanted in needs.items():
        if changes.setdefault(name, wanted) != wanted:
            raise ValueError(f"{name} must be {wanted} for these puzzles, got {changes[name]}")
    return dataclasses.replace(base, **changes)


def _build(make: Callable[[], Built], table: str, origins: Mapping[str, Layer]) -> Built:
    """What `make` makes; its ValueError, which names a field, also names where that was given."""
    try:
        return make()
    except ValueError as error:
        message = str(error)
    ours = {k: layer for k, layer in origins.items() if k.rpartition(".")[0] == table}
    blamed = [k for k in ours if re.search(rf"\b{k.rpartition('.')[2]}\b", message)]
    if not blamed:
        raise ValueError(f"{table}: {message}" if table else message)
    # Of several the one said last is the likelier slip, then the one that the message begins with.
    key = max(blamed, key=lambda k: (not ours[k].file, message.startswith(k.rpartition(".")[2])))
    if ours[key].file is None:
        raise ValueError(f"{option(key)}: {message}")
    if table and message.startswith(key.rpartition(".")[2]):
        message = f"{table}.{message}"
    elif table:
        message = f"{key}: {message}"
    raise ValueError(f"{ours[key].file}: {message}")


def _fixed(named: str, where: object, stored: Any, given: Any) -> str:
    return (
        f"{named} cannot change in a resumed run: {where} has {stored!r}, got {given!r} "
        f"(free: {', '.join(sorted(FREE_ON_RESUME))})"
    )


# --- writing -------------------------------------------------------------------------------------


def to_toml(preset: Preset, compute: Compute) -> str:
    """The resolved run as a config file that gives it again."""
    tables: dict[str, list[str]] = {"": [f"preset = {_literal(preset.name)}"]}
    computing = _computing(compute)
    for key, knob in knobs().items():
        holder = getattr(preset, knob.table) if knob.table else None
        if holder is not None and knob.name not in {f.name for f in dataclasses.fields(holder)}:
            continue  # of another family's data
        value = computing[key] if key in computing else setting(preset, key)
        if value is not None:
            tables.setdefault(knob.table, []).append(f"{knob.name} = {_literal(value)}")
    parts = ["\n".join([f"[{name}]", *lines] if name else lines) for name, lines in tables.items()]
    return f"# Computes on {compute}.\n" + "\n\n".join(parts) + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {_literal(part)}" for name, part in value.items())
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(part) for part in value) + "]"
    return repr(value)
