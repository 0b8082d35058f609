"""Choosing thresholds on validation puzzles: the rule of `confidence:auto` for a price of a segment."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.replay import bank_features
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit import calm
from hrm_rl.halting.fit import linear as fitted
from hrm_rl.halting.fit.provenance import refuse_test
from hrm_rl.halting.rules import HaltingRule, Oracle, needs_of, stops_of
from hrm_rl.halting.rules.combine import AtLeast
from hrm_rl.halting.rules.custom import own_family
from hrm_rl.halting.rules.families import FAMILIES, Family, sums_by_threshold
from hrm_rl.halting.rules.spec import KNOWN, Node, build, parse_tree

CANDIDATES = 64
"""Thresholds looked at, both ends included."""

_LEARNERS = {
    "pqn": "hrm_rl.agents.pqn.halting_learners:train_pqn",
    "sb3": "hrm_rl.agents.pqn.halting_learners:train_sb3",
}


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """What every threshold of a family comes to on a bank, from lenient to strict."""

    spec: str
    thresholds: NDArray[np.float32]
    """[K]."""
    accuracy: NDArray[np.float64]
    """[K]: share of right answers."""
    mean_segments: NDArray[np.float64]
    """[K]."""

    def rule(self, index: int) -> HaltingRule:
        """The rule of one of the thresholds."""
        threshold = float(self.thresholds[index])
        return build(parse_tree(self.spec), lambda leaf: family_of(leaf).rule(threshold))

    def best(self, cost: float) -> int:
        """Index of the largest accuracy - cost * mean_segments; of equals, the fewest segments."""
        value = self.accuracy - cost * self.mean_segments
        equal = value >= value.max() - 1e-12  # what rounding makes unequal
        return int(np.where(equal, self.mean_segments, np.inf).argmin())


_curves: WeakKeyDictionary[TraceBank, dict[tuple[str, int], ThresholdCurve]] = WeakKeyDictionary()


def resolve(spec: str, validation: TraceBank, cost: float, *, seed: int = 0) -> HaltingRule:
    """The rule of a spec, with what is `auto` in it chosen to maximise mean(correct - cost * segments).

    Args:
        spec: any spec. `auto` stands for a threshold (`recall(confidence:auto)`), or for a file
            (`lsm:auto`, `voc:auto`, `voc:blinkered:auto`, `pqn:auto`, `sb3:ALGO:auto`);
            `calm(FAMILY, DELTA, EPSILON)` is calibrated, and `oracle:auto` is told the cost.
        validation: recorded puzzles to choose on; none of split `test`.
        cost: price of a segment, >= 0.
        seed: of what learns at random (`pqn`, `sb3`).

    Raises ValueError: a spec that does not read or says `auto` twice, or test puzzles.
    """
    refuse_test(validation)
    if not 0 <= cost < np.inf:
        raise ValueError(f"the cost of a segment must be >= 0 and finite, got {cost}")
    tree = parse_tree(spec)
    leaf = _only_auto(tree, spec)
    if leaf is None:
        return build(tree)
    if _has_threshold(leaf):
        curve = threshold_curve(spec, validation)
        return curve.rule(curve.best(cost))
    if _recalls(tree):  # what is right is then the best-scored draft so far
        validation = replace(validation, correct=_recalled(validation))
    return build(tree, lambda leaf: _fit(leaf, validation, cost, seed))


def sweep(spec: str, bank: TraceBank, count: int = CANDIDATES) -> list[HaltingRule]:
    """Rules over the range of the threshold that is `auto` in `spec`, from lenient to strict.

    At most `count`: quantiles of the signal over all segments of the bank, the rule that stops as soon
    as it can and the one that runs to the limit; of whole numbers, all. No label is looked at.

    Raises ValueError where the spec has no threshold that is `auto`.
    """
    leaf, features, _ = _prepare(spec, bank, count)
    thresholds = family_of(leaf).thresholds(features, bank.num_segments, count)
    curve = ThresholdCurve(spec, thresholds, np.zeros(0), np.zeros(0))
    return [curve.rule(index) for index in range(len(thresholds))]


def threshold_curve(spec: str, bank: TraceBank, count: int = CANDIDATES) -> ThresholdCurve:
    """Accuracy and mean segments of all rules of `sweep`, in one pass and without a replay each.

    Kept with the bank, so asking again costs nothing. Raises ValueError as `sweep` does.
    """
    kept = _curves.setdefault(bank, {})
    if (spec, count) not in kept:
        leaf, features, tree = _prepare(spec, bank, count)
        family, shape = family_of(leaf), bank.correct.shape
        thresholds = family.thresholds(features, bank.num_segments, count)
        heights = _heights(tree, family, features).numpy().reshape(shape)
        answers = _recalled(bank) if _recalls(tree) else bank.correct
        segments = np.broadcast_to(np.arange(1, shape[1] + 1), shape)
        right, run = sums_by_threshold(heights, family.levels(thresholds), answers, segments)
        rows = bank.num_puzzles
        kept[spec, count] = ThresholdCurve(spec, thresholds, right / rows, run / rows)
    return kept[spec, count]


def _only_auto(tree: Node, spec: str) -> Node | None:
    autos = list(tree.autos())
    if len(autos) > 1:
        raise ValueError(
            f"rule {spec!r} leaves {' and '.join(map(repr, map(str, autos)))} open; one can be chosen"
        )
    if autos and autos[0].name == "calm" and autos[0] is not tree:
        raise ValueError(f"rule {spec!r}: {str(autos[0])!r} stands alone, its promise is its own")
    return autos[0] if autos else None


def _has_threshold(leaf: Node) -> bool:
    return leaf.name in FAMILIES or leaf.is_own


def family_of(leaf: Node) -> Family:
    """The rules among which a leaf whose threshold is `auto` chooses. Raises ValueError for one of one's own
    that is not to be found or has no threshold."""
    return (
        own_family(leaf.name, leaf.argument.rpartition(":")[0], KNOWN)
        if leaf.is_own
        else FAMILIES[leaf.name]
    )


def _prepare(spec: str, bank: TraceBank, count: int) -> tuple[Node, SegmentFeatures, Node]:
    tree = parse_tree(spec)
    leaf = _only_auto(tree, spec)
    if leaf is None or not _has_threshold(leaf):
        raise ValueError(f"rule {spec!r} has no threshold to vary, as in 'confidence:auto'")
    if not leaf.is_own and leaf.argument != "auto":
        raise ValueError(f"rule {spec!r}: {str(leaf)!r} takes one value, as in '{leaf.name}:auto'")
    if count < 2:
        raise ValueError(f"count must be at least 2, got {count}")
    # Any threshold will do to see what the rule needs; making it also finds what is wrong elsewhere.
    needs = needs_of(build(tree, lambda leaf: family_of(leaf).rule(1.0)))
    return leaf, bank_features(bank, needs), tree


def _heights(node: Node, family: Family, features: SegmentFeatures) -> Tensor:
    """What a tree with one open threshold holds against it, [B]: infinite where that is decided."""
    if node.is_auto:
        return family.height(features)
    assert node.parts is not None
    (inner,) = (part for part in node.parts if any(part.autos()))
    heights = _heights(inner, family, features)
    if node.name == AtLeast.name:
        return torch.where(features.segment >= int(str(node.parts[0])), heights, -torch.inf)
    for part in node.parts:
        if part is not inner:  # `any` stops where another part does, `all` only there
            stops = stops_of(build(part), features)
            heights = (
                torch.where(stops, torch.inf, heights)
                if node.name == "any"
                else torch.where(stops, heights, -torch.inf)
            )
    return heights


def _recalls(tree: Node) -> bool:
    return tree.name == "recall" or any(_recalls(part) for part in tree.parts or ())


def _recalled(bank: TraceBank) -> NDArray[np.bool_]:
    """Whether the best-scored draft up to each segment is right, [N, M]; ties keep the earlier."""
    scores = bank.column("q_halt")
    best = np.maximum.accumulate(scores, axis=1)
    new = np.ones(scores.shape, dtype=bool)
    new[:, 1:] = scores[:, 1:] > best[:, :-1]
    places = np.where(new, np.arange(scores.shape[1]), 0)
    return np.take_along_axis(bank.correct, np.maximum.accumulate(places, axis=1), axis=1)


def _fit(leaf: Node, bank: TraceBank, cost: float, seed: int) -> HaltingRule:
    """What is `auto` but no threshold."""
    variant = leaf.argument.rpartition(":")[0]
    if leaf.name == "calm":
        return calm.calibrate(bank, *calm.read_form(leaf))
    if leaf.name == "voc" and variant in ("", "myopic", "blinkered"):
        return fitted.fit_voc(bank, cost, "blinkered" if variant == "blinkered" else 1)
    if leaf.name == "sb3" and variant:
        return _learner("sb3")(bank, cost, seed, variant)
    if not variant:
        if leaf.name == "lsm":
            return fitted.fit_lsm(bank, cost)
        if leaf.name == "pqn":
            return _learner("pqn")(bank, cost, seed)
        if leaf.name == "oracle":
            return Oracle(cost)
    raise ValueError(
        f"rule {str(leaf)!r} cannot be chosen; try lsm:auto, voc:blinkered:auto, sb3:dqn:auto"
    )


def _learner(kind: str) -> Callable[..., HaltingRule]:
    module, _, name = _LEARNERS[kind].partition(":")
    return getattr(importlib.import_module(module), name)
