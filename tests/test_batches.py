"""Batches of notebooks: their order, two at once, one GPU, notebooks that hang, were edited or find no room."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from test_runner import PARAMETERS, Project, kernels_of

from matattn.core.profiles import find_experiment
from matattn.core.progress import Estimate, Progress
from matattn.core.runner import Batch, ThisMachine, run_jobs
from matattn.core.runs import plan, state

COUNTED = """import time
with open("NAME.count", "a") as file:
    print(time.time(), file=file)
time.sleep(WAIT)
with open("NAME.count", "a") as file:
    print(time.time(), file=file)
total = steps"""


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def inside(project, monkeypatch):
    "This process works on the project as well."
    for name in ("MATATTN_RUNS", "MATATTN_RECORDS", "MATATTN_FIGURES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MATATTN_ROOT", str(project.root))
    return project


def counted(project, *names, wait=1., parameters=""):
    "Toy experiments that note when they begin and end."
    for name in names:
        work = COUNTED.replace("NAME", name).replace("WAIT", str(wait))
        project.notebook(name, work, parameters=f"{PARAMETERS}steps: int = 4{parameters}")
    return project


def spans(project, name):
    "[(begin, end)] of every time that a counted experiment ran."
    times = [float(line) for line in (project.root/f"{name}.count").read_text().split()]
    return list(zip(times[::2], times[1::2], strict=True))


def needs(project, text):
    (project.root/"nbs"/"experiments"/"needs.yaml").write_text(text)
    return project


def alone(command, *mounts):
    "A command in a mount namespace of its own, after some mounts."
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True) if shutil.which("unshare") else None
    if done is None or done.returncode:
        pytest.skip("mounts need unshare and its rights")
    return ["unshare", "-m", "sh", "-c", " && ".join([*mounts, f"exec {command}"])]


PROGRAM = f"{sys.executable} -c 'import sys; from matattn.core.cli import main; sys.exit(main())'"


def test_needs_come_first_and_their_failure_holds_back(project):
    counted(project, "a", "b", "c", wait=.1).notebook("bad").notebook("lost", "total = 1").profile("{a: , b: , c: , bad: , lost: }")
    needs(project, "needs: {a: [c], lost: [bad]}\nafter: {c: [b], b: [bad]}")
    code, out, err = project("run", "all", "--profile", "smoke", "--jobs", "2")
    assert code == 1 and "lost smoke-seed0 was not started: it needs bad smoke-seed0, which failed" in err
    assert spans(project, "b")[0][1] < spans(project, "c")[0][0] < spans(project, "c")[0][1] < spans(project, "a")[0][0]
    assert project.record("lost") is None and "interrupted" not in err
    summary = {row["name"]: row for row in json.loads((project.root/"runs"/"summary.json").read_text())}
    assert summary["bad smoke-seed0"]["message"].startswith("cell 2 (total = steps/0): ZeroDivisionError")
    assert [summary[f"{name} smoke-seed0"]["state"] for name in ("a", "lost")] == ["finished", "not started"]


@pytest.mark.parametrize("apart", [False, True], ids=["same runs folder", "own runs folders"])
def test_two_batches_do_nothing_twice(project, apart):
    counted(project, "a", "b").profile("{a: , b: }")
    more = [{"MATATTN_RUNS": str(project.root/f"runs{i}")} if apart else {} for i in range(2)]
    batches = [project.start("run", "all", "--profile", "smoke", **environment) for environment in more]
    told = [batch.communicate(timeout=120) for batch in batches]
    assert [batch.returncode for batch in batches] == [0, 0] and not any(err for _, err in told), told
    assert len(spans(project, "a")) == len(spans(project, "b")) == 1
    assert "skipped: finished" in told[0][0] + told[1][0]


def test_a_run_stays_locked_until_its_last_process_is_gone(project):
    project.notebook("slow").profile("slow: {steps: 600}")
    first = project.start("run", "slow", "--profile", "smoke")
    project.wait_for("slow", "waiting")
    (child,) = psutil.Process(first.pid).children()
    child.suspend()  # it will not notice that the runner is gone
    first.kill()
    first.communicate()
    second = project.start("run", "slow", "--profile", "smoke", "--set", "steps=1")
    assert "another process is at it" in second.stdout.readline()
    time.sleep(1.5)
    assert second.poll() is None and project.record("slow") is None
    child.resume()
    assert second.communicate(timeout=60)[1] == "" and second.returncode == 0 and project.score("slow") == 1


def test_a_killed_child_takes_its_kernel_along(project):
    project.notebook("slow").profile("slow: {steps: 600}")
    batch = project.start("run", "slow", "--profile", "smoke")
    project.wait_for("slow", "waiting")
    (child,) = psutil.Process(batch.pid).children()
    child.kill()
    _, err = batch.communicate(timeout=30)
    assert batch.returncode == 1 and "its process ended without a result (killed by SIGKILL); see" in err
    assert not kernels_of(project.root)


POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
total = sum(pool.map(abs, range(steps)))
print("waiting", flush=True)
while not Path("go").exists(): time.sleep(.1)
"""


