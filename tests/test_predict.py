"""From files to predictions with a trained model: every format, one by one and together, read back; what is wrong is a sentence."""

import io
import json
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from safetensors import safe_open
from safetensors.torch import save, save_file

from matattn.core import modelfiles
from matattn.core.cli import main
from matattn.core.runtime import MatattnError
from matattn.graphs.voronoi_graph import voronoi_graph
from matattn.models.files import predict_files
from matattn.scann.model import SCANN, SCANNConfig
from matattn.scann.pretrained import save_model
from matattn.scann.training import Recipe, train_scann
from matattn.structures.cif_folder import write_cif_folder
from matattn.structures.embedded import load_embedded
from matattn.structures.exchange import to_ase, to_pymatgen
from matattn.structures.sets import StructureSet
from matattn.structures.writing import write_xyz
from matattn.structures.xyz import read_xyz
from matattn.uae.backends import build_graphs, train_backend
from matattn.uae.cgcnn import CGCNNConfig
from matattn.uae.embeddings import UAE
from matattn.uae.pretrained import CGCNN, save_backend
from matattn.uae.training import NetworkRecipe

SMALL = SCANNConfig(layers=2, width=32, heads=4, embedding=16)
CARD = {"data": "made here", "test error": {"homo": "0.4 eV", "gap": "0.8 eV", "energy": "1 eV/atom"}, "licence": "CC0-1.0"}


@pytest.fixture(scope="session")
def molecules() -> StructureSet:
    return load_embedded("xtb-molecules")


@pytest.fixture(scope="session")
def crystals() -> StructureSet:
    found = load_embedded("ewald-crystals")
    return replace(found, ids=np.array([f"crystal-{number}" for number in range(len(found))]))


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def for_molecules(molecules, folder) -> str:
    "A model of homo and gap."
    trained = train_scann(voronoi_graph(molecules[:400]), ["homo", "gap"], np.arange(400), SMALL, Recipe(epochs=2), device="cpu")
    return str(save_model(trained, folder/"toy-orbitals.safetensors", CARD, molecules[:400]))


@pytest.fixture(scope="session")
def for_crystals(crystals, folder) -> str:
    "A model of the energy."
    trained = train_scann(voronoi_graph(crystals[:300], d_t=6.), ["energy"], np.arange(300), replace(SMALL, elements=95, d_t=6.),
                          Recipe(epochs=2), device="cpu")
    return str(save_model(trained, folder/"toy-energy.safetensors", CARD, crystals[:300]))


@pytest.fixture(scope="session")
def for_cgcnn(crystals, folder) -> str:
    "A network of another kind, of the same energy."
    config = CGCNNConfig(width=8, hidden=8, convolutions=1, neighbours=6)
    trained = train_backend("cgcnn", build_graphs("cgcnn", crystals[:300], config), ["energy"], np.arange(300), config=config,
                            recipe=NetworkRecipe(epochs=2, batch_size=30, lr=.01, ema=.5), device="cpu")
    return str(save_backend(trained, folder/"cgcnn-toy.safetensors", CARD | {"licence": "MIT"}, crystals[:300]))


@pytest.fixture(scope="session")
def embedding(folder) -> str:
    "Vectors of the elements, which predict nothing."
    counts = np.where(np.arange(100) < 20, 50, 0)
    counts[0] = 3
    card = {"data": "made here", "targets": {"ef": "energy", "eg": "gap"}}
    return str(UAE(np.eye(100, 8, dtype=np.float32), counts, "toy", card).save(folder/"uae-toy.safetensors"))


def sentence(captured) -> str:
    "The one line on standard error."
    assert captured.err.count("\n") == 1 and captured.err.startswith("matattn: ") and "Traceback" not in captured.err, captured.err
    return captured.err.removeprefix("matattn: ").strip()


def table(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))

# Formats -----------------------------------------------------------------------------------------------------------------------------


