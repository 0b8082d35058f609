"""Files: UTF-8 text on every platform, whole or not there at all, and folders for caches."""

import codecs
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes that name, on an error it is removed.

        with written_whole("model.bin") as partial:
            partial.write_bytes(content)

    The caller may write a file or make a folder there. An existing file is replaced; an existing folder
    is moved aside first, since no system call replaces a folder that has content. A process that is killed
    leaves at most hidden ".NAME.PID.partial" paths beside `path`, never half of it; nor does a power cut,
    since all of it is on the disk before it takes its name.

    Raises OSError where `path` cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    aside = path.with_name(f".{path.name}.{os.getpid()}.old.partial")
    for stale in (partial, aside):
        _remove(stale)
    try:
        yield partial
        _write_through(partial)
        if partial.is_dir() and path.is_dir():
            os.rename(path, aside)
        os.replace(partial, path)
        _sync_folder(path.parent)
    finally:
        for stale in (partial, aside):
            _remove(stale)


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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file that appears whole or not at all. Names of files in it keep their bytes."""
    with written_whole(path) as partial:
        partial.write_bytes(text.encode("utf-8", "surrogateescape"))


def read_text(path: str | os.PathLike[str]) -> str:
    """The content of a text file, UTF-8 or as its byte-order mark says.

    Raises OSError if it cannot be read, ValueError if it is not text.
    """
    return Path(path).read_text(encoding=encoding_of(path))


def encoding_of(path: str | os.PathLike[str]) -> str:
    """The encoding of a text file from its byte-order mark: UTF-8, with a mark or without, or UTF-16."""
    start = b""
    if os.path.isfile(path):  # what was read of a pipe is gone
        with open(path, "rb") as file:
            start = file.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


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
