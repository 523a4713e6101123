"""Public sets by name: raw files made in the published layouts become prepared sets that hold the rows they were made from."""

import json
import tarfile
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from matattn.core.data import DATASETS
from matattn.core.runtime import MatattnError, cache_dir, data_dir, file_digest
from matattn.structures.prepared import contains, differences, load_structures, prepare, prepared_folder, verify_prepared
from matattn.structures.preparing import PREPARE
from matattn.structures.published import published_split
from matattn.structures.sets import StructureSet

try:
    DATA = data_dir()
except MatattnError:
    DATA = None
needs_data = pytest.mark.skipif(DATA is None, reason="MATATTN_DATA names no data folder")

CIF = """data_{name}
_symmetry_space_group_name_H-M   'P 1'
_cell_length_a   {a}
_cell_length_b   {a}
_cell_length_c   {a}
_cell_angle_alpha   90.0
_cell_angle_beta   90.0
_cell_angle_gamma   90.0
loop_
 _symmetry_equiv_pos_as_xyz
  'x, y, z'
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
  Na  Na0  0.0  0.0  0.0  1
  Cl  Cl1  0.5  0.5  0.5  1
"""
HOIP = """# HOIP entry ID: {name}
# Total number of atoms: 2
# Volume of the unit cell (A^3): {volume}
# Label: Test
# Organic cation chemical formula: none
# Bandgap, HSE06 (eV): 1
"""


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    "Nothing but a cache of its own."
    monkeypatch.delenv("MATATTN_DATA", raising=False)
    monkeypatch.setenv("MATATTN_OFFLINE", "1")
    monkeypatch.setenv("MATATTN_CACHE", str(tmp_path/"cache"))


@pytest.fixture
def publish(tmp_path, monkeypatch):
    "Put made-up raw files where a download would, under an entry that knows no digest of them."
    def place(name, *contents):
        entry = DATASETS[name]
        files = tuple(replace(file, sha256="", md5="", size=0) for file in entry.files)
        monkeypatch.setitem(DATASETS, name, replace(entry, files=files, content="", members={}))
        for file, write in zip(files, contents, strict=True):
            path = tmp_path/"cache"/file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
        return DATASETS[name]

    return place


def zipped(members):
    "A function that writes a zip of one folder, as GitHub's archives are."
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in members.items():
                archive.writestr(f"repository-4f3c76c/{name}", text)
    return write


def cifs(folder, names, form="{}.cif"):
    return {f"{folder}/{form.format(name)}": CIF.format(name=name, a=4 + k) for k, name in enumerate(names)}


def test_mp36k(publish):
    publish("mp36k", zipped({**cifs("data", [0, 2, 10]), "README.md": "x",
                             "data/id_prop.csv": "name,formation_energy,band_gap,fermy_energy,volumn,total_magnetization\n"
                                                 "0,-1.25,0,1.5,64,0\n10,-3.10000000000000001,0.5,None,9,2\n"
                                                 "2,0.3333333333333333,0,1,125,1\n",
                             "data/material_id_hash.csv": "0,mp-1\n2,mp-1000\n10,mp-22\n"}))
    s = load_structures("mp36k")
    assert s.ids.tolist() == ["mp-1", "mp-1000", "mp-22"] and s.name == "mp36k" and s.fractional
    assert s.targets["formation_energy_per_atom"].tolist() == [-1.25, 0.3333333333333333, -3.1]
    assert np.isnan(s.targets["fermi_energy"]).tolist() == [False, False, True]
    assert s.cell[:, 0, 0].tolist() == [4, 5, 6] and s.units == DATASETS["mp36k"].units
    assert contains(s, s[[2, 0]]) and isinstance(s.coords, np.memmap)


def test_elasticity(publish):
    publish("elasticity", zipped({**cifs("data_elasticity", [0, 1]), "data_elasticity/id_prop.csv": "0,131.0,74,0.26\n1,191.0,97,0.28\n",
                                  "data_elasticity/material_id_hash.csv": "0,mp-1\n"}))
    s = load_structures("elasticity", targets=["poisson_ratio"])
    assert s.ids.tolist() == ["0", "1"] and s.targets["poisson_ratio"].tolist() == [.26, .28] and s.units == {"poisson_ratio": "1"}


