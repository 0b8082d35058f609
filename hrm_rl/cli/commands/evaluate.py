"""`hrm-rl eval`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_rl.cli.options import OnTrajectories, check_counts
from hrm_rl.cli.output import percent, show_log
from hrm_rl.messages import also_valid, note_fewer
from hrm_rl.puzzles.base.splits import Split
from hrm_rl.settings import Switch

if TYPE_CHECKING:
    from hrm_rl.halting import TraceBank


@dataclass(frozen=True, kw_only=True)
class Eval(OnTrajectories):
    """Answer puzzles, stopping by a rule, and report accuracy and segments.

    Every puzzle is answered once. A row that stops takes the next puzzle, so stopping early saves time in
    proportion. With --bank the puzzles are a trace bank's, and the outcomes are compared with the bank's,
    puzzle by puzzle.
    """

    halting: str | None = None
    """Stopping rule: q (the paper), q-halt:0, fixed:4, confidence:0.9, margin:0.5, entropy:0.1,
    stable:2, residual:0.01, kl:5e-4, random:0.2, recall(q), min(2, q), any(q, stable:2), or
    module:Class; with --width select(q, first). The run's rule by default."""
    data: Path | None = None
    """CSV of puzzles (source,question,answer,rating), or a dataset folder, of which test/ is used. By
    default generated test puzzles, or, for custom puzzles, the folder that the run learned from."""
    bank: Path | None = None
    """A trace bank of this run (`hrm-rl trace`), whose puzzles to answer and outcomes to compare."""
    split: Split | None = None
    """The puzzles of this split only; by default test, or all of a bank or a CSV."""
    allow_mismatch: bool = False
    """Accept a bank that records another model, or a rule fitted for one."""
    puzzles: int | None = None
    """Number of puzzles: 1000 generated ones, or all of the file, folder or bank, by default."""
    speedup: bool = False
    """Also time the rule against running every puzzle to the limit, three times each, alternately."""
    graphs: Switch = "auto"
    """Replay each segment as a CUDA graph; auto does on a GPU with one trajectory a puzzle."""

    def run(self) -> None:
        from hrm_rl.agents.learning.graphs import wants_graphs
        from hrm_rl.distributed.ranks import current
        from hrm_rl.evaluation import Trajectories, evaluate
        from hrm_rl.evaluation.confirm import check_bank, measure_speedup
        from hrm_rl.halting import parse_rule
        from hrm_rl.halting.bank.replay import replay
        from hrm_rl.halting.fit.provenance import check_may_judge
        from hrm_rl.halting.rules.select import Select
        from hrm_rl.model.files.fingerprint import model_hash
        from hrm_rl.training.data.learned import scores_apart
        from hrm_rl.training.pools import evaluation_pool, solved_tasks

        self._check()
        show_log()
        bank = self._open_bank()
        trained = self.open()
        model, name = trained.model, self.halting or trained.rule
        rule, limit = parse_rule(name), self.max_segments or model.config.halt_max_steps
        options: Any = {"batch_size": self.batch_size, "ranks": current()}
        several = self.several(trained.kind)
        replayed = None
        if bank is None:
            data = self.data or trained.learned_folder()
            chosen: Any = {"data": data, "puzzles": self.puzzles, "seed": self.seed}
            puzzles = evaluation_pool(trained, self.split, **chosen)
            tokens = puzzles.inputs, puzzles.labels
            check_may_judge(rule, model_hash(model), *tokens, self.allow_mismatch)
        else:
            check_bank(model, bank, rule, allow_mismatch=self.allow_mismatch)
            limit = limit if self.max_segments else min(limit, bank.num_segments)
            data, puzzles, options["puzzle_keys"] = self.bank, bank.puzzles, bank.puzzle_key
            replayed = replay(bank, rule, max_segments=limit)
            if isinstance(rule, Select):
                several = Trajectories.parse(bank.header.trajectories, rule.width or bank.width, trained.kind)
        graphs = "no" if self.graphs == "auto" and isinstance(rule, Select) else self.graphs
        options["graphs"] = wants_graphs(graphs, str(model.device), ranks=current().count)
        options |= {"max_segments": limit, "trajectories": several}
        found = evaluate(model, puzzles, rule, validator=trained.validator(), **options)
        self.note_unread_seed(data)
        result: dict[str, Any] = {**found.summary(), "cpu_share": found.cpu_share}
        result |= scores_apart(found.correct, trained.learned(puzzles))
        if replayed is None:
            result |= solved_tasks(trained, found, self.split, self.data)
        else:
            result["agree_segments"] = float((found.segments == replayed.stopped).mean())
            result["agree_correct"] = float((found.correct == replayed.correct).mean())
        if self.speedup:
            result |= measure_speedup(model, puzzles, rule, **options)
        where = {"run": str(self.run_folder), "step": trained.step, "halting": name}
        where["data"] = str(data or "generated")
        if several.width > 1:
            where |= {"width": several.width, "trajectories": str(several)}
        result |= where
        self.report(result, self._text(result, name))

    def _text(self, result: dict[str, Any], rule: str) -> str:
        from hrm_rl.stopwatch import crowded
        from hrm_rl.training.data.learned import told_apart

        most = (
            f"{result['width']} x {result['max_segments']}" if "width" in result else result["max_segments"]
        )
        text = (
            f"{percent(result['exact_accuracy'])} of {result['count']} puzzles solved{also_valid(result)} "
            f"({percent(result['cell_accuracy'])} of the cells), stopping by {rule} after "
            f"{result['mean_segments']:.2f} of at most {most} segments; "
            f"{result['puzzles_per_second']:.0f} puzzles a second."
        )
        if "coverage" in result:
            text += (
                f"\n{percent(result['coverage'])} of the puzzles are answered; of these answers "
                f"{percent(result['risk'])} are wrong."
            )
        if self.bank is not None:
            alike = [round(result[f"agree_{x}"] * result["count"]) for x in ("segments", "correct")]
            text += (
                f"\nCompared with {self.bank}: {alike[0]} of {result['count']} puzzles stop at the same "
                f"segment, {alike[1]} have the same outcome."
            )
        if "tasks" in result:
            first, second, single = (percent(result[k]) for k in ("pass@1", "pass@2", "single_view"))
            text += (
                f"\nOf {result['tasks']} tasks ({result['left_out']} more do not fit the board) the vote "
                f"of all versions solves {first} at the first answer and {second} within two; the "
                f"original version alone solves {single}."
            )
        if apart := told_apart(result):
            text += f"\n{apart}"
        if note := crowded(result["cpu_share"]):
            text += f"\n{note}"
        if self.speedup:
            text += (
                f"\n{result['speedup']:.2f} times as fast as running to the limit; "
                f"{result['promised_speedup']:.2f} times fewer segments."
            )
        return text

    def _check(self) -> None:
        from hrm_rl.agents.learning.graphs import wants_graphs
        from hrm_rl.halting import parse_rule
        from hrm_rl.halting.fit.provenance import is_fitted
        from hrm_rl.halting.rules.select import Select
        from hrm_rl.training.machine.compute import pick_device

        check_counts(self, "puzzles", "max_segments", "batch_size")
        if self.bank is not None and self.data is not None:
            raise ValueError(f"--bank {self.bank} and --data {self.data}: choose one of the two")
        if self.bank is not None and self.width > 1:
            raise ValueError(f"--width {self.width}: the trajectories are those of --bank {self.bank}")
        if self.speedup and isinstance(parse_rule(self.halting or "q"), Select):
            raise ValueError("--speedup times rules that run one trajectory")
        wants_graphs(self.graphs, pick_device(self.device))  # raises before anything is read
        fitted = is_fitted(parse_rule(self.halting or "q"))
        if self.allow_mismatch and not self.bank and not fitted:
            raise ValueError("--allow-mismatch goes with --bank, or with a rule that was fitted")

    def _open_bank(self) -> "TraceBank | None":
        from hrm_rl.halting import TraceBank

        if self.bank is None:
            return None
        bank = TraceBank.load(self.bank)
        bank = bank if self.split is None else bank.in_split(self.split)
        note_fewer(len(bank), self.puzzles, self.bank)
        return bank.take(slice(self.puzzles))
