"""`hrm-rl watch`."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hrm_rl.cli.options import OfRun, check_counts

if TYPE_CHECKING:
    from hrm_rl.report.thinking import Thinking


@dataclass(frozen=True, kw_only=True)
class Watch(OfRun):
    """Watch a model think about one puzzle, segment by segment.

    In a terminal, space and arrow keys step, Home and End jump, q ends. Elsewhere every segment is printed.
    """

    puzzle: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[PUZZLE]")] = None
    """A Sudoku or maze, as `hrm-rl solve` takes it; by default a test puzzle, of any family."""
    number: int = 1
    """Which test puzzle, counted from 1."""
    seed: int = 0
    """Seed of the test puzzles."""
    halting: str | None = None
    """Stopping rule whose stop is shown; the run's rule by default."""
    play: bool = False
    """Play all segments, without keys."""
    seconds: float = 0.7
    """Time of a segment with --play."""
    gif: Path | None = None
    """Also write an animated picture, up to where the rule stops."""

    def run(self) -> None:
        from hrm_rl.halting import parse_rule
        from hrm_rl.report.thinking import check_gif, read_puzzle, think
        from hrm_rl.training.pools import evaluation_pool

        check_counts(self, "max_segments", "number")
        if not 0 <= self.seconds < 3600:
            raise ValueError(f"--seconds must lie in [0, 3600), got {self.seconds:g}")
        parse_rule(self.halting or "q")
        if self.gif is not None:
            check_gif(self.gif)
        trained = self.open()
        if self.puzzle is not None:
            puzzle = read_puzzle(trained, self.puzzle, "watch")
        else:
            pool = evaluation_pool(trained, puzzles=self.number, seed=self.seed)
            if self.number > len(pool):
                raise ValueError(f"--number {self.number}: there are {len(pool)} test puzzles")
            puzzle = pool.take(slice(self.number - 1, self.number))
        thinking = think(trained, puzzle, self.halting or trained.rule, self.max_segments)
        found = thinking.to_json()
        if self.gif is not None:
            thinking.save_gif(self.gif)
            found["gif"] = str(self.gif)
        if not self.json and sys.stdout.isatty() and (self.play or _can_read_keys()):
            self._show(thinking)
        else:
            self.report(found, "\n\n".join(_page(thinking, k) for k in range(thinking.limit + 1)))

    def _show(self, thinking: "Thinking") -> None:
        from rich.live import Live
        from rich.text import Text

        from hrm_rl.report.thinking import steps

        def shown(segment: int) -> Text:
            return Text.from_ansi(_page(thinking, segment, color=True))

        # Keys are read before the first board is there, so that none is lost.
        reading = nullcontext(()) if self.play else _keys()
        live = Live(shown(0), auto_refresh=False, vertical_overflow="visible")
        with reading as keys, live:
            for segment in range(thinking.limit + 1) if self.play else steps(keys, thinking.limit):
                live.update(shown(segment), refresh=True)
                time.sleep(self.seconds if self.play else 0)


def _page(thinking: "Thinking", segment: int, color: bool = False) -> str:
    """A segment: what happened, the board, the signals."""
    bar = ("\u2588", "\u2591") if "utf" in (sys.stdout.encoding or "").lower() else ("#", ".")
    parts = [thinking.words(segment), thinking.board(segment, color), thinking.signals(segment, color, *bar)]
    return "\n".join(parts)


def _can_read_keys() -> bool:
    try:
        import termios  # noqa: F401
    except ImportError:
        return False
    return sys.stdin is not None and sys.stdin.isatty()


@contextmanager
def _keys() -> Iterator[Iterator[bytes]]:
    """The keys as they are pressed, one sequence of bytes each; the terminal is as before at the end."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSADRAIN)
        yield iter(lambda: os.read(descriptor, 8), b"")
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
