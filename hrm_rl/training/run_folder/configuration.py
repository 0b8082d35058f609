"""A run's configuration in its folder: written in three places, read from the first that is whole."""

import dataclasses
import json
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hrm_rl
from hrm_rl.files import portable_path, write_text
from hrm_rl.model.files.checkpoints import list_checkpoints
from hrm_rl.model.files.checksums import check_files
from hrm_rl.model.files.weights import CONFIG_FILE, RUN_FILE
from hrm_rl.settings import read_json, reading, restore, typed, within
from hrm_rl.training.config import read_config, resolve, to_toml
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset

_log = logging.getLogger(__name__)

_TOML_FILE = "config.toml"
Configuration = tuple[Preset, Compute]


def write_configuration(run: Path, preset: Preset, compute: Compute) -> None:
    """Write config.json and config.toml, replacing earlier ones."""
    run.mkdir(parents=True, exist_ok=True)
    preset = _portable(preset)
    write_text(run / CONFIG_FILE, json.dumps(as_stored(preset, compute), indent=2) + "\n")
    write_text(run / _TOML_FILE, to_toml(preset, compute))


def as_stored(preset: Preset, compute: Compute) -> dict[str, Any]:
    """The content of config.json."""
    return {"preset": _portable(preset).to_dict(), "compute": dict(vars(compute))}


def _portable(preset: Preset) -> Preset:
    if preset.data.file is None:
        return preset
    data = dataclasses.replace(preset.data, file=portable_path(preset.data.file))
    return dataclasses.replace(preset, data=data)


def read_configuration(run: Path) -> Configuration:
    """The configuration from config.json or, with a warning if that is damaged or missing, from the newest
    checkpoint or config.toml.

    Raises FileNotFoundError if this is not a run folder, ValueError if no file of it can be read.
    """
    faults: list[str] = []
    for file, read in _sources(run):
        try:
            found = read(file)
        except (ValueError, OSError) as error:
            faults.append(str(error))
            continue
        if faults:
            _log.warning("%s. The settings are read from %s.", faults[0], file)
        return found
    if not faults:
        inside = sorted(path.parent for path in run.glob(f"*/{CONFIG_FILE}"))
        hint = f"; it holds {', '.join(map(str, inside[:3]))}" if inside else ""
        raise FileNotFoundError(f"{run} is not a run folder: it has no {CONFIG_FILE}{hint}")
    weights = "; --init starts a new run from its weights" if list_checkpoints(run) else ""
    raise ValueError(f"{faults[0]}{weights}")


def _sources(run: Path) -> Iterator[tuple[Path, Callable[[Path], Configuration]]]:
    """Files that hold the configuration and how each is read."""
    checkpoints = [path / RUN_FILE for path in reversed(list_checkpoints(run))]
    others = [file for file in (*checkpoints, run / _TOML_FILE) if file.is_file()]
    if others or (run / CONFIG_FILE).is_file():
        yield run / CONFIG_FILE, read_config_json
    for file in others:
        yield file, _read_toml if file.name == _TOML_FILE else read_checked


def read_config_json(file: Path) -> Configuration:
    """The preset and Compute that `write_configuration` wrote. Raises ValueError if the file is damaged."""
    stored = read_json(file, "a run configuration")
    with reading(file, "a run configuration"):
        values = typed(stored["preset"], Mapping[str, Any], "preset")
        with within("preset"):
            preset = Preset.from_dict(values)
        return preset, restore(Compute, stored["compute"], "compute")


def read_checked(file: Path) -> Configuration:
    """The configuration in a checkpoint, compared with its checksum. Raises ValueError if it is damaged."""
    check_files(file.parent, [file.name])
    return read_config_json(file)


def _read_toml(file: Path) -> Configuration:
    """What `to_toml` wrote, but for the precision of products, which it does not hold."""
    run = resolve(read_config(file))
    settings = run.settings
    device = "cpu" if settings.device == "auto" else settings.device
    dtype = run.preset.model.forward_dtype if settings.dtype == "auto" else settings.dtype
    preset = dataclasses.replace(run.preset, model=dataclasses.replace(run.preset.model, forward_dtype=dtype))
    compile_blocks = settings.compile == "yes"
    return preset, Compute(device, dtype, threads=settings.threads, compile=compile_blocks)


def run_json(preset: Preset, compute: Compute, step: int) -> str:
    """The configuration as a checkpoint holds it, with its step and the versions that wrote it."""
    stored = {"step": step, **as_stored(preset, compute), "versions": versions()}
    return json.dumps(stored, indent=2) + "\n"


def versions() -> dict[str, str]:
    """Versions of what a run's digits depend on."""
    return {
        "hrm_rl": hrm_rl.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def version_note(checkpoint: Path) -> str | None:
    """Which other versions than these wrote a checkpoint, if it stores them."""
    file = checkpoint / RUN_FILE
    if not file.is_file():
        return None
    stored, here = read_json(file, "a run configuration").get("versions", {}), versions()
    with reading(file, "a run configuration"):
        before = typed(stored, Mapping[str, str], "versions")
    changed = [
        f"{name} {before[name]} -> {here[name]}"
        for name in here
        if before.get(name) not in (None, here[name])
    ]
    return f"Other versions than before, which may change digits: {', '.join(changed)}." if changed else None
