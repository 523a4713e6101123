"""What several tests share: the files of the project, its notebooks, a scratch copy."""

import ast
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@functools.cache
def project_files() -> list[Path]:
    "Files that are or would be committed; without git, those of the known folders."
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        names = done.stdout.split("\0")
    else:
        names = [str(path.relative_to(ROOT)) for folder in ("nbs", "matattn", "tests", "figures", ".github", ".ci")
                 for path in (ROOT/folder).rglob("*") if not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)]
    return sorted(ROOT/name for name in set(names) if name and (ROOT/name).is_file())


@functools.cache
def notebook(path: Path) -> dict:
    "A notebook as parsed JSON."
    return json.loads(path.read_text(encoding="utf8"))


def notebooks(*folders: str) -> list[Path]:
    "The project's notebooks, or those directly in some folders of nbs/."
    paths = [path for path in project_files() if path.suffix == ".ipynb"]
    return [path for path in paths if path.parent.relative_to(ROOT/"nbs").as_posix() in folders] if folders else paths


def code_cells(path: Path) -> list[tuple[dict, str]]:
    "(cell, source) of every code cell."
    return [(cell, "".join(cell["source"])) for cell in notebook(path)["cells"] if cell["cell_type"] == "code"]


def directive(source: str, name: str) -> str | None:
    "The text after `#| name` at the head of a cell, None when it is not there."
    for line in source.splitlines():
        if not line.startswith("#|"):
            return None
        word, _, rest = line[2:].strip().partition(" ")
        if word.rstrip(":") == name:
            return rest
    return None


@functools.cache
def modules() -> dict[Path, ast.Module]:
    "The exported modules, parsed."
    paths = [path for path in project_files() if path.is_relative_to(ROOT/"matattn") and path.suffix == ".py"]
    return {path: ast.parse(path.read_text(encoding="utf8")) for path in paths if path.name not in ("__init__.py", "_modidx.py")}


def name_of(path: Path) -> str:
    "Path below the project root, for messages and test ids."
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def scratch(tmp_path_factory) -> Path:
    "A copy of settings.ini and nbs/ to export and clean in; the working tree stays as it is."
    folder = tmp_path_factory.mktemp("scratch")
    shutil.copy(ROOT/"settings.ini", folder)
    for path in notebooks():
        target = folder/path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


def run_nbdev(command: str, folder: Path):
    "Run one of nbdev's commands in a copy of the project."
    environment = {key: value for key, value in os.environ.items() if key != "IN_TEST"}
    done = subprocess.run([Path(sys.executable).with_name(command)], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def exported(scratch, tmp_path_factory) -> Path:
    "A copy of the project, exported from nothing."
    folder = shutil.copytree(scratch, tmp_path_factory.mktemp("exported"), dirs_exist_ok=True)
    run_nbdev("nbdev_export", folder)
    return folder


@pytest.fixture(scope="session")
def cleaned(scratch, tmp_path_factory) -> Path:
    "A copy of the project, its notebooks cleaned."
    folder = shutil.copytree(scratch, tmp_path_factory.mktemp("cleaned"), dirs_exist_ok=True)
    run_nbdev("nbdev_clean", folder)
    return folder
