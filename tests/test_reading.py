"""Experiments as somebody reads them: the claims first, the verdict and its picture last."""

import json
import re

import pytest
from conftest import ROOT, code_cells, notebook, notebooks

from matattn.core.claims import read_claims
from matattn.core.code import notebook_digest
from matattn.core.records import read_records
from matattn.core.verdicts import verdict_lines

EXPERIMENTS = notebooks("experiments")
CLAIMS = read_claims()
MADE = [path for path in EXPERIMENTS if (path.parent/"records"/path.stem/"paper-seed0.json").is_file()]


def name(path):
    return path.stem


def claimed(experiment):
    return {claim for claim, row in CLAIMS.items() if row["experiment"] == experiment}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_it_opens_with_its_claims(path):
    prose = [cell for cell in notebook(path)["cells"] if cell["cell_type"] == "markdown"]
    opening = "\n".join("".join(cell["source"]) for cell in prose[:2])
    named = set(re.findall(r"`([a-z0-9-]+)`", opening)) & set(CLAIMS)
    assert named == claimed(path.stem), "the first two cells name other claims than the ledger"
    wanted = r"^\*\*Claims?( asked here)?\*\*" if named else r"^\*\*Question\*\*: "
    assert re.search(wanted, opening, re.MULTILINE)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_it_ends_with_the_verdict(path):
    last = notebook(path)["cells"][-1]
    assert last["cell_type"] == "code" and last["metadata"].get("tags") == ["verdict"]
    assert f'show_verdict("{path.stem}", profile, seed, ' in re.sub(r"\s+", " ", "".join(last["source"]))
    assert "write_record(" in code_cells(path)[-2][1], "the record is written just before"


def show(path, monkeypatch, **names):
    "What the last cell of an experiment displays."
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    exec(code_cells(path)[-1][1], names)
    return shown


@pytest.mark.parametrize("path", MADE, ids=name)
def test_the_verdict_is_shown(path, monkeypatch):
    monkeypatch.delenv("MATATTN_RECORDS", raising=False)
    text, *figures = show(path, monkeypatch, profile="paper", seed=0)
    assert figures and all(figure.axes for figure in figures)
    assert set(re.findall(r"^- \*\*[a-z ]+\*\* \(`([a-z0-9-]+)`\)", text.data, re.MULTILINE)) == claimed(path.stem)


@pytest.mark.parametrize("path", MADE, ids=name)
def test_embedded_data_never_stand_beside_a_published_number(path, monkeypatch, tmp_path):
    record = json.loads((path.parent/"records"/path.stem/"paper-seed0.json").read_text(encoding="utf8"))
    made = [("smoke", False), ("quick", True)]
    for profile, embedded in made:
        for item in record["data"]:
            item["embedded"] = embedded
        (tmp_path/path.stem).mkdir(exist_ok=True)
        (tmp_path/path.stem/f"{profile}-seed0.json").write_text(json.dumps({**record, "profile": profile}), encoding="utf8")
    monkeypatch.setenv("MATATTN_RECORDS", str(tmp_path))
    for profile, _ in made:
        text, *figures = show(path, monkeypatch, profile=profile, seed=0)
        assert "**not compared with any published number**" in text.data and not any(claim in text.data for claim in CLAIMS)
        assert len(figures) == 1 and not any(line.get_linestyle() == "--" for ax in figures[0].axes for line in ax.lines)


def test_the_verdict_does_not_age_a_record(tmp_path):
    path = ROOT/"nbs"/"experiments"/"hatnet_mos2.ipynb"
    book = notebook(path)
    before = notebook_digest(path)
    book["cells"][-1]["source"] = ["1 + 1"]
    (tmp_path/"changed.ipynb").write_text(json.dumps(book), encoding="utf8")
    assert notebook_digest(tmp_path/"changed.ipynb") == before


def test_a_record_speaks_for_its_own_experiment_only(monkeypatch):
    monkeypatch.delenv("MATATTN_RECORDS", raising=False)
    for record in read_records(profile="paper"):
        lines, items = verdict_lines(record)
        assert {item["claim_id"] for item in items} == claimed(record["experiment"]) and len(lines) == max(len(items), 1)
