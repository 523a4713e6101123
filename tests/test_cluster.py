"""Notebooks on Dask's workers: one killed in the middle of a cell, a scheduler in a process of its own, a Slurm that is none."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from test_batches import counted, needs, spans
from test_runner import PARAMETERS, Project, kernels_of, stripped

pytest.importorskip("distributed", reason="needs the extra `cluster`")
pytest.importorskip("dask_jobqueue", reason="needs the extra `cluster`")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def worker_of(project, name):
    "The process that started the process of a notebook: (worker, child)."
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if len(words) > 3 and "core.execution" in words[2] and f"{project.root}/nbs/experiments/{name}.ipynb" in words[3]:
            return process.parent(), process
    raise AssertionError(f"nobody is at {name}")


def test_a_killed_worker_is_survived(project):
    counted(project, "a", "b", "c", wait=3).profile("{a: {steps: 7}, b: , c: }")
    needs(project, "needs: {c: [a]}")
    assert project("run", "a", "--profile", "smoke")[0] == 0
    undisturbed = project.record("a")
    record = project.root/"nbs"/"experiments"/"records"/"a"/"smoke-seed0.json"
    for path in (record, project.folder("a")/"notebook.log", project.root/"a.count"):
        path.unlink()
    batch = project.start("run", "all", "--profile", "smoke", "--scheduler", "local:2")
    project.wait_for("a", "[cell 2/3]")
    time.sleep(1)
    worker, child = worker_of(project, "a")
    assert worker.pid != batch.pid
    worker.kill()
    out, err = batch.communicate(timeout=120)
    assert (batch.returncode, err) == (0, ""), out
    assert not child.is_running() and stripped(project.record("a")) == stripped(undisturbed)
    begun = [float(line) for line in (project.root/"a.count").read_text().split()]
    assert len(begun) == 3, "the cell began twice and ended once"
    assert spans(project, "c")[0][0] > begun[-1] and len(spans(project, "b")) == 1
    assert min(spans(project, "b")[0]) < begun[-1], "a and b were to run side by side"
    code, out, _ = project("run", "all", "--profile", "smoke", "--scheduler", "local:1")
    assert code == 0 and out.count("skipped: finished") == 3


def test_interruption_ends_the_workers_notebooks(project):
    project.notebook("slow").notebook("good").profile("{slow: {steps: 600}, good: }")
    batch = project.start("run", "slow", "good", "--profile", "smoke", "--scheduler", "local:1")
    project.wait_for("slow", "waiting")
    os.killpg(batch.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    out, err = batch.communicate(timeout=30)
    assert batch.returncode == 130 and "--scheduler local:1` goes on from there" in err and "Traceback" not in err
    assert "stopped" in out and "not started" in out and project.record("slow") is None
    time.sleep(1)
    assert not kernels_of(project.root)


@pytest.fixture
def scheduler(project):
    "A scheduler with one worker, elsewhere: its file and the worker's process."
    file, folder = project.root/"scheduler.json", project.root/"elsewhere"
    folder.mkdir()
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                 "--scheduler-file", str(file)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard",
              "--memory-limit", "0", "--local-directory", str(folder)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATATTN_")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, "env": environment}
    processes = [subprocess.Popen(scheduler, **quiet), subprocess.Popen(worker, **quiet)]
    for _ in range(300):
        if file.is_file() and file.stat().st_size:
            break
        time.sleep(.1)
    yield json.loads(file.read_text())["address"]
    for process in processes[::-1]:
        process.terminate()
        process.wait(timeout=20)


def test_a_scheduler_that_is_there_already(project, scheduler):
    assert scheduler.startswith("tcp://127.0.0.1:")
    project.notebook("good").notebook("bad").profile("{good: {steps: 5}, bad: }")
    code, out, err = project("run", "all", "--profile", "smoke", "--scheduler", scheduler)
    assert code == 1 and "bad smoke-seed0 failed: cell 2 (total = steps/0): ZeroDivisionError: division by zero" in err
    assert project.score("good") == 10 and "finished" in out and not list((project.root/"runs").glob(".seen-*"))
    assert "skipped: finished" in project("run", "good", "--profile", "smoke", "--scheduler", scheduler)[1]


@pytest.mark.parametrize(("where", "message"), [
    ("tcp://127.0.0.1:9", "no worker answers at tcp://127.0.0.1:9; start the scheduler and its workers."),
    ("locl:2", "--scheduler locl:2: did you mean 'local:N'?"),
    ("slurm:none.yaml", "none.yaml cannot be read ([Errno 2] No such file or directory: 'none.yaml'); give a YAML file")])
def test_a_scheduler_that_is_not_there(project, monkeypatch, capsys, where, message):
    from matattn.core import cli, cluster

    project.notebook("good").profile("good: {}")
    monkeypatch.setattr(cluster, "_PATIENCE", 2)
    monkeypatch.setenv("MATATTN_ROOT", str(project.root))
    for name in ("MATATTN_RUNS", "MATATTN_RECORDS"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["run", "good", "--profile", "smoke", "--scheduler", where]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and project.record("good") is None


SBATCH = """#!/bin/sh
for script; do :; done
cp "$script" FOLDER/job.sh
setsid sh FOLDER/job.sh >FOLDER/job.log 2>&1 &
echo $! >FOLDER/job.pid
echo Submitted batch job 4711
"""
SCANCEL = """#!/bin/sh
echo "$@" >>FOLDER/cancelled
kill -- -$(cat FOLDER/job.pid)
"""


def test_slurm(project):
    folder = project.root/"bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (folder/name).write_text(text.replace("FOLDER", str(folder)))
        (folder/name).chmod(0o755)
    asked = {"jobs": 1, "cores": 8, "memory": "4GB", "queue": "gpu", "walltime": "02:00:00", "job_extra_directives": ["--gres=gpu:1"],
             "interface": "lo", "python": sys.executable}
    (project.root/"slurm.yaml").write_text(json.dumps(asked))  # JSON is YAML
    project.notebook("good", parameters=f"{PARAMETERS}steps: int = 4").profile("good: {steps: 5}")
    command = ("run", "good", "--profile", "smoke", "--scheduler", "slurm:slurm.yaml")
    code, out, err = project(*command, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")
    script = (folder/"job.sh").read_text()
    assert (code, err) == (0, ""), (folder/"job.log").read_text()
    assert project.score("good") == 10
    for line in ("#SBATCH -p gpu", "#SBATCH --cpus-per-task=8", "#SBATCH --mem=4G", "#SBATCH -t 02:00:00", "#SBATCH --gres=gpu:1"):
        assert line in script, script
    assert "--nthreads 1" in script and "4711" in (folder/"cancelled").read_text()


def test_slurm_told_something_unknown(project):
    (project.root/"slurm.yaml").write_text("{jobs: 1, cores: 8, memory: 4GB, partitoin: gpu}")
    project.notebook("good").profile("good: {}")
    code, _, err = project("run", "good", "--profile", "smoke", "--scheduler", "slurm:slurm.yaml")
    assert code == 2 and "slurm.yaml: " in err and "partitoin" in err and err.count("\n") == 1
