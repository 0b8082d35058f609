"""Config files: settings read from TOML, and a resolved run written as TOML."""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from hrm_rl.files import read_text
from hrm_rl.messages import did_you_mean, meant
from hrm_rl.parsing import UsageError, nearest_option, parse
from hrm_rl.training.config.layers import Layer, flat
from hrm_rl.training.config.settings import ALIASES, TABLES, given_settings, settings, values_of
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import PRESETS, Preset

_MOST_SETTINGS = 1 << 20  # bytes of a file of settings


def read_config(path: str | os.PathLike[str]) -> Layer:
    """The layer of a TOML file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not TOML (with the line), a key is unknown (with the nearest known one), or
            a value has the wrong type (with what the setting takes). Each message starts with the file.
    """
    file = str(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"no config file at {file}")
    try:
        tables = read_toml(Path(path))
        preset = tables.pop("preset", None)
        if preset is not None and not isinstance(preset, str):
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        return Layer(read_settings(tables), preset, file)
    except ValueError as error:
        separator = "" if str(error).startswith(",") else ": "
        raise ValueError(f"{file}{separator}{error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ValueError with the line of a mistake."""
    try:
        text = read_text(path, _MOST_SETTINGS)
    except UnicodeError:
        raise ValueError("not UTF-8 text") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("its lists and tables are nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).removesuffix(")").rpartition(" (at ")
        line = place.removeprefix("line ").partition(",")[0]
        last = max(1, len(text.splitlines()))
        raise ValueError(f", line {line if line.isdigit() else last}: {what or error}") from None


def read_settings(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by key, each as its type; in tables or as "learner.lr". Raises ValueError naming the key."""
    if not isinstance(tables, Mapping):
        raise ValueError(f"settings must be a mapping of names to values, got {tables!r}")
    for name, value in tables.items():
        if name in TABLES and not isinstance(value, Mapping):
            hint = "; a file of puzzles is data.file" if name == "data" else ""
            raise ValueError(f"{name} must be a table, [{name}], got {value!r}{hint}")
        if name not in TABLES and isinstance(value, Mapping):
            near = did_you_mean(name, TABLES)
            raise ValueError(f"unknown table [{name}]{near and f'; {near}'}")
    found: dict[str, Any] = {}
    for key, value in flat(tables).items():
        name = ALIASES.get(key, key)
        if name not in settings():
            raise ValueError(_unknown(key))
        read = _read_value(name, value)
        if name in found and found[name] != read:
            raise ValueError(f"{key} is {value!r}, but {name} is {found[name]!r}")
        found[name] = read
    return found


def _read_value(key: str, value: Any) -> Any:
    """A value as the setting's type, read as the option is on the command line."""
    if value is None and NoneType in get_args(settings()[key].kind):
        return None
    words = [f"--{key}={value}"]
    if isinstance(value, Mapping):
        words = [f"--{key}={' '.join(f'{name}={part}' for name, part in value.items())}"]
    elif isinstance(value, list | tuple):
        words = [f"--{key}", *map(str, value)]
    try:
        return flat(parse(given_settings(key), words, "hrm-rl", use_underscores=True))[key]
    except UsageError as error:
        message = str(error).removeprefix("--")
        raise ValueError(message if message.startswith(key) else f"{key}: {message}") from None


def _unknown(key: str) -> str:
    """A message for an unknown key, with the nearest one."""
    known = {name.replace("_", "-"): name for name in (*settings(), *TABLES, "preset")}
    near = meant([known[name] for name in nearest_option(key.replace("_", "-"), known)])
    return f"unknown key {key}{near and f'; {near}'}"


def to_toml(preset: Preset, compute: Compute) -> str:
    """The resolved run as a config file that `read_config` resolves to the same run."""
    return f"# Computes on {compute}.\n" + as_toml(preset.name, values_of(preset, compute))


def as_toml(preset: str, settings: Mapping[str, Any]) -> str:
    """A preset and settings by key as a config file; None is left out."""
    tables: dict[str, list[str]] = {"": [f"preset = {_literal(preset)}"]}
    for key, value in settings.items():
        if value is not None:
            table, _, name = key.rpartition(".")
            tables.setdefault(table, []).append(f"{name} = {_literal(value)}")
    parts = ["\n".join([f"[{name}]", *lines] if name else lines) for name, lines in tables.items()]
    return "\n\n".join(parts) + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {_literal(part)}" for name, part in value.items())
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)
