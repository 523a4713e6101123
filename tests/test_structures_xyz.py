"Reading xyz, QM9 and JSON: the real files, and files that are cut short, garbled or wrong."

import gzip
import json
import os
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matattn.core.runtime import MatattnError
from matattn.structures.json import read_jarvis, read_matbench, read_mp_json
from matattn.structures.qm9 import KCAL_PER_HARTREE, atomization_energies, read_qm9_xyz
from matattn.structures.qm9_sdf import read_qm9_sdf
from matattn.structures.qm9_split import split_agrees
from matattn.structures.sets import SYMBOLS, StructureSet, read_arrays
from matattn.structures.writing import write_xyz
from matattn.structures.xyz import read_xyz

mangled = settings(max_examples=60, deadline=10_000, database=None, derandomize=True,
                   suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
ENERGIES = ["homo", "lumo", "total_energy"]


@cache
def data() -> Path:
    "The folder with the real data."
    folder = Path(os.environ.get("MATATTN_DATA") or "unset")
    if not folder.is_dir():
        pytest.skip("real data: MATATTN_DATA names no folder")
    return folder


def outcome(read, path: Path) -> StructureSet | None:
    "The set, or None when it was refused as it should be: one sentence that names the file."
    try:
        found = read()
    except MatattnError as error:
        message = str(error)
        assert path.name in message and "\n" not in message and message.endswith("."), message
        assert len(message) < 600, message
        return None
    assert len(found) and found.report.kept == len(found)
    assert np.isfinite(found.positions()).all() and found.numbers.min() >= 1 and found.numbers.max() <= 118
    assert all(np.isfinite(values[~np.isnan(values)]).all() for values in found.targets.values())
    return found


PIECES = [b"nan", b"inf", b"1e999", b"\n", b"\n\n", b"Xx", b'"', b"{", b"[", b"\xff", b"\r", b" ", b"9"*30, b"="]


@st.composite
def damage(draw, text: bytes) -> bytes:
    "A text with a piece cut off, taken out, put in or swapped."
    kind = draw(st.sampled_from(["cut", "drop", "put", "line", "word", "flip"]))
    at = draw(st.integers(0, len(text)))
    if kind == "cut":
        return text[:at]
    if kind == "drop":
        return text[:at] + text[at + draw(st.integers(1, 40)):]
    if kind == "put":
        return text[:at] + draw(st.sampled_from(PIECES)) + text[at:]
    if kind == "flip":
        return text[:at] + bytes([draw(st.integers(1, 255))]) + text[at + 1:]
    lines = text.split(b"\n")
    here = draw(st.integers(0, len(lines) - 1))
    if kind == "line":
        lines.insert(draw(st.integers(0, len(lines))), lines.pop(here))
        return b"\n".join(lines)
    words = lines[here].split(b" ")
    words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from([b"", b"0", b"-1", b"1e3", b"C", b"NaN", b"x"]))
    lines[here] = b" ".join(words)
    return b"\n".join(lines)


WATER = b"3\n-7.9\t1.2\t-2081.6\nO 0.0 0.0 0.0\nH 0.0 0.76 0.59\nh 0.0 -0.76 0.59\n"
FRAMES = WATER + b"2\n-5 0.1 -30\n 6 0 0 0 0.1\n8 0 0 1.13 -0.1\n\n" + WATER
SALT = (b'2\nLattice="0 2.8 2.8 2.8 0 2.8 2.8 2.8 0" Properties=species:S:1:pos:R:3:q:R:1 energy=-3.4 phase="a \\"b\\"" pbc="T T T"\n'
        b"Na 0 0 0 1\nCl 2.8 2.8 2.8 -1\n")


# Plain and extended xyz

