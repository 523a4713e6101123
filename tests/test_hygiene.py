"""What must never be committed, and the sizes that keep a notebook readable."""

import ast
import hashlib
import re

import pytest
from conftest import ROOT, code_cells, directive, modules, name_of, notebook, notebooks, project_files

from matattn.core.data import DATASETS

MACHINE_PATH = re.compile(r"(^|[^A-Za-z0-9_.$}])/(home|root|work|farm|tmp)/[A-Za-z.]", re.MULTILINE)
BINARY = {".png", ".safetensors", ".npz"}


def definitions(tree):
    "Public functions and classes of a module."
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def test_no_machine_paths():
    found = [f"{name_of(path)}: {match.group().strip()}" for path in project_files()
             if path.suffix not in BINARY and (match := MACHINE_PATH.search(path.read_text(encoding="utf8")))]
    assert not found, found


def test_file_sizes():
    limits = {".safetensors": 100_000, ".ipynb": 150}
    heavy = [f"{name_of(path)}: {size} kB" for path in project_files()
             if (size := path.stat().st_size//1000) > limits.get(path.suffix, 1000)]
    assert not heavy, heavy


def test_no_real_data():
    published = {file.sha256: file.path for entry in DATASETS.values() for file in entry.files}
    names = {path.rsplit("/", 1)[-1] for path in published.values()}
    found = [name_of(path) for path in project_files()
             if path.name in names or hashlib.sha256(path.read_bytes()).hexdigest() in published]
    assert not found, f"real data are downloaded, never committed: {found}"


def test_no_generated_files():
    junk = re.compile(r"(^|/)(runs|_docs|_proc|__pycache__|\.ipynb_checkpoints)/|\.(pyc|pt|pth|pkl|pickle|ckpt|log)$"
                      r"|records/[^/]+/(smoke|quick)-")
    found = [name_of(path) for path in project_files() if junk.search(name_of(path))]
    assert not found, found


@pytest.mark.parametrize("path", notebooks(), ids=name_of)
def test_notebook(path):
    book = notebook(path)
    assert book["metadata"].get("kernelspec", {}).get("name") == "python3"
    errors = [cell["id"] for cell, _ in code_cells(path) for output in cell["outputs"] if output["output_type"] == "error"]
    assert not errors, f"cells with an error in their output: {errors}"
    first = "".join(book["cells"][0]["source"])
    assert re.match(r"# .+\n+> .+", first), "a notebook opens with `# Title` and `> one line`"


@pytest.mark.parametrize("path", notebooks(), ids=name_of)
def test_exported_cells(path):
    exported = {cell["id"]: source for cell, source in code_cells(path) if directive(source, "export") is not None}
    long = {key: lines for key, source in exported.items() if (lines := len(source.splitlines())) > 60}
    assert not long, f"exported cells of more than 60 lines: {long}"
    mixed = []
    for cell, source in code_cells(path):
        if directive(source, "default_exp") is None and directive(source, "export") is not None:
            kinds = {isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(source).body}
            mixed += [cell["id"]]*(len(kinds) > 1)
    assert not mixed, f"exported cells that mix imports and code: {mixed}"


def test_module_sizes():
    long = {name_of(path): lines for path in modules() if (lines := len(path.read_text(encoding="utf8").splitlines())) > 300}
    assert not long, f"modules of more than 300 lines: {long}"


def test_function_sizes():
    long = {f"{name_of(path)}:{node.name}": lines for path, tree in modules().items() for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := node.end_lineno - node.lineno + 1) > 40}
    assert not long, f"functions of more than 40 lines: {long}"


def undocumented(node, lines) -> list[str]:
    "Parameters (or dataclass fields) without a comment on their own line; one parameter alone may share the line of the `def`."
    if isinstance(node, ast.ClassDef):
        inits = [child for child in node.body if isinstance(child, ast.FunctionDef) and child.name == "__init__"]
        if inits:
            return undocumented(inits[0], lines)
        fields = [child for child in node.body if isinstance(child, ast.AnnAssign)]
        return [child.target.id for child in fields if "#" not in lines[child.end_lineno - 1][child.end_col_offset:]]
    every = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    every += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
    every = [arg for arg in every if arg.arg not in ("self", "cls")]
    if len(every) < 2:
        return []
    starts = [arg.lineno for arg in every]
    return [arg.arg for arg in every if starts.count(arg.lineno) > 1 or "#" not in lines[arg.end_lineno - 1][arg.end_col_offset:]]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_documented(path):
    lines = path.read_text(encoding="utf8").splitlines()
    missing = []
    for node in definitions(modules()[path]):
        if not ast.get_docstring(node):
            missing.append(f"{node.name}: docstring")
        missing += [f"{node.name}({argument}): no comment on its line" for argument in undocumented(node, lines)]
    assert not missing, missing


def test_no_local_ignores_of_rules():
    "A rule that does not fit is set aside in pyproject.toml with a reason, not file by file."
    found = [name_of(path) for path in project_files() if path.suffix == ".py" and path.parent != ROOT/"tests"
             and "ruff: noqa" in path.read_text(encoding="utf8")]
    assert not found, found