def test_a_killed_kernel_takes_its_workers_along(project):
    "As when memory runs out: workers that wait for a kernel that is gone would wait for ever."
    project.notebook("slow", work=POOL).profile("slow: {steps: 3}")
    batch = project.start("run", "slow", "--profile", "smoke")
    project.wait_for("slow", "waiting")
    (child,) = psutil.Process(batch.pid).children()
    child.children()[0].kill()
    _, err = batch.communicate(timeout=60)
    assert batch.returncode == 1 and "Kernel died" in err and not kernels_of(project.root)


def test_the_next_run_ends_what_a_killed_one_has_left(project):
    project.notebook("slow", work=POOL).profile("slow: {steps: 3}")
    batch = project.start("run", "slow", "--profile", "smoke")
    project.wait_for("slow", "waiting")
    (child,) = psutil.Process(batch.pid).children()
    for process in (psutil.Process(batch.pid), child, *child.children()):
        process.kill()
    batch.communicate(timeout=10)
    assert kernels_of(project.root), "the workers are alone now"
    (project.root/"go").touch()
    assert project("run", "slow", "--profile", "smoke")[0] == 0 and project.score("slow") == 3
    assert not kernels_of(project.root)


def edit(project, name, old, new):
    path = project.root/"nbs"/"experiments"/f"{name}.ipynb"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_an_edited_notebook_is_stale(project):
    project.notebook("good").profile("good: {steps: 5}")
    assert project("run", "good", "--profile", "smoke")[0] == 0 and project.score("good") == 10
    edit(project, "good", "total = sum(range(steps))", "total = sum(range(steps))  # as before")
    assert "skipped" in project("run", "good", "--profile", "smoke")[1]
    edit(project, "good", "total = sum(range(steps))", "total = 2*sum(range(steps))")
    assert "stale (its notebook was edited since)" in project("list")[1]
    code, out, _ = project("run", "good", "--profile", "smoke")
    assert code == 0 and "skipped" not in out and project.score("good") == 20


def test_a_notebook_edited_while_it_runs(project):
    project.notebook("slow").profile("slow: {steps: 20}")
    batch = project.start("run", "slow", "--profile", "smoke")
    project.wait_for("slow", "waiting")
    edit(project, "slow", "total = steps", "total = -steps")
    _, err = batch.communicate(timeout=60)
    assert batch.returncode == 1 and "its notebook was edited while it ran; run it again" in err
    assert project.score("slow") == 20 and "stale (its notebook was edited since)" in project("list")[1]
    assert project("run", "slow", "--profile", "smoke")[0] == 0 and project.score("slow") == -20


def test_other_results_of_what_is_needed_make_it_stale(inside):
    needs(inside.notebook("good").notebook("other", "total = 7").profile("{good: {steps: 5}, other: }"), "needs: {other: [good]}")
    assert inside("run", "all", "--profile", "smoke")[0] == 0
    jobs = {job.name.split()[0]: job for job in plan(["all"], "smoke")}
    assert list(jobs) == ["good", "other"] and state(jobs["other"]).word == "finished"
    assert inside("run", "good", "--profile", "smoke", "--force")[0] == 0 and state(jobs["other"]).word == "finished"  # same results
    edit(inside, "good", "total = sum(range(steps))", "total = 1 + sum(range(steps))")
    assert inside("run", "good", "--profile", "smoke")[0] == 0
    assert str(state(jobs["other"])) == "stale (good smoke-seed0 has other results since)"
    assert state(jobs["good"]).word == "finished"