def test_castelli(publish):
    publish("castelli", zipped({**cifs("Data/CIF_files/CMR", ["perov_0", "perov_2"]), "Data/csv_files/cmr_perovskite_data_total.csv":
                                ",id,fermi level,fermi width,e_form,gap is direct,mu_b,formula,vbm,cbm,gap gllbsc\n"
                                "0,perov_2.cif,0,0,1.5,True,0.1,X,6,6,0.6\n1,perov_0.cif,0,0,2.16,True,0.019744776204762008,Y,6,6,0.0\n"}))
    s = load_structures("castelli")
    assert s.ids.tolist() == ["perov_0", "perov_2"] and s.targets["magnetic_moment"].tolist() == [0.019744776204762008, .1]
    assert s.targets["band_gap_gllbsc"].tolist() == [0, .6]


def test_hoip_names_what_is_missing(publish):
    text = CIF.format(name=1, a=4) + HOIP.format(name=1, volume=64)
    publish("hoip", zipped({"mml/datasets/hoip/perov (1).cif": text}))
    with pytest.raises(MatattnError, match=r"perov \(1\)\.cif: the comment"):
        load_structures("hoip")
    assert not prepared_folder("hoip").exists()


def test_mp2018_and_a_record_that_cannot_be_read(publish):
    records = [{"material_id": f"mp-{k}", "structure": CIF.format(name=k, a=4 + k), "graph": {}, "formation_energy_per_atom": -k,
                "band_gap": .5} for k in range(3)] + [{"material_id": "mp-9", "structure": "no CIF", "formation_energy_per_atom": 0,
                                                       "band_gap": 0}]
    publish("mp2018", zipped({}))

    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("mp.2018.6.1.json", json.dumps(records))
    publish("mp2018", write)
    s = load_structures("mp2018")
    assert s.ids.tolist() == ["mp-0", "mp-1", "mp-2"] and s.targets["formation_energy_per_atom"].tolist() == [0, -1, -2]
    assert [where for where, _ in load_structures("mp2018").report.skipped] != []
    with pytest.raises(MatattnError, match="needs all 69,239 rows"):
        published_split("mp2018")


def test_jarvis(publish):
    atoms = {"lattice_mat": [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "coords": [[0, 0, 0], [.5, .5, .5]], "elements": ["Na", "Cl"],
             "cartesian": False}
    record = {"jid": "JVASP-1", "atoms": atoms, "formation_energy_peratom": -2., "optb88vdw_bandgap": 5., "mbj_bandgap": "na", "ehull": 0}

    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("jdft_3d-12-12-2022.json", json.dumps([record, {**record, "jid": "JVASP-2", "mbj_bandgap": 6.5}]))
    publish("jarvis_dft3d", write)
    s = load_structures("jarvis_dft3d")
    assert s.ids.tolist() == ["JVASP-1", "JVASP-2"] and s.targets["ehull"].tolist() == [0, 0]
    assert np.isnan(s.targets["mbj_bandgap"]).tolist() == [True, False]


def qm9_files(path, molecules):
    with tarfile.open(path, "w:bz2") as archive:
        for number, (symbols, coords) in molecules.items():
            rows = "\n".join(f"{symbol}\t{x}\t{y}\t{z}\t0.1" for symbol, (x, y, z) in zip(symbols, coords, strict=True))
            values = "\t".join(str(value) for value in [1, 1, 1, 0.5, 6.3, -.3, .1, .4, "1.9*^1", .02, -76.4, -76.4, -76.4, -76.5, 6])
            text = f"{len(symbols)}\ngdb {number}\t{values}\n{rows}\n1\t2\t3\nO\tO\nInChI=1S\tInChI=1S\n"
            (path.parent/"one.xyz").write_text(text)
            archive.add(path.parent/"one.xyz", f"dsgdb9nsd_{number:06d}.xyz")


def test_qm9_with_its_published_split(publish):
    water = ("OHH", [(0, 0, 0), (0, .757, .587), ("0", "-.757", "5.87*^-1")])
    header = "\n"*9
    publish("qm9", lambda path: qm9_files(path, {3: water, 21: water, 1000: water}),
            lambda path: path.write_text(header + "".join(f"{number} C 1 2 3\n" for number in range(1000, 4054)) + "end\n"))
    s = load_structures("qm9")
    assert s.ids.tolist() == ["gdb_3", "gdb_21"] and s.coords.dtype == np.float32 and s.units == DATASETS["qm9"].units
    assert s.coords[2].tolist() == np.float32([0, -.757, .587]).tolist() and s.targets["r2"].tolist() == [19, 19]
    parts = published_split("qm9")
    assert sorted(np.concatenate(list(parts.values())).tolist()) == ["gdb_21", "gdb_3"] and list(parts) == ["train", "valid", "test"]


def test_zenodo_sets(publish):
    frame = "2\n-5.5\t-3.9\t-100.25\nC 0 0 0\nC 0 0 1.4\n"
    publish("fullerene_md_all", zipped({"C70.xyz": frame, "C60.xyz": frame*2}))
    s = load_structures("fullerene_md_all")
    assert s.ids.tolist() == ["C60/0", "C60/1", "C70"] and s.targets["total_energy"].tolist() == [-100.25]*3
    publish("pt_graphene", zipped({"a.xyz": "1\n-10.5 -10\nPt 0 0 0\n"}))
    assert load_structures("pt_graphene").targets["energy"].tolist() == [-.5]


def test_members_that_are_at_hand_pin_an_archive(publish, monkeypatch):
    members = DATASETS["mp36k"].members
    publish("mp36k", zipped(cifs("data", [156])))
    monkeypatch.setitem(DATASETS, "mp36k", replace(DATASETS["mp36k"], members=members))
    with pytest.raises(MatattnError, match="data/156.cif has sha256 .* expected 0fbecc8b.*run `matattn data get mp36k`"):
        load_structures("mp36k")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"<html>"])