def test_molecules_in_every_format(molecules, for_molecules, tmp_path, capsys):
    one, model = molecules[500], SCANN.from_pretrained(for_molecules, "cpu")
    wanted = model.predict(one).values
    atoms = to_ase(one)[0]
    write_xyz(one, tmp_path/"a.extxyz")
    write(tmp_path/"b c.xyz", Atoms(atoms.numbers, atoms.positions), format="xyz")
    write(tmp_path/"d.pdb", atoms)
    one.save(tmp_path/"e.npz")
    for given in (atoms, [atoms], to_pymatgen(one), to_pymatgen(one)[0], *sorted(tmp_path.iterdir()), str(tmp_path/"b c.xyz")):
        np.testing.assert_allclose(model.predict(given).values, wanted, atol=1e-3, err_msg=str(given))
    assert main(["predict", *map(str, sorted(tmp_path.iterdir())), "--model", for_molecules]) == 0
    found = table(capsys.readouterr().out)
    assert [Path(name).name for name in found["file"]] == ["a.extxyz", "b c.xyz", "d.pdb", "e.npz"]
    np.testing.assert_allclose(found[["homo (eV)", "gap (eV)"]], np.repeat(wanted, 4, axis=0), atol=1e-3)
    assert set(found["atoms"]) == {len(atoms)} and found["formula"].nunique() == 1


def test_crystals_in_every_format(crystals, for_crystals, tmp_path, capsys):
    one, model = crystals[500], SCANN.from_pretrained(for_crystals, "cpu")
    wanted, atoms = model.predict(one).values, to_ase(one)[0]
    write_cif_folder(one, tmp_path/"cifs")
    write_xyz(one, tmp_path/"a.extxyz")
    write(tmp_path/"POSCAR", atoms, format="vasp", sort=True)
    write(tmp_path/"b.vasp", atoms, format="vasp", direct=True, sort=True)
    swapped = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell[[1, 0, 2]], pbc=True)  # a left-handed cell of the same crystal
    files = [tmp_path/"a.extxyz", tmp_path/"b.vasp", tmp_path/"POSCAR"]
    for given in (atoms, swapped, to_pymatgen(one), to_pymatgen(one)[0], tmp_path/"cifs", tmp_path/"cifs"/f"{one.ids[0]}.cif", *files):
        np.testing.assert_allclose(model.predict(given).values, wanted, atol=1e-3, err_msg=str(given))
    assert main(["predict", str(tmp_path), str(tmp_path/"cifs"), "--model", for_crystals]) == 0
    found = table(capsys.readouterr().out)
    assert len(found) == 4 and found["energy (eV/atom)"].std() < 1e-3


def test_a_folder_of_several_formats(molecules, for_molecules, tmp_path):
    write_xyz(molecules[500:502], tmp_path/"two.xyz")
    write(tmp_path/"one.pdb", to_ase(molecules[502])[0])
    (tmp_path/"README.md").write_text("not a structure")
    model = SCANN.from_pretrained(for_molecules, "cpu")
    np.testing.assert_allclose(np.sort(model.predict(tmp_path).values, axis=0), np.sort(model.predict(molecules[500:503]).values, axis=0),
                               atol=1e-3)


@pytest.mark.filterwarnings("ignore:.* was trained ")
def test_one_by_one_is_together(molecules, crystals, for_molecules, for_crystals, monkeypatch):
    monkeypatch.setattr("matattn.models.pretrained._PIECE", 100)
    for structures, name in ((molecules[600:640], for_molecules), (crystals[600:640], for_crystals)):
        model = SCANN.from_pretrained(name, "cpu")
        together = model.predict(structures)
        for row in range(0, 40, 7):
            alone = model.predict(structures[row])
            atoms = slice(structures.offsets[row], structures.offsets[row + 1])
            np.testing.assert_allclose(alone.values[0], together.values[row], atol=1e-4)
            np.testing.assert_allclose(alone.scores, together.scores[atoms], atol=1e-5)


# What is written ---------------------------------------------------------------------------------------------------------------------


