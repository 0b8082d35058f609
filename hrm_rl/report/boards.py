"""Boards of recorded puzzles: the family of a bank, and its drawings as numbers of tiles."""

import base64
import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.halting import TraceBank
from hrm_rl.puzzles import FAMILIES, CustomPuzzles, family_of_shape, make_family
from hrm_rl.puzzles.arc.drawing import ArcBoards
from hrm_rl.puzzles.arc.tokens import SEQ_LEN
from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.unique_sat.drawing import TRUE_CELL
from hrm_rl.stored.text import parse_json

_NAMES = {
    getattr(pictures, name): name.lower().replace("_", "-")
    for name in (
        *("PAPER", "GIVEN", "GIVEN_CELL", "DRAFT", "DRAFT_CELL", "MISTAKE", "MISTAKE_CELL"),
        *("HALT", "CONTINUE", "CAPTION", "THIN_LINE", "THICK_LINE"),
    )
} | {TRUE_CELL: "true-cell"}
"""The colors that the page has a dark twin of, by name."""


@dataclass(frozen=True)
class Numbers(pictures.Drawable):
    """Puzzles without a family, drawn as the numbers of their tokens."""

    vocab_size: int = 0  # type: ignore[assignment]
    seq_len: int = 0  # type: ignore[assignment]

    def text(self, shown: pictures.Shown, color: bool) -> str:
        """Rows of numbers; a mistake stands between stars."""
        (panel,) = self.panels(shown)
        cells = [f"*{t.text}*" if t.color == pictures.MISTAKE else t.text for t in panel.tiles]
        wide = len(str(self.vocab_size)) + 2
        starts = range(0, len(cells), panel.columns)
        return "\n".join("".join(f"{c:>{wide}}" for c in cells[k : k + panel.columns]) for k in starts)

    def board(self, shown: pictures.Shown, cell: int) -> Any:
        (panel,) = self.panels(shown)
        return pictures.tiles(panel.tiles, panel.columns, cell)


def drawable(kind: Any) -> pictures.Drawable:
    """What draws puzzles of a kind: the family, ARC's boards by their shape, or numbers."""
    if isinstance(kind, pictures.Drawable):
        return kind
    if kind.name == "arc" or (kind.vocab_size, kind.seq_len) == (ArcBoards.vocab_size, SEQ_LEN):
        return ArcBoards(math.isqrt(kind.seq_len))
    return Numbers(kind.vocab_size, kind.seq_len)


def kind_of_bank(bank: TraceBank) -> Any:
    """The puzzles of a bank: by the name of their source, by the run's preset, or by their shape."""
    from hrm_rl.training.presets import PRESETS

    drafts = 0 if bank.drafts is None else int(bank.drafts.max())
    vocab, cells = max(int(bank.inputs.max()), int(bank.labels.max()), drafts) + 1, bank.inputs.shape[1]
    preset = PRESETS.get(bank.header.preset or "")
    candidates = [_kind_of_source(bank.source[0]), preset and preset.data.kind]
    for kind in candidates:
        if kind is not None and kind.seq_len == cells and vocab <= kind.vocab_size:
            return kind
    shaped = family_of_shape(vocab, cells)
    return CustomPuzzles(vocab, cells) if isinstance(shaped, CustomPuzzles) else shaped


def _kind_of_source(source: str) -> Any:
    """The family that "life-v1/size=12/steps=4" names; None for another text."""
    name, *dials = source.split("/")
    family = name.rpartition("-v")[0].replace("_", "-")
    if family not in FAMILIES:
        return None
    with contextlib.suppress(ValueError, TypeError):
        pairs = (dial.partition("=") for dial in dials)
        return make_family(family, {key: parse_json(value.lower()) for key, _, value in pairs})
    return None


class TileTable:
    """Every tile that was drawn, once."""

    def __init__(self) -> None:
        self._numbers: dict[pictures.Tile, int] = {}

    def numbers(self, panels: Sequence[pictures.Panel]) -> NDArray[np.uint16]:
        """The tiles of some panels, one panel after the other, by their number in the table."""
        known = self._numbers
        return np.array([known.setdefault(t, len(known)) for p in panels for t in p.tiles], np.uint16)

    def packed(self, numbers: NDArray[np.uint16]) -> str:
        """Numbers in base64, a byte each if they fit, else two (the low one first)."""
        small = len(self._numbers) <= 256
        return base64.b64encode(numbers.astype(np.uint8 if small else "<u2").tobytes()).decode()

    def to_json(self) -> dict[str, Any]:
        looks = [[t.text, _color(t.color), t.ground and _color(t.ground)] for t in self._numbers]
        return {"bytes": 1 if len(looks) <= 256 else 2, "looks": looks}


def _color(color: pictures.Color) -> str:
    """The name of a color that the page knows, or #rrggbb."""
    return _NAMES.get(color) or "#" + bytes(color).hex()


def layout(panels: Sequence[pictures.Panel]) -> list[dict[str, Any]]:
    """The panels of a drawing without their tiles."""
    return [
        {"title": p.title, "columns": p.columns, "tiles": len(p.tiles), "box": list(p.box)} for p in panels
    ]
