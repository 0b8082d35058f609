"""The weights that a run starts from: another run's, a model's, or a checkpoint of the reference."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.model import HRMConfig
from hrm_rl.model.files.checkpoints import checkpoint_name
from hrm_rl.model.files.reference import import_reference, is_reference
from hrm_rl.model.files.weights import CONFIG_FILE, check_model, read_pretrained, with_puzzle_ids
from hrm_rl.model.layers import RELATIONS, stored_form, stored_relations
from hrm_rl.settings import SettingError

# Settings of a model that its weights do not fix; seq_len is another, but for learned positions and mixers.
_FREE = {"num_puzzle_identifiers", "H_cycles", "L_cycles", "forward_dtype"}
_FREE |= {"halt_max_steps", "halt_exploration_prob"}


@dataclass(frozen=True, eq=False)
class Init:
    """Weights to start from."""

    name: str
    """Where they come from, with the checkpoint that was taken: runs/mine@1500."""
    config: HRMConfig
    tensors: Mapping[str, Tensor]
    folder: Path
    """The folder of their file."""
    ids: str = ""
    """Which rows of the puzzle embedding are theirs and which are fresh, in words."""

    def rows(self, puzzles: int, given: int | None, reset: bool) -> int:
        """Rows that the puzzle embedding will have: as `given`, or those there are (none after a reset), and
        as many as the puzzles have identifiers.

        Raises SettingError if too few are given, or there is none to reset.
        """
        if reset and not self.config.embedding_width:
            message = f"init_ids reset: {self.name} has no puzzle embedding (its puzzle_emb_ndim is 0)"
            raise SettingError(message, "init_ids")
        has = 0 if reset else self.config.num_puzzle_identifiers
        if given is not None and given < max(puzzles, has):
            more = " (init_ids reset drops them)" if has > puzzles else ""
            raise SettingError(
                f"num_puzzle_identifiers must be {max(puzzles, has)} or more: the puzzles have "
                f"{puzzles}, the weights {has}{more}; got {given}",
                "model.num_puzzle_identifiers",
            )
        return given or max(puzzles, has)

    def related(self, relations: NDArray[np.int32] | None) -> "Init":
        """These weights for puzzles whose cells are related so. Boards of another size have relations of
        their own, in the classes that the bias was learned for.

        Raises SettingError if the weights learned a bias for other relations.
        """
        learned = stored_relations(self.tensors, self.config)
        if learned is None or (relations is not None and np.array_equal(learned, relations)):
            return self
        if (
            relations is None
            or learned.shape == relations.shape
            or not np.array_equal(np.unique(learned), np.unique(relations))
        ):
            message = f"the weights of {self.name} are for cells that are related in another way"
            raise SettingError(message, "init")
        table = stored_form(relations, self.config)
        return dataclasses.replace(self, tensors={**self.tensors, RELATIONS: table})

    def fitted(self, config: HRMConfig, puzzles: Mapping[str, int], reset: bool) -> "Init":
        """These weights for a model of `config`, with fresh rows where the puzzle embedding has none.

        `puzzles` are the settings that the puzzles fix. Raises SettingError naming every other setting that
        differs from the weights'.
        """
        fixed = self.config.pos_encodings == "learned" or self.config.mixer == "mlp"
        free = _FREE if fixed else _FREE | {"seq_len"}
        ours, theirs = self.config.to_dict(), config.to_dict()
        differ = {name: theirs[name] for name in ours if name not in free and ours[name] != theirs[name]}
        if differ:
            words = [
                f"{name} {ours[name]!r}, but "
                + (f"the puzzles need {new!r}" if name in puzzles else f"{new!r} was given")
                for name, new in differ.items()
            ]
            message = f"the weights of {self.name} have {'; '.join(words)}"
            raise SettingError(message, *(f"model.{name}" for name in differ), "init")
        had, rows = self.config.num_puzzle_identifiers, config.num_puzzle_identifiers
        if not config.embedding_width:
            return dataclasses.replace(self, config=config)
        loaded = with_puzzle_ids((self.config, dict(self.tensors), self.name), rows, reset)
        kept = 0 if reset else had
        ids = f"of the puzzle embedding's rows {kept} kept, {rows - kept} fresh"
        return dataclasses.replace(self, config=config, tensors=loaded[1], ids=ids)


def read_init(source: str, seq_len: int) -> Init:
    """The weights of a run (RUN, RUN@500, RUN@best), a model folder, a Hub id, or a checkpoint of the
    reference, which does not have its `seq_len`.

    Raises FileNotFoundError or ValueError: nothing there, or damaged.
    """
    path, found = Path(source), source
    if path.is_file() and (path.parent / CONFIG_FILE).is_file():
        raise ValueError(f"{path} is one file of a model; name its folder, {path.parent}")
    if is_reference(path):
        config, tensors, name = import_reference(source, seq_len)
    else:
        config, tensors, name = read_pretrained(source)
        found = checkpoint_name(Path(name).parent) or source
    check_model(config, tensors, name)
    return Init(found, config, tensors, Path(name).parent)
