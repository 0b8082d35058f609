"""Files: UTF-8 text on every platform, whole or not there at all, in place of their kind only; folders for
caches."""

import codecs
import errno
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

# What this process is writing: by partial path, where an earlier folder is moved aside, and its path.
_unfinished: dict[Path, tuple[Path, Path]] = {}


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes that name, on an error it is removed.

        with written_whole("model.bin") as partial:
            partial.write_bytes(content)

    The caller may write a file or make a folder there. An existing file is replaced; an existing folder
    is moved aside first, since no system call replaces a folder that has content. A process that is killed
    leaves at most hidden ".NAME.PID.partial" paths beside `path`, never half of it; nor does a power cut,
    since all of it is on the disk before it takes its name.

    A link stays, and what it leads to is replaced. Raises OSError where `path` cannot be written, ValueError
    where it is a pipe, a device or a socket.
    """
    path = place(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    aside = path.with_name(f".{path.name}.{os.getpid()}.old.partial")
    for stale in (partial, aside):
        remove(stale)
    _unfinished[partial] = (aside, path)
    try:
        yield partial
        _write_through(partial)
        if partial.is_dir() and path.is_dir():
            os.rename(path, aside)
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.strerror and error.filename in (None, str(partial)):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        for stale in (partial, aside):
            remove(stale)
        del _unfinished[partial]


def remove_unfinished() -> None:
    """Remove what this process has begun to write and not finished; for one that is about to end."""
    for partial, (aside, path) in list(_unfinished.items()):
        with suppress(OSError):
            if aside.exists() and not path.exists():
                os.rename(aside, path)
            for stale in (partial, aside):
                remove(stale)


def _write_through(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            _write_through(inner)
        _sync_folder(path)
    else:
        # Windows flushes only what is open for writing.
        with path.open("r+b") as file:
            try:
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of file systems without it
                    raise


def _sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one. A folder loses its name first: a process that is killed
    never leaves a part of it under its name."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if not path.name.endswith(".partial"):
        path = path.rename(path.with_name(f".{path.name}.{os.getpid()}.gone.partial"))
    shutil.rmtree(path)


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
    """Check that an output to `path` destroys nothing: the file is missing, empty, or an earlier output
    of the same kind, such as "a trace bank", which `is_kind` knows from its content.

    Raises FileExistsError, PermissionError if its folder cannot be written, or ValueError as `place`.
    """
    found = place(path)
    folder = next(parent for parent in found.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(f"{path}: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{path}: no permission to write in the folder {folder}")
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


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file that appears whole or not at all. Names of files in it keep their bytes."""
    with written_whole(path) as partial:
        partial.write_bytes(text.encode("utf-8", "surrogateescape"))


# --- reading -----------------------------------------------------------------------------------

# Bytes of a text file that is read whole, such as the names of a million ARC puzzles.
MOST_TEXT = 1 << 28
# A file of more than this many bytes may not consist of holes, which are zeros that take no space.
_SPARSE, _MOST_HOLES = 1 << 28, 0.9


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a regular file to read its bytes; it never waits.

    Raises OSError if it cannot be read; ValueError for a pipe, a device or a socket, and for a file of holes.
    """
    _check_regular(path, os.stat(path))
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        status = os.fstat(file.fileno())
        _check_regular(path, status)  # what is there now
        holes = _holes(file, status.st_size) if status.st_size > _SPARSE else 0
        if holes > max(_SPARSE, _MOST_HOLES * status.st_size):
            raise ValueError(f"{path} holds no data in {holes:,} of its {status.st_size:,} bytes")
    except BaseException:
        file.close()
        raise
    return file


def _check_regular(path: str | os.PathLike[str], status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a regular file but a pipe or a device; copy it to a file first")


def _holes(file: BinaryIO, size: int) -> int:
    """Bytes of a file that no disk space stands for, as far as the system tells."""
    found = at = 0
    while hasattr(os, "SEEK_DATA") and at < size:
        try:
            data = os.lseek(file.fileno(), at, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            data = size
        found += data - at
        at = os.lseek(file.fileno(), data, os.SEEK_HOLE) if data < size else size
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return found


def read_text(path: str | os.PathLike[str], most: int = MOST_TEXT) -> str:
    """The content of a text file, UTF-8 or as its byte-order mark says.

    Raises OSError if it cannot be read, ValueError if it is not text, not a regular file, or has more than
    `most` bytes.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path} has more than {most:,} bytes")
    text = content.decode(encoding_of(content))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def open_text(path: str | os.PathLike[str]) -> TextIO:
    """A text file, open to be read piece by piece, its ends of lines as they are; bytes that are not text
    become the replacement character. Raises as `open_regular`."""
    file = open_regular(path)
    encoding = encoding_of(file.read(2))
    file.seek(0)
    return io.TextIOWrapper(file, encoding, errors="replace", newline="")


def encoding_of(start: bytes) -> str:
    """The encoding of a text from its first bytes: UTF-8, with a mark or without, or UTF-16."""
    return "utf-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


# --- paths and folders -------------------------------------------------------------------------


def portable_path(path: str) -> str:
    """A path as stored in files: as its name reads in UTF-8, whatever the locale."""
    with suppress(UnicodeDecodeError):
        return os.fsencode(path).decode()
    return path


def local_path(path: str) -> str:
    """A path from `portable_path` as this locale writes it."""
    local = os.fsdecode(path.encode("utf-8", "surrogateescape"))
    return local if os.path.exists(local) else path


def cache_folders() -> list[Path]:
    """Where caches of this user belong, the preferred folder first: ``hrm_rl`` in $XDG_CACHE_HOME or
    ~/.cache, if there is a home, and `temporary_folder`."""
    home = Path(os.path.expanduser("~"))
    user = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "hrm_rl"
    found = [user if user.is_absolute() else None, temporary_folder()]
    return [folder for folder in found if folder is not None]


def temporary_folder() -> Path | None:
    """A folder for temporary files that this user alone can write, the same one in every process; None
    where there cannot be one."""
    user = os.getuid() if hasattr(os, "getuid") else None  # None on Windows, where it is the user's
    try:
        folder = Path(tempfile.gettempdir()) / f"hrm_rl-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    # Somebody else may have made it, to have their code loaded.
    shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid != user
    if not stat.S_ISDIR(status.st_mode) or (user is not None and shared):
        return None
    return folder if can_write(folder) else None


def can_write(folder: str | os.PathLike[str]) -> bool:
    """Whether files can be written in a folder, which is made if it is missing."""
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
