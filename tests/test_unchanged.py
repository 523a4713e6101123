"""A check that passed is not repeated on the same files, and on others it is."""

import sys

import pytest
import unchanged


@pytest.fixture
def checked(tmp_path, monkeypatch):
    "A check that counts its runs: checked(fresh, exit code) -> (exit code, runs so far)."
    monkeypatch.setattr(unchanged, "ROOT", tmp_path)
    monkeypatch.delenv("MATATTN_DATA", raising=False)
    for name in ("a.py", "b.ipynb"):
        (tmp_path/name).write_text("1")
    script = "import pathlib; log = pathlib.Path('log'); log.open('a').write('x'); exit(int(pathlib.Path('code').read_text()))"
    monkeypatch.chdir(tmp_path)

    def check(fresh=False, code=0):
        (tmp_path/"code").write_text(str(code))
        files = [path for path in (tmp_path/"a.py", tmp_path/"b.ipynb") if path.is_file()]
        return unchanged.check("toy", [sys.executable, "-c", script], tmp_path/"runs", files, fresh), len((tmp_path/"log").read_text())

    return check


def test_what_passed_is_not_repeated(checked, tmp_path):
    assert checked() == (0, 1) and not (tmp_path/"runs"/"checks"/"toy.unchanged").exists()
    assert checked() == (0, 1)
    assert (tmp_path/"runs"/"checks"/"toy.unchanged").read_text() == "1 notebooks and all they stand on unchanged since it passed"
    assert checked(fresh=True) == (0, 2) and checked() == (0, 2)


def test_what_failed_is_repeated(checked):
    assert checked(code=3) == (3, 1) and checked(code=3) == (3, 2) and checked() == (0, 3) and checked() == (0, 3)
    assert checked(fresh=True, code=1) == (1, 4) and checked() == (0, 5)  # what failed since has not passed


@pytest.mark.parametrize("change", ["module", "notebook", "gone", "data"])
def test_what_changed_is_repeated(checked, tmp_path, monkeypatch, change):
    folder = tmp_path/"data"
    folder.mkdir()
    monkeypatch.setenv("MATATTN_DATA", str(folder))
    assert checked() == (0, 1) and checked() == (0, 1)
    if change == "gone":
        (tmp_path/"a.py").unlink()
    else:
        {"module": tmp_path/"a.py", "notebook": tmp_path/"b.ipynb", "data": folder/"x.csv"}[change].write_text("2")
    assert checked() == (0, 2) and checked() == (0, 2)


def test_what_changes_meanwhile_has_not_passed(checked, tmp_path, monkeypatch):
    real = unchanged.subprocess.run

    def edit(command):
        (tmp_path/"a.py").write_text("edited")
        return real(command)

    monkeypatch.setattr(unchanged.subprocess, "run", edit)
    assert checked() == (0, 1) and checked() == (0, 2)
