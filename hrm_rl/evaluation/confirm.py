"""Live checks of a trace bank: whether it records this model, and the speed-up by wall clock."""

from typing import Any

from hrm_rl.evaluation.evaluate import evaluate
from hrm_rl.halting import HaltingRule, TraceBank
from hrm_rl.halting.fit.provenance import check_fitted
from hrm_rl.model import ReasoningModel
from hrm_rl.model.files.fingerprint import model_hash
from hrm_rl.puzzles.pool import PuzzleArrays


def check_bank(
    model: ReasoningModel, bank: TraceBank, rule: HaltingRule | None = None, *, allow_mismatch: bool = False
) -> None:
    """Raise ValueError if the bank records another model (unless that is allowed), or if it may not judge
    the rule (`hrm_rl.halting.fit.provenance.check_fitted`)."""
    found, recorded = model_hash(model), bank.header.model_hash
    if found != recorded and not allow_mismatch:
        of = f"model {recorded[:12]}" if recorded else "a model that it does not name"
        raise ValueError(
            f"the bank records {of}, and this is model {found[:12]}; record this model with "
            "`hrm-rl trace`, or give --allow-mismatch"
        )
    if rule is not None:
        check_fitted(rule, bank, allow_mismatch)


def measure_speedup(
    model: ReasoningModel,
    puzzles: PuzzleArrays,
    rule: HaltingRule | str,
    max_segments: int,
    *,
    repeats: int = 3,
    **options: Any,
) -> dict[str, float]:
    """Time a rule against running every puzzle to the limit, both with slot refill.

    Both are timed `repeats` times, alternately; the best of each counts. Options are those of `evaluate`.

    Returns:
        speedup: puzzles a second with the rule over those at the limit.
        promised_speedup: limit / mean segments, the speed-up if segments took all the time.

    Raises ValueError if the clock does not move.
    """

    def run(tried: HaltingRule | str) -> tuple[float, float]:
        result = evaluate(model, puzzles, tried, max_segments=max_segments, **options)
        return result.seconds, float(result.segments.mean())

    rounds = [(run(f"fixed:{max_segments}"), run(rule)) for _ in range(repeats)]
    to_the_limit, stopping = (min(one) for one in zip(*rounds, strict=True))
    if not stopping[0] > 0:
        raise ValueError("the clock did not move, so that no speed-up can be measured")
    return {"speedup": to_the_limit[0] / stopping[0], "promised_speedup": max_segments / stopping[1]}
