"""The commands, as one union for tyro."""

from typing import Annotated

from tyro.conf import subcommand

from hrm_rl.cli.bench import Bench
from hrm_rl.cli.evaluate import Eval
from hrm_rl.cli.import_reference import ImportReference
from hrm_rl.cli.puzzles import Puzzles
from hrm_rl.cli.quickstart import Quickstart
from hrm_rl.cli.solve import Solve
from hrm_rl.cli.train import Train

Command = (
    Annotated[Train, subcommand("train")]
    | Annotated[Eval, subcommand("eval")]
    | Annotated[Solve, subcommand("solve")]
    | Annotated[Puzzles, subcommand("puzzles")]
    | Annotated[ImportReference, subcommand("import-reference")]
    | Annotated[Quickstart, subcommand("quickstart")]
    | Annotated[Bench, subcommand("bench")]
)
