"""Tokens as text: one character a cell, or numbers with spaces between."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles.pool import IGNORE_LABEL

NO_LABEL = "?"
"""Stands for ``IGNORE_LABEL``."""
_UNKNOWN = -1


@dataclass(frozen=True)
class CellText:
    """How the tokens of a family are written and read."""

    characters: str | None = None
    """The character of each token, PAD's first; None writes numbers."""
    reads: Mapping[str, int] | None = None
    """The token of each accepted character; None accepts `characters` and ``?``."""
    cell_name: Callable[[int], str] = lambda cell: f"cell {cell + 1}"
    board: Callable[[str], str] | None = None
    """The characters of a board in rows or as a list; ValueError for rows of different lengths."""

    @property
    def unit(self) -> str:
        """What a length of text counts."""
        return "cells" if self.characters is None else "characters"

    def on_one_line(self, text: str) -> str:
        """The text without what stands between the cells of a `board`."""
        return text if self.board is None else self.board(text)

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Number of cells of each text."""
        if self.characters is None:
            return np.array([len(text.split()) for text in texts], np.int64)
        return np.fromiter(map(len, texts), np.int64, len(texts))

    def read(self, text: str) -> NDArray[np.int32]:
        """Tokens int32 [S] of one puzzle; ValueError naming the first cell that holds no token."""
        words = text.split() if self.characters is None else text
        tokens = [self._token(word) for word in words]
        if _UNKNOWN in tokens:
            cell = tokens.index(_UNKNOWN)
            raise ValueError(f"{self.cell_name(cell)} is {words[cell]!r}; {self._known}")
        return np.array(tokens, np.int32)

    def read_all(self, texts: Sequence[str]) -> NDArray[Any]:
        """Tokens [K, S] of texts of one length; ValueError as in `read`."""
        if self.characters is None:
            return np.stack([self.read(text) for text in texts])
        joined = "".join(texts)
        if joined.isascii():
            tokens = self._token_of_byte[np.frombuffer(joined.encode(), np.uint8)]
            if (tokens != _UNKNOWN).all():
                return tokens.reshape(len(texts), -1)
        return np.stack([self.read(text) for text in texts])

    def write_all(self, tokens: NDArray[np.int32]) -> list[str]:
        """The text of every row of tokens or labels [N, S].

        Raises ValueError for a token without a character.
        """
        if self.characters is None:
            rows = tokens.tolist()
            return [" ".join(NO_LABEL if t == IGNORE_LABEL else str(t) for t in r) for r in rows]
        labelled = tokens != IGNORE_LABEL
        wrong = labelled & ((tokens < 0) | (tokens >= len(self.characters)))
        if wrong.any():
            last = len(self.characters) - 1
            raise ValueError(f"token {tokens[wrong][0]} has no character; there are 0 to {last}")
        codes = np.frombuffer(f"{self.characters}{NO_LABEL}".encode("ascii"), np.uint8)
        return [row.tobytes().decode() for row in codes[np.where(labelled, tokens, -1)]]

    def _token(self, word: str) -> int:
        if self.characters is not None:
            return self._tokens.get(word, _UNKNOWN)
        if word == NO_LABEL:
            return IGNORE_LABEL
        return int(word) if word.isdecimal() and len(word) < 10 else _UNKNOWN

    @property
    def _known(self) -> str:
        if self.characters is None:
            return f"tokens are numbers, or {NO_LABEL!r}"
        return f"the characters of tokens are {''.join(self._tokens)!r}"

    @cached_property
    def _tokens(self) -> Mapping[str, int]:
        if self.reads is not None:
            return self.reads
        assert self.characters is not None
        return {text: k for k, text in enumerate(self.characters)} | {NO_LABEL: IGNORE_LABEL}

    @cached_property
    def _token_of_byte(self) -> NDArray[np.int8]:
        table = np.full(256, _UNKNOWN, np.int8)
        for character, token in self._tokens.items():
            table[ord(character)] = token
        return table
