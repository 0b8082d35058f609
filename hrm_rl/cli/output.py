"""What commands share: results on stdout, progress on stderr, and opening what was trained."""

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrm_rl.model import HRM
    from hrm_rl.training.kind import PuzzleKind
    from hrm_rl.training.presets import Preset


def print_json(result: dict[str, Any]) -> None:
    """The one JSON object of `--json`."""
    print(json.dumps(result))


def say(message: str) -> None:
    """Progress, on stderr."""
    print(message, file=sys.stderr, flush=True)


def show_log() -> None:
    """Let the package's log lines appear on stderr."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("hrm_rl").setLevel(logging.INFO)


def refuse_graphs_without_gpu(device: str) -> None:
    """For --graphs: raises ValueError where there is nothing to record."""
    if not device.startswith("cuda"):
        raise ValueError(f"--graphs needs a CUDA device; this would compute on {device}")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """A table on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = Console()
    # Into a file or a pipe there is no window to fit: do not break lines at 80.
    Console(width=None if console.is_terminal else 120).print(table)


@dataclass(frozen=True)
class Trained:
    """A model and where it came from; `preset` is None for a bare model folder."""

    model: "HRM"
    preset: "Preset | None"
    step: int
    kind: "PuzzleKind"
    """The puzzles it solves."""
    rule: str
    """The rule for stopping it was trained with."""

    def own_folder(self, path: Path) -> Path | None:
        """Where the puzzles are that nobody can generate: the dataset folder that the run at `path`
        learned from. None for a family that can be generated.

        Raises ValueError where no folder was stored, or it is not there.
        """
        from hrm_rl.training.kind import OWN

        if self.kind.family != OWN:
            return None
        cells, tokens = self.kind.seq_len, self.kind.vocab_size
        solves = "its own puzzles" if self.preset else "no Sudoku and no maze"
        solves = f"{path} solves {solves}, of {cells} cells and {tokens} tokens"
        if self.preset is None or self.preset.data.file is None:
            raise ValueError(f"{solves}: name their dataset folder with --data")
        folder = Path(self.preset.data.file)
        # A relative path starts from wherever one is, which need not be where the run was trained.
        place = "" if folder.is_absolute() else f" in {Path.cwd()}"
        if not folder.is_dir():
            raise ValueError(
                f"{solves}. It learned from the dataset folder {folder}, which is not{place or ' there'}: "
                "name it with --data"
            )
        say(f"Puzzles of {folder}{place}, which {path} learned from.")
        return folder


def open_trained(path: Path, device: str = "auto", dtype: str | None = None) -> Trained:
    """A run folder, a folder written by `save_pretrained` / `import-reference`, or a Hub id.

    It computes in `dtype`, by default in what it was trained in.

    What a bare model solves is told from its shape: Sudoku, mazes, or puzzles of family own.

    Raises FileNotFoundError or ValueError where it holds no model.
    """
    from hrm_rl.model import HRM
    from hrm_rl.model.config import FORWARD_DTYPES
    from hrm_rl.model.files.weights import RUN_FILE, fetch_pretrained
    from hrm_rl.training.kind import OWN, kind_of_shape, own_kind
    from hrm_rl.training.loop import halting_rule
    from hrm_rl.training.machine.compute import pick_device
    from hrm_rl.training.run_folder import RunFolder, read_config_json

    if dtype is not None and dtype not in FORWARD_DTYPES:
        raise ValueError(f"--dtype must be one of {', '.join(FORWARD_DTYPES)}, got {dtype!r}")
    path = fetch_pretrained(path)
    if (path / "model.safetensors").is_file():
        model, preset, step, rule = HRM.from_pretrained(path, forward_dtype=dtype), None, 0, "q"
        if (path / RUN_FILE).is_file():
            preset, _ = read_config_json(path / RUN_FILE)
            step = int(json.loads((path / RUN_FILE).read_text()).get("step", 0))
            rule = halting_rule(preset)
    else:
        run = RunFolder(path)
        preset, compute = run.config()
        compute.apply()
        model, step = run.load_model(dtype)
        rule = halting_rule(preset)
    shape = model.config.vocab_size, model.config.seq_len
    if preset is None:
        kind = kind_of_shape(*shape)
    else:
        kind = own_kind(*shape) if preset.data.family == OWN else preset.data.kind
    return Trained(model.to(pick_device(device)).eval(), preset, step, kind, rule)
