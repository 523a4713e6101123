"""Binder's environment is that of environment.yml, with PyTorch for processors."""

import os
import subprocess

import yaml
from conftest import ROOT

FOLDER = ROOT/".binder"


def pip_lines(path) -> tuple[dict, list[str]]:
    "An environment without its pip part, and that part."
    environment = yaml.safe_load(path.read_text(encoding="utf8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    environment["dependencies"] = [entry for entry in environment["dependencies"] if not isinstance(entry, dict)]
    return environment, pip


def test_environment_agrees():
    whole, pip = pip_lines(ROOT/"environment.yml")
    binder, ours = pip_lines(FOLDER/"environment.yml")
    assert binder == whole
    index, torch, *others = ours
    assert index == "--extra-index-url=https://download.pytorch.org/whl/cpu" and torch == f"{pip[0]}+cpu" and pip[0].startswith("torch==")
    assert others == pip[1:-1] and pip[-1] == "-e ."  # postBuild installs the library


def test_scripts():
    build, start = (FOLDER/"postBuild").read_text(encoding="utf8"), (FOLDER/"start").read_text(encoding="utf8")
    for name in ("postBuild", "start"):
        assert os.access(FOLDER/name, os.X_OK), f"chmod +x .binder/{name}"
        assert subprocess.run(["sh", "-n", FOLDER/name]).returncode == 0
    assert "--no-deps -e ." in build and "warm_up" in build
    assert "NUMBA_CPU_NAME=generic" in build and "NUMBA_CPU_NAME=generic" in start  # or nothing that was compiled is found again
    command = ["sh", "-c", 'printf "%s %s" "$NUMBA_CPU_NAME" "$1"', "sh", "a b"]
    assert subprocess.run([FOLDER/"start", *command], capture_output=True, text=True).stdout == "generic a b"
