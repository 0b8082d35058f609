"""The reference's dataset.json (`dataset/common.py` there)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from hrm_rl.files import read_text
from hrm_rl.messages import shortened
from hrm_rl.settings import LARGEST, SettingError, check_integers, check_interval, restore, typed
from hrm_rl.stored.text import parse_json


@dataclass(frozen=True)
class Metadata:
    """Contents of dataset.json."""

    seq_len: int
    """Cells a puzzle, S."""
    vocab_size: int
    """Tokens are 0 .. vocab_size - 1."""
    pad_id: int
    """Token of padding cells."""
    ignore_label_id: int | None
    """Label of cells that are not judged; None if all are."""
    blank_identifier_id: int
    """Identifier of padded rows."""
    num_puzzle_identifiers: int
    """Identifiers are 0 .. num_puzzle_identifiers - 1."""
    total_groups: int
    """Number of groups in all sets together."""
    mean_puzzle_examples: float
    """Examples a puzzle."""
    sets: tuple[str, ...]
    """Names of the sets, usually ("all",)."""


def refuse(file: Path, reason: str) -> NoReturn:
    raise ValueError(f"{file}: {reason}")


def read_json_file(file: Path) -> Any:
    """The JSON value of a file. Raises ValueError naming it if it is missing or damaged."""
    try:
        return parse_json(read_text(file))
    except FileNotFoundError:
        refuse(file, "is missing")
    except (OSError, ValueError) as error:
        refuse(file, f"cannot be read as JSON: {str(error).splitlines()[0]}")


def read_metadata(file: Path) -> Metadata:
    """The content of dataset.json; entries that it has besides are ignored. Raises ValueError naming the file
    and the field."""
    given = read_json_file(file)
    try:
        values = typed(given, Mapping[str, Any])
        known = {field.name: values[field.name] for field in fields(Metadata) if field.name in values}
        _check(metadata := restore(Metadata, known))
    except SettingError as error:
        refuse(file, str(error))
    return metadata


def _check(metadata: Metadata) -> None:
    """Raise SettingError naming a field that is out of range."""
    check_integers(metadata, 1, "seq_len", "vocab_size", "num_puzzle_identifiers", "total_groups")
    check_integers(metadata, 0, "pad_id", "blank_identifier_id")
    if metadata.ignore_label_id is not None:
        check_integers(metadata, -LARGEST - 1, "ignore_label_id")
    for name, end in (("pad_id", "vocab_size"), ("blank_identifier_id", "num_puzzle_identifiers")):
        if getattr(metadata, name) >= getattr(metadata, end):
            beyond = f"{name} {getattr(metadata, name)} is beyond {end} {getattr(metadata, end)}"
            raise SettingError(beyond, name, end)
    check_interval(metadata, "(0, inf)", "mean_puzzle_examples")
    if not metadata.sets or not all(map(_is_set_name, metadata.sets)):
        raise SettingError(f"sets must be a list of names, got {shortened(repr(metadata.sets), 60)}", "sets")


def _is_set_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and not set(name) & set("/\\\0")
