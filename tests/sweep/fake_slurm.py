"""A Slurm of one machine: sbatch, srun, sacct and scontrol, by the name that this file is called by.

Jobs are processes; their states are files in the folder $FAKE_SLURM.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

HOME = Path(os.environ["FAKE_SLURM"])


def sbatch(script: str) -> None:
    """Start every task of a script's array, or its one job."""
    text, number = Path(script).read_text(), len(list(HOME.glob("*.sh"))) + 1
    (HOME / f"{number}.sh").write_text(text)
    array = re.search(r"--array=0-(\d+)", text)
    for task in range(int(array[1]) + 1) if array else [None]:
        start(f"{number}" if task is None else f"{number}_{task}")
    print(f"Submitted batch job {number}")


def start(job: str) -> None:
    number, _, task = job.partition("_")
    names = {"SLURM_JOB_ID": number, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}
    names |= dict.fromkeys(("SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID"), "0")
    if task:
        names |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task}
    state = HOME / f"{job}.state"
    state.write_text("RUNNING")
    # A requeue replaces the state, which a job that ends then leaves alone.
    after = f'bash {HOME / number}.sh; [ "$(cat {state})" = REQUEUED ] && exec {sys.executable} {__file__} '
    after += f"restart {job}; echo COMPLETED > {state}"
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.Popen(["bash", "-c", after], env=os.environ | names, start_new_session=True, **streams)


def srun(*words: str) -> None:
    """Become the command, after the options."""
    command = list(words[next(i for i, word in enumerate(words) if word == sys.executable) :])
    job = os.environ["SLURM_JOB_ID"]
    if task := os.environ.get("SLURM_ARRAY_TASK_ID"):
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"
    (HOME / f"{job}.pid").write_text(str(os.getpid()))
    os.execv(command[0], command)


def sacct(*words: str) -> None:
    print("JobID|State|NodeList")
    for state in HOME.glob("*.state"):
        print(f"{state.stem}|{state.read_text().strip()}|here")


def scontrol(action: str, job: str) -> None:
    assert action == "requeue"
    (HOME / f"{job}.state").write_text("REQUEUED")


if __name__ == "__main__":
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    if words[:1] == ["restart"]:
        start(words[1])
    else:
        {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scontrol": scontrol}[name](*words)