def test_every_frame_of_the_trajectory():
    path = data()/"fullerene_md"/"C60.xyz"
    start = time.perf_counter()
    frames = read_xyz(path, ENERGIES, dict.fromkeys(ENERGIES, "eV"))
    assert time.perf_counter() - start < 20
    assert (len(frames), set(frames.n_atoms.tolist()), set(frames.numbers.tolist())) == (1000, {60}, {6})
    lines = [line for line in path.read_text().splitlines() if line]
    for row in (0, 499, 999):
        words = [line.split() for line in lines[62*row + 1:62*(row + 1)]]
        assert [frames.targets[name][row] for name in ENERGIES] == [float(word) for word in words[0][:3]]
        assert (frames[row].coords == [[float(word) for word in line[1:4]] for line in words[1:]]).all()


def test_the_molecules_of_scann():
    molecules = read_xyz(data()/"scann_molecules")
    counts = [int(file.read_text().split()[0]) for file in sorted((data()/"scann_molecules").iterdir())]
    assert molecules.n_atoms.tolist() == counts and len(molecules) == 8 and not molecules.periodic
    with pytest.raises(MatattnError, match=r"C60_opt.xyz, frame 1, comment line: 'X' is no number, wanted are homo"):
        read_xyz(data()/"scann_molecules"/"C60_opt.xyz", ENERGIES)


def test_regular_and_irregular_files_agree(tmp_path):
    rng = np.random.default_rng(0)
    counts = [3]*40 + [1, 5, 2]
    atoms = [[f"{rng.choice(['C', 'n', '8', 'CL'])} {' '.join(map(repr, row))}\n" for row in 9*rng.random((n, 3)).tolist()] for n in counts]
    blocks = [f"{len(rows)}\nx {k}\n{''.join(rows)}" for k, rows in enumerate(atoms)]
    (tmp_path/"all.xyz").write_text("".join(blocks))
    (tmp_path/"crlf.xyz").write_bytes("".join(blocks).replace("\n", "\r\n").encode())
    (tmp_path/"packed.xyz.gz").write_bytes(gzip.compress("".join(blocks).encode()))
    together = read_xyz(tmp_path/"all.xyz", min_distance=0)
    for k, block in enumerate(blocks):
        (tmp_path/"one.xyz").write_text(block)
        one = read_xyz(tmp_path/"one.xyz", min_distance=0)
        assert (one.coords == together[k].coords).all() and (one.numbers == together[k].numbers).all()
    for name in ("crlf.xyz", "packed.xyz.gz"):
        again = read_xyz(tmp_path/name, min_distance=0)
        assert (again.coords == together.coords).all() and (again.numbers == together.numbers).all()


@pytest.mark.parametrize(("text", "message"), [
    (FRAMES[:-30], "frame 3, line 11: it says 3 atoms but the file ends after 2"),
    (FRAMES.replace(b"2\n-5", b"3\n-5"), "frame 2, line 10: '' lacks an element and three coordinates"),
    (FRAMES.replace(b"3\n", b"2\n", 1), "frame 2, line 5: 'h 0.0 -0.76 0.59' is no number of atoms"),
    (FRAMES.replace(b"0.76", b"NaN", 1), "frame 1, line 4: the coordinate 'NaN' is no finite number"),
    (FRAMES.replace(b"O ", b"Qq ", 1), "frame 1, line 3: 'Qq' is no element"),
    (FRAMES.replace(b"-2081.6", b"low", 1), "frame 1, comment line: 'low' is no number, wanted are homo, lumo, total_energy"),
    (FRAMES.replace(b"-5 0.1 -30", b"-5 0.1"), "frame 2, comment line: it has 2 numbers, wanted are homo, lumo, total_energy"),
    (b"", "it holds no frame that can be read"),
    (b"\0\0\0", "it is no text file"),
    (b"0\n\n", "line 1: '0' is no number of atoms"),
    (b"9" * 4000 + b"\n", "is no number of atoms"),
])
def test_what_is_wrong_is_told(tmp_path, text, message):
    (tmp_path/"w.xyz").write_bytes(text)
    with pytest.raises(MatattnError) as caught:
        read_xyz(tmp_path/"w.xyz", ENERGIES)
    assert "w.xyz" in str(caught.value) and message in str(caught.value)


