"""Logs that grow: a log that cannot be written costs a warning, and never the training."""

import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.writer import FileWriter

_log = logging.getLogger(__name__)

_MOST = 1 << 24  # bytes that wait for a disk
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


class AppendedFile:
    """A file to append to. What cannot be written waits, with one warning, and is tried again at each flush.

    It is opened for each flush, so that a file which was removed appears again, and nothing is written to one
    that another program has put aside. It then begins with `head`.
    """

    def __init__(self, path: Path, head: bytes = b"") -> None:
        self.path, self._head = path, head
        self._waiting = b""
        self._failed = False

    def write(self, data: bytes) -> None:
        """Add data, which the next `flush` writes. It is lost if too much waits for a disk."""
        if len(self._waiting) + len(data) > _MOST:
            self.flush()
        if not self._failed or len(self._waiting) + len(data) <= _MOST:
            self._waiting += data

    def flush(self, *, through: bool = False) -> None:
        """Write what waits; with `through` until it is on the disk."""
        try:
            file = os.open(self.path, _APPEND, 0o666)
            try:
                self._append(file)
                if through:
                    os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            if not self._failed:
                _log.warning(
                    "%s cannot be written (%s); training goes on, and tries again.", self.path, error.strerror
                )
            self._failed = True
        else:
            self._failed = False

    def _append(self, file: int) -> None:
        size = os.fstat(file).st_size
        data = self._waiting if size else self._head + self._waiting
        try:
            while data:
                data = data[os.write(file, data) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, size)  # no half of a record, after which nothing could be read
            raise
        self._waiting = b""


class Board(SummaryWriter):
    """TensorBoard's writer without a thread, and with files that may fail as an `AppendedFile` may."""

    def _get_file_writer(self) -> FileWriter:
        slots: Any = self  # torch's class has them as None
        if slots.file_writer is None:
            slots.file_writer = writer = _BoardFile(self.log_dir)
            slots.all_writers = {self.log_dir: writer}
            if self.purge_step is not None:
                # TensorBoard drops the steps from here on of the folder's earlier files.
                start: Any = {"status": 1}
                writer.add_event(Event(step=self.purge_step, file_version="brain.Event:2"))
                writer.add_event(Event(step=self.purge_step, session_log=start))
        found: FileWriter = slots.file_writer
        return found


class _BoardFile(FileWriter):
    def __init__(self, folder: str) -> None:
        self.event_writer: Any = _Events(folder)


class _Events:
    """Stands in for TensorBoard's EventFileWriter."""

    _count = 0

    def __init__(self, folder: str) -> None:
        # Two writers of one process may begin in the same second.
        _Events._count += 1
        name = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{_Events._count}"
        version = Event(wall_time=time.time(), file_version="brain.Event:2")
        self._folder = folder
        self._file = AppendedFile(Path(folder, f"events.out.tfevents.{name}"), _record(version))

    def get_logdir(self) -> str:
        return self._folder

    def add_event(self, event: Event) -> None:
        self._file.write(_record(event))

    def flush(self) -> None:
        self._file.flush()

    close = flush


def _record(event: Event) -> bytes:
    buffer = _Bytes()
    RecordWriter(buffer).write(event.SerializeToString())
    return bytes(buffer)


class _Bytes(bytearray):
    """What a RecordWriter writes to."""

    def write(self, data: bytes) -> None:
        self.extend(data)
