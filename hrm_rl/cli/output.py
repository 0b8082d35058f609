"""Output of the commands: results on stdout, progress on stderr."""

import codecs
import io
import logging
import os
import sys
from contextlib import suppress
from typing import Any

_DEGRADE = "hrm_rl.degrade"


def _degrade(error: UnicodeError) -> tuple[str | bytes, int]:
    """Keep the bytes of a file name that the locale could not read; other characters become ``?``."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("replace")(error)


codecs.register_error(_DEGRADE, _degrade)


def prepare_streams() -> None:
    """Let messages not fail: a console without a character shows ``?``, and a closed stream takes anything.

    A message whose reader is gone, or whose disk is full, is lost; what goes to stdout raises OSError.
    """
    _open_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=_DEGRADE)
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        raw = _Messages(sys.stderr.fileno(), "w", closefd=False)
        options: Any = {"encoding": sys.stderr.encoding, "errors": sys.stderr.errors}
        sys.stderr = io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True, **options)


def _open_descriptors() -> None:
    """Open the closed ones of descriptors 0 to 2, so that no file of ours gets the number of a stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


class _Messages(io.FileIO):
    """A file whose write errors do not count."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data)
        return len(data)


def print_result(text: str) -> None:
    """Print on stdout. Raises BrokenPipeError if its reader has gone, OSError if it cannot be written."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = None  # type: ignore[assignment]
        prepare_streams()  # nothing is left to flush at the exit
        raise OSError(error.errno, error.strerror, "stdout") from None


def say(message: str) -> None:
    """Print progress on stderr."""
    print(message, file=sys.stderr, flush=True)


class _Log(logging.Handler):
    """Writes to the stderr of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


def show_log() -> None:
    """Print the package's log lines on stderr."""
    log = logging.getLogger("hrm_rl")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, _Log) for handler in log.handlers):
        log.addHandler(_Log())


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def table_text(title: str, header: list[str], rows: list[list[str]]) -> str:
    """A table as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    # A file or a pipe has no width to fit: do not break lines at 80.
    console = Console(width=None if Console().is_terminal else 120)
    with console.capture() as captured:
        console.print(table)
    return captured.get().removesuffix("\n")