@mangled
@given(content=st.data())
def test_mangled_xyz(content, tmp_path):
    path, text = tmp_path/"m.xyz", content.draw(st.sampled_from([FRAMES, SALT, SALT*2]))
    for _ in range(content.draw(st.integers(1, 3))):
        text = content.draw(damage(text))
    path.write_bytes(text)
    names = content.draw(st.sampled_from([None, ENERGIES, ["energy"]]))
    outcome(lambda: read_xyz(path, names), path)
    found = outcome(lambda: read_xyz(path, names, on_error="skip"), path)
    if found is not None and found.report.skipped:
        assert all(place and reason for place, reason in found.report.skipped)


@mangled
@given(st.binary(max_size=300))
def test_any_bytes_are_no_surprise(tmp_path, content):
    path = tmp_path/"b.xyz"
    path.write_bytes(content)
    outcome(lambda: read_xyz(path), path)


@mangled
@given(st.integers(0, 2**32), st.booleans(), st.integers(1, 4))
def test_written_and_read_back(tmp_path, seed, periodic, rows):
    ase_io, rng = pytest.importorskip("ase.io"), np.random.default_rng(seed)
    n_atoms = rng.integers(1, 6, rows)
    atoms = int(n_atoms.sum())
    s = StructureSet(rng.integers(1, 119, atoms), rng.normal(size=(atoms, 3))*10.**rng.integers(-8, 4), n_atoms,
                     10*np.eye(3) + rng.random((rows, 3, 3)) if periodic else None, [f"a{k} b" for k in range(rows)],
                     {"y": rng.normal(size=rows)*10.**rng.integers(-30, 30)}, {"y": "eV"}, extras={"word": np.array(['x "y" \\'] * rows)})
    path, ga = tmp_path/"s.extxyz", rng.normal(size=atoms)
    write_xyz(s, path, {"ga": ga})
    back, theirs = read_xyz(path, units={"y": "eV"}, min_distance=0), ase_io.read(path, ":")
    assert back.digest() == s.digest() and (back.extras["word"] == s.extras["word"]).all()
    assert (np.concatenate([frame.positions for frame in theirs]) == s.coords).all()
    assert (np.concatenate([frame.arrays["ga"] for frame in theirs]) == ga).all()
    assert [frame.info["y"] for frame in theirs] == s.targets["y"].tolist()


# QM9