def test_a_notebook_that_hangs_is_ended(inside):
    inside.notebook("slow").profile("slow: {steps: 600, max_minutes: 20}")
    (job,) = plan(["slow"], "smoke")
    assert job.limit == 35

    class Hasty(ThisMachine):
        "Sets the limit when the cell that hangs has begun."

        def poll(self, item):
            if item.cell == "cell 2/3" and item.line == "waiting":
                item.job = replace(job, limit=item.minutes)
            return super().poll(item)

    began = time.monotonic()
    (outcome,) = run_jobs([job], place=Hasty())
    assert outcome.state == "failed" and re.match(r"out of time in cell 2/3 after \d+\.\d min; give it more", outcome.message)
    assert time.monotonic() - began < 60 and not kernels_of(inside.root)


def fake_gpus(project, count):
    "A program `nvidia-smi` that lists GPUs; (environment with it)."
    folder = project.root/"bin"
    folder.mkdir(exist_ok=True)
    (folder/"nvidia-smi").write_text("#!/bin/sh\n" + "".join(f"echo 'GPU {i}: toy (UUID: GPU-{i})'\n" for i in range(count)))
    (folder/"nvidia-smi").chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def apart(one, other):
    return one[1] <= other[0] or other[1] <= one[0]


def test_one_gpu_is_not_shared(project):
    seen = '\nassert os.environ.get("CUDA_VISIBLE_DEVICES") == SEEN, os.environ.get("CUDA_VISIBLE_DEVICES")'
    for name, parameter, hidden in (("a", "", "None"), ("b", '\ndevice: str = "auto"', "None"), ("c", '\ndevice: str = "cpu"', '""')):
        counted(project, name, wait=2, parameters=parameter)
        edit(project, name, "import time", "import os, time" + json.dumps(seen.replace("SEEN", hidden))[1:-1])
        if parameter:
            edit(project, name, json.dumps('"steps": steps}')[1:-1], json.dumps('"steps": steps, "device": device}')[1:-1])
    project.profile("{a: , b: , c: }")
    environment = fake_gpus(project, 1)
    project.environment.pop("CUDA_VISIBLE_DEVICES", None)
    code, _, err = project("run", "all", "--profile", "smoke", "--jobs", "3", **environment)
    assert (code, err) == (0, "")
    (a,), (b,), (c,) = (spans(project, name) for name in "abc")
    assert apart(a, b) and not (apart(a, c) and apart(b, c))
    code, _, err = project("run", "a", "b", "--profile", "smoke", "--jobs", "2", "--gpu-jobs", "2", "--force", **environment)
    assert code == 0 and not apart(spans(project, "a")[1], spans(project, "b")[1])


@pytest.mark.parametrize(("count", "device", "message"), [
    (0, "cuda", "good smoke-seed0: device 'cuda' was asked for, but no GPU is here; use --set device=auto, or cpu."),
    (1, "cuda:3", "good smoke-seed0: device 'cuda:3' was asked for, but only cuda:0 is here; use --set device=auto, or cpu."),
    (1, "gpu", "good smoke-seed0: device 'gpu' is not known; use auto, cpu or cuda.")])
def test_a_gpu_that_is_not_there_is_told_before_anything_starts(project, count, device, message):
    project.notebook("good", parameters=f'{PARAMETERS}steps: int = 4\ndevice: str = "auto"').profile("good: {}")
    project.environment.pop("CUDA_VISIBLE_DEVICES", None)
    code, _, err = project("run", "good", "--profile", "smoke", "--set", f"device={device}", **fake_gpus(project, count))
    assert (code, err) == (2, f"matattn: {message}\n") and not (project.root/"runs"/"good").exists()


