"""The progress bar of every long loop: a bar in a terminal, and elsewhere a line a minute."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_SECONDS = 60
_LINE = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class _Lines(tqdm):
    """Whole lines, which a log file keeps apart, instead of a bar that overwrites itself."""

    disable: bool

    @staticmethod
    def status_printer(file: Any) -> Any:
        def write(text: str) -> None:
            print(text, file=file, flush=True)

        return write

    def close(self) -> None:
        if not self.disable:
            self.display()
            self.disable = True
            self._decr_instances(self)

    def clear(self, *_: Any, **__: Any) -> None:
        """Nothing to clear: a line stays."""

    @classmethod
    def write(cls, s: str, file: Any = None, end: str = "\n", nolock: bool = False) -> None:
        print(s, file=file or sys.stderr, end=end, flush=True)


def progress_bar(steps: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """tqdm's bar on stderr over `steps`, or to `update` by hand; not `shown`, it only iterates.

    `options` are tqdm's: desc, total, initial, unit. Where stderr is not a terminal, a line a
    minute and one at the end.
    """
    if sys.stderr is None or not shown:
        return tqdm(steps, disable=True, **options)
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return tqdm(steps, dynamic_ncols=True, **options)
    rarely: Any = {"mininterval": _SECONDS, "maxinterval": _SECONDS, "delay": 1}
    return _Lines(steps, bar_format=_LINE, **rarely, **options)
