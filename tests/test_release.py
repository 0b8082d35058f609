"""What is released: wheel and source archive, run outside the checkout; Dockerfile, versions, workflows."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import hrm_rl

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "pyproject.toml"
BESIDE = ["pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"]
BESIDE += ["constraints.txt", "Dockerfile", ".dockerignore"]
INFO = f"hrm_rl-{hrm_rl.__version__}.dist-info"

pytestmark = pytest.mark.skipif(not PROJECT.is_file(), reason="runs in a checkout of the repository")


def run(*words: object, **options: Any) -> str:
    command = [str(word) for word in words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and source archive, built as by `make wheel` from a tree that holds what must stay out too."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("needs setuptools 77 or newer")
    tree = tmp_path_factory.mktemp("tree")
    for name in (*BESIDE, "MANIFEST.in"):
        shutil.copy2(ROOT / name, tree / name)
    shutil.copytree(ROOT / "hrm_rl", tree / "hrm_rl", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("envs", "agents"):
        if (ROOT / name).is_symlink():
            (tree / name).symlink_to(Path("hrm_rl") / name, target_is_directory=True)
    for name in ("tests", "docs", "experiments"):
        (tree / name).mkdir()
        (tree / name / "__init__.py").touch()
        (tree / name / "test_one.py").touch()
    (code,) = re.findall(r'\$\(PY\) -c "(from setuptools.*)"', (ROOT / "Makefile").read_text())
    run(sys.executable, "-c", code, cwd=tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (built,) = dist.glob("*.whl")
    return built


def test_wheel_and_source_archive_hold_the_package_alone(dist: Path, wheel: Path) -> None:
    """All of hrm_rl, data files too, and nothing called envs, agents or tests beside it."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"hrm_rl", INFO}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "hrm_rl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert here == {name for name in names if name.startswith("hrm_rl/")}
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        inside = {member.name.split("/", 1)[-1] for member in source if member.isfile()}
    assert here == {name for name in inside if name.startswith("hrm_rl/")}
    assert {name for name in inside if name.startswith(("tests", "envs", "agents", "docs"))} == set()
    assert {*BESIDE} <= inside


def test_wheel_states_licence_and_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    assert "License-Expression: Apache-2.0" in archive.read(f"{INFO}/METADATA").decode()
    assert f"{INFO}/licenses/LICENSE" in archive.namelist()
    assert "hrm-rl = hrm_rl.cli:main" in archive.read(f"{INFO}/entry_points.txt").decode()


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path, installer: str) -> None:
    """Installed without the network into an environment that has the packages it needs."""
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    (site,) = environment.rglob("site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    if installer == "pip":
        words = [sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--no-index"]
    else:
        words = [shutil.which("uv") or pytest.skip("needs uv"), "pip", "install", "--offline"]
        words += ["--python", scripts / "python"]
    run(*words, "--quiet", "--no-deps", wheel)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = json.loads(run(scripts / "hrm-rl", "doctor", "--json", cwd=tmp_path, env=env))
    assert found["problems"] == [] and Path(found["folder"]) == site / "hrm_rl"


def test_completion_knows_commands_and_options(tmp_path: Path) -> None:
    bash = shutil.which("bash") or pytest.skip("needs bash")
    script = run(sys.executable, "-m", "hrm_rl", "--tyro-print-completion", "bash", cwd=ROOT)
    (tmp_path / "completion").write_text(script, encoding="utf-8")
    for words, wanted in (("hrm-rl doc", "doctor"), ("hrm-rl solve --show", "--show-drafts")):
        call = f"COMP_WORDS=({words}); COMP_CWORD={words.count(' ')}; ${{f##*-F }} && echo ${{COMPREPLY[@]}}"
        call = f"f=$(complete -p hrm-rl); f=${{f% hrm-rl}}; {call}"
        assert run(bash, "-c", f"source {tmp_path}/completion; {call}").split() == [wanted]


def test_one_version() -> None:
    assert hrm_rl.__version__ == tomllib.loads(PROJECT.read_text())["project"]["version"]
    assert f"\nversion: {hrm_rl.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    for notebook in (ROOT / "examples").glob("*.ipynb"):
        assert f"hrm_rl-{hrm_rl.__version__}-py3-none-any.whl" in notebook.read_text(encoding="utf-8")


def test_the_changelog_has_the_version_below_what_is_not_released() -> None:
    first, second = re.findall(r"^## \[(.+?)\](.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)[:2]
    assert first == ("Unreleased", "") and second[0] == hrm_rl.__version__
    released = re.fullmatch(r" - (\d{4}-\d\d-\d\d)", second[1])
    assert released and f"date-released: {released[1]}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_workflow_calls_make_on_every_python() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    matrices = [job["strategy"]["matrix"] for job in jobs.values()]
    classifiers = tomllib.loads(PROJECT.read_text())["project"]["classifiers"]
    pythons = [line.rsplit(" ", 1)[1] for line in classifiers if ":: 3." in line]
    assert matrices[0]["python"] == pythons
    calls = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert calls and all(call.startswith("make ") for call in calls)
    known = re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"test", *matrices[1]["target"]} == {"test", "lint", "docs", "wheel"} <= {*known}


def test_dockerfile() -> None:
    """Copies what there is and is not ignored, pins its base, runs the command, and not as root."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    said: dict[str, list[str]] = {}
    for word, rest in lines:
        said.setdefault(word, []).append(rest)
    assert set(said) <= {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD"}
    assert re.fullmatch(r"python:3\.1[123]-slim", said["FROM"][0]) and said["USER"] == ["1000"]
    assert said["ENTRYPOINT"] == ['["hrm-rl"]'] and all("--no-cache-dir" in r for r in said["RUN"][:1])
    allowed = (ROOT / ".dockerignore").read_text().split()
    copied = [name for rest in said["COPY"] for name in rest.split()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists() or f"!{name}" not in allowed] == []
    assert {*copied} <= {"hrm_rl", *BESIDE}  # all of them are in the source archive


@pytest.mark.slow
def test_docker_image_runs() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.skip("needs a Docker daemon")
    run(docker, "build", "-t", "hrm_rl", ROOT)
    assert json.loads(run(docker, "run", "--rm", "hrm_rl", "doctor", "--json"))["problems"] == []