def test_minutes_left(inside, capsys):
    counted(inside, "a", "b", wait=.1).profile("{a: , b: }")
    assert inside("run", "a", "--profile", "smoke")[0] == 0
    seconds = json.loads((inside.folder("a")/"notebook.outcome.json").read_text())["seconds"]
    jobs = plan(["all"], "smoke")
    with ThisMachine(1) as place:
        batch = Batch(jobs, place)
    assert batch.estimate.expected == {"a smoke-seed0": seconds/60, "b smoke-seed0": None} and 0 < seconds < 60
    progress = Progress(2, Estimate({"a smoke-seed0": 90.}, 1))
    progress.told -= 61
    progress.tick([], jobs)
    assert "0 of 2 done, more than 90 min left" in capsys.readouterr().out


def test_all_experiments_then_the_reports(project):
    project.notebook("good").profile("good: {}").profile("good: {}", "quick")
    path = project.root/"nbs"/"reports"/"table.ipynb"
    path.parent.mkdir()
    work = "from matattn.core.records import figures_dir, read_records\n(figures_dir()/'n.txt').write_text(str(len(read_records('good'))))"
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None, "source": work}
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    code, out, err = project("run", "all", "--profile", "smoke")
    assert code == 0 and "table" not in out and not (project.root/"figures").exists()
    code, out, err = project("run", "--profile", "quick")
    assert (code, err) == (0, "") and "runs/reports/table.html" in out and (project.root/"figures"/"n.txt").read_text() == "2"
    assert "table" not in project("run", "all", "--profile", "quick", "--no-reports")[1]


def test_a_disk_that_fills_up(project):
    project.notebook("good", "print('x'*300_000)\ntotal = 1").profile("good: {}")
    room = project.root/"room"
    room.mkdir()
    command = alone(f"{PROGRAM} run good --profile smoke", f"mount -t tmpfs -o size=128k none {room}")
    done = subprocess.run(command, cwd=project.root, env={**project.environment, "MATATTN_RUNS": str(room)}, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot be written (No space left on device); make room or set MATATTN_RUNS to another folder" in done.stderr
    assert project.record("good") is None
    assert project("run", "good", "--profile", "smoke")[0] == 0 and project.score("good") == 1


def test_a_read_only_checkout(project):
    project.notebook("good").profile("good: {}")
    bind = f"mount --bind {project.root} {project.root} && mount -o remount,ro,bind {project.root}"
    done = subprocess.run(alone(f"{PROGRAM} run good --profile smoke", bind), env=project.environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.count("cannot be written (Read-only file system)") == 2
    assert "make room or set MATATTN_RUNS and MATATTN_RECORDS to another folder" in done.stderr
    outside = {name: f"/dev/shm/matattn-test-{os.getpid()}/{name}" for name in ("MATATTN_RUNS", "MATATTN_RECORDS", "MATATTN_FIGURES")}
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("needs a folder elsewhere")
    try:
        command = alone(f"{PROGRAM} run good --profile smoke", bind)
        done = subprocess.run(command, env={**project.environment, **outside}, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert Path(outside["MATATTN_RECORDS"], "good", "smoke-seed0.json").is_file()
    finally:
        shutil.rmtree(Path(outside["MATATTN_RUNS"]).parent, ignore_errors=True)


def test_the_real_needs(monkeypatch):
    monkeypatch.delenv("MATATTN_ROOT", raising=False)
    names = [job.name.split()[0] for job in plan(["all"], "paper")]
    assert names.index("ct_pretrain") < names.index("uae_backends") < names.index("uae_data_size")
    for job in plan(["all"], "paper"):
        assert ("ct_pretrain paper-seed0" in job.needs) == ("embeddings" in find_experiment(job.name.split()[0]).parameters)


def test_an_interruption_while_waiting_for_another(project):
    project.notebook("slow").profile("slow: {steps: 600}")
    first = project.start("run", "slow", "--profile", "smoke")
    project.wait_for("slow", "waiting")
    second = project.start("run", "slow", "--profile", "smoke")
    assert "another process is at it" in second.stdout.readline()
    second.send_signal(signal.SIGINT)
    assert "goes on from there" in second.communicate(timeout=20)[1] and second.returncode == 130
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=20)