def test_damaged_archives(publish, content):
    publish("mp36k", lambda path: path.write_bytes(content))
    with pytest.raises(MatattnError) as error:
        load_structures("mp36k")
    assert "\n" not in str(error.value) and not prepared_folder("mp36k").exists()


def test_climbing_archive(publish, tmp_path):
    publish("mp36k", zipped({"../../../evil.txt": "x"}))
    with pytest.raises(MatattnError, match="points outside"):
        load_structures("mp36k")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_table_without_a_row(publish):
    publish("mp36k", zipped({**cifs("data", [0, 1]), "data/id_prop.csv": "0,1,2,3,4,5\n", "data/material_id_hash.csv": "0,mp-1\n"}))
    with pytest.raises(MatattnError, match="id_prop.csv: there is no row for 1 CIFs, first '1'"):
        load_structures("mp36k")


def test_new_raw_files_make_the_prepared_form_anew(publish):
    rows = "0,1,2,3\n1,1,2,3\n"
    publish("elasticity", zipped({**cifs("data_elasticity", [0, 1]), "data_elasticity/id_prop.csv": rows}))
    first = load_structures("elasticity").digest()
    entry = publish("elasticity", zipped({**cifs("data_elasticity", [0, 1]), "data_elasticity/id_prop.csv": rows.replace("3", "4")}))
    assert load_structures("elasticity").digest() == first  # nothing tells that the file is another one
    raw = cache_dir()/entry.files[0].path
    DATASETS["elasticity"] = replace(entry, files=(replace(entry.files[0], sha256=file_digest(raw), size=raw.stat().st_size),))
    assert load_structures("elasticity").targets["poisson_ratio"].tolist() == [4, 4] and verify_prepared("elasticity")


