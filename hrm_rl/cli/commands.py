"""The commands, as one union for tyro."""

from collections.abc import Sequence
from typing import Annotated, Any

from tyro.conf import subcommand

from hrm_rl.cli.bench import Bench
from hrm_rl.cli.compare import Compare
from hrm_rl.cli.evaluate import Eval
from hrm_rl.cli.import_reference import ImportReference
from hrm_rl.cli.push import Push
from hrm_rl.cli.puzzles import Puzzles
from hrm_rl.cli.quickstart import Quickstart
from hrm_rl.cli.solve import Solve
from hrm_rl.cli.trace import Trace
from hrm_rl.cli.train import Train, train_with_knobs

_OTHERS = (
    Annotated[Eval, subcommand("eval")]
    | Annotated[Trace, subcommand("trace")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Solve, subcommand("solve")]
    | Annotated[Puzzles, subcommand("puzzles")]
    | Annotated[ImportReference, subcommand("import-reference")]
    | Annotated[Push, subcommand("push")]
    | Annotated[Quickstart, subcommand("quickstart")]
    | Annotated[Bench, subcommand("bench")]
)


def commands(argv: Sequence[str]) -> Any:
    """The union; `train` has its knobs where it is asked for, as only then torch need be loaded."""
    train = train_with_knobs() if argv[:1] == ["train"] else Train
    return Annotated[train, subcommand("train")] | _OTHERS
