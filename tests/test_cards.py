"""Data cards: one for each set, without outputs in the repository, rendered by the command line with and without data."""

import os
import subprocess
import sys

import pytest
from conftest import code_cells, notebooks

from matattn.core.cards import card_names, run_cards
from matattn.core.cli import main
from matattn.core.data import DATASETS
from matattn.core.runtime import MatattnError


def test_every_registered_set_has_a_card():
    assert set(DATASETS) <= set(card_names())


@pytest.mark.parametrize("path", notebooks("data"), ids=lambda path: path.stem)
def test_cards_are_alike_and_hold_no_data(path):
    cells = code_cells(path)
    assert not any(cell["outputs"] for cell, _ in cells), "a card shows real data: commit it without outputs"
    opened = cells[1][1].splitlines()[0]
    assert opened.startswith("card = open_") and path.stem.replace("-", "_") in opened.replace("-", "_")
    parts = ("columns", "histograms", "outliers", "elements", "sizes", "twins")
    assert {source for _, source in cells[2:]} <= {f"card.{part}()" for part in parts}


def test_a_card_without_data(tmp_path):
    environment = {**os.environ, "MATATTN_RUNS": str(tmp_path/"runs"), "MATATTN_CACHE": str(tmp_path/"cache"), "MATATTN_DATA": ""}
    command = [sys.executable, "-c", "import sys; from matattn.core.cli import main; sys.exit(main())", "data", "card", "mp2018"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path/"runs"/"data"/"mp2018.html").read_text(encoding="utf8")
    assert "No data, so only what the registry knows" in page and "matattn data get mp2018" in page and "open_card" not in page


def test_unknown_card():
    with pytest.raises(MatattnError, match="no card 'qm8'; did you mean 'qm9'"):
        run_cards(["qm8"])


def test_all_sets_where_none_is_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MATATTN_CACHE", str(tmp_path))
    monkeypatch.delenv("MATATTN_DATA", raising=False)
    assert main(["data", "list"]) == 0
    assert "not yet seen" in capsys.readouterr().out
    assert main(["data", "verify"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == len(DATASETS) and "`matattn data get qm9`" in told
    assert main(["data", "path", "qm9"]) == 2
