"""Choosing thresholds on validation puzzles: the rule of `confidence:auto` for a cost of a segment."""

from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.replay import bank_features, selected, trajectories_of
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.calm import calibrated_answers, check_calibrated
from hrm_rl.halting.fit.provenance import check_cost, refuse_test
from hrm_rl.halting.rules import RULES
from hrm_rl.halting.rules.combine import Abstain, AtLeast
from hrm_rl.halting.rules.learned import LEARNED, learned_class
from hrm_rl.halting.rules.protocol import HaltingRule, needs_of, stops_of
from hrm_rl.halting.rules.select import Select
from hrm_rl.halting.rules.spec import Node, build, parse_tree, threshold_class
from hrm_rl.halting.rules.threshold import ThresholdRule, sums_by_threshold

__all__ = ["ThresholdCurve", "resolve", "sweep", "threshold_curve"]

CANDIDATES = 64
"""Thresholds considered, both ends included."""


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Accuracy and segments of every threshold of a rule on a bank, from lenient to strict."""

    spec: str
    thresholds: NDArray[np.float32]
    """[K]."""
    accuracy: NDArray[np.float64]
    """[K]: share of right answers."""
    mean_segments: NDArray[np.float64]
    """[K]."""

    def rule(self, index: int) -> HaltingRule:
        """The rule of one of the thresholds."""
        return _with_threshold(parse_tree(self.spec), float(self.thresholds[index]))

    def best(self, cost: float) -> int:
        """Index of the largest accuracy - cost * mean_segments; of equals, the fewest segments."""
        value = self.accuracy - cost * self.mean_segments
        equal = value >= value.max() - 1e-12  # up to rounding
        return int(np.where(equal, self.mean_segments, np.inf).argmin())


_curves: WeakKeyDictionary[TraceBank, dict[tuple[str, int], ThresholdCurve]] = WeakKeyDictionary()


def resolve(spec: str, validation: TraceBank, cost: float, *, seed: int = 0) -> HaltingRule:
    """The rule of a spec whose `auto` is chosen to maximise mean(correct - cost * segments).

    Args:
        spec: any spec. `auto` stands for a threshold (`recall(confidence:auto)`) or for a file
            (`lsm:auto`, `voc:auto`, `voc:blinkered:auto`, `pqn:auto`, `sb3:ALGO:auto`);
            `calm(RULE, DELTA, EPSILON)`, also within `abstain`, is calibrated, and `oracle:auto` takes the
            cost.
        validation: recorded puzzles to choose on; none of split `test`.
        cost: cost of a segment, >= 0.
        seed: of rules learned at random (`pqn`, `sb3`).

    Raises ValueError for a spec that does not parse or has two `auto`, a bad cost, or test puzzles.
    """
    refuse_test(validation)
    check_cost(cost)
    tree = parse_tree(spec)
    leaf = _only_auto(tree, spec)
    if leaf is None:
        return build(tree)
    if leaf.name == Abstain.name:
        return build(tree, lambda leaf: calibrated_answers(leaf, validation))
    if has_threshold(leaf):
        curve = threshold_curve(spec, validation)
        return curve.rule(curve.best(cost))
    if _recalls(tree):  # then the answer is the best-scored draft so far
        validation = replace(validation, correct=_recalled(validation))
    return build(tree, lambda leaf: _fitted(leaf).auto(leaf.words, validation, cost, seed))


def sweep(spec: str, bank: TraceBank, count: int = CANDIDATES) -> list[HaltingRule]:
    """Rules over the range of the threshold that is `auto` in `spec`, from lenient to strict.

    At most `count`: the most lenient rule, quantiles of the signal over all segments of the bank, and
    the rule that runs to the limit; of whole numbers, all. Labels play no part.

    Raises ValueError if no threshold in the spec is `auto`.
    """
    tree, rule, features = _prepare(spec, bank, count)
    thresholds = rule.thresholds(features, bank.num_segments, count)
    return [_with_threshold(tree, float(threshold)) for threshold in thresholds]


def threshold_curve(spec: str, bank: TraceBank, count: int = CANDIDATES) -> ThresholdCurve:
    """Accuracy and mean segments of all rules of `sweep`, in one pass and without replays.

    Cached with the bank. Raises ValueError as `sweep` does.
    """
    kept = _curves.setdefault(bank, {})
    if (spec, count) not in kept:
        tree, rule, features = _prepare(spec, bank, count)
        rows, thresholds = bank.num_puzzles, rule.thresholds(features, bank.num_segments, count)
        levels = rule.levels(thresholds)
        if tree.name == Select.name:
            right, run = _select_sums(tree, rule, bank, levels)
        else:
            shape, heights = bank.correct.shape, _heights(tree, rule, features)
            answers = _recalled(bank) if _recalls(tree) else bank.correct
            segments = np.broadcast_to(np.arange(1, shape[1] + 1), shape)
            right, run = sums_by_threshold(heights.numpy().reshape(shape), levels, answers, segments)
        kept[spec, count] = ThresholdCurve(spec, thresholds, right / rows, run / rows)
    return kept[spec, count]


def check_spec(spec: str) -> None:
    """Raise ValueError if a spec does not parse, names what does not exist, or has an `auto` that cannot be
    chosen."""
    tree = parse_tree(spec)
    _only_auto(tree, spec)
    build(tree, _stand_in)


def _stand_in(leaf: Node) -> HaltingRule:
    """A rule in the place of one that is `auto`. Raises ValueError if that cannot be chosen."""
    if has_threshold(leaf):
        return _class(leaf).at(1.0)
    if leaf.name in ("calm", Abstain.name):
        check_calibrated(leaf)
    else:
        _fitted(leaf)
    return threshold_class("fixed").at(1.0)


def has_threshold(leaf: Node) -> bool:
    """Whether what is `auto` in a leaf is a threshold, rather than a fitted rule."""
    return leaf.is_custom or issubclass(RULES.get(leaf.name, object), ThresholdRule)


def _class(leaf: Node) -> type[ThresholdRule]:
    """The class of a leaf whose threshold is `auto`. Raises ValueError if a custom class has none."""
    if not leaf.is_custom and leaf.words:
        raise ValueError(f"rule {str(leaf)!r} takes one value, as in '{leaf.name}:auto'")
    return threshold_class(":".join((leaf.name, *leaf.words)), str(leaf))


def _with_threshold(tree: Node, threshold: float) -> HaltingRule:
    return build(tree, lambda leaf: _class(leaf).at(threshold))


def _only_auto(tree: Node, spec: str) -> Node | None:
    autos = list(tree.autos())
    if len(autos) > 1:
        names = " and ".join(repr(str(leaf)) for leaf in autos)
        raise ValueError(f"rule {spec!r} leaves {names} open; only one can be chosen")
    if autos and autos[0].name in ("calm", Abstain.name) and autos[0] is not tree:
        raise ValueError(
            f"rule {spec!r}: {str(autos[0])!r} cannot be part of another rule, which would void its guarantee"
        )
    return autos[0] if autos else None


def _prepare(spec: str, bank: TraceBank, count: int) -> tuple[Node, ThresholdRule, SegmentFeatures]:
    """The parsed spec, the rule in it whose threshold is `auto` (at some threshold), and the features."""
    tree = parse_tree(spec)
    leaf = _only_auto(tree, spec)
    if leaf is None or not has_threshold(leaf):
        raise ValueError(f"rule {spec!r} has no threshold to vary, as in 'confidence:auto'")
    if count < 2:
        raise ValueError(f"count must be at least 2, got {count}")
    rule = _class(leaf).at(1.0)
    built = build(tree, lambda _: rule)
    needs = needs_of(built)
    if isinstance(built, Select):
        bank = trajectories_of(bank, built).unrolled
    return tree, rule, bank_features(bank, needs)


def _heights(node: Node, rule: ThresholdRule, features: SegmentFeatures) -> Tensor:
    """What a tree with one open threshold compares with it, [B]: infinite if the rest decides alone."""
    if node.is_auto:
        return rule.height(features)
    assert node.parts is not None
    (inner,) = (part for part in node.parts if any(part.autos()))
    heights = _heights(inner, rule, features)
    if node.name == AtLeast.name:
        return torch.where(features.segment >= int(str(node.parts[0])), heights, -torch.inf)
    for part in node.parts:
        if part is not inner:  # `any` stops if another part does, `all` only then
            stops = stops_of(build(part), features)
            heights = (
                torch.where(stops, torch.inf, heights)
                if node.name == "any"
                else torch.where(stops, heights, -torch.inf)
            )
    return heights


def _select_sums(
    tree: Node, rule: ThresholdRule, bank: TraceBank, levels: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Right answers and segments of all trajectories, summed over puzzles, at every level: [2, L]."""
    assert tree.parts is not None
    select: Any = build(tree, lambda _: rule)
    bank = trajectories_of(bank, select)
    every, stopping = bank.unrolled, tree.parts[0]
    heights = _heights(stopping, rule, bank_features(every, select.needs)).numpy()
    highest = np.maximum.accumulate(heights.reshape(every.correct.shape), axis=1)
    rows, sums, bins = np.arange(len(every)), [], len(levels) + 1
    # The levels passed by each segment but the last, which stops all; then the segments short of each level.
    passed = np.searchsorted(levels, highest[:, :-1], side="right") + rows[:, None] * bins
    short = np.bincount(passed.ravel(), minlength=len(rows) * bins).reshape(-1, bins).cumsum(1)
    answers = _recalled_segments(every) if _recalls(stopping) else None
    for stopped in np.ascontiguousarray(1 + short.T[:-1]):
        answered = stopped if answers is None else answers[rows, stopped - 1]
        lengths, answered, chosen = selected(bank, select, stopped, answered)
        picked = np.arange(len(bank)) * bank.width + chosen
        sums.append((every.correct[picked, answered[picked] - 1].sum(), lengths.sum()))
    return np.array(sums, np.float64).T


