"""Zip files, bounded by their own size: a bomb is refused before it unpacks. Nothing is written to a disk."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from hrm_rl.files import open_regular

# What an archive may unpack to: this much, or this many times its own size if that is more.
_SMALL, _MOST_RATIO = 1 << 26, 4
# Bytes of its table of contents, which takes twenty times that as Python objects.
_MOST_TABLE = 1 << 22
_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", 56, 20
_LONGEST_END = (1 << 16) + 22 + _END_64 + _LOCATOR_64


@contextmanager
def open_archive(source: str | os.PathLike[str] | BinaryIO) -> Iterator[zipfile.ZipFile]:
    """An open zip file, of a path or of an open file. Reading an entry checks its checksum.

    Raises ValueError if it is damaged, or unpacks to far more than its own size; OSError if it cannot be
    read.
    """
    file = open_regular(source) if isinstance(source, str | os.PathLike) else source
    with file:
        try:
            size = _check_table(file)
            with zipfile.ZipFile(file) as archive:
                _check_sizes(archive, size)
                yield archive
        except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
            raise ValueError(f"it is not a whole zip file: {error}") from None


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of an entry. Raises ValueError if it is damaged, encrypted or missing."""
    try:
        return archive.read(name)
    except KeyError:
        raise ValueError(f"it has no entry {name}") from None
    except Exception as error:  # each kind of compression raises its own
        raise ValueError(f"its entry {name} is damaged: {error}") from None


def _check_table(file: BinaryIO) -> int:
    """The file's size. Raises ValueError if its table of contents is beyond any real one's."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _LONGEST_END))
    tail = file.read(_LONGEST_END)
    file.seek(0)
    place = tail.rfind(_END)
    if place < 0:
        raise ValueError("it is not a zip file, or cut short")
    sizes = [int.from_bytes(tail[place + 12 : place + 16], "little")]
    record = tail[max(0, place - _LOCATOR_64 - _END_64) : place - _LOCATOR_64]
    if place >= _LOCATOR_64 + _END_64 and record.startswith(b"PK\x06\x06"):
        sizes[0] = int.from_bytes(record[40:48], "little")
    if max(sizes) > min(_MOST_TABLE, start + place):
        raise ValueError(f"it is not a zip file: a table of contents of {max(sizes):,} bytes")
    return size


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    whole = sum(entry.file_size for entry in archive.infolist())
    if whole > max(_SMALL, _MOST_RATIO * size):
        raise ValueError(f"it has {size:,} bytes and would unpack to {whole:,}")