def dsgdb9nsd(s: StructureSet, row: int) -> str:
    "A molecule in the layout of figshare, exponents by Mathematica."
    one = s[row]
    totals = {"u0": 0, "u298": 1, "h298": 2, "g298": 3}
    free = atomization_energies(one.numbers, one.n_atoms, np.zeros((1, 4)))[0]
    value = {name: float(values[0]) for name, values in one.targets.items()}
    value |= {name: round(float(value[f"{name}_atomization"] - free[k])/KCAL_PER_HARTREE, 6) for name, k in totals.items()}
    words = [repr(value[name]) for name in ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u298", "h298", "g298", "cv")]
    atoms = [[SYMBOLS[number], *(f"{x:.10f}" if abs(x) > 1e-3 else f"{x:.9e}".replace("e", "*^") for x in place), "-0.535689"]
             for number, place in zip(one.numbers.tolist(), one.coords.astype(float).tolist())]
    lines = [str(len(atoms)), "\t".join([f"gdb {one.extras['qm9_index'][0]}", "157.7118", "157.70997", "157.70699", *words, ""]),
             *map("\t".join, atoms), "1341.307\t1341.3284", "C\tC\t", "InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4", ""]
    return "\n".join(lines)


@cache
def some_qm9() -> StructureSet:
    "Every hundredth molecule of the shared file."
    s = read_arrays(data()/"qm9"/"qm9.npz", {}, ids="qm9_index")
    units = [name for name in s.extras if name not in ("qm9_index", "split")]
    with np.load(data()/"qm9"/"qm9.npz") as columns:
        s.extras["qm9_index"] = columns["qm9_index"]
    s.targets = {name: s.extras[name] for name in units}
    return s[::100]


def test_qm9_from_its_own_files(tmp_path):
    s = some_qm9()
    for row in range(len(s)):
        (tmp_path/f"dsgdb9nsd_{s.extras['qm9_index'][row]:06d}.xyz").write_text(dsgdb9nsd(s, row))
    back = read_qm9_xyz(tmp_path, progress=False)
    assert (back.extras["qm9_index"] == s.extras["qm9_index"]).all()
    assert (back.numbers == s.numbers).all() and (back.n_atoms == s.n_atoms).all()
    assert back.coords.dtype == np.float32 and np.abs(back.coords - s.coords).max() < 1e-7
    assert set(back.targets) == set(s.targets)
    for name, values in back.targets.items():
        assert np.abs(values - s.targets[name]).max() <= (2e-8 if name.endswith("atomization") else 0), name
    assert read_qm9_xyz(tmp_path, [int(s.extras["qm9_index"][0])], progress=False).ids[0] == f"gdb_{s.extras['qm9_index'][1]}"


def test_the_seed_gives_the_published_split_of_qm9():
    with np.load(data()/"qm9"/"qm9.npz") as columns:
        index, parts = columns["qm9_index"], columns["split"]
    assert split_agrees(index, parts)
    assert not split_agrees(index, np.roll(parts, 1))


METHANE = b"""5
gdb 1\t157.7\t157.7\t157.7\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t-40.47893\t-40.47606\t-40.47511\t-40.49859\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 2.150416*^-3\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 2.765748*^-4\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""
SDF = (b"gdb_1\n -OEChem-03231823243D\n\n  2  1  0     0  0  0  0  0  0999 V2000\n   -0.0127    1.0858    0.0080 C   0  0\n"
       b"    1.0117    1.4638    0.0003 O   0  0\n  1  2  1  0\nM  END\n$$$$\n")
CSV = (b"mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv\n"
       b"gdb_1,157.7,157.7,157.7,0.,13.21,-.3877,.1171,.5048,35.3,.0447,-113.3,-113.2,-113.1,-113.0,6.469\n")


@mangled
@given(content=st.data())
def test_mangled_qm9(content, tmp_path):
    path = tmp_path/"dsgdb9nsd_000001.xyz"
    path.write_bytes(content.draw(damage(METHANE)))
    outcome(lambda: read_qm9_xyz(tmp_path, progress=False), tmp_path)
    sdf, csv, which = tmp_path/"gdb9.sdf", tmp_path/"gdb9.sdf.csv", content.draw(st.booleans())
    sdf.write_bytes(content.draw(damage(SDF)) if which else SDF)
    csv.write_bytes(CSV if which else content.draw(damage(CSV)))
    outcome(lambda: read_qm9_sdf(sdf, csv), sdf)


def test_a_broken_archive_of_qm9(tmp_path):
    import tarfile

    (tmp_path/"dsgdb9nsd_000001.xyz").write_bytes(METHANE)
    path = tmp_path/"qm9.tar.bz2"
    with tarfile.open(path, "w:bz2") as archive:
        archive.add(tmp_path/"dsgdb9nsd_000001.xyz", "dsgdb9nsd_000001.xyz")
    assert outcome(lambda: read_qm9_xyz(path, progress=False), path) is not None
    path.write_bytes(path.read_bytes()[:-40])
    assert outcome(lambda: read_qm9_xyz(path, progress=False), path) is None


# JSON

CELL = [[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]]
CIF = ("data_NaCl\n_symmetry_space_group_name_H-M 'P 1'\n" + "".join(f"_cell_length_{a} 3.96\n" for a in "abc")
       + "".join(f"_cell_angle_{a} 60.0\n" for a in ("alpha", "beta", "gamma"))
       + "loop_\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n"
       "Na 0 0 0 1\nCl 0.5 0.5 0.5 1\n")
PYMATGEN = {"@class": "Structure", "lattice": {"matrix": CELL}, "sites": [
    {"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0]}, {"species": [{"element": "Cl", "occu": 1.0}], "abc": [.5, .5, .5]}]}
JARVIS = {"lattice_mat": CELL, "coords": [[0, 0, 0], [.5, .5, .5]], "elements": ["Na", "Cl"], "cartesian": False}
SETS = {
    "mp.json": (read_mp_json, [{"material_id": f"mp-{k}", "structure": (CIF, PYMATGEN)[k % 2], "graph": {"bond": [1.5]*30},
                                "formation_energy_per_atom": -2.1, "band_gap": 5.0} for k in range(4)]),
    "jarvis.json": (read_jarvis, [{"jid": f"JVASP-{k}", "atoms": JARVIS, "formation_energy_peratom": -2, "optb88vdw_bandgap": 5.1,
                                   "mbj_bandgap": 8.0, "ehull": "na" if k else 0.0} for k in range(4)]),
    "task.json": (read_matbench, {"index": ["mb-1", "mb-2"], "columns": ["structure", "e_form"],
                                  "data": [[PYMATGEN, -2.0], [PYMATGEN, -1.9]]}),
}


@pytest.mark.parametrize("name", SETS)
def test_json_and_its_packed_forms(tmp_path, name):
    import zipfile

    read, content = SETS[name]
    plain, packed, zipped = tmp_path/name, tmp_path/f"{name}.gz", tmp_path/f"{name}.zip"
    plain.write_text(json.dumps(content))
    packed.write_bytes(gzip.compress(json.dumps(content).encode()))
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, json.dumps(content))
    found = [read(path, progress=False) for path in (plain, packed, zipped)]
    assert len({s.digest() for s in found}) == 1 and set(found[0].formulas()) == {"ClNa"} and found[0].periodic
    packed.write_bytes(packed.read_bytes()[:-20])
    assert outcome(lambda: read(packed, progress=False), packed) is None


@pytest.mark.parametrize("name", SETS)
@mangled
@given(content=st.data())
def test_mangled_json(tmp_path, name, content):
    read, whole = SETS[name]
    path, text = tmp_path/name, json.dumps(whole).encode()
    packed = content.draw(st.booleans())
    if packed:
        path = tmp_path/f"{name}.gz"
        path.write_bytes(content.draw(damage(gzip.compress(text, mtime=0))))
    else:
        path.write_bytes(content.draw(damage(text)))
    outcome(lambda: read(path, progress=False), path)
    outcome(lambda: read(path, on_error="skip", progress=False), path)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"nul", b"[null]", b"[[1]]", b"["*100_000, b'{"data": 5}',
                                  b'{"data": [[1, 2]], "index": [1]}', b"5", b'"x'])
@pytest.mark.parametrize("name", SETS)
def test_json_of_another_kind(tmp_path, name, text):
    (tmp_path/name).write_bytes(text)
    assert outcome(lambda: SETS[name][0](tmp_path/name, progress=False), tmp_path/name) is None


def test_partial_occupancy_is_told_and_left_out(tmp_path):
    half = json.loads(json.dumps(PYMATGEN))
    half["sites"][0]["species"] = [{"element": "Na", "occu": .5}, {"element": "K", "occu": .5}]
    path = tmp_path/"mp.json"
    path.write_text(json.dumps([{"material_id": "mp-1", "structure": half, "band_gap": 0, "formation_energy_per_atom": 0},
                                {"material_id": "mp-2", "structure": PYMATGEN, "band_gap": 0, "formation_energy_per_atom": 0}]))
    with pytest.raises(MatattnError, match=r"record 1 \(mp-1\): a site is shared or not full"):
        read_mp_json(path)
    rest = read_mp_json(path, on_error="skip")
    assert rest.ids.tolist() == ["mp-2"] and rest.report.skipped[0][0] == "mp-1"