def _recalls(tree: Node) -> bool:
    return tree.name == "recall" or any(_recalls(part) for part in tree.parts or ())


def _recalled(bank: TraceBank) -> NDArray[np.bool_]:
    """Whether the best-scored draft up to each segment is right, [N, M]."""
    return np.take_along_axis(bank.correct, _recalled_segments(bank) - 1, axis=1)


def _recalled_segments(bank: TraceBank) -> NDArray[np.int64]:
    """The segment of the best-scored draft up to each segment, [N, M] from 1; of equals, the earlier."""
    scores = bank.column("q_halt")
    best = np.maximum.accumulate(scores, axis=1)
    new = np.ones(scores.shape, dtype=bool)
    new[:, 1:] = scores[:, 1:] > best[:, :-1]
    places = np.where(new, np.arange(scores.shape[1]), 0)
    return np.maximum.accumulate(places, axis=1) + 1


def _fitted(leaf: Node) -> Any:
    """The class that fits an `auto` that is not a threshold. Raises ValueError if there is none."""
    kind: Any = learned_class(leaf.name) if leaf.name in LEARNED else RULES.get(leaf.name)
    if not hasattr(kind, "auto"):
        raise ValueError(
            f"rule {str(leaf)!r} has nothing to choose; try a threshold or a fitted rule, as in "
            "confidence:auto or lsm:auto"
        )
    if leaf.parts is None and leaf.words not in kind.variants:
        forms = (":".join((leaf.name, *words, "auto")) for words in sorted(kind.variants))
        raise ValueError(f"rule {str(leaf)!r} cannot be chosen; try {', '.join(forms)}")
    return kind
