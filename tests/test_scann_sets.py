"""SmFe12-CD and Pt/graphene-MD from small files in their formats: reader, published split where all rows are there, trainings."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from matattn.core.data import DATASETS, DataNotFound
from matattn.scann.set_trial import set_trial
from matattn.scann.study import load_study
from matattn.scann.training import Recipe
from matattn.scann.trials import published_study

TINY = {"layers": 1, "width": 16, "heads": 2, "embedding": 8}
RECIPE = Recipe(epochs=2, batch_size=8, lr=3e-3, ema=.9)


def smfe12_files(rng, count=24):
    "Folders of extended xyz files of one frame each, the lattice and the energy in quotes."
    sites = np.array([[0, 0, 0], [.25, .25, .25], [.5, 0, 0], [0, .5, 0], [.5, .5, .25], [.35, .5, .5]])
    members = {}
    for k in range(count):
        a, other = 5 + .02*k, ("Co", "Ti", "Al", "Ga")[k % 4]
        symbols = ["Sm", "Fe", "Fe", "Fe", "Fe", other if k % 3 else "Fe"]
        places = a*(sites + rng.normal(0, .01, (6, 3)))
        rows = [f"{symbol} {x:.6f} {y:.6f} {z:.6f}" for symbol, (x, y, z) in zip(symbols, places, strict=True)]
        lattice = " ".join(f"{value:.4f}" for value in (a*np.eye(3)).ravel())
        end = f'"{-.1 + .01*k:.4f}"' if k % 2 else f'energy="{-.1 + .01*k:.4f}"'
        comment = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 {end}'
        members[f"smfe12/{other}/s{k:03d}.xyz"] = "\n".join(["6", comment, *rows]) + "\n"
    return members


def pt_graphene_files(rng, count=20):
    "One file of frames: two platinum atoms above eight of carbon; the comment line holds total and reference energy."
    sheet = np.array([[1.42*x, 2.46*y + 1.23*(x % 2), 0] for x in range(4) for y in range(2)])
    frames = []
    for k in range(count):
        x = np.vstack([sheet, [[1.4, 1.2, 2.2], [1.4, 3.6, 2.2 + .02*k]]]) + rng.normal(0, .02, (10, 3))
        rows = [f"{symbol} {a:.6f} {b:.6f} {c:.6f}" for symbol, (a, b, c) in zip(["C"]*8 + ["Pt"]*2, x, strict=True)]
        frames.append("\n".join(["10", f"{-1000.5 - .05*k:.4f}\t-1000.0", *rows]) + "\n")
    return {"pt_graphene/md.xyz": "".join(frames)}


FILES = {"smfe12": smfe12_files, "pt_graphene": pt_graphene_files}


@pytest.fixture
def place(tmp_path, monkeypatch):
    "A data folder of its own with the zip of a set; the registry counts as many rows as `complete` says."
    monkeypatch.setenv("MATATTN_DATA", str(tmp_path))
    monkeypatch.setenv("MATATTN_CACHE", str(tmp_path/"cache"))
    monkeypatch.setenv("MATATTN_OFFLINE", "1")

    def written(name, complete=True):
        members, entry = FILES[name](np.random.default_rng(0)), DATASETS[name]
        path = tmp_path/entry.files[0].path
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in members.items():
                archive.writestr(member, text)
        if complete:
            monkeypatch.setitem(DATASETS, name, replace(entry, rows={"smfe12": 24, "pt_graphene": 20}[name]))

    return written


@pytest.mark.parametrize(("name", "target", "unit", "sizes"), [("smfe12", "formation_energy", "meV/atom", [21, 2, 1]),
                                                              ("pt_graphene", "energy", "meV", [16, 2, 2])])
def test_a_complete_set_is_divided_as_published(place, tmp_path, name, target, unit, sizes):
    place(name)
    found = set_trial(name, tmp_path/"checkpoints", RECIPE, "real", seeds=range(2), sizes=TINY, device="cpu")
    study = found.study
    assert (study.split.by, study.targets, study.structures.embedded) == ("ids", (target,), False)
    assert sorted(len(rows) for rows in study.split.parts.values()) == sorted(sizes)
    assert study.graphs.method["w_t"] == found.extras["w_t"] == (.2 if name == "pt_graphene" else .4)
    models = {entry["model"]: entry["metrics"] for entry in found.results}
    assert list(models) == ["mean", "ridge, composition", "ridge, composition and neighbours", "SCANN+"]
    assert models["SCANN+"]["mae"]["n"] == 2 and models["mean"]["mae"]["unit"] == unit
    assert found.results[-1]["configuration"]["seeds"] == 2 and found.extras["r2_of_whole_set"][target]["n"] == 2


def test_values_and_cells_of_the_files(place):
    place("smfe12")
    place("pt_graphene")
    s, pt = load_study("smfe12", "real").structures, load_study("pt_graphene", "real").structures
    assert s.periodic and sorted(s.targets["formation_energy"].round(4).tolist()) == [round(-.1 + .01*k, 4) for k in range(24)]
    assert not pt.periodic and sorted(pt.targets["energy"].round(4).tolist()) == [round(-.5 - .05*k, 4) for k in range(19, -1, -1)]


def test_a_part_of_a_set_is_divided_at_random(place):
    place("pt_graphene", complete=False)  # the registry knows 21,666 rows
    study = published_study("pt_graphene", "auto", seed=3)
    assert (study.split.by, len(study.structures), study.structures.embedded) == ("random", 20, False)
    assert [len(rows) for rows in study.split.parts.values()] == [16, 2, 2]


def test_a_set_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("MATATTN_DATA", str(tmp_path))
    monkeypatch.setenv("MATATTN_CACHE", str(tmp_path/"cache"))
    monkeypatch.setenv("MATATTN_OFFLINE", "1")
    with pytest.raises(DataNotFound, match="smfe12"):
        set_trial("smfe12", tmp_path, RECIPE, "real", sizes=TINY)
    found = published_study("smfe12", "auto")
    assert found.structures.embedded and found.data["embedded"] and json.dumps(found.data)