def test_extended_xyz_is_read_by_ase_and_by_this_library(molecules, for_molecules, tmp_path, capsys):
    source, target = write_xyz(molecules[700:720], tmp_path/"in.xyz"), tmp_path/"new"/"out.extxyz"
    assert main(["predict", str(source), "--model", for_molecules, "-o", str(target)]) == 0
    assert "out.extxyz: 20 structures" in capsys.readouterr().out
    wanted = SCANN.from_pretrained(for_molecules, "cpu").predict(molecules[700:720])
    frames, ours = read(target, ":"), read_xyz(target)
    np.testing.assert_allclose([[frame.info["homo"], frame.info["gap"]] for frame in frames], wanted.values, atol=1e-6)
    np.testing.assert_allclose(np.column_stack([ours.targets["homo"], ours.targets["gap"]]), wanted.values, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([frame.arrays["homo_score"] for frame in frames]), wanted.scores[:, 0], atol=1e-6)
    np.testing.assert_allclose(np.concatenate([frame.arrays["gap_ratio"] for frame in frames]), wanted.ratios()[:, 1], atol=1e-4)
    for frame in frames:
        assert frame.arrays["homo_score"].sum() == pytest.approx(1, abs=1e-6)
        assert frame.arrays["gap_ratio"].mean() == pytest.approx(1, abs=1e-5)
        assert frame.info["homo_unit"] == "eV" and frame.info["file"] == str(source)
    assert ours.ids.tolist() == molecules.ids[700:720].tolist() and np.array_equal(ours.numbers, wanted.structures.numbers)
    np.testing.assert_allclose(ours.positions(), molecules[700:720].positions())


def test_crystals_keep_their_cells(crystals, for_crystals, tmp_path):
    write_xyz(crystals[500:503], tmp_path/"in.extxyz")
    assert main(["predict", str(tmp_path/"in.extxyz"), "--model", for_crystals, "-o", str(tmp_path/"out.extxyz")]) == 0
    for frame, cell in zip(read(tmp_path/"out.extxyz", ":"), crystals.cell[500:503], strict=True):
        assert frame.pbc.all() and frame.arrays["energy_score"].sum() == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(frame.cell.array, cell)


def test_the_default_file_of_extended_xyz(molecules, for_molecules, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_xyz(molecules[500], "in.xyz")
    assert main(["predict", "in.xyz", "--model", for_molecules, "--out", "extxyz"]) == 0
    assert len(read("predictions.extxyz", ":")) == 1
    before = Path("predictions.extxyz").stat().st_mtime_ns
    assert main(["predict", ".", "--model", for_molecules, "--out", "extxyz"]) == 2
    assert Path("predictions.extxyz").stat().st_mtime_ns == before
    assert main(["predict", ".", "--model", for_molecules, "--out", "extxyz", "--force"]) == 0
    assert len(read("predictions.extxyz", ":")) == 1  # its own output is no input


def test_several_models(molecules, for_molecules, folder, tmp_path, capsys):
    other = folder/"other.safetensors"
    other.write_bytes(Path(for_molecules).read_bytes())
    write_xyz(molecules[500:502], tmp_path/"in.xyz")
    assert main(["predict", str(tmp_path/"in.xyz"), "--model", for_molecules, "--model", str(other)]) == 0
    found = table(capsys.readouterr().out)
    assert found.columns.tolist()[4:] == [f"{name}.{target} (eV)" for name in ("toy-orbitals", "other") for target in ("homo", "gap")]
    assert np.array_equal(found["toy-orbitals.homo (eV)"], found["other.homo (eV)"])
    assert main(["predict", str(tmp_path/"in.xyz"), "--model", for_molecules, str(other), "-o", str(tmp_path/"out.xyz")]) == 0
    assert "toy_orbitals_homo_score" in read(tmp_path/"out.xyz", 0).arrays


def test_models_of_several_kinds(crystals, for_crystals, for_cgcnn, tmp_path, capsys):
    source, target = write_xyz(crystals[500:520], tmp_path/"in.extxyz"), tmp_path/"out.extxyz"
    ours, theirs = SCANN.from_pretrained(for_crystals, "cpu").predict(source), CGCNN.from_pretrained(for_cgcnn, "cpu").predict(source)
    assert theirs.scores is None and np.abs(ours.values - theirs.values).max() > 1e-3
    assert main(["predict", str(source), "--model", for_cgcnn, for_crystals]) == 0
    found = table(capsys.readouterr().out)
    assert found.columns.tolist()[4:] == ["cgcnn-toy.energy (eV/atom)", "toy-energy.energy (eV/atom)"]
    np.testing.assert_allclose(found.iloc[:, 4:], np.concatenate([theirs.values, ours.values], axis=1), rtol=1e-6)
    assert main(["predict", str(source), "--model", for_cgcnn, for_crystals, "-o", str(target)]) == 0
    for frame, value in zip(read(target, ":"), theirs.values[:, 0], strict=True):
        assert frame.info["cgcnn_toy_energy"] == pytest.approx(value, abs=1e-6) and frame.info["cgcnn_toy_energy_unit"] == "eV/atom"
        assert {name for name in frame.arrays if "energy" in name} == {"toy_energy_energy_score", "toy_energy_energy_ratio"}
    assert main(["predict", str(source), "--model", for_cgcnn, "-o", str(tmp_path/"alone.extxyz")]) == 0
    assert set(read(tmp_path/"alone.extxyz", 0).arrays) == {"numbers", "positions"}
    np.testing.assert_allclose(read_xyz(tmp_path/"alone.extxyz").targets["energy"], theirs.values[:, 0], atol=1e-6)


def test_a_file_that_is_there_is_kept(molecules, for_molecules, tmp_path, capsys):
    source, target = write_xyz(molecules[500], tmp_path/"in.xyz"), tmp_path/"out.csv"
    target.write_text("mine")
    assert main(["predict", str(source), "--model", for_molecules, "-o", str(target)]) == 2
    assert sentence(capsys.readouterr()) == f"{target}: it is there already; name another file, or add --force to replace it."
    assert target.read_text() == "mine"
    assert main(["predict", str(source), "--model", for_molecules, "-o", str(target), "--force"]) == 0
    assert len(table(target.read_text())) == 1
    assert main(["predict", str(source), "--model", for_molecules, "-o", str(source), "--force"]) == 2
    assert "it is one of the files to be read" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "extxyz"])
