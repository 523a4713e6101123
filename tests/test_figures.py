"""No figure is older than the records that it shows."""

import re

import pytest
from conftest import ROOT, code_cells, name_of, notebooks
from PIL import Image

from matattn.core.ledger import ledger_table
from matattn.core.plots import drawn_from, old_figures
from matattn.core.records import read_records

FIGURES = sorted((ROOT/"figures").glob("*.svg"))
REPORTS = notebooks("reports")


@pytest.fixture
def records(monkeypatch) -> list[dict]:
    "Those of the repository."
    for name in ("MATATTN_RECORDS", "MATATTN_FIGURES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MATATTN_ROOT", str(ROOT))
    return read_records()


def test_no_figure_is_older_than_its_records(records):
    assert FIGURES and records and not old_figures(records), "run `matattn report`"


def test_an_older_figure_would_be_found(records):
    changed = [{**record, "extras": {}} if record["experiment"] == "scann_qm9" else record for record in records]
    found = old_figures(changed)
    assert found["scann_qm9_table"] == "scann_qm9/paper-seed0 has changed since" and "hatnet_search" not in found


@pytest.mark.parametrize("path", FIGURES, ids=name_of)
def test_both_files_say_the_same(path):
    drawn = drawn_from(path)
    said = "; ".join(f"{name} {content}" for name, content in drawn.items())
    assert drawn and Image.open(path.with_suffix(".png")).text["Source"] == said


def test_the_ledger_shows_every_record_that_speaks_to_a_claim(records):
    assert set(drawn_from(ROOT/"figures"/"claims.svg")) == set(ledger_table(records)["record"]) - {"–"}


def test_every_figure_is_of_a_report():
    sources = "\n".join(source for path in REPORTS for _, source in code_cells(path))
    saved = re.findall(r'save_figure\(fig, "(\w+)", (?!\[\])', sources)
    assert sorted(saved) == [path.stem for path in FIGURES]
