"""Badges, and the cells that make a notebook run on Colab."""

import os
import shutil
import subprocess
import sys
import sysconfig

import pytest
from conftest import ROOT, code_cells, name_of, notebook, notebooks, project_files

from matattn.demo.online import badges, opened, reader_notebooks

READERS = [path for path in notebooks() if path.parent.name in ("experiments", "reports", "guide", "nbs") or path.name == "explore.ipynb"]
FAKE = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"


def tagged(path, tag) -> list[str]:
    "Sources of the cells with a tag."
    return [source for cell, source in code_cells(path) if tag in cell["metadata"].get("tags", [])]


def test_readers_are_found():
    assert sorted(reader_notebooks()) == sorted(READERS)


@pytest.mark.parametrize("path", READERS, ids=name_of)
def test_openings_are_as_written(path):
    remedy = "run `make badges`"
    assert path.read_text(encoding="utf8") == opened(path), remedy
    assert badges(name_of(path)) in "".join(notebook(path)["cells"][0]["source"]), remedy
    assert "google.colab" in code_cells(path)[0][1] and tagged(path, "setup")[0] == code_cells(path)[0][1], remedy


def test_no_badges_elsewhere():
    assert not [name_of(path) for path in notebooks() if path not in READERS and "badge" in "".join(notebook(path)["cells"][0]["source"])]


def run(code, folder, python=sys.executable, **more):
    "Run a program outside the checkout."
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and key[:8] != "MATATTN_"} | more
    done = subprocess.run([python, "-W", "ignore", "-c", code], cwd=folder, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_elsewhere_the_cells_do_nothing(tmp_path):
    cells = "\n".join(tagged(ROOT/"nbs"/"experiments"/"hatnet_mos2.ipynb", "setup"))
    before = "import os\nbefore = dict(os.environ)\n"
    after = "\nnames = {name for name in globals() if name[:2] != '__'}\nprint(names - {'before', 'os', 'sys'}, dict(os.environ) == before)"
    assert run(before + cells + after, tmp_path) == "set() True"
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    "A repository to clone, of the files as they are now."
    folder = tmp_path_factory.mktemp("origin")
    for path in project_files():
        target = folder/path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.mark.slow
def test_setup_installs_and_fetches(origin, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path/"env"], check=True)
    (python,) = (tmp_path/"env").glob("*/python")
    site = run("import sysconfig; print(sysconfig.get_path('purelib'))", tmp_path, python)
    with open(f"{site}/dependencies.pth", "w") as file:
        file.write(sysconfig.get_path("purelib"))  # what the library needs is there; the library itself is not installed from there
    path = ROOT/"nbs"/"experiments"/"hatnet_mos2.ipynb"
    setup, quick = tagged(path, "setup")
    told = "\nimport matattn\nfrom matattn.core.records import read_records\nprint(matattn.__file__, profile, len(read_records()))"
    code = FAKE + setup + "\n" + tagged(path, "parameters")[0] + "\n" + quick + told
    pip = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # 0 is pip's word for no isolation
    for _ in range(2):  # a second time nothing is cloned or installed
        place, profile, records = run(code, tmp_path, python, MATATTN_SOURCE=origin.as_uri(), **pip).split()
        assert place.startswith(str(tmp_path/"env")) and profile == "quick"
        assert int(records) == len([1 for file in project_files() if file.name.startswith("paper-") and file.suffix == ".json"])