def test_nothing_half_written_stays(molecules, for_molecules, tmp_path, monkeypatch, ending):
    source = write_xyz(molecules[500], tmp_path/"in.xyz")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("matattn.core.runtime.os.replace", interrupted)
    assert main(["predict", str(source), "--model", for_molecules, "-o", str(tmp_path/f"out.{ending}")]) == 130
    assert [file.name for file in tmp_path.iterdir()] == ["in.xyz"]


# Unusual structures ------------------------------------------------------------------------------------------------------------------


def test_an_atom_alone(for_molecules):
    model = SCANN.from_pretrained(for_molecules, "cpu")
    with pytest.warns(UserWarning, match=r"structure '0' \(1 atom\)"):
        found = model.predict(Atoms("O"))
    assert np.isfinite(found.values).all() and found.scores.tolist() == [[1., 1.]]


def test_a_crystal_of_500_atoms(for_crystals, tmp_path, capsys):
    write(tmp_path/"POSCAR", bulk("NaCl", "rocksalt", a=5.64).repeat((5, 5, 10)), format="vasp")
    assert main(["predict", str(tmp_path/"POSCAR"), "--model", for_crystals]) == 0
    told = capsys.readouterr()
    assert table(told.out)["atoms"].tolist() == [500] and np.isfinite(table(told.out)["energy (eV/atom)"]).all()
    assert "warning: toy-energy was trained on structures of " in told.err and "for structure 'POSCAR' (500 atoms)." in told.err


def test_elements_outside_the_training_part(for_molecules, tmp_path, capsys):
    write(tmp_path/"hf.xyz", Atoms("HF", [[0, 0, 0], [0, 0, .92]]), format="xyz")
    assert main(["predict", str(tmp_path/"hf.xyz"), "--model", for_molecules]) == 0
    told = capsys.readouterr().err
    assert "matattn: warning: F: toy-orbitals was trained without; do not trust its predictions for structure 'hf'." in told
    model = SCANN.from_pretrained(for_molecules, "cpu")
    with pytest.warns(UserWarning, match="F: toy-orbitals was trained without"):
        model.predict(tmp_path/"hf.xyz")