def test_one_of_many_prepares(publish, monkeypatch):
    publish("elasticity", zipped({**cifs("data_elasticity", [0]), "data_elasticity/id_prop.csv": "0,1,2,3\n"}))
    made, real = [], PREPARE["elasticity"]
    monkeypatch.setitem(PREPARE, "elasticity", lambda *given: made.append(1) or real(*given))
    found = []
    threads = [threading.Thread(target=lambda: found.append(len(prepare("elasticity")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1]*4 and made == [1]


def test_a_cache_that_cannot_be_written(publish, tmp_path):
    publish("elasticity", zipped({**cifs("data_elasticity", [0]), "data_elasticity/id_prop.csv": "0,1,2,3\n"}))
    (tmp_path/"cache"/"prepared").write_text("in the way")
    with pytest.raises(MatattnError, match="set MATATTN_CACHE"):
        load_structures("elasticity")


@needs_data
def test_a_part_of_another_content_is_refused(publish, monkeypatch):
    publish("hoip", lambda path: path.write_bytes(b""))
    whole = StructureSet([1], np.zeros((1, 3)), [1], np.eye(3)[None]*4, ids=["1"], fractional=True)
    monkeypatch.setitem(PREPARE, "hoip", lambda *given: whole)
    (prepared_folder("hoip").parents[1]/DATASETS["hoip"].files[0].path).write_bytes(b"x")
    monkeypatch.setenv("MATATTN_DATA", str(DATA))
    with pytest.raises(MatattnError, match="1,346 of the 1,346 rows .* differ from the published files, first '1'"):
        load_structures("hoip", source="published")


@needs_data
def test_raw_crystals_hold_the_prepared_part(publish, monkeypatch):
    "The 500 raw CIFs, packed as the repository has them, become rows that equal the arrays bit for bit."
    with zipfile.ZipFile(DATA/"raw_samples"/"mp_cif_500.zip") as archive:
        names = [name.removesuffix(".cif") for name in archive.namelist() if name.endswith(".cif")]
        members = {f"data/{k}.cif": archive.read(f"{name}.cif") for k, name in enumerate(names)}
        energies = dict(line.split(",") for line in archive.read("id_prop.csv").decode().split())
    monkeypatch.setenv("MATATTN_DATA", str(DATA))
    part = load_structures("mp36k")
    part = part[np.isin(part.ids, names)]
    row = {name: k for k, name in enumerate(part.ids.tolist())}
    other = [f"{part.targets[t][row[name]]!r}" for name in names for t in ("band_gap", "fermi_energy", "magnetization")]
    table = "".join(f"{k},{energies[name]},{other[3*k]},{other[3*k + 1]},1,{other[3*k + 2]}\n" for k, name in enumerate(names))
    members |= {"data/id_prop.csv": table.replace("np.float64(", "").replace(")", ""),
                "data/material_id_hash.csv": "".join(f"{k},{name}\n" for k, name in enumerate(names))}
    monkeypatch.delenv("MATATTN_DATA")
    publish("mp36k", zipped(members))
    whole = load_structures("mp36k")
    assert len(part) == 500 and differences(whole, part) == [] and len(differences(whole[1:], part)) == 1


@needs_data
def test_raw_perovskites_hold_the_prepared_part(publish, monkeypatch):
    with zipfile.ZipFile(DATA/"raw_samples"/"hoip_cif_60.zip") as archive:
        publish("hoip", zipped({f"mml/datasets/hoip/{name}": archive.read(name) for name in archive.namelist()}))
    raw = load_structures("hoip")
    monkeypatch.setenv("MATATTN_DATA", str(DATA))
    assert len(raw) == 60 and contains(load_structures("hoip"), raw)


@needs_data
@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if name in PREPARE and (entry.prepared or entry.content)])
def test_the_sets_at_hand(name, monkeypatch):
    monkeypatch.setenv("MATATTN_DATA", str(DATA))
    s, entry = load_structures(name), DATASETS[name]
    assert len(s) == (entry.prepared_rows or entry.rows) and s.units == entry.units
    assert (s.digest() == entry.content) if entry.content else ", part" in s.name
    assert len(set(s.ids.tolist())) == len(s)


@needs_data
def test_damaged_arrays_in_the_data_folder(tmp_path, monkeypatch):
    (tmp_path/"data"/"hoip").mkdir(parents=True)
    content = (DATA/"hoip"/"hoip.npz").read_bytes()
    (tmp_path/"data"/"hoip"/"hoip.npz").write_bytes(content[:-1] + b"x")
    monkeypatch.setenv("MATATTN_DATA", str(tmp_path/"data"))
    with pytest.raises(MatattnError, match="hoip.npz: sha256 is .* replace the file"):
        load_structures("hoip")
