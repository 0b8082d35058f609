"""The reference's dataset.json (`dataset/common.py` there)."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from hrm_rl.files import read_text
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


_LEAST = {
    "seq_len": 1,
    "vocab_size": 1,
    "pad_id": 0,
    "ignore_label_id": -(1 << 31),
    "blank_identifier_id": 0,
    "num_puzzle_identifiers": 1,
    "total_groups": 1,
}


def refuse(file: Path, reason: str) -> NoReturn:
    raise ValueError(f"{file}: {reason}")


def read_json(file: Path) -> Any:
    try:
        return parse_json(read_text(file))
    except FileNotFoundError:
        refuse(file, "is missing")
    except (OSError, ValueError) as error:
        refuse(file, f"cannot be read as JSON: {str(error).splitlines()[0]}")


def read_metadata(file: Path) -> Metadata:
    given = read_json(file)
    if not isinstance(given, dict):
        refuse(file, f"should be an object, is a {type(given).__name__}")
    known = [field.name for field in fields(Metadata)]
    missing = [name for name in known if name not in given]
    if missing:
        refuse(file, f"lacks {', '.join(missing)}")
    values = {name: given[name] for name in known}
    for name, least in _LEAST.items():
        number = values[name]
        if name == "ignore_label_id" and number is None:
            continue
        if type(number) is not int or not least <= number < 1 << 31:
            refuse(file, f"{name} should be an integer of {least} or more, is {number!r:.40}")
    for name, end in (("pad_id", "vocab_size"), ("blank_identifier_id", "num_puzzle_identifiers")):
        if values[name] >= values[end]:
            refuse(file, f"{name} {values[name]} is beyond {end} {values[end]}")
    mean = values["mean_puzzle_examples"]
    if type(mean) not in (int, float) or not 0 < mean < float("inf"):
        refuse(file, f"mean_puzzle_examples should be a number above 0, is {mean!r:.40}")
    sets = values["sets"]
    if not isinstance(sets, list) or not sets or not all(map(_is_set_name, sets)):
        refuse(file, f"sets should be a list of names, is {sets!r:.40}")
    return Metadata(**(values | {"sets": tuple(sets)}))


def _is_set_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and not set(name) & set("/\\\0")
