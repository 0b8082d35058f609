"""Old module paths: importing one gives the module at its new place, and a DeprecationWarning.

The table has the paths that were documented. Each stays for at least one minor release.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "agents.graphs": "agents.learning.graphs",
    "agents.halting_learners": "agents.pqn.halting_learners",
    "agents.hrm_pqn": "agents.pqn.hrm_pqn",
    "agents.hrm_q_network": "agents.pqn.q_network",
    "agents.q_targets": "agents.learning.q_targets",
    "analysis.bootstrap": "analysis.statistics.bootstrap",
    "analysis.calibration": "analysis.statistics.calibration",
    "analysis.cases": "analysis.compare.cases",
    "analysis.compare_settings": "analysis.compare.settings",
    "analysis.curves": "analysis.statistics.curves",
    "analysis.judging": "analysis.statistics.judging",
    "analysis.recorder": "evaluation.record",
    "analysis.stats": "analysis.statistics.stats",
    "envs.own": "envs.core.from_arrays",
    "envs.reasoning_gym": "envs.families.reasoning_gym",
    "envs.source": "envs.core.source",
    "halting.calm": "halting.fit.calm",
    "halting.fitted": "halting.fit.linear",
    "halting.network": "halting.fit.network",
    "halting.replay": "halting.bank.replay",
    "halting.toy": "halting.bank.toy",
    "halting.tuning": "halting.fit.tuning",
    "model.hub": "model.files.hub",
    "puzzles.csv_cache": "puzzles.files.cache",
    "puzzles.dataset_folder": "puzzles.files.dataset",
    "puzzles.dataset_writer": "puzzles.files.dataset_writer",
    "puzzles.family_csv": "puzzles.files.csv",
    "puzzles.hub_datasets": "puzzles.files.hub",
    "puzzles.table": "puzzles.files.table",
    "training.benchmark_graphs": "bench.graphs",
    "training.compute": "training.machine.compute",
    "training.evaluate": "evaluation.evaluate",
    "training.evaluate_arc": "evaluation.arc",
    "training.memory": "training.machine.memory",
    "training.prepare": "training.start",
    "training.roofline": "bench.roofline",
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