def test_elements_that_the_model_has_no_numbers_for(molecules, for_molecules, tmp_path, capsys):
    write(tmp_path/"salt.xyz", Atoms("NaCl", [[0, 0, 0], [0, 0, 2.36]]), format="xyz")
    wanted = ("structure 'salt': toy-orbitals has no numbers for Na (it knows elements up to F); leave it out, or choose another model "
              "(see `matattn models`).")
    with pytest.raises(MatattnError) as error:
        SCANN.from_pretrained(for_molecules, "cpu").predict(tmp_path/"salt.xyz")
    assert str(error.value) == wanted
    assert main(["predict", str(tmp_path/"salt.xyz"), "--model", for_molecules]) == 2
    assert sentence(capsys.readouterr()) == f"{tmp_path/'salt.xyz'}: {wanted}"
    write_xyz(molecules[500], tmp_path/"good.xyz")
    assert main(["predict", str(tmp_path), "--model", for_molecules]) == 1
    told = capsys.readouterr()
    assert len(table(told.out)) == 1 and wanted in told.err


# Wrong input -------------------------------------------------------------------------------------------------------------------------


def test_crystals_for_a_model_of_molecules(crystals, for_molecules, tmp_path, capsys):
    write_xyz(crystals[0], tmp_path/"in.extxyz")
    assert main(["predict", str(tmp_path/"in.extxyz"), "--model", for_molecules]) == 2
    assert sentence(capsys.readouterr()) == (f"{tmp_path/'in.extxyz'}: it holds crystals, and the model is for molecules; choose another "
                                             "model, `matattn models` lists them (for a molecule in a box, remove the cell).")
    with pytest.raises(MatattnError, match=r"it is one of the crystals, and toy-orbitals is for molecules; .* set pbc to False"):
        SCANN.from_pretrained(for_molecules, "cpu").predict(crystals[0])


def test_models_of_two_kinds(molecules, for_molecules, for_crystals, tmp_path, capsys):
    write_xyz(molecules[0], tmp_path/"in.xyz")
    assert main(["predict", str(tmp_path/"in.xyz"), "--model", for_molecules, for_crystals]) == 2
    assert "models for molecules apart from models for crystals" in sentence(capsys.readouterr())


def test_files_that_are_no_structures(molecules, for_molecules, tmp_path, capsys):
    write_xyz(molecules[500], tmp_path/"good.xyz")
    bad = {"prose.xyz": "Dear reader\n", "cut.xyz": "3\nwater\nO 0 0 0\n", "empty.cif": "", "twice.xyz": "2\n\nH 0 0 0\nH 0 0 0\n",
           "notes.txt": "nothing", "word.sdf": "no molecule\n"}
    for name, text in bad.items():
        (tmp_path/name).write_text(text)
    files = [str(tmp_path/name) for name in ("good.xyz", *bad, "absent.xyz")]
    assert main(["predict", *files, "--model", for_molecules]) == 1
    told = capsys.readouterr()
    assert len(table(told.out)) == 1
    lines = told.err.splitlines()
    assert len(lines) == len(bad) + 1
    for line, name in zip(lines, (*bad, "absent.xyz"), strict=True):
        assert line.startswith("matattn: ") and name in line and line.endswith("."), line
    assert main(["predict", *files[1:], "--model", for_molecules, "-o", str(tmp_path/"out.csv")]) == 2
    assert not (tmp_path/"out.csv").exists()


def test_bad_frames_do_not_stop_the_good_ones(molecules, for_molecules, tmp_path, capsys):
    good = write_xyz(molecules[500:502], tmp_path/"good.xyz").read_text()
    closer, infinite = "2\n\nH 0 0 0\nH 0 0 0\n", "1\n\nH nan 0 0\n"
    (tmp_path/"some.xyz").write_text(good + closer + infinite)
    assert main(["predict", str(tmp_path/"some.xyz"), "--model", for_molecules]) == 1
    told = capsys.readouterr()
    assert table(told.out)["id"].tolist() == ["some/0", "some/1"]
    assert sentence(told).startswith(f"{tmp_path/'some.xyz'}: 2 frames are left out, the first is ")
    (tmp_path/"one.xyz").write_text(closer + good)
    assert main(["predict", str(tmp_path/"one.xyz"), "--model", for_molecules]) == 1
    told = capsys.readouterr()
    assert len(table(told.out)) == 2 and "a frame is left out" in sentence(told) and "closer than" in told.err
    with pytest.raises(MatattnError, match="closer than"):  # in Python all that was given is predicted, or nothing
        SCANN.from_pretrained(for_molecules, "cpu").predict(tmp_path/"one.xyz")


