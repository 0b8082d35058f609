"""Old module paths: importing one gives the module at its new place, and a DeprecationWarning.

One table instead of a stub for each file. A path stays here for at least one minor release.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "agents.episode_learner": "agents.learning.episode",
    "agents.graphs": "agents.learning.graphs",
    "agents.halting_learners": "agents.pqn.halting_learners",
    "agents.hrm_pqn": "agents.pqn.hrm_pqn",
    "agents.hrm_q_network": "agents.pqn.q_network",
    "agents.joint_halting": "agents.learning.halting_loss",
    "agents.learner": "agents.learning.learner",
    "agents.losses": "agents.learning.losses",
    "agents.matching": "agents.learning.learner",
    "agents.optim": "agents.learning.optim",
    "agents.q_targets": "agents.learning.q_targets",
    "agents.tokenizer_embed": "agents.tokenizer.embed",
    "agents.tokenizer_limits": "agents.tokenizer.limits",
    "agents.tokenizer_plan": "agents.tokenizer.plan",
    "agents.tokenizer_tensors": "agents.tokenizer.tensors",
    "analysis.bootstrap": "analysis.statistics.bootstrap",
    "analysis.calibration": "analysis.statistics.calibration",
    "analysis.cases": "analysis.compare.cases",
    "analysis.compare_curves": "analysis.compare.curves",
    "analysis.compare_figures": "analysis.compare.figures",
    "analysis.compare_rows": "analysis.compare.rows",
    "analysis.compare_settings": "analysis.compare.settings",
    "analysis.compare_table": "analysis.compare.table",
    "analysis.confirm": "evaluation.confirm",
    "analysis.curves": "analysis.statistics.curves",
    "analysis.judging": "analysis.statistics.judging",
    "analysis.quantities": "analysis.compare.quantities",
    "analysis.ranks": "analysis.statistics.stats",
    "analysis.recorder": "evaluation.record",
    "analysis.stats": "analysis.statistics.stats",
    "analysis.trials": "analysis.compare.trials",
    "analysis.wall_clock": "analysis.compare.wall_clock",
    "envs.arc": "envs.families.arc",
    "envs.arc_source": "envs.families.arc_source",
    "envs.halting_bank": "envs.halting.bank",
    "envs.halting_live": "envs.halting.live",
    "envs.halting_single": "envs.halting",
    "envs.own": "envs.core.from_arrays",
    "envs.reasoning_gym": "envs.families.reasoning_gym",
    "envs.row_keys": "envs.core.rows",
    "envs.single": "envs.core.single",
    "envs.source": "envs.core.source",
    "envs.spaces": "envs.core.vector",
    "envs.transition": "envs.core.transition",
    "envs.vector": "envs.core.vector",
    "halting.bank_file": "halting.bank.file",
    "halting.calm": "halting.fit.calm",
    "halting.combinators": "halting.rules.combine",
    "halting.families": "halting.rules.threshold",
    "halting.fitted": "halting.fit.linear",
    "halting.network": "halting.fit.network",
    "halting.own": "halting.rules.custom",
    "halting.provenance": "halting.fit.provenance",
    "halting.regression": "halting.fit.regression",
    "halting.replay": "halting.bank.replay",
    "halting.rule_file": "halting.fit.file",
    "halting.spec": "halting.rules.spec",
    "halting.toy": "halting.bank.toy",
    "halting.tuning": "halting.fit.tuning",
    "kernels.adam_atan2_triton": "kernels.triton.adam_atan2",
    "kernels.fused_block": "kernels.fused.block",
    "kernels.fused_kernels": "kernels.fused.kernels",
    "kernels.fused_launch": "kernels.fused.launch",
    "kernels.fused_linear": "kernels.fused.linear",
    "kernels.fused_tiles": "kernels.fused.tiles",
    "kernels.launching": "kernels.triton.launching",
    "kernels.rms_norm_triton": "kernels.triton.rms_norm",
    "kernels.rope_triton": "kernels.triton.rope",
    "kernels.stablemax_triton": "kernels.triton.stablemax",
    "kernels.swiglu_triton": "kernels.triton.swiglu",
    "model.fingerprint": "model.files.fingerprint",
    "model.hub": "model.files.hub",
    "model.pretrained": "model.files.weights",
    "puzzles.arc_augment": "puzzles.arc.augment",
    "puzzles.arc_kernels": "puzzles.arc.kernels",
    "puzzles.arc_picture": "puzzles.arc.picture",
    "puzzles.arc_table": "puzzles.arc.table",
    "puzzles.arc_tasks": "puzzles.arc.tasks",
    "puzzles.arc_text": "puzzles.arc.text",
    "puzzles.arc_tokens": "puzzles.arc.tokens",
    "puzzles.arc_vote": "puzzles.arc.vote",
    "puzzles.csv_cache": "puzzles.files.cache",
    "puzzles.csv_stream": "puzzles.files.rows",
    "puzzles.dataset_folder": "puzzles.files.dataset",
    "puzzles.dataset_metadata": "puzzles.files.metadata",
    "puzzles.dataset_writer": "puzzles.files.dataset_writer",
    "puzzles.family_csv": "puzzles.files.csv",
    "puzzles.hub_datasets": "puzzles.files.hub",
    "puzzles.maze_check": "puzzles.maze.check",
    "puzzles.maze_classes": "puzzles.maze.classes",
    "puzzles.maze_csv": "puzzles.maze.csv",
    "puzzles.maze_generate": "puzzles.maze.family",
    "puzzles.maze_kernels": "puzzles.maze.kernels",
    "puzzles.maze_layout": "puzzles.maze.layout",
    "puzzles.maze_picture": "puzzles.maze.picture",
    "puzzles.maze_solver": "puzzles.maze.solve",
    "puzzles.maze_text": "puzzles.maze.text",
    "puzzles.pointer_chase_layout": "puzzles.pointer_chase.layout",
    "puzzles.pointer_chase_picture": "puzzles.pointer_chase.drawing",
    "puzzles.reasoning_gym_formats": "puzzles.reasoning_gym.formats",
    "puzzles.reasoning_gym_picture": "puzzles.reasoning_gym.picture",
    "puzzles.source": "puzzles.pool",
    "puzzles.sudoku_check": "puzzles.sudoku.check",
    "puzzles.sudoku_classes": "puzzles.sudoku.classes",
    "puzzles.sudoku_csv": "puzzles.sudoku.csv",
    "puzzles.sudoku_generate": "puzzles.sudoku.generate",
    "puzzles.sudoku_kernels": "puzzles.sudoku.kernels",
    "puzzles.sudoku_layout": "puzzles.sudoku.layout",
    "puzzles.sudoku_picture": "puzzles.sudoku.picture",
    "puzzles.sudoku_solver": "puzzles.sudoku.solve",
    "puzzles.sudoku_text": "puzzles.sudoku.text",
    "puzzles.table": "puzzles.files.table",
    "puzzles.unique_sat_kernels": "puzzles.unique_sat.kernels",
    "puzzles.unique_sat_layout": "puzzles.unique_sat.layout",
    "puzzles.unique_sat_picture": "puzzles.unique_sat.drawing",
    "training.benchmark": "bench.run",
    "training.benchmark_evaluation": "bench.evaluation",
    "training.benchmark_graphs": "bench.graphs",
    "training.benchmark_reference": "bench.reference",
    "training.benchmark_training": "bench.training",
    "training.boards": "training.report.boards",
    "training.compute": "training.machine.compute",
    "training.evaluate": "evaluation.evaluate",
    "training.evaluate_arc": "evaluation.arc",
    "training.knobs": "training.config.settings",
    "training.memory": "training.machine.memory",
    "training.metrics": "training.report.metrics",
    "training.model_card": "training.report.model_card",
    "training.prepare": "training.machine.prepare",
    "training.puzzle_files": "training.data.puzzle_files",
    "training.reference_clone": "bench.clone",
    "training.roofline": "bench.roofline",
    "training.timing": "bench.timing",
}
"""Old path: new path, both without the leading "hrm_rl."."""


class _MovedLoader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        """Put the module at its new place in `sys.modules` under the old name too."""
        old = module.__name__
        new = "hrm_rl." + MOVED[old.removeprefix("hrm_rl.")]
        warnings.warn(f"{old} has moved to {new}", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(new)


class _MovedFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        known = fullname.startswith("hrm_rl.") and fullname.removeprefix("hrm_rl.") in MOVED
        return ModuleSpec(fullname, _MovedLoader()) if known else None


def redirect_old_paths() -> None:
    """Serve the paths of `MOVED`, after all other finders; calling it twice changes nothing."""
    if not any(isinstance(finder, _MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(_MovedFinder())
