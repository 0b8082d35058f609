"""Writing a file or a folder so that it appears whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes that name, on an error it is removed.

        with written_whole("table.csv") as partial:
            partial.write_text("...", encoding="utf-8")

    The caller may write a file or make a folder there. An existing file is replaced; an existing folder
    is removed first, since no system call replaces a folder that has content. A process that is killed
    leaves at most a hidden ".NAME.PID.partial" beside `path`, never half of it.

    Raises OSError where `path` cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    _remove(partial)
    try:
        yield partial
        if partial.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