def test_molecules_with_a_charge(molecules, for_molecules):
    model, neutral = SCANN.from_pretrained(for_molecules, "cpu"), to_ase(molecules[500])[0]
    ion = to_pymatgen(molecules[500])[0]
    ion.set_charge_and_spin(1)
    charged = neutral.copy()
    charged.set_initial_charges([-1.] + [0.]*(len(charged) - 1))
    for given, count in ((ion, "1 molecule with"), ([neutral, charged, charged], "2 molecules with")):
        with pytest.warns(UserWarning, match=f"{count} a charge: toy-orbitals knows none"):
            model.predict(given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(neutral)


def test_odd_molecules_in_files(for_molecules, tmp_path, capsys):
    "A charge, two molecules in one frame, and bohr: a value each, and a warning."
    water = "O 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
    bohr = "O 0 0 0\nH 1.814 0 0\nH -0.454 1.757 0\n"
    for name, atoms, comment in (("ion", water, "charge=1"), ("two", water + water.replace(" 0\n", " 9\n"), ""), ("bohr", bohr, "")):
        comment = f"Properties=species:S:1:pos:R:3 {comment}"
        (tmp_path/f"{name}.xyz").write_text(f"{atoms.count(chr(10))}\n{comment}\n{atoms}")
    names = [str(tmp_path/f"{name}.xyz") for name in ("ion", "two", "bohr")]
    assert main(["predict", *names, "--model", for_molecules]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 4 and err.count("warning") == 3
    for words in ("no two atoms are near enough for a bond in structure", "several molecules stand apart", "has a charge; predictions"):
        assert words in err


def test_charges_of_the_ions_of_a_crystal_are_no_charge(crystals, for_crystals, for_cgcnn):
    salt = to_ase(crystals[0])[0]
    salt.set_initial_charges([1.]*len(salt))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (SCANN.from_pretrained(for_crystals, "cpu"), CGCNN.from_pretrained(for_cgcnn, "cpu")):
            model.predict(salt)


def test_one_import_is_enough():
    program = "from matattn.scann import SCANN; SCANN.from_pretrained"
    assert subprocess.run([sys.executable, "-c", program], check=False, capture_output=True).returncode == 0


def test_an_empty_folder(for_molecules, tmp_path, capsys):
    assert main(["predict", str(tmp_path), "--model", for_molecules]) == 2
    assert sentence(capsys.readouterr()).startswith(f"{tmp_path}: there is no structure file in it")


def test_no_files_and_no_model(capsys):
    for arguments, wanted in ((["--model", "qm9-homo"], "required: FILE"), (["a.xyz"], "required: --model"),
                              (["a.xyz", "--model", "x", "--jobs", "0"], "0 is no whole number from 1"),
                              (["a.xyz", "--model", "x", "--out", "json"], "invalid choice: 'json'")):
        with pytest.raises(SystemExit) as end:
            main(["predict", *arguments])
        assert end.value.code == 2 and wanted in capsys.readouterr().err
    with pytest.raises(MatattnError, match="give at least one model"):
        predict_files(["a.xyz"], [])


def test_an_unknown_model(for_molecules, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(modelfiles, "shipped_folder", lambda: tmp_path)
    assert main(["predict", "a.xyz", "--model", "qm9-homo"]) == 2
    assert sentence(capsys.readouterr()) == ("there is no model 'qm9-homo'; none comes with this installation; or give the path of a "
                                             ".safetensors file.")
    for name in ("qm9-homo", "mp-band-gap"):
        (tmp_path/f"{name}.safetensors").write_bytes(Path(for_molecules).read_bytes())
    assert main(["predict", "a.xyz", "--model", "qm9-hom"]) == 2
    assert sentence(capsys.readouterr()) == ("there is no model 'qm9-hom' (did you mean qm9-homo?); there are: mp-band-gap, qm9-homo; or "
                                             "give the path of a .safetensors file.")
    assert main(["predict", "a.xyz", "--model", str(folder/"absent.safetensors")]) == 2
    assert sentence(capsys.readouterr()).endswith("absent.safetensors: there is no such model file; check the path, or choose one that "
                                                  "`matattn models` lists.")


def test_all_known_names_are_told(for_molecules, for_cgcnn, embedding, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(modelfiles, "shipped_folder", lambda: tmp_path)
    for name, file in (("qm9-homo", for_molecules), ("cgcnn-mp-ef", for_cgcnn), ("uae-mt4", embedding)):
        (tmp_path/f"{name}.safetensors").write_bytes(Path(file).read_bytes())
    assert main(["predict", "a.cif", "--model", "cgcnn-mp-eg"]) == 2
    assert "(did you mean cgcnn-mp-ef?); there are: cgcnn-mp-ef, qm9-homo; or give" in sentence(capsys.readouterr())
    assert main(["models", "mt4"]) == 2
    assert "there are: cgcnn-mp-ef, qm9-homo, uae-mt4; or give" in sentence(capsys.readouterr())
    with pytest.raises(MatattnError, match="there is no trained back end 'cgcnn-mp-eg' .did you mean cgcnn-mp-ef.*; there are: cgcnn"):
        CGCNN.from_pretrained("mp-eg")
    with pytest.raises(MatattnError, match="there is no embedding 'uae-mt5' .did you mean uae-mt4.*; there are: uae-mt4;"):
        UAE.load("mt5")
    assert CGCNN.from_pretrained("mp-ef", "cpu").name == CGCNN.from_pretrained("cgcnn-mp-ef", "cpu").name == "cgcnn-mp-ef"
    assert np.array_equal(UAE.load("mt4")["He"], UAE.load("uae-mt4")["He"])


def test_a_file_of_another_kind(for_molecules, for_cgcnn, embedding, tmp_path, capsys):
    for opened, file, kinds in ((SCANN.from_pretrained, for_cgcnn, "'trained back end' where 'SCANN model' is"),
                                (CGCNN.from_pretrained, for_molecules, "'SCANN model' where 'trained back end' is"),
                                (UAE.load, for_molecules, "'SCANN model' where 'embedding' is")):
        with pytest.raises(MatattnError, match=f"^{file}: it is of the kind {kinds} wanted; choose another file .*open_model.$"):
            opened(file)
    assert main(["predict", "a.cif", "--model", embedding]) == 2
    assert f"{embedding}: it is of the kind 'embedding' where 'SCANN model' or 'trained back end' is" in sentence(capsys.readouterr())
    save_file({"x": torch.zeros(2)}, tmp_path/"foreign.safetensors")
    assert main(["predict", "a.cif", "--model", str(tmp_path/"foreign.safetensors")]) == 2
    assert "foreign.safetensors: it is no SCANN model or trained back end of this library; write one with" in sentence(capsys.readouterr())
    (tmp_path/"list.safetensors").write_bytes(save({}, {"about": "[1]"}))
    with pytest.raises(MatattnError, match="list.safetensors: it is no embedding of this library; write one with UAE.save."):
        UAE.load(tmp_path/"list.safetensors")


def resaved(source: str, target: Path, change) -> str:
    "A model file with another description."
    with safe_open(source, "pt") as file:
        about, tensors = json.loads(file.metadata()["about"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(about)
    save_file(tensors, target, {"about": json.dumps(about)})
    return str(target)


def test_weights_that_do_not_fit(for_molecules, for_cgcnn, tmp_path, capsys):
    for name, change in (("layers", {"layers": 3}), ("width", {"width": 64}), ("new", {"unheard": 1})):
        path = resaved(for_molecules, tmp_path/f"{name}.safetensors", lambda about, change=change: about["config"].update(change))
        assert main(["predict", "a.xyz", "--model", path]) == 2
        told = sentence(capsys.readouterr())
        assert told.startswith(f"{path}: its weights do not fit its sizes (") and told.endswith("); fetch or train it again.")
    path = resaved(for_cgcnn, tmp_path/"blocks.safetensors", lambda about: about["config"].update(width=16))
    assert main(["predict", "a.xyz", "--model", path]) == 2
    assert sentence(capsys.readouterr()).startswith(f"{path}: its weights do not fit its sizes (")
    path = resaved(for_molecules, tmp_path/"bare.safetensors", lambda about: about.pop("seen"))
    assert main(["predict", "a.xyz", "--model", path]) == 2
    assert sentence(capsys.readouterr()) == f"{path}: it is no SCANN model of this library; write one with save_model."


@pytest.mark.parametrize("keep", [0, 5, 1000, -10])
def test_a_cut_model_file(for_molecules, for_cgcnn, embedding, tmp_path, capsys, keep):
    path = tmp_path/"cut.safetensors"
    for whole in (for_molecules, for_cgcnn):
        path.write_bytes(Path(whole).read_bytes()[:keep])
        assert main(["predict", "a.xyz", "--model", str(path)]) == 2
        told = sentence(capsys.readouterr())
        assert told.startswith(f"{path}: the model cannot be read (") and told.endswith("); fetch or train it again.")
    path.write_bytes(Path(embedding).read_bytes()[:keep])
    with pytest.raises(MatattnError, match="cut.safetensors: the model cannot be read"):
        UAE.load(path)


# The list and the help ---------------------------------------------------------------------------------------------------------------


def test_the_list_of_models(for_molecules, for_crystals, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(modelfiles, "shipped_folder", lambda: tmp_path)
    assert main(["models"]) == 0 and capsys.readouterr().out.startswith("No model comes with this installation")
    (tmp_path/"qm9-orbitals.safetensors").write_bytes(Path(for_molecules).read_bytes())
    (tmp_path/"mp-energy.safetensors").write_bytes(Path(for_crystals).read_bytes())
    assert main(["models"]) == 0
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["model", "target", "unit"] and [row.split()[:3] for row in rows] == [
        ["mp-energy", "energy", "eV/atom"], ["qm9-orbitals", "homo", "eV"], ["qm9-orbitals", "gap", "eV"]]
    assert all(word in rows[1] for word in ("H C N O", "molecules of ", "made here", "0.4 eV", "CC0-1.0"))
    (tmp_path/"mp-energy.safetensors").write_bytes(b"damaged")
    assert main(["models"]) == 2
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 4 and "mp-energy.safetensors: the model cannot be read" in told.err


def test_the_list_of_every_kind(for_crystals, for_cgcnn, embedding, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(modelfiles, "shipped_folder", lambda: tmp_path)
    for name, file in (("mp-energy", for_crystals), ("cgcnn-mp-ef", for_cgcnn), ("uae-mt4", embedding)):
        (tmp_path/f"{name}.safetensors").write_bytes(Path(file).read_bytes())
    assert main(["models"]) == 0
    models, embeddings = capsys.readouterr().out.split("\n\n")
    rows = models.splitlines()[2:]
    assert [row.split()[:3] for row in rows] == [["cgcnn-mp-ef", "energy", "eV/atom"], ["mp-energy", "energy", "eV/atom"]]
    assert rows[0].endswith("1 eV/atom   MIT") and "crystals of " in rows[0]
    header, _, row = embeddings.splitlines()
    assert header.split() == ["embedding", "elements", "width", "data", "targets"]
    assert re.split("  +", row) == ["uae-mt4", "20, 1 rare", "8", "made here", "energy, gap"]
    assert main(["models", "mp-energy"]) == 0 and len(capsys.readouterr().out.splitlines()) == 3
    assert main(["models", "uae-mt4"]) == 0 and capsys.readouterr().out == embeddings


def test_what_is_shown_in_a_session(molecules, for_molecules):
    model = SCANN.from_pretrained(for_molecules, "cpu")
    assert repr(model).startswith("<toy-orbitals: homo (eV), gap (eV) of molecules; H C N O; ")
    found = model.predict(molecules[500:510])
    assert len(found) == 10 and repr(found).startswith("<Predictions for 10 molecules: homo -") and repr(found).endswith(" eV>")
    assert repr(model.predict(molecules[500])).startswith(f"<Predictions for {molecules[500].formulas(False)[0]} ('{molecules.ids[500]}')")
    atoms = found.atoms()
    assert atoms.columns.tolist() == ["id", "atom", "element", "homo score", "homo ratio", "gap score", "gap ratio"]
    np.testing.assert_allclose(atoms.groupby("id", sort=False)["gap score"].sum(), 1, atol=1e-5)
    assert "homo (eV)" in found._repr_html_()
