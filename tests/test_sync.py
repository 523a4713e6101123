"""Notebooks and library say the same, and the notebooks have the form that nbdev and papermill need."""

import ast
import re

import pytest
from conftest import ROOT, code_cells, directive, name_of, notebook, notebooks, project_files

OBLIGATORY = {"profile": ["smoke"], "seed": [0], "max_minutes": [0], "data": ["auto", "embedded"]}  # name -> defaults allowed
EXPERIMENTS = notebooks("experiments")
LIBRARY = ("core", "hatnet", "structures", "graphs", "models", "scann", "uae", "site")  # folders whose every notebook is a module
BOTH = ("demo",)  # folders of modules, which have a number, and of notebooks for readers, which have none


def test_export_equals_library(exported):
    fresh = {path.relative_to(exported).as_posix(): path.read_text(encoding="utf8") for path in (exported/"matattn").rglob("*.py")}
    library = {name_of(path): path.read_text(encoding="utf8") for path in project_files()
               if path.is_relative_to(ROOT/"matattn") and path.suffix == ".py"}
    assert sorted(library) == sorted(fresh), "run `make export`; a module without a notebook is to be deleted"
    stale = [name for name in library if library[name] != fresh[name]]
    assert not stale, f"not as the notebooks say, run `make export`: {stale}"


def test_folder_equals_default_exp():
    wrong = []
    for path in notebooks():
        names = [name for _, source in code_cells(path) if (name := directive(source, "default_exp"))]
        folder, numbered = path.parent.name, re.fullmatch(r"\d\d_(\w+)", path.stem)
        assert numbered or folder not in LIBRARY, f"{name_of(path)}: a notebook of the library is named NN_module.ipynb"
        expected = [f"{folder}.{numbered[1]}"] if numbered and folder in LIBRARY + BOTH else []
        if names != expected:
            wrong.append(f"{name_of(path)}: default_exp {names}, expected {expected}")
    assert not wrong, wrong


@pytest.mark.parametrize("path", notebooks(), ids=name_of)
def test_cell_ids(path):
    book = notebook(path)
    assert (book["nbformat"], book["nbformat_minor"] >= 5) == (4, True)
    ids = [cell.get("id") for cell in book["cells"]]
    assert all(ids) and len(set(ids)) == len(ids), "every cell needs an id of its own: they go into the exported modules"


@pytest.mark.parametrize("path", notebooks(), ids=name_of)
def test_clean(path, cleaned):
    assert (cleaned/path.relative_to(ROOT)).read_text(encoding="utf8") == path.read_text(encoding="utf8"), "run `make clean-notebooks`"


def tags(cell):
    "The tags of a cell."
    return cell["metadata"].get("tags", [])


def parameters(path):
    "Sources of the cells that papermill would replace."
    return [source for cell, source in code_cells(path) if "parameters" in tags(cell)]


def test_there_are_experiments():
    assert EXPERIMENTS


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_experiment_parameters(path):
    cells = parameters(path)
    assert len(cells) == 1, "papermill takes exactly one cell tagged `parameters`"
    first = next(source for cell, source in code_cells(path) if "setup" not in tags(cell))
    assert first == cells[0], "the parameters are the first code cell that is not tagged `setup`"
    values = {}
    for statement in ast.parse(cells[0]).body:
        assert isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name), ast.unparse(statement)
        values[statement.target.id] = ast.literal_eval(statement.value)  # a derived value would ignore what papermill sets
    wrong = {name: values.get(name) for name, allowed in OBLIGATORY.items() if values.get(name) not in allowed}
    assert not wrong, wrong


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_clean_keeps_the_parameters_tag(path, cleaned):
    assert len(parameters(cleaned/path.relative_to(ROOT))) == 1
