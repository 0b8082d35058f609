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

_LAST = 100_000  # puzzles are distinct, so those before it are generated too


@dataclass(frozen=True, kw_only=True)
class Watch(OfRun):
    """Watch a model think about one puzzle, segment by segment.

    In a terminal, space and arrow keys step, Home and End jump, q ends. Elsewhere every segment is printed.
    """

    puzzle: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[PUZZLE]")] = None
    """A Sudoku or maze, as `hrm-rl solve` takes it; by default a test puzzle, of any family."""
    number: int = 1
    """Which test puzzle, from 1 to 100,000."""
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
        if self.number > _LAST:
            raise ValueError(f"--number must be <= {_LAST}, got {self.number}; another --seed has others")
        if not 0 <= self.seconds < 3600:
            raise ValueError(f"--seconds must lie in [0, 3600), got {self.seconds:g}")
        parse_rule(self.halting or "q")
        if self.gif is not None:
            check_gif(self.gif)
        trained = self.open()
        if self.puzzle is not None:
            puzzle = read_puzzle(trained, self.puzzle, "watch", "--number chooses a test puzzle")
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
            self.report(found, "\n\n".join("\n".join(_parts(thinking, k)) for k in range(thinking.limit + 1)))
        if self.gif is not None and not self.json:
            print(f"Written: {self.gif}")

    def _show(self, thinking: "Thinking") -> None:
        """Segments on a screen of their own; the last one shown stays."""
        from rich.console import Console, Group
        from rich.live import Live
        from rich.table import Table
        from rich.text import Text

        from hrm_rl.report.thinking import steps

        console, segment = Console(), 0
        help_line = Text(
            "" if self.play else "space and arrow keys step, Home and End jump, q ends", style="dim"
        )

        def shown(segment: int) -> Group:
            words, board, signals, timeline = map(Text.from_ansi, _parts(thinking, segment, color=True))
            width = max(len(line) for line in board.plain.splitlines())
            if width + 45 > console.width:
                return Group(words, board, signals, timeline)
            beside = Table.grid(padding=(0, 3))
            beside.add_row(board, signals)
            return Group(words, beside, timeline)

        # Keys are read before the first board is there, so that none is lost.
        reading = nullcontext(()) if self.play else _keys()
        with reading as keys, Live(console=console, auto_refresh=False, screen=True) as live:
            for segment in range(thinking.limit + 1) if self.play else steps(keys, thinking.limit):
                live.update(Group(shown(segment), help_line), refresh=True)
                time.sleep(self.seconds if self.play else 0)
        console.print(shown(segment))


def _parts(thinking: "Thinking", segment: int, color: bool = False) -> list[str]:
    """A segment: what happened, the board, the signals, the timeline."""
    bar = ("\u2588", "\u2591") if "utf" in (sys.stdout.encoding or "").lower() else ("#", ".")
    signals = thinking.signals(segment, color, *bar)
    return [
        thinking.words(segment),
        thinking.board(segment, color),
        signals,
        thinking.timeline(segment, color),
    ]


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
