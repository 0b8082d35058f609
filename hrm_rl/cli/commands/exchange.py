"""`hrm-rl import-reference`, `push` and `export`: models that come from elsewhere, or go there."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hrm_rl.cli.options import Command


@dataclass(frozen=True, kw_only=True)
class ImportReference(Command):
    """Convert a checkpoint of the public HRM, TRM or EqR into a model folder.

    Its tensors tell which it is. Settings are read from the all_config.yaml beside it, or from the file
    itself; without either, its paper's apply. Nothing in the file is executed.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CKPT")]
    """The state dict, such as step_26041, or its folder: the newest in it."""
    out: Path
    """Folder for config.json and model.safetensors; new or empty."""
    seq_len: int | None = None
    """Cells of a puzzle; by default 81 for a vocabulary of 11, else 900."""

    def run(self) -> None:
        import torch

        from hrm_rl.model import PuzzleModel
        from hrm_rl.model.files.reference import import_reference
        from hrm_rl.training.run_folder import RunFolder

        RunFolder(self.out).refuse_if_used()
        with torch.random.fork_rng(devices=[]):
            model = PuzzleModel.from_state(*import_reference(self.checkpoint, self.seq_len))
        model.save_pretrained(self.out)
        count = model.num_parameters()
        self.report(
            {"out": str(self.out), "parameters": count, "config": model.config.to_dict()},
            f"{count:,} parameters in {self.out}. Next: hrm-rl eval {shlex.quote(str(self.out))}",
        )


@dataclass(frozen=True, kw_only=True)
class Push(Command):
    """Upload a checkpoint of a run to the Hugging Face Hub, with a model card written from the run.

    Needs huggingface_hub and a token (`hf auth login`). The card states what the run has recorded; the author
    adds the licence.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """A run folder: its newest checkpoint; RUN@500 or RUN@best another."""
    repo_id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REPO_ID")]
    """The repository, owner/name; created if missing."""
    private: bool = False
    """Make the repository private if it is created now."""
    dry_run: bool = False
    """Upload nothing; print the card."""

    def run(self) -> None:
        from hrm_rl.model.files.hub import check_repo_id
        from hrm_rl.training.report.model_card import model_card
        from hrm_rl.training.report.release import push_run
        from hrm_rl.training.run_folder import RunFolder

        check_repo_id(self.repo_id)
        folder = RunFolder.named(self.run_folder)
        if self.dry_run:
            card = model_card(folder, self.repo_id)
            self.report({"repo_id": self.repo_id, "card": card}, card.removesuffix("\n"))
            return
        address = push_run(folder, self.repo_id, private=self.private)
        next_step = f"{address}    Next: hrm-rl eval {self.repo_id}"
        self.report({"repo_id": self.repo_id, "url": address}, next_step)


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Write one segment of a model as a program that runs without this package, with a manifest.

    It takes the carry and the tokens, and returns the next carry, the logits and the Q values. docs/export.md
    has the loop that runs it and stops. ONNX needs the extra `export`.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """An installed model, a run folder (RUN@500 or RUN@best: a checkpoint), a model folder or a Hub id."""
    out: Path
    """Folder for the program and manifest.json; new or empty."""
    format: Literal["onnx", "torch"] = "onnx"
    """onnx, or torch: the .pt2 of torch.export."""
    dtype: str = "float32"
    """Type to compute in."""

    def run(self) -> None:
        from hrm_rl import __version__
        from hrm_rl.model.files.export import export_segment
        from hrm_rl.puzzles.family import Family
        from hrm_rl.training.open_run import open_trained
        from hrm_rl.training.run_folder import RunFolder

        RunFolder(self.out).refuse_if_used()
        trained = open_trained(self.run_folder, "cpu", self.dtype)
        kind = trained.kind
        about = {
            "hrm_rl": __version__,
            "model": str(self.run_folder),
            "step": trained.step,
            "puzzles": {"family": kind.name} | (kind.dials() if isinstance(kind, Family) else {}),
            "rule": trained.rule,
            "max_segments": trained.model.config.halt_max_steps,
        }
        manifest = export_segment(trained.model, self.out, self.format, about)
        self.report(manifest, f"{self.out / manifest['file']}    Next: the loop in docs/export.md")
