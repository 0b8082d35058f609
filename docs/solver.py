"""Put a model and onnxruntime-web into the page solver.html of a built site: `python docs/solver.py site`.

The page then holds all it needs, and opens from its file. Needs npm, and the extra `export`; without them the
page says so.
"""

import argparse
import base64
import gzip
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hrm_rl.model.files.export import export_segment
from hrm_rl.model.files.pretrained import pretrained_models
from hrm_rl.puzzles import sudoku
from hrm_rl.training.open_run import open_trained

VERSION = "1.30.0"
_PARTS = {"ort": "package/dist/ort.wasm.bundle.min.mjs", "wasm": "package/dist/ort-wasm-simd-threaded.wasm"}
_EMPTY = '<script id="data" type="application/json">null</script>'


def packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def runtime() -> dict[str, str]:
    """The files of onnxruntime-web, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError("npm is missing")
    with tempfile.TemporaryDirectory() as folder:
        words = [npm, "pack", "--silent", f"onnxruntime-web@{VERSION}"]
        subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=300)
        (file,) = Path(folder).glob("*.tgz")
        with tarfile.open(file) as archive:
            members = {name: archive.extractfile(path) for name, path in _PARTS.items()}
            return {name: packed(member.read()) for name, member in members.items() if member}


def content(name: str) -> dict[str, Any]:
    """A Sudoku model, its manifest, and puzzles that it never saw."""
    trained = open_trained(f"pretrained:{name}", "cpu", "float32")
    assert isinstance(trained.kind, sudoku.Sudoku)
    limit = {"rule": trained.rule, "max_segments": trained.model.config.halt_max_steps}
    with tempfile.TemporaryDirectory() as folder:
        manifest = export_segment(trained.model, folder, about=limit)
        model = packed(Path(folder, manifest["file"]).read_bytes())
    size, puzzles = trained.kind.size, trained.kind.generate(20, split="test").inputs
    rows = sudoku.units(size)[2 * size]  # the cells of the first box
    tall = len(set((rows // size).tolist()))
    return {
        "name": name,
        "parameters": trained.model.num_parameters(),
        "size": size,
        "box": [tall, size // tall],
        "examples": [sudoku.to_text(puzzle) for puzzle in puzzles],
        "manifest": manifest,
        "model": model,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    default = "sudoku-9x9" if "sudoku-9x9" in pretrained_models() else "sudoku-4x4"
    parser.add_argument("--model", default=default)
    options = parser.parse_args()
    page = options.site / "solver.html"
    try:
        data = json.dumps(runtime() | content(options.model))
    except (ValueError, OSError, subprocess.SubprocessError) as error:
        print(f"{page} stays without a model: {error}", file=sys.stderr)
        return
    text = page.read_text(encoding="utf-8")
    assert _EMPTY in text, f"{page} is not as it was built"
    page.write_text(text.replace(_EMPTY, _EMPTY.replace("null", data)), encoding="utf-8")


if __name__ == "__main__":
    main()
