"""The runner with tiny notebooks: what is run, skipped, told, stopped; and what a kill or a full disk leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

PARAMETERS = 'profile: str = "smoke"\nseed: int = 0\nmax_minutes: float = 0\ndata: str = "auto"\n'
RECORD = """
import sys
sys.modules["torch"] = None  # the record would ask it for a GPU; its import costs seconds
from matattn.core.records import write_record
config = {"profile": profile, "seed": seed, "data": data, "steps": steps}
write_record("NAME", profile, seed, data=[{"name": "toy", "digest": "0", "rows": 1, "embedded": True}], claims=[], config=config,
             results=[{"protocol": "audited", "model": "toy", "data": "toy", "configuration": {}, "parameters": None, "split": "none",
                       "metrics": {"score": {"mean": float(total), "std": 0., "n": 1, "unit": "1"}}}])
"""
WORK = {  # what the middle cell does, by experiment
    "good": "print('adding')\ntotal = sum(range(steps))",
    "bad": "# a comment\ntotal = steps/0",
    "slow": "import time\nprint('waiting', flush=True)\nfor _ in range(steps): time.sleep(.1)\ntotal = steps",
    "cores": "import os, time\nbegan = time.time()\ntime.sleep(2)\n"
             "total = int(os.environ['MATATTN_CORES'])*100 + int(os.environ['OMP_NUM_THREADS'])\nprint(began, time.time())",
    "silent": "total = 0",
    "other": "total = 1\nsteps = 99",
    "dead": "import os\nos.kill(os.getpid(), 9)"}


class Project:
    "A project of toy experiments in a folder of its own, driven through the command line in processes of their own."

    def __init__(self, root):
        self.root = root
        own = {"MATATTN_ROOT": str(root), "OMP_NUM_THREADS": "1", "JUPYTER_PATH": "/elsewhere"}
        self.environment = {**{key: value for key, value in os.environ.items() if not key.startswith("MATATTN_")}, **own}

    def notebook(self, name, work=None, tags=("parameters",), parameters=PARAMETERS + "steps: int = 4", record=True):
        sources = ["# Toy\n\n> For tests.", parameters, work or WORK[name], RECORD.replace("NAME", name) if record else "pass"]
        cells = [{"cell_type": "code", "id": f"c{i}", "metadata": {"tags": list(tags) if i == 1 else []}, "source": source, "outputs": [],
                  "execution_count": None} for i, source in enumerate(sources)]
        cells[0] = {"cell_type": "markdown", "id": "c0", "metadata": {}, "source": sources[0]}
        path = self.root/"nbs"/"experiments"/f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        return self

    def profile(self, text, name="smoke"):
        path = self.root/"nbs"/"experiments"/"profiles"/f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def start(self, *arguments, **environment):
        return subprocess.Popen([sys.executable, "-c", "import sys; from matattn.core.cli import main; sys.exit(main())", *arguments],
                                cwd=self.root, env={**self.environment, **environment}, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, process_group=0)

    def __call__(self, *arguments, **environment):
        "(exit code, stdout, stderr) of a call."
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise
        return process.returncode, out, err

    def record(self, name, run="smoke-seed0"):
        path = self.root/"nbs"/"experiments"/"records"/name/f"{run}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def score(self, name, run="smoke-seed0"):
        return self.record(name, run)["results"][0]["metrics"]["score"]["mean"]

    def folder(self, name, run="smoke-seed0"):
        return self.root/"runs"/name/run

    def wait_for(self, name, text):
        "Wait until a notebook's log holds a text."
        log = self.folder(name)/"notebook.log"
        for _ in range(300):
            if log.is_file() and text in log.read_text():
                return
            time.sleep(.1)
        raise AssertionError(f"no {text!r} in {log}")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def stripped(record):
    "A record without what differs from run to run."
    return {key: value for key, value in record.items() if key not in ("time", "hardware")}


def kernels_of(folder):
    "Processes whose command line or working directory lies in a folder."
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if str(folder) in " ".join(process.info["cmdline"] or []) or process.info["cwd"] == str(folder):
            found.append(process)
    return found


def test_run_skip_stale_force_regenerate(project):
    project.notebook("good").profile("good: {steps: 5}")
    command = ("run", "good", "--profile", "smoke")
    code, out, err = project(*command, "--regenerate")
    assert (code, err) == (0, "") and "finished" in out and project.score("good") == 10
    assert (project.folder("good")/"notebook.ipynb").is_file()
    log = (project.folder("good")/"notebook.log").read_text().splitlines()
    assert log[:3] == ['[cell 1/3] profile: str = "smoke"', "[cell 2/3] print('adding')", "adding"]
    first = project.record("good")

    for more in ((), ("--regenerate",)):
        code, out, _ = project(*command, *more)
        assert code == 0 and "skipped: finished (embedded data)" in out and project.record("good") == first
    assert project("list")[1].splitlines()[2].split() == "good finished (embedded data) Toy".split()

    code, out, _ = project(*command, "--set", "steps=3")  # other parameters: not the same record
    assert code == 0 and "skipped" not in out and project.score("good") == 3

    code, out, _ = project(*command, "--set", "steps=3", "--force")
    assert code == 0 and "skipped" not in out and project.record("good") != first


@pytest.mark.parametrize(("arguments", "profile", "message"), [
    (["run", "goood"], "good: {}", "no experiment 'goood'; did you mean 'good'?"),
    (["run", "good"], "good: {step: 3}", "smoke.yaml: good has no parameter 'step' to set; did you mean 'steps'?"),
    (["run", "good"], "goad: {}", "smoke.yaml: no experiment 'goad'; did you mean 'good'?"),
    (["run", "good"], "good: {steps: many}", "smoke.yaml, good: steps is 'many', but it takes int; correct the value."),
    (["run", "good"], "good: {seed: 3}", "smoke.yaml: good has no parameter 'seed' to set; use --seed."),
    (["run", "good"], "{}", "smoke.yaml has no entry for good; add 'good: {}' for the defaults."),
    (["run", "good"], "good: [", "smoke.yaml: not YAML"),
    (["run", "good", "--set", "steps=1.5"], "good: {}", "--set, good: steps is 1.5, but it takes int; correct the value."),
    (["run", "good", "--set", "steps"], "good: {}", "--set steps: not of the form key=value"),
    (["run", "good", "--profile", "smok"], "good: {}", "no profile 'smok'; did you mean 'smoke'?"),
    (["report", "table"], "good: {}", "no report 'table'; there are: none."),
])
def test_wrong_input_is_told_before_anything_runs(project, monkeypatch, capsys, arguments, profile, message):
    from matattn.core.cli import main

    project.notebook("good").profile(profile)
    monkeypatch.setenv("MATATTN_ROOT", str(project.root))
    if arguments[0] == "run" and "--profile" not in arguments:
        arguments = [*arguments, "--profile", "smoke"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not (project.root/"runs").exists()


def test_failures_are_named_and_stop_nothing_else(project):
    project.notebook("bad").notebook("good").notebook("silent", record=False).notebook("dead").notebook("other")
    project.profile("{bad: , good: , silent: , dead: , other: }")
    code, out, err = project("run", "all", "--profile", "smoke", "--jobs", "2")
    assert code == 1 and "Traceback" not in err
    assert "bad smoke-seed0 failed: cell 2 (total = steps/0): ZeroDivisionError: division by zero" in err
    assert "silent smoke-seed0 failed: all cells ran, but none wrote the record" in err
    assert "dead smoke-seed0 failed: DeadKernelError" in err
    assert "other smoke-seed0 failed: its record is wrong: steps was 99, is 4; give write_record the notebook's parameters" in err
    assert project.score("good") == 6 and not any(project.record(name) for name in ("bad", "silent", "dead"))
    table = {line.split()[0]: line for line in out.splitlines() if line.count("smoke-seed0") and "  " in line and line[2] != ":"}
    assert "failed" in table["bad"] and "finished" in table["good"]


def test_a_lost_parameters_tag_is_a_failure(project):
    project.notebook("good", tags=()).profile("good: {}")
    code, _, err = project("run", "good", "--profile", "smoke")
    assert (code, err) == (2, "matattn: good.ipynb: 0 cells are tagged 'parameters'; tag the one cell that holds them.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption(project, number):
    project.notebook("slow").notebook("good").profile("{slow: {steps: 600}, good: }")
    process = project.start("run", "slow", "good", "--profile", "smoke")
    project.wait_for("slow", "waiting")
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "`matattn run slow good --profile smoke` goes on from there" in err and "Traceback" not in err
    assert "stopped" in out and "not started" in out
    assert project.record("slow") is None and not list(project.root.glob("nbs/experiments/records/*/*.json*"))
    assert not kernels_of(project.root)


def test_kill_and_resume(project):
    project.notebook("slow").profile("slow: {steps: 8}")
    assert project("run", "slow", "--profile", "smoke")[0] == 0
    whole = project.record("slow")
    project.profile("slow: {steps: 600}", "quick").profile("slow: {steps: 8}")
    (project.folder("slow")/"notebook.log").unlink()  # of the first run: it holds the word that is waited for
    process = project.start("run", "slow", "--profile", "smoke", "--force", "--set", "steps=600")
    project.wait_for("slow", "waiting")
    second = project.start("run", "slow", "--profile", "smoke", "--force")
    assert "slow smoke-seed0: another process is at it; waiting until it has ended" in second.stdout.readline()
    process.kill()
    process.communicate()
    assert second.communicate(timeout=60)[1] == "" and second.returncode == 0
    assert stripped(project.record("slow")) == stripped(whole) and not kernels_of(project.root)


def test_a_killed_batch_leaves_no_process(project):
    project.notebook("slow").profile("slow: {steps: 600}")
    process = project.start("run", "slow", "--profile", "smoke")
    project.wait_for("slow", "waiting")
    process.kill()
    process.communicate()
    for _ in range(100):  # the notebook's process notices and goes, its kernel with it
        if not kernels_of(project.root):
            break
        time.sleep(.1)
    assert not kernels_of(project.root) and project.record("slow") is None


def test_jobs_share_the_cores(project):
    project.notebook("cores").profile("cores: {}")
    code, _, err = project("run", "cores", "--profile", "smoke", "--seed", "0", "1", "--jobs", "2", OMP_NUM_THREADS="")
    assert (code, err) == (0, "")
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    each = max(1, granted//2)
    assert [project.score("cores", f"smoke-seed{seed}") for seed in (0, 1)] == [101*each]*2
    logs = [(project.folder("cores", f"smoke-seed{seed}")/"notebook.log").read_text().splitlines() for seed in (0, 1)]
    spans = [next([float(word) for word in line.split()] for line in log if line[0].isdigit()) for log in logs]
    assert spans[0][0] < spans[1][1] and spans[1][0] < spans[0][1], "the two did not run at the same time"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_folder_that_cannot_be_written(project):
    project.notebook("good").profile("good: {}")
    (project.root/"file").write_text("")
    code, _, err = project("run", "good", "--profile", "smoke", MATATTN_RUNS=str(project.root/"file"/"runs"))
    assert code == 2 and "cannot be written (Not a directory): make room or set MATATTN_RUNS to another" in err and err.count("\n") == 1
    code, _, err = project("run", "good", "--profile", "smoke", MATATTN_RECORDS="/proc/records")
    assert code == 2 and "/proc/records cannot be written" in err and "set MATATTN_RECORDS to another folder" in err
    assert not (project.root/"runs"/"good").exists()
