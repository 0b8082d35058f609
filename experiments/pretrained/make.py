"""Train the models that are installed with the package, and write them into hrm_rl/pretrained.

    python experiments/pretrained/make.py                       # all of them
    python experiments/pretrained/make.py sudoku-4x4 maze       # some

Each is the run of one preset, runs/NAME, trained here if it is missing. The folder gets the weights in half
precision, the settings, a card, and the figures of `hrm-rl eval` on 1,000 test puzzles, which
`pytest -m slow tests/model/files/test_pretrained.py` measures again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from hrm_rl.model.files.pretrained import FOLDER, PREFIX
from hrm_rl.training.report.model_card import model_card
from hrm_rl.training.report.release import CARD_FILE, save_small
from hrm_rl.training.run_folder import RunFolder

# What each cannot do, for its card.
LIMITS = {
    "sudoku-4x4": "It knows 4x4 boards only. After one segment it is often wrong: let it think.",
    "sudoku-4x4-trm": "It knows 4x4 boards only.",
    "sudoku-6x6": "It knows 6x6 boards (boxes of 2 x 3) only. Minimal puzzles are much harder than its mix.",
    "sudoku-9x9": "It is given the structure of the board (relation bias), which the paper's model is not: "
    "their figures cannot be compared. It solves few puzzles of the hardest published lists, "
    "and next to none with 17 givens.",
    "sudoku-9x9-long": "It went on from sudoku-9x9, with the same relation bias: its figures cannot be "
    "compared with the paper's. Most puzzles with 17 givens or of the hardest lists stay unsolved.",
    "maze": "It knows 11x11 mazes only, is given which cells are neighbours (relation bias), and finds long "
    "paths less often than short ones.",
    "prefix-parity": "It knows rows of 16 bits only.",
}
KEPT = (
    "exact_accuracy",
    "valid_accuracy",
    "cell_accuracy",
    "mean_segments",
    "max_segments",
    "count",
    "halting",
)


def make(name: str) -> None:
    run = RunFolder(Path("runs") / name)
    if not run.path.exists():
        subprocess.run([sys.executable, "-m", "hrm_rl", "train", name, "--out", str(run.path)], check=True)
    folder = FOLDER / name
    save_small(run, folder)
    asked = [sys.executable, "-m", "hrm_rl", "eval", PREFIX + name, "--json", "--dtype", "float32"]
    found = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    figures = {key: found[key] for key in KEPT}
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    command = f"python experiments/pretrained/make.py {name}"
    exact, valid = (f"{100 * found[key]:.1f} %" for key in KEPT[:2])
    solved = (
        f"{exact} of {found['count']} test puzzles exactly, {valid} validly, after "
        f"{found['mean_segments']:.2f} of at most {found['max_segments']} segments (`hrm-rl eval {name}`)."
    )
    card = model_card(run, name, "Apache-2.0")
    card += f"\n## Test puzzles\n\n{solved}\n\n## Limits\n\n{LIMITS[name]}\n\n## Made by\n\n`{command}`\n"
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    print(f"{name}: {solved}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(LIMITS), choices=[*LIMITS, []])
    for chosen in parser.parse_args().names:
        make(chosen)
