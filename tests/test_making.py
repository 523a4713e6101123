"""The notebooks that make the embedded sets still run, and make what the library ships."""

import json
import sys
from subprocess import CalledProcessError
from unittest.mock import patch

import numpy as np
import pytest
from conftest import ROOT, code_cells
from safetensors import safe_open

from matattn.core.modelfiles import shipped_folder
from matattn.structures.embedded import load_embedded
from matattn.structures.sets import StructureSet


def run(name, monkeypatch, folder, **parameters):
    "Run a making notebook at a small size, its products in a temporary folder."
    import matplotlib.pyplot as plt

    monkeypatch.setenv("MATATTN_RUNS", str(folder))
    monkeypatch.setattr(plt, "show", plt.close)
    scope = {"__name__": "making"}
    with patch.object(sys, "argv", ["making"]):
        for cell, source in code_cells(ROOT/"nbs"/"making"/f"{name}.ipynb"):
            exec(compile(source, f"{name}, cell {cell['id']}", "exec"), scope)
            if "parameters" in cell["metadata"].get("tags", []):
                assert scope["ship"] is False, "a shipped set is replaced on purpose only"
                scope |= parameters
    return scope


def make(name, monkeypatch, folder, **parameters):
    "Run a making notebook and read the set that it made."
    run(name, monkeypatch, folder, **parameters)
    return StructureSet.load(folder/"making"/f"{name.replace('_', '-')}.npz")


def same(found, expected, tolerance):
    "Whether two sets hold the same structures, with labels equal to a part of their spread."
    assert found.ids.tolist() == expected.ids.tolist() and np.array_equal(found.numbers, expected.numbers)
    for name, values in expected.targets.items():
        assert np.abs(found.targets[name] - values).max() < tolerance*np.ptp(values), name


@pytest.mark.slow
def test_crystals(monkeypatch, tmp_path):
    same(make("ewald_crystals", monkeypatch, tmp_path), load_embedded("ewald-crystals"), 1e-3)


@pytest.mark.slow
def test_molecules(monkeypatch, tmp_path):
    pytest.importorskip("rdkit", reason="needed to make the molecules, not to read them")
    pytest.importorskip("tblite", reason="needed to make the molecules, not to read them")
    found = make("xtb_molecules", monkeypatch, tmp_path, count=30)
    shipped = load_embedded("xtb-molecules")
    assert found.extras["smiles"].tolist() == shipped.extras["smiles"][:len(found)].tolist()
    same(found, shipped[:len(found)], 1e-3)


def card(path):
    "What a HATNet file says of itself."
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["card"])


def test_hatnet_weights(monkeypatch, tmp_path):
    run("hatnet_weights", monkeypatch, tmp_path, data="embedded", epochs=1)
    for name in ("hatnet-mos2", "hatnet-cqd"):
        found, known = (card(folder/f"{name}.safetensors") for folder in (tmp_path/"weights", shipped_folder()))
        assert set(found) == set(known) and "simulated" in found["data"] and "simulated" not in known["data"]
        assert found["cross-validated"] == known["cross-validated"]  # of the record, which may have been made anew: then ship again


def test_elements(monkeypatch, tmp_path):
    "Byte for byte what is shipped; the notebook asserts it."
    try:
        run("elements", monkeypatch, tmp_path)
    except CalledProcessError as error:
        pytest.skip(f"the tables of mendeleev cannot be fetched: {error}")
    assert (tmp_path/"making"/"elements.csv").read_bytes() == (ROOT/"matattn"/"embedded"/"elements.csv").read_bytes()
