"""`hrm-rl push`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hrm_rl.cli.options import Command


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
        from hrm_rl.training.report.model_card import model_card, push_run
        from hrm_rl.training.run_folder import RunFolder

        folder = RunFolder.named(self.run_folder)
        if self.dry_run:
            card = model_card(folder, self.repo_id)
            self.report({"repo_id": self.repo_id, "card": card}, card.removesuffix("\n"))
            return
        address = push_run(folder, self.repo_id, private=self.private)
        next_step = f"{address}    Next: hrm-rl eval {self.repo_id}"
        self.report({"repo_id": self.repo_id, "url": address}, next_step)
