"""README.md is what nbs/index.ipynb renders from the records that are committed."""

import ast
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, code_cells, notebook

from matattn.core.ledger import counted_words, ledger_table, verdict_counts
from matattn.core.readme import render_readme, shown_cells
from matattn.core.records import read_records

INDEX = ROOT/"nbs"/"index.ipynb"


@pytest.fixture(scope="module")
def page() -> str:
    return render_readme()


def test_readme_is_the_rendered_index(page):
    assert (ROOT/"README.md").read_text(encoding="utf8") == page, "run `make readme`"


def test_two_commands_in_the_first_screen(page):
    first = "\n".join(page.splitlines()[:25])
    assert "make reproduce" in first and "make test" in first


def test_links_lead_somewhere(page):
    links = re.findall(r"(?:\]\(|src=\")([^)\"#]+)", page)
    missing = [link for link in links if not re.match(r"[a-z]+:", link) and not (ROOT/link).exists()]
    assert links and not missing, missing


def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z -]+):", (ROOT/"Makefile").read_text(encoding="utf8"), re.MULTILINE))
    known = {name for group in targets for name in group.split()}
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page, re.MULTILINE)) <= known


def typed_numbers(text):
    "Numbers in prose; those in links, code, names such as QM9, and years are no findings."
    text = re.sub(r"```.*?```|`[^`]*`|\[[^\]]*\]\([^)]*\)|https?://\S+|10\.\d{4,}/\S+", " ", text, flags=re.DOTALL)
    return [word for word in re.findall(r"[\w.,+-]*\d[\w.,]*", text)
            if not re.search(r"[A-Za-z]", word) and not re.fullmatch(r"(19|20)\d\d\W?", word)]


def test_typed_numbers_are_found():
    text = "QM9 of 2014, `1 + 1`, [3](a/4), 10.1016/j.aei.2025.1: 95 % of 1,000"
    assert typed_numbers(text) == ["95", "1,000"]


def test_no_number_is_typed_that_a_record_knows():
    prose = ["".join(cell["source"]) for cell in notebook(INDEX)["cells"] if cell["cell_type"] == "markdown"]
    for _, source in code_cells(INDEX):
        if source.startswith("#| echo: false"):
            prose += [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert len(prose) > 20
    assert not [found for text in prose for found in typed_numbers(text)]


def test_counts_and_pictures(page, monkeypatch):
    monkeypatch.delenv("MATATTN_RECORDS", raising=False)
    table = ledger_table(read_records(profile="paper"))
    assert f"Of {len(table)} claims {counted_words(verdict_counts(table).loc['all'])}: [the ledger](nbs/reports/claims.ipynb)" in page
    assert page.index("(figures/claims.svg)") < page.index("make reproduce")
    shown = re.findall(r"^(?:    .*\n)+", page, re.MULTILINE)
    assert all(len(text.splitlines()) <= 12 for text in shown), "a printed output is long; print less"


def test_what_the_page_shows_runs_quietly():
    "Every line of code that a reader sees, in one process in which a warning is an error."
    import nbformat

    cells = shown_cells(nbformat.read(INDEX, as_version=4).cells)
    code = [cell.source for cell in cells if cell.cell_type == "code" and not cell.metadata["transient"]["remove_source"]]
    assert len(code) == 4
    run = subprocess.run([sys.executable, "-W", "error", "-c", "\n\n".join(code)], capture_output=True, text=True,
                         env={**os.environ, "MATATTN_ROOT": str(ROOT)}, check=False)
    assert (run.returncode, run.stderr) == (0, "")
