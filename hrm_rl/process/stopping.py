"""Stop signals: Ctrl-C, and what schedulers and terminals send.

A command ends at once (`end_on_signals`). Training holds a signal back until its step is done and saved
(`postponed`). A signal that is ignored when the process starts, as SIGHUP is under `nohup`, stays ignored.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

# Windows has the first two only.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))

# Held by the thread that ends the process.
_ending = threading.RLock()


def end_on_signals() -> None:
    """From now on a stop signal ends this process with exit code 128 + its number and no unfinished file.

    No exception is raised, since one that comes during an import or in a `__del__` is printed or lost. A
    thread ends the process if the main one is in a long call of compiled code, and at a second Ctrl-C.
    """
    heeded = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, _end)]
    for number in heeded:
        signal.signal(number, _end)
    if heeded:
        arrived, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=(arrived,), name="stop signals", daemon=True).start()


def _watch(arrived: int) -> None:
    interrupts = 0
    while number := os.read(arrived, 1):
        interrupts += number[0] == signal.SIGINT
        if signal.getsignal(number[0]) is _end or interrupts > 1:
            _end(number[0], None)


def _end(number: int, _: FrameType | None) -> None:
    _ending.acquire()
    if "hrm_rl.files" in sys.modules:
        sys.modules["hrm_rl.files"].remove_unfinished()
    with contextlib.suppress(AttributeError, OSError, ValueError):  # stderr is closed
        after_bar = "\n" if sys.stderr.isatty() else ""
        message = f"{after_bar}hrm-rl: stopped by {signal.Signals(number).name}\n"
        os.write(sys.stderr.fileno(), message.encode())  # print may be what the signal interrupted
    os._exit(128 + number)


class Stop:
    """A stop signal that is held back by `postponed`."""

    def __init__(self) -> None:
        self.number = 0
        self._at_once = False

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    @property
    def name(self) -> str:
        """The name of the signal."""
        return signal.Signals(self.number).name if self.requested else ""

    def attempt(self, work: Callable[[], Result]) -> Result | None:
        """The result of `work()`, or None if a signal comes before its end: for long work that can be done
        again."""
        try:
            self._at_once = True
            return None if self.requested else work()
        except _Left:
            return None
        finally:
            self._at_once = False

    def _come(self, number: int) -> None:
        self.number = self.number or number
        if self._at_once:
            self._at_once = False
            raise _Left


class _Left(BaseException):
    """Raised by a signal inside `Stop.attempt`."""


@contextlib.contextmanager
def postponed() -> Iterator[Stop]:
    """Hold stop signals back until the block ends; then the signal takes its usual course.

        with postponed() as stop:
            while not stop.requested:
                step()

    The usual course is that of before: KeyboardInterrupt for Ctrl-C in a notebook, the end of a command. It
    is taken at once by a second Ctrl-C, and not at all if the block raises. Only the main thread
    receives signals; in another nothing is held back.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    # None is a handler that Python did not set.
    held = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}

    def restore() -> None:
        for number, handler in held.items():
            signal.signal(number, handler)

    def hold(number: int, _: FrameType | None) -> None:
        if stop.requested and number == signal.SIGINT:
            restore()
            signal.raise_signal(number)
        else:
            stop._come(number)

    for number in held:
        signal.signal(number, hold)
    try:
        yield stop
    except _Left:  # it came at the very end of an attempt
        pass
    finally:
        restore()
    if stop.requested:
        signal.raise_signal(stop.number)
