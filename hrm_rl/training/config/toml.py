"""A resolved run written as a config file."""

import json
from collections.abc import Mapping
from typing import Any

from hrm_rl.training.config.resolve import computing
from hrm_rl.training.config.settings import settings, stored_value
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset


def to_toml(preset: Preset, compute: Compute) -> str:
    """The resolved run as a config file that `read_config` resolves to the same run."""
    tables: dict[str, list[str]] = {"": [f"preset = {_literal(preset.name)}"]}
    computed = computing(compute)
    for key, setting in settings().items():
        value = computed[key] if key in computed else stored_value(preset, key)
        if value is not None:
            tables.setdefault(setting.table, []).append(f"{setting.name} = {_literal(value)}")
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
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)
