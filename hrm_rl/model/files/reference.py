"""Checkpoints of public implementations: a state dict, and its settings in all_config.yaml."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hrm_rl.files import read_text
from hrm_rl.model.config import HRMConfig
from hrm_rl.model.files.layouts import TOKENS, layout_of, translate, usual_settings
from hrm_rl.model.files.weights import Loaded
from hrm_rl.stored.tensors import read_tensors
from hrm_rl.stored.torch_file import read_torch_file

SETTINGS_FILE = "all_config.yaml"
_MOST_SETTINGS = 1 << 16  # bytes of it
# Prefixes of tensor names from torch.compile and the reference's wrappers.
_WRAPPER_PREFIXES = ("_orig_mod.", "module.", "model.", "inner.")
# Scratch tensors, and tensors that are computed, of some versions of the reference.
_DERIVED = ("puzzle_emb.local_weights", "puzzle_emb.local_ids", "rotary_emb.")

# Cells of the reference's data sets, by the size of their vocabulary.
_CELLS = {11: 81, 6: 900, 12: 900}


def is_reference(path: Path) -> bool:
    """Whether a path is a checkpoint's file, or a folder of the reference with one."""
    if path.is_dir():
        return not (path / "config.json").exists() and bool(_checkpoints(path))
    return path.is_file()


def import_reference(path: str | os.PathLike[str], seq_len: int | None = None) -> Loaded:
    """A checkpoint's configuration and tensors; of a folder, its newest checkpoint.

    Settings are read from the all_config.yaml beside it, or from its own `config`; without either, its
    paper's apply (cycles 2 x 2 of HRM, of TRM and EqR 3 x 6 for Sudoku and 3 x 4 else; heads of size 64, of
    EqR 8 heads; 16 segments). Without `seq_len` its vocabulary tells the cells of a puzzle. Weights whose
    average it holds (`ema`) are the average's.

    Raises as `read_reference`.
    """
    file = Path(path)
    if file.is_dir():
        file = _newest_in(file)
    loaded, stored = _read_torch_file(file)
    state = read_reference_state(loaded, str(file))
    settings = _read_settings(file.parent / SETTINGS_FILE) or stored
    settings = settings or usual_settings(layout_of(state, str(file)), state)
    vocabulary = state[TOKENS].shape[0]
    seq_len = _CELLS.get(vocabulary) if seq_len is None else seq_len
    if seq_len is None:
        raise ValueError(f"{file} has a vocabulary of {vocabulary}; give its cells with --seq-len")
    try:
        config, tensors, _ = read_reference(state, settings, seq_len)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return config, tensors, str(file)


def _newest_in(folder: Path) -> Path:
    if found := _checkpoints(folder):
        return found[-1]
    if (folder / "config.json").is_file():
        raise ValueError(f"{folder} is a model or a run of hrm_rl: commands take it as it is")
    raise FileNotFoundError(f"{folder} has no file checkpoint or step_NUMBER; name the checkpoint's file")


def _checkpoints(folder: Path) -> list[Path]:
    """The reference's files `checkpoint` and `step_NUMBER` in a folder, the newest last."""
    found = [p for p in folder.glob("step_*") if p.name[5:].isdigit()]
    found.sort(key=lambda p: int(p.name[5:]))
    return [p for p in (folder / "checkpoint", *found) if p.is_file()]


def _read_settings(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        import yaml
    except ImportError:
        raise ValueError(f"reading {file} needs pyyaml: pip install pyyaml") from None
    try:
        return dict(yaml.safe_load(read_text(file, _MOST_SETTINGS))["arch"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{file} has no arch section") from None


def read_reference(
    checkpoint: Mapping[str, Tensor] | str | os.PathLike[str],
    arch: HRMConfig | Mapping[str, Any],
    seq_len: int,
) -> Loaded:
    """The configuration and tensors of a checkpoint of HRM, TRM or EqR (`hrm_rl.model.files.layouts`).

    Args:
        checkpoint: its state dict, or the path of one (nothing in it is run).
        arch: its `arch` settings (`all_config.yaml` beside the checkpoint), or an HRMConfig.
            Vocabulary, number of puzzle ids and their width, and how tokens are mixed, are read from the
            tensors.
        seq_len: cells of a puzzle: 81 for Sudoku, 900 for Maze and ARC.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a checkpoint of an unknown layout, or wrong settings in `arch`.
    """
    if isinstance(checkpoint, Mapping):
        name, loaded = "the state dict", dict(checkpoint)
    else:
        name, loaded = str(checkpoint), _read_torch_file(Path(checkpoint))[0]
    tensors = read_reference_state(loaded, name)
    if not isinstance(arch, HRMConfig | Mapping):
        raise ValueError(f"arch must be settings by name or an HRMConfig, got {type(arch).__name__}")
    arch = arch.to_dict() if isinstance(arch, HRMConfig) else arch
    try:
        settings, tensors = translate(layout_of(tensors, name), arch, tensors, seq_len)
        config = HRMConfig.from_dict(settings)
    except ValueError as error:
        raise ValueError(f"the settings given for {name} are wrong: {error}") from None
    return config, tensors, name


def read_reference_state(loaded: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of a state dict under their bare names; raises as `layout_of`."""
    tensors = {_bare_name(key): t for key, t in loaded.items()}
    layout_of(tensors, name)
    return {key: t for key, t in tensors.items() if not key.startswith(_DERIVED)}


def _bare_name(key: str) -> str:
    while key.startswith(_WRAPPER_PREFIXES):
        key = key.split(".", 1)[1]
    return key


def _read_torch_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors of a checkpoint, and its `arch` settings if it has them."""
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path} (from the Hub: hf download OWNER/NAME)")
    try:
        stored = path.suffix == ".safetensors"
        loaded = read_tensors(path) if stored else read_torch_file(path, skip_objects=True)
    except ValueError as error:
        raise ValueError(f"{path} is not a PyTorch state dict: {error}") from None
    if _is_state(loaded):
        return dict(loaded), None
    inner = [part for part in loaded.values() if _is_state(part)] if isinstance(loaded, Mapping) else []
    if len(inner) != 1:  # {"model": state, "step": 100}
        raise ValueError(f"{path} is not a PyTorch state dict: it holds more than named tensors")
    average, arch = (_within(loaded, *names) for names in (("ema", "shadow"), ("config", "arch")))
    tensors = {_bare_name(key): tensor for key, tensor in inner[0].items()}
    if _is_state(average):
        tensors |= {_bare_name(key): tensor for key, tensor in average.items()}
    return tensors, dict(arch) if isinstance(arch, Mapping) else None


def _within(part: Any, *names: str) -> Any:
    for name in names:
        part = part.get(name) if isinstance(part, Mapping) else None
    return part


def _is_state(part: Any) -> bool:
    pairs = part.items() if isinstance(part, Mapping) else ()
    return bool(pairs) and all(isinstance(name, str) and isinstance(t, Tensor) for name, t in pairs)
