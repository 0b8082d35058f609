"""Models that are installed with the package, by name: `sudoku-9x9`, or `pretrained:sudoku-9x9`."""

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "pretrained"
PREFIX = "pretrained:"


def pretrained_models() -> list[str]:
    """The names of the models that are installed with the package."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.json"))


def find_pretrained(name: str) -> Path | None:
    """The folder of the installed model with this name, `pretrained:` before it or not; None if there is
    none.

    Raises ValueError if there is a folder of the same name, which may be what is meant.
    """
    bare = name.removeprefix(PREFIX)
    if bare not in pretrained_models():
        return None
    if bare == name and Path(name).is_dir():
        raise ValueError(
            f"{name} is a folder here and the name of an installed model: write {Path(name).absolute()} for "
            f"the folder, {PREFIX}{name} for the model"
        )
    return FOLDER / bare
