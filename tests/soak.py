"""Kills a smoke batch again and again at random moments, and asks whether its records come out as those of an undisturbed one.

python tests/soak.py                                        every experiment, 20 kills
python tests/soak.py data_leaks hatnet_unified --kills 3    two of them
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from matattn.core.commands import text_table
from matattn.core.records import comparable

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "import sys; from matattn.core.cli import main; sys.exit(main())"
VICTIMS = ("all at once", "runner", "process", "kernel")


@dataclass
class Kill:
    "One kill, and what came of it."
    experiment: str  # in which it is to happen
    second: float  # of that experiment
    victim: str  # one of VICTIMS
    hit: str = "nothing"  # experiment that was at work
    cell: str = "-"  # where it was
    told: str = "-"  # how the batch ended


class SmokeBatch:
    "A smoke batch with records and runs in a folder of its own, as often as it takes."

    def __init__(self, names: list[str], folder: Path):
        self.names, self.folder, self.runner = names, folder, None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        own = {f"MATATTN_{name.upper()}": str(folder/name) for name in ("records", "runs", "figures")}
        self.environment = {**os.environ, **own, "MATATTN_ROOT": str(ROOT)}

    def start(self):
        with open(self.folder/"batch.log", "a") as log:
            self.runner = psutil.Popen([sys.executable, "-c", PROGRAM, "run", *self.names, "--profile", "smoke"], cwd=ROOT, stdout=log,
                                       stderr=log, stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True)

    def run(self) -> int:
        self.start()
        return self.runner.wait()

    def at_work(self) -> tuple[str, psutil.Process | None]:
        "The experiment that is being executed, and the process that does it."
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in self.runner.children():
                words = child.cmdline()
                if len(words) > 3 and "core.execution" in words[2]:
                    return Path(json.loads(words[3])["source"]).stem, child
        return "nothing", None

    def run_folder(self, name: str) -> Path:
        return self.folder/"runs"/name/"smoke-seed0"

    def cell(self, name: str) -> str:
        log = self.run_folder(name)/"notebook.log"
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        return next((line[1:line.index("]")] for line in reversed(lines) if line.startswith("[cell ")), "-")

    def forget(self, name: str):
        "Take away all that there is of an experiment."
        shutil.rmtree(self.run_folder(name))
        self.record(name).unlink()

    def record(self, name: str) -> Path:
        return self.folder/"records"/name/"smoke-seed0.json"

    def records(self) -> dict[str, dict]:
        "What can be compared of each experiment's record."
        return {path.parent.name: comparable(json.loads(path.read_text())) for path in self.folder.glob("records/*/smoke-seed0.json")}

    def timeline(self) -> dict[str, float]:
        "Seconds of each experiment, in the order in which they ended."
        paths = sorted(self.folder.glob("runs/*/smoke-seed0/notebook.outcome.json"), key=lambda path: path.stat().st_mtime)
        return {path.parents[1].name: json.loads(path.read_text())["seconds"] for path in paths}


def draw(timeline: dict[str, float], count: int, seed: int) -> list[Kill]:
    "Moments drawn evenly from the whole batch, each with a victim."
    rng, kills = random.Random(seed), []
    for moment in sorted(rng.uniform(0, sum(timeline.values())) for _ in range(count)):
        begins = dict(zip(timeline, itertools.accumulate(timeline.values(), initial=0.), strict=False))
        name = [name for name, begin in begins.items() if begin <= moment][-1]
        kills.append(Kill(name, moment - begins[name], rng.choice(VICTIMS)))
    return kills


def wait_for(kill: Kill, batch: SmokeBatch) -> psutil.Process | None:
    "Wait until the moment has come; an experiment that goes on from what it kept may be over before."
    began = None
    while batch.runner.poll() is None:
        name, process = batch.at_work()
        if name == kill.experiment:
            began = began or time.monotonic()
            if time.monotonic() - began >= kill.second:
                kill.hit, kill.cell = name, batch.cell(name)
                return process
        elif process and batch.record(kill.experiment).is_file():
            kill.hit, kill.cell = name, batch.cell(name)
            return process
        time.sleep(.05)
    return None


def strike(kill: Kill, runner: psutil.Process, process: psutil.Process):
    "Kill -9, at once."
    with contextlib.suppress(psutil.NoSuchProcess):
        below = process.children(recursive=True)
        if kill.victim == "kernel" and not below:
            kill.victim = "process"  # it has no kernel yet
        victims = {"all at once": [runner, process, *below], "runner": [runner], "process": [process], "kernel": below[:1]}[kill.victim]
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()


def settle(kill: Kill, runner: psutil.Popen, process: psutil.Process | None) -> str:
    "End the batch: a runner that lives has to tell what happened, and is then interrupted."
    if process and kill.victim in ("process", "kernel"):
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(60)
        time.sleep(.5)  # the runner looks ten times a second
        with contextlib.suppress(psutil.NoSuchProcess):
            runner.send_signal(2)
    try:
        code = runner.wait(60)
    except psutil.TimeoutExpired:
        runner.kill()
        return "HUNG"
    words = {-9: "killed", 130: "interrupted", 1: "told", 0: "finished"} if process else {0: "MISSED"}
    return words.get(code, f"EXIT {code}")


def difference(one: object, other: object, place: str = "") -> str:
    "The first place where two records differ; empty when there is none."
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next((found for key in one if (found := difference(one[key], other[key], f"{place}.{key}"))), "")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next((found for k, pair in enumerate(zip(one, other, strict=True)) if (found := difference(*pair, f"{place}[{k}]"))), "")
    return "" if type(one) is type(other) and one == other else f"{place.lstrip('.')}: {str(one)[:60]} became {str(other)[:60]}"


def left_behind(batch: SmokeBatch) -> list[str]:
    "Processes and half written files that nobody will take away."
    running = [process for process in psutil.process_iter(["environ"])
               if (process.info["environ"] or {}).get("MATATTN_RUNS") == batch.environment["MATATTN_RUNS"]]
    psutil.wait_procs(running, timeout=10)
    half = [path for path in batch.folder.glob("records/*/.*") if path.suffix != ".lock"]
    return [*(f"process {process.pid}" for process in running if process.is_running()), *map(str, half)]


def soak(names: list[str], count: int, seed: int, folder: Path) -> list[str]:
    "What went wrong."
    whole, killed, began = SmokeBatch(names, folder/"undisturbed"), SmokeBatch(names, folder/"killed"), time.monotonic()
    if code := whole.run():
        return [f"the undisturbed batch ended with {code}; see {whole.folder/'batch.log'}"]
    timeline = whole.timeline()
    print(f"undisturbed: {len(timeline)} experiments in {time.monotonic() - began:.0f} s", flush=True)
    kills, wrong = draw(timeline, count, seed), []
    for k, kill in enumerate(kills, 1):
        killed.start()
        while not (process := wait_for(kill, killed)) and killed.runner.wait() == 0 and kill.second > .1:
            killed.forget(kill.experiment)  # it went on from what it kept, and was over before: once more from the start, and sooner
            kill.second /= 2
            killed.start()
        if process:
            strike(kill, killed.runner, process)
        kill.told = settle(kill, killed.runner, process)
        wrong += [f"kill {k}: {kill.told}"] if kill.told.isupper() else []
        print(f"{k}/{count}  {kill.hit}, {kill.cell}: {kill.victim}  ({kill.told}; {time.monotonic() - began:.0f} s)", flush=True)
    if code := killed.run():
        wrong.append(f"the last run ended with {code}; see {killed.folder/'batch.log'}")
    wrong += [f"left behind: {what}" for what in left_behind(killed)]
    before, after = whole.records(), killed.records()
    found = {name: difference(before[name], after[name]) if name in after else "MISSING" for name in before}
    rows = [(k, kill.hit, f"{kill.second:.1f}", kill.cell, kill.victim, kill.told, found.get(kill.hit) or "same")
            for k, kill in enumerate(kills, 1)]
    print("\n" + text_table(["kill", "experiment", "second", "at", "victim", "batch", "record"], rows))
    same = sum(not what for what in found.values())
    hits = sum(kill.hit != "nothing" for kill in kills)
    print(f"\n{same} of {len(found)} records are those of the undisturbed batch, after {hits} kills")
    return wrong + [f"{name}: {what}" for name, what in found.items() if what]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="*", default=["all"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the victims")
    parser.add_argument("--folder", type=Path, default=ROOT/"runs"/"soak")
    options = parser.parse_args()
    wrong = soak(options.experiment or ["all"], options.kills, options.seed, options.folder.resolve())
    print("\n".join(wrong), file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
