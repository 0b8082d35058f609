"""Checksums of the files in a folder, in the format of sha256sum: `sha256sum -c checksums.sha256` checks them
too."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from hrm_rl.files import open_regular, written_whole

CHECKSUM_FILE = "checksums.sha256"
_MOST_CHECKSUMS = 1 << 16  # bytes of it
# The training state; a folder that has it has checksums. Older checkpoints have state.pt and none.
STATE_FILE = "state.safetensors"


def write_checksums(folder: Path, names: Iterable[str] | None = None) -> None:
    """Write the checksums of files in a folder, by default of all."""
    names = names or {path.name for path in folder.iterdir()} - {CHECKSUM_FILE}
    lines = [_line(folder / name) for name in sorted(names)]
    with written_whole(folder / CHECKSUM_FILE) as partial:
        partial.write_bytes("".join(lines).encode())


def check_files(folder: Path, names: Iterable[str]) -> None:
    """Compare files of a folder with its checksums, if it has any.

    Raises ValueError naming the first file that is missing or was changed, the checksums included.
    """
    file = folder / CHECKSUM_FILE
    if not file.is_file():
        if (folder / STATE_FILE).exists():
            raise ValueError(f"{file} is missing")
        return
    with open_regular(file) as opened:
        content = opened.read(_MOST_CHECKSUMS)
    lines = re.findall(rb"([0-9a-f]{64}  ([^/\n]+)\n)", content)
    stored = {name.decode(errors="replace"): line for line, name in lines}
    if b"".join(stored.values()) != content:
        raise ValueError(f"{file} is damaged")
    for name in names:
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path} is missing")
        if name not in stored:
            raise ValueError(f"{file} is damaged: it lacks {name}")
        if _line(path).encode() != stored[name]:
            raise ValueError(f"{path} is damaged: its content differs from its checksum in {CHECKSUM_FILE}")


def _line(path: Path) -> str:
    with open_regular(path) as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n"
