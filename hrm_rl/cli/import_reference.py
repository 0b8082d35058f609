"""`hrm-rl import-reference`."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hrm_rl.cli.options import Command

# Cells of the reference's data sets, by the size of their vocabulary.
_CELLS = {11: 81, 6: 900, 12: 900}


@dataclass(frozen=True, kw_only=True)
class ImportReference(Command):
    """Convert a checkpoint of the reference implementation into a model folder.

    Settings are read from the all_config.yaml beside it; without one, the paper's apply (2 x 2 cycles, heads
    of size 64, 16 segments). Nothing in the file is executed.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CKPT")]
    """The reference's state dict, such as step_26041."""
    out: Path
    """Folder for config.json and model.safetensors; new or empty."""
    seq_len: int | None = None
    """Cells of a puzzle; by default 81 for a vocabulary of 11, else 900."""

    def run(self) -> None:
        import torch

        from hrm_rl.model import HRM
        from hrm_rl.model.files.weights import read_reference_state
        from hrm_rl.training.run_folder import RunFolder

        RunFolder(self.out).refuse_if_used()
        state = read_reference_state(self.checkpoint)
        settings = self._settings(state)
        vocabulary = state["embed_tokens.embedding_weight"].shape[0]
        seq_len = _CELLS.get(vocabulary) if self.seq_len is None else self.seq_len
        if seq_len is None:
            raise ValueError(
                f"{self.checkpoint} has a vocabulary of {vocabulary}; give its cells with --seq-len"
            )
        with torch.random.fork_rng(devices=[]):
            try:
                model = HRM.from_reference(state, settings, seq_len)
            except ValueError as error:
                raise ValueError(f"{self.checkpoint}: {error}") from None
        model.save_pretrained(self.out)
        count = model.num_parameters()
        self.report(
            {"out": str(self.out), "parameters": count, "config": model.config.to_dict()},
            f"{count:,} parameters in {self.out}. Next: hrm-rl eval {shlex.quote(str(self.out))}",
        )

    def _settings(self, state: dict[str, Any]) -> dict[str, Any]:
        config = self.checkpoint.parent / "all_config.yaml"
        if config.is_file():
            try:
                import yaml
            except ImportError:
                raise ValueError(f"reading {config} needs pyyaml: pip install pyyaml") from None
            try:
                return dict(yaml.safe_load(config.read_text())["arch"])
            except (yaml.YAMLError, KeyError, TypeError, ValueError):
                raise ValueError(f"{config} has no arch section") from None
        width = state["embed_tokens.embedding_weight"].shape[1]
        return {
            "hidden_size": width,
            "num_heads": max(1, width // 64),
            "H_layers": _layers(state, "H_level"),
            "L_layers": _layers(state, "L_level"),
            "pos_encodings": "learned" if "embed_pos.embedding_weight" in state else "rope",
        }


def _layers(state: dict[str, Any], module: str) -> int:
    numbers = [int(k.split(".")[2]) for k in state if k.startswith(f"{module}.layers.")]
    return max(numbers, default=-1) + 1
