"""`hrm-rl doctor`."""

import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hrm_rl import __version__
from hrm_rl.cli.options import Command
from hrm_rl.messages import pip_install, shortened

_TRIED = "sudoku-4x4"


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Show versions, device, threads and compilers, what is missing, and what to do about it.

    The exit code is 1 if something is broken that every command needs.
    """

    def run(self) -> None:
        found = examination()
        self.report(found, _in_words(found))
        if found["problems"]:
            raise SystemExit(1)


def examination() -> dict[str, Any]:
    """What `hrm-rl doctor --json` prints; `problems` names what is broken."""
    problems: list[str] = []
    needed, extras = _packages(problems)
    return {
        "hrm_rl": __version__,
        "folder": str(Path(__file__).parents[2]),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": needed,
        "compilers": _compilers(),
        **_machine(problems),
        "extras": extras,
        "problems": problems,
    }


def _packages(problems: list[str]) -> tuple[dict[str, str | None], dict[str, dict[str, Any]]]:
    """Versions of the packages that hrm_rl needs, and its extras with what they lack."""
    from packaging.requirements import Requirement

    needed: dict[str, str | None] = {}
    extras: dict[str, dict[str, Any]] = {}
    try:
        distribution = metadata.distribution("hrm_rl")
    except metadata.PackageNotFoundError:  # run from its folder
        return needed, extras
    named = sorted({*(distribution.metadata.get_all("Provides-Extra") or ())} - {"all"})
    for requirement in map(Requirement, distribution.requires or ()):
        marker, version = requirement.marker, _version(requirement.name)
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        if marker is None or marker.evaluate({"extra": ""}):
            needed[requirement.name] = version
            if not fits:
                has = f"version {version} is installed" if version else "it is not installed"
                problems.append(f"hrm_rl needs {requirement.name}{requirement.specifier}; {has}")
            continue
        for name in named:
            if marker.evaluate({"extra": name}):
                extra = extras.setdefault(name, {"missing": [], "install": pip_install(name)})
                extra["missing"] += [] if fits else [f"{requirement.name}{requirement.specifier}"]
    return needed, extras


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _compilers() -> dict[str, str | None]:
    """The C++ compiler of torch.compile on a CPU, and Triton's version."""
    known = (os.environ.get("CXX"), "g++", "clang++", "c++", "cl")
    paths = (shutil.which(name) for name in known if name)
    return {"c++": next((path for path in paths if path), None), "triton": _version("triton")}


def _machine(problems: list[str]) -> dict[str, Any]:
    """Device and threads, and whether an installed model runs on them."""
    try:
        import torch

        from hrm_rl.model.files.pretrained import pretrained_models
        from hrm_rl.process.cpus import usable_cpus
        from hrm_rl.training.machine.compute import pick_device
        from hrm_rl.training.open_run import open_trained

        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found: dict[str, Any] = {
            "device": pick_device(),
            "gpus": devices,
            "mps": torch.backends.mps.is_available(),
            "cpus": usable_cpus(),
            "threads": torch.get_num_threads(),
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
            "models": pretrained_models(),
        }
        model = open_trained(f"pretrained:{_TRIED}", found["device"]).model
        start, cells = time.perf_counter(), model.config.seq_len
        where: Any = {"dtype": torch.int64, "device": model.device}
        with torch.no_grad():
            out = model(model.initial_carry(1), torch.ones(1, cells, **where), torch.zeros(1, **where))
        assert out.logits.isfinite().all(), "the answer is not finite"
        return found | {"segment_seconds": time.perf_counter() - start}
    except Exception as error:  # whatever keeps the package from working is the finding
        problems.append(f"{_TRIED} does not run: {type(error).__name__}: {shortened(str(error), 200)}")
        return {}


def _in_words(found: dict[str, Any]) -> str:
    def row(name: str, text: str) -> str:
        return f"{name:10} {text}"

    def listed(names: Any) -> str:
        return ", ".join(names) or "none"

    rows = [row("hrm_rl", f"{found['hrm_rl']} in {found['folder']}")]
    rows.append(row("python", f"{found['python']} ({found['executable']}), {found['platform']}"))
    needed = {name: version for name, version in found["packages"].items() if version}
    rows.append(row("packages", listed(f"{name} {version}" for name, version in needed.items())))
    if "device" in found:
        gpus = listed(found["gpus"]) if found["gpus"] else "no CUDA device"
        rows.append(row("device", f"{found['device']} ({gpus}{', mps' if found['mps'] else ''})"))
        omp = found["omp_num_threads"]
        set_by = f"OMP_NUM_THREADS={omp}" if omp else "OMP_NUM_THREADS is not set"
        rows.append(row("threads", f"{found['threads']} of {found['cpus']} CPUs ({set_by})"))
    cpp, triton = found["compilers"]["c++"], found["compilers"]["triton"]
    rows.append(row("compilers", f"C++: {cpp or 'none: --compile on a CPU needs g++ or clang++'}"))
    on_gpu = "" if found.get("gpus") else " (runs on CUDA devices)"
    rows.append(row("", f"Triton: {triton + on_gpu if triton else 'none: eager kernels'}"))
    if "segment_seconds" in found:
        seconds = 1000 * found["segment_seconds"]
        rows.append(row("models", f"{listed(found['models'])}; a segment of {_TRIED} took {seconds:.0f} ms"))
    whole = [name for name, extra in found["extras"].items() if not extra["missing"]]
    rows.append(row("extras", listed(whole)))
    for name, extra in found["extras"].items():
        if extra["missing"]:
            rows.append(row("  without", f"{name} ({listed(extra['missing'])}): {extra['install']}"))
    rows += [row("BROKEN", problem) for problem in found["problems"]]
    return "\n".join(rows if found["problems"] else [*rows, "Everything that hrm_rl needs works."])
