"""Types: the stubs say what the modules say. `make check-types` is the checker's part."""

import ast
import importlib
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT, name_of, project_files
from stubs import stubs

STUBS = sorted(path for path in project_files() if path.suffix == ".pyi")


def test_stubs_are_those_of_the_modules():
    fresh = stubs()
    assert STUBS and sorted(fresh) == STUBS, "run `make export`"
    stale = [name_of(path) for path in STUBS if path.read_text(encoding="utf8") != fresh[path]]
    assert not stale, f"not as the modules say, run `make export`: {stale}"


@pytest.mark.parametrize("path", STUBS, ids=name_of)
def test_what_a_stub_names_is_there(path):
    importlib.import_module("matattn.scann.pretrained"), importlib.import_module("matattn.uae.pretrained")  # they give methods to others
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for node in ast.parse(path.read_text(encoding="utf8")).body:
        if isinstance(node, ast.FunctionDef):
            assert callable(getattr(module, node.name))
        elif isinstance(node, ast.ClassDef):
            methods = [line for line in node.body if isinstance(line, ast.FunctionDef)]
            added = {line.name for line in methods} - {"atoms", "edges"}  # of a BatchPlan, set when it is made
            assert not [name for name in added if not hasattr(getattr(module, node.name), name)]
            for line in methods:
                if isinstance(static := vars(getattr(module, node.name)).get(line.name), staticmethod):
                    assert list(static.__func__.__annotations__) == [arg.arg for arg in line.args.args if arg.annotation] + ["return"]


def test_the_marker_is_shipped():
    patterns = tomllib.loads((ROOT/"pyproject.toml").read_text(encoding="utf8"))["tool"]["setuptools"]["package-data"]["*"]
    assert (ROOT/"matattn"/"py.typed").is_file() and {"py.typed", "*.pyi"} <= set(patterns)


def test_no_module_is_left_out():
    "What the checker sets aside is a kind of error in a module, never a module; each setting says why."
    settings = tomllib.loads((ROOT/"pyproject.toml").read_text(encoding="utf8"))["tool"]["mypy"]
    for each in [settings, *settings["overrides"]]:
        assert not {"ignore_errors", "exclude", "follow_imports"} & set(each)
    pinned = {name for each in settings["overrides"] if each.get("strict_optional") is False for name in each["module"]}
    folders = {name.removesuffix(".*") for name in pinned if name.endswith(".*")}
    own = [name for each in settings["overrides"] if "disable_error_code" in each for name in
           ([each["module"]] if isinstance(each["module"], str) else each["module"])]
    assert all(name in pinned or name.rpartition(".")[0] in folders for name in own), "modules that no record pins are mended instead"


def test_the_program_for_the_checker_runs():
    code = "import consumer; print(len(consumer.right()))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT/"tests", capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr, run.stdout) == (0, "", "8\n")
