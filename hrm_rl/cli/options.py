"""Options that several commands have, and their checks."""

from pathlib import Path
from typing import Annotated, Any

import tyro

arg = tyro.conf.arg

RunFolder = Annotated[
    Path,
    tyro.conf.Positional,
    arg(
        name="run",
        metavar="RUN",
        help="A run folder, a folder with config.json and model.safetensors, or a Hub id, owner/name.",
    ),
]
MaxSegments = Annotated[
    int | None,
    arg(help="Limit of segments; the run's halt_max_steps by default. May be larger."),
]
BatchSize = Annotated[int, arg(help="Puzzles in flight at once.")]
Seed = Annotated[int, arg(help="Seed of the generated puzzles.")]
Device = Annotated[str, arg(help="cpu, cuda, mps; auto takes cuda if there is one.")]
Dtype = Annotated[
    str | None,
    arg(help="float32, bfloat16, ...: the dtype to compute in; that of training by default."),
]
Json = Annotated[bool, arg(help="Print the result as one JSON object.")]


def check_counts(command: Any, *names: str) -> None:
    """Raise ValueError for the first of these options that was given and is below 1."""
    for name in names:
        value = getattr(command, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be >= 1, got {value}")
