"""Datasets of the Hugging Face Hub by name; needs huggingface_hub (the extra `hub`).

    from hrm_rl.puzzles.files import hub

    table = hub.load("sapientinc/sudoku-extreme", "train")

A local file comes first: data/sudoku-extreme/train.csv in this example.
"""

import os
import re
from pathlib import Path

from hrm_rl.puzzles.files.cache import FamilyName, read_csv_cached
from hrm_rl.puzzles.files.table import PuzzleTable

DATASETS: dict[str, FamilyName] = {
    "sapientinc/sudoku-extreme": "sudoku",
    "sapientinc/sudoku-extreme-1k": "sudoku",
    "sapientinc/maze-30x30-hard-1k": "maze",
}
"""The reference's datasets, each with its family. Other datasets of the format work too."""

_REASONS = {  # by the names of huggingface_hub's errors
    "GatedRepoError": "it is gated: ask for access on its page",
    "RepositoryNotFoundError": "the Hub has no such dataset (or it is private: hf auth login)",
    "RevisionNotFoundError": "it has no such revision",
    "RemoteEntryNotFoundError": "it has no file {file}",
    "LocalEntryNotFoundError": "the Hub cannot be reached, and it is not cached",
    "EntryNotFoundError": "it has no file {file}",
    "LocalTokenNotFoundError": "it needs a token: hf auth login",
}


def load(
    name: str,
    split: str = "train",
    *,
    folder: str | os.PathLike[str] = "data",
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> PuzzleTable:
    """A dataset's split as a table; arguments and errors as in `find` and `read_csv_cached`."""
    path = find(name, split, folder=folder, revision=revision)
    return read_csv_cached(path, DATASETS.get(_full_name(name)), cache_dir=cache_dir)


def find(
    name: str, split: str = "train", *, folder: str | os.PathLike[str] = "data", revision: str | None = None
) -> Path:
    """The CSV file of a dataset's split: a local one, or the Hub's, downloaded if needed.

    `name` is "owner/name", or the name alone for one of `DATASETS`; a split is "train" or "test", a revision
    a branch, tag or commit on the Hub. A local file is <folder>/<name>/<split>.csv.

    Raises ValueError for a name of another form, and FileNotFoundError without a local file and one from the
    Hub, with the reason and the path to place a file at.
    """
    full = _full_name(name)
    file = f"{split}.csv"
    here = Path(folder) / full.split("/")[1] / file
    if here.is_file():
        return here
    place = f"place its {file} at {here}"
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise FileNotFoundError(f"no {full} here: pip install huggingface_hub, or {place}") from None
    try:
        return Path(hf_hub_download(full, file, repo_type="dataset", revision=revision))
    except Exception as error:  # its kinds depend on the version's HTTP library
        raise FileNotFoundError(f"no {full}: {_reason(error, file)}; or {place}") from error


def known_name(name: str) -> str | None:
    """The full name of one of `DATASETS`, from the full or the short one; None for another."""
    return next((full for full in DATASETS if name in (full, full.split("/")[1])), None)


def _full_name(name: str) -> str:
    full = known_name(name) or name
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", full):
        raise ValueError(f"a dataset on the Hub is owner/name, got {name!r}; known: {', '.join(DATASETS)}")
    return full


def _reason(error: Exception, file: str) -> str:
    for kind in type(error).__mro__:
        if kind.__name__ in _REASONS:
            return _REASONS[kind.__name__].format(file=file)
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"the Hub did not answer ({lines[0] if lines else type(error).__name__})"
