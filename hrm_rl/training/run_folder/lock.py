"""A lock on a run folder, held by one process at a time; the system ends it when the process ends."""

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from hrm_rl.distributed.ranks import current

_log = logging.getLogger(__name__)

LOCK_FILE = ".lock"
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)


class FolderLock:
    """A lock on `folder`, which is made if it is missing. Of several ranks the first one holds it.

    As a context manager it is held inside. Acquiring raises BlockingIOError if another process has it,
    OSError if the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.lost = False
        """Whether `check` found another process in the folder."""
        self._file: int | None = None
        self._owner = os.getpid()
        self._made = False

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.release()

    @contextmanager
    def kept_on_success(self) -> Iterator[None]:
        """Acquire it, and release it if the body fails."""
        self.acquire()
        try:
            yield
        except BaseException:
            self.release()
            raise

    def acquire(self) -> None:
        """Take the lock, unless this process has it already."""
        if self._file is not None or not current().first:
            return
        self._made = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # also of a link that leads nowhere
            raise FileExistsError(
                f"{self.folder} already exists and is not a folder; choose another one"
            ) from None
        self._file, self._owner = self._open(), os.getpid()
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.write(self._file, f"{os.getpid()} {socket.gethostname()}\n".encode())

    def check(self, *, make: bool = False) -> None:
        """Check that the folder is still the one that was locked; if it was removed or renamed, lock the
        folder that has its name now. With `make`, make one that is missing.

        Raises BlockingIOError if another process has that folder.
        """
        if self._file is None or self._is_named() or not (make or (self.folder / LOCK_FILE).exists()):
            return
        before, self._file = self._file, None
        try:
            self.acquire()
        except BlockingIOError:
            self.lost = True
            raise
        finally:
            os.close(before)

    def _is_named(self) -> bool:
        """Whether the file of this lock has its name still."""
        assert self._file is not None
        try:
            return os.path.samestat(os.fstat(self._file), (self.folder / LOCK_FILE).stat())
        except OSError:
            return False

    def release(self) -> None:
        """Give it back, and remove the folder if `acquire` made it and it is empty."""
        if self._file is None:
            return
        if self._owner == os.getpid() and self._is_named():  # not a fork of it
            # First the name, then the lock: a process that opened the file before finds the name gone.
            with suppress(OSError):
                os.unlink(self.folder / LOCK_FILE)
            if self._made:
                with suppress(OSError):
                    self.folder.rmdir()
        os.close(self._file)
        self._file = None

    def __del__(self) -> None:
        with suppress(Exception):  # at the end of the interpreter
            self.release()

    def _open(self) -> int | None:
        """A descriptor of the locked file; None if this process has it open, or it cannot be locked."""
        path = self.folder / LOCK_FILE
        while True:
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self.folder)) from None
            try:
                _lock(file)
                if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                    return file
            except OSError as error:
                if error.errno in _TAKEN:
                    self._check_ours(os.read(file, 200).decode(errors="replace").split())
                else:
                    _log.warning("%s cannot be locked (%s).", self.folder, error.strerror)
                os.close(file)
                return None
            os.close(file)  # released, and its name removed, between the two calls

    def _check_ours(self, holder: list[str]) -> None:
        if holder == [str(os.getpid()), socket.gethostname()]:
            return
        who = f"process {holder[0]} on {holder[1]}" if len(holder) == 2 else "another process"
        raise BlockingIOError(
            f"{self.folder} is in use by {who}: wait until it ends, or choose another folder with --out"
        )


try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 1 << 20, os.SEEK_SET)  # beyond the text, which others may read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        finally:
            os.lseek(file, 0, os.SEEK_SET)
else:

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
