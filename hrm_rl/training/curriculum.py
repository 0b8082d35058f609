"""A curriculum: the phases before a run's own puzzles, with other dials, such as easier puzzles first."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hrm_rl.settings import SettingError

_FORM = '"STEP dial=value ...", phases separated by ";", such as "600 extra_givens=0..57"'


@dataclass(frozen=True)
class Phase:
    """Puzzles with other dials, which the run learns from before step `until`."""

    until: int
    dials: Mapping[str, Any]

    def __str__(self) -> str:
        return " ".join([str(self.until), *(f"{name}={_word(value)}" for name, value in self.dials.items())])


def read_phases(text: str) -> tuple[Phase, ...]:
    """The phases of a setting such as "600 extra_givens=0..57; 1200 extra_givens=0..40"; none of "".

    Raises SettingError if a phase has another form, does not end, or does not end after the one before.
    """
    if not isinstance(text, str):
        raise SettingError(f"curriculum must be text, {_FORM}; got {text!r}", "curriculum")
    phases: list[Phase] = []
    for part in map(str.strip, text.strip().removesuffix(";").split(";") if text.strip() else ()):
        step, _, dials = part.partition(" ")
        if "=" in step:
            message = f"curriculum: the phase {part!r} does not end; put its last step in front, {_FORM}"
            raise SettingError(message, "curriculum")
        try:
            phases.append(Phase(int(step), read_dials(dials)))
        except ValueError:
            raise SettingError(f"curriculum must be {_FORM}; got {part!r}", "curriculum") from None
        before = phases[-2].until if len(phases) > 1 else 0
        if not before < phases[-1].until or not dials:
            what = f"must end after step {before}" if dials else "has no dials"
            raise SettingError(f"curriculum: the phase {part!r} {what}", "curriculum")
    return tuple(phases)


def stretch(text: str, factor: float) -> str:
    """The curriculum of a run that is `factor` times as long."""
    phases = (Phase(max(1, round(phase.until * factor)), phase.dials) for phase in read_phases(text))
    longest = {str(phase.until): phase for phase in phases}  # of phases that end together, the last
    return "; ".join(map(str, longest.values()))


def read_dials(text: str) -> dict[str, Any]:
    """A table of numbers, switches and ranges: "size=12 perfect=true extra_givens=0..9".

    Raises ValueError for a value that is none of these, or a name that comes twice.
    """
    found: dict[str, Any] = {}
    for name, _, word in (word.partition("=") for word in text.replace(",", " ").split()):
        if name in found:
            raise ValueError(f"{name} is given twice")
        found[name] = _value(word)
    return found


def _value(word: str) -> int | float | bool | tuple[int, int]:
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if found := re.fullmatch(r"(\d+)\.\.(\d+)", word):
        return int(found[1]), int(found[2])
    return int(word) if word.removeprefix("-").isdigit() else float(word)


def _word(value: Any) -> str:
    return "..".join(map(str, value)) if isinstance(value, tuple) else str(value)
