"""Where an output may go: files of the same kind are replaced, and nothing else."""

import os
from collections.abc import Callable
from pathlib import Path


def place(path: str | os.PathLike[str]) -> Path:
    """The file that an output to `path` replaces or makes: where a link leads, since the link stays.

    Raises ValueError if that is a pipe, a device, a socket, or a stream of this process.
    """
    found, stream = Path(path), _is_stream(Path(path))
    for _ in range(40):  # as many links as Linux follows
        if stream or not found.is_symlink():
            break
        found = found.parent / os.readlink(found)
        stream = _is_stream(found)
    other = os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))
    if stream or other:
        raise ValueError(
            f"{path} is not a file on a disk (a pipe, a device, a stream?); name a file to write"
        )
    return found


def _is_stream(path: Path) -> bool:
    """Whether a path is one of /proc/self/fd, to which /dev/stdout leads."""
    return os.path.realpath(path.parent).startswith("/proc/")


def check_replaces(path: str | os.PathLike[str], kind: str, is_kind: Callable[[Path], bool]) -> None:
    """Check that an output to `path` destroys nothing: there is no file, an empty one, or an earlier output
    of the same kind, such as "a trace bank", which `is_kind` knows from its content.

    Raises FileExistsError, or ValueError as `place`.
    """
    found = place(path)
    if found.is_file() and found.stat().st_size and not is_kind(found):
        raise FileExistsError(f"{path} exists and is not {kind}; name another file, or remove it first")


def begins_with(*starts: bytes) -> Callable[[Path], bool]:
    """A check that a file begins with one of these bytes."""

    def check(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(max(map(len, starts))).startswith(starts)

    return check


def header_has(words: bytes) -> Callable[[Path], bool]:
    """A check that a file is safetensors whose header has these bytes."""

    def check(path: Path) -> bool:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return length <= path.stat().st_size and words in file.read(length)

    return check
