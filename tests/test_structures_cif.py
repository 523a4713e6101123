"""CIFs, their folders and archives, and the exchange with pymatgen and ASE: equal to pymatgen's, and never a crash on a mangled file."""

import os
import tempfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matattn.core.runtime import MatattnError
from matattn.structures.archives import open_folder
from matattn.structures.checks import check_structures
from matattn.structures.cif import cell_from_parameters, read_cif
from matattn.structures.cif_folder import read_cif_folder, write_cif_folder
from matattn.structures.exchange import from_ase, from_pymatgen, to_ase, to_pymatgen
from matattn.structures.hoip import HOIP_TARGETS, read_hoip_folder
from matattn.structures.reading import Parsed, read_parallel
from matattn.structures.sets import StructureSet, read_arrays

QUICK = {"deadline": 4000, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}

LISTED = """data_NaCl
_symmetry_space_group_name_H-M   'P 1'
_cell_length_a   3.98(1)
_cell_length_b   3.98
_cell_length_c   3.98
_cell_angle_alpha   60
_cell_angle_beta   60.0
_cell_angle_gamma   60
loop_
 _symmetry_equiv_pos_site_id
 _symmetry_equiv_pos_as_xyz
  1  'x, y, z'
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
  Na  Na0  0.00000000  0.00000000  0.00000000  1
  Cl1-  Cl1  0.50000000  0.50000000  0.50000000  1.0
"""
SYMMETRIC = LISTED.replace("'P 1'", "'P -1'").replace("1  'x, y, z'", "1  'x, y, z'\n  2  '-x,-y,-z'").replace("0.5000", "0.3333")
COMMENTS = """
# HOIP entry ID:    7
# Label:    Salt
# Total number of atoms:   2
# Volume of the unit cell (A^3):   44.58
""" + "".join(f"# {name}:    1.5\n" for name, _ in HOIP_TARGETS.values())
NASTY = ["", "?", ".", "-", "nan", "inf", "1e400", "-1", "0", "1e9", "'", '"', ";", "loop_", "data_", "data_x", "_", "#", "\0", "é", "\n",
         "\n;", "99", "_cell_length_a 3", "save_", "global_", "stop_", "x,y", "x,y,z", "1/0,y,z", "Xx", "Wat", "0.5(", "1(2)3", "\ufeff",
         "2*x,y,z", "  "]


@st.composite
def mangled(draw, text):
    "The text after a few cuts, swaps and nasty insertions."
    for _ in range(draw(st.integers(1, 4))):
        words = text.split(" ")
        place = draw(st.integers(0, len(words) - 1))
        kind = draw(st.sampled_from(["replace", "insert", "cut", "end", "double", "characters"]))
        if kind == "replace":
            words[place] = draw(st.sampled_from(NASTY))
        elif kind == "insert":
            words.insert(place, draw(st.sampled_from(NASTY)))
        elif kind == "cut":
            del words[place:place + draw(st.integers(1, 5))]
        elif kind == "end":
            words = words[:place]
        elif kind == "double":
            words += words[place:]
        text = " ".join(words)
        if kind == "characters":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.text(max_size=4)) + text[at + draw(st.integers(0, 4)):]
    return text


def sound(function, *arguments, **options):
    "A valid set, or None after one clear sentence."
    try:
        found = function(*arguments, **options)
    except MatattnError as error:
        sentence = str(error)
        assert "\n" not in sentence.rstrip() and sentence.endswith(".") and 15 < len(sentence) < 700, sentence
        return None
    assert isinstance(found, StructureSet) and len(found) and np.isfinite(found.positions()).all()
    assert found.numbers.min() >= 1 and found.numbers.max() <= 118 and (np.linalg.det(found.cell) > 0).all()
    return found


# ---- mangled input: a sentence or a valid set


@given(text=st.sampled_from([LISTED, SYMMETRIC]).flatmap(mangled))
@settings(max_examples=250, **QUICK)
def test_mangled_cif(text):
    sound(read_cif, text if "\n" in text else text + "\n")


@given(text=st.binary(max_size=300))
@settings(max_examples=50, **QUICK)
def test_bytes_as_cif(text, tmp_path):
    (tmp_path/"a.cif").write_bytes(text)
    sound(read_cif, tmp_path/"a.cif")


@pytest.fixture(scope="module")
def salts(tmp_path_factory):
    "A folder with two crystals and a table."
    folder = tmp_path_factory.mktemp("salts")
    for name in ("a", "b"):
        (folder/f"{name}.cif").write_text(LISTED)
    (folder/"id_prop.csv").write_text("a,1.5\nb,-2\n")
    return folder


@given(table=st.one_of(mangled("a , 1.5 \n b , -2 \n"), st.text(max_size=40)), skip=st.booleans())
@settings(max_examples=120, **QUICK)
def test_mangled_table(table, skip, salts):
    (salts/"mangled.csv").write_bytes(table.encode("utf8", "surrogatepass"))
    found = sound(read_cif_folder, salts, id_prop="mangled.csv", on_error="skip" if skip else "raise")
    if found is not None:
        assert not np.isinf(found.targets["target"]).any()
        assert len(found) == 2 or (skip and found.report.skipped)


@given(text=mangled(LISTED + COMMENTS))
@settings(max_examples=80, **QUICK)
def test_mangled_hoip(text, tmp_path):
    (tmp_path/"a.cif").write_text(text, encoding="utf8", errors="replace")
    sound(read_hoip_folder, tmp_path)


@given(data=st.data())
@settings(max_examples=120, **QUICK)
def test_mangled_archive(data, salts, tmp_path):
    archive = tmp_path/"salts.zip"
    with zipfile.ZipFile(archive, "w", data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as file:
        for name in ("a.cif", "b.cif", "id_prop.csv"):
            file.write(salts/name, name)
    content = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    archive.write_bytes(content[:data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    sound(read_cif_folder, archive)


@given(names=st.lists(st.text(st.sampled_from("ab./\\:\0é ~"), min_size=1, max_size=9), min_size=1, max_size=4))
@settings(max_examples=120, **QUICK)
def test_archives_stay_inside(names, tmp_path):
    archive = tmp_path/"names.zip"
    with zipfile.ZipFile(archive, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name in names:
            file.writestr(zipfile.ZipInfo(name), b"x")
    before = {path for path in Path(tempfile.gettempdir()).iterdir() if not path.name.startswith(".")}
    try:
        with open_folder(archive) as folder:
            root = next(parent for parent in (folder, *folder.parents) if parent.name.startswith("matattn-"))
            assert all(path.resolve().is_relative_to(root.resolve()) for path in root.rglob("*"))
        assert not root.exists()
    except MatattnError as error:
        assert str(archive) in str(error)
    stray = {path for path in Path(tempfile.gettempdir()).iterdir() if path.name in ("a", "b", "ab", "ba")}
    assert stray <= before and not (tmp_path/"a").exists() and not (tmp_path/"b").exists()


# ---- equal to pymatgen


GROUPS = {"P-1": (4, 5, 6, 80, 95, 105), "P2_1/c": (4, 5, 6, 90, 105, 90), "C2/m": (9, 5, 6, 90, 105, 90), "Pnma": (5, 6, 7, 90, 90, 90),
          "I4/mmm": (5, 5, 8, 90, 90, 90), "R-3m": (5, 5, 14, 90, 90, 120), "P6_3/mmc": (5, 5, 8, 90, 90, 120),
          "Fm-3m": (9, 9, 9, 90, 90, 90), "Ia-3d": (12, 12, 12, 90, 90, 90)}
TAGS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
ATOMS = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"


def with_operations(group, atoms):
    "A CIF with the operations of a space group as pymatgen knows them."
    from pymatgen.symmetry.groups import SpaceGroup

    sizes = "".join(f"_cell_{tag} {value}\n" for tag, value in zip(TAGS, GROUPS[group]))
    operations = "".join(f"'{word}'\n" for word in sorted(op.as_xyz_str() for op in SpaceGroup(group).symmetry_ops))
    return f"data_x\n{sizes}loop_\n_symmetry_equiv_pos_as_xyz\n{operations}{ATOMS}{atoms}"


def in_order(numbers, fractions):
    "Rows of atomic number and fractions in [0, 1), sorted."
    inside = np.round(fractions, 6) % 1
    rows = np.column_stack([numbers, inside])
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("group", GROUPS)
def test_symmetry_equals_pymatgen(group):
    from pymatgen.core import Structure

    text = with_operations(group, "Ca1 0 0 0\nTi1 0.3333 0.6667 0.25\nO1 0.11 0.27 0.38\nO2 0.1 0.1 0.4\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Structure.from_str(text, fmt="cif")
    ours = read_cif(text, min_distance=0)
    assert list(theirs.atomic_numbers) == ours.numbers.tolist()
    apart = theirs.frac_coords - ours.coords
    assert np.abs(apart - np.round(apart)).max() < 1e-9
    np.testing.assert_allclose(theirs.lattice.matrix, ours.cell[0], atol=1e-12)


@pytest.mark.parametrize("symbol, group", [("P 21/c", "P2_1/c"), ("P n m a", "Pnma"), ("I 4/m m m", "I4/mmm"), ("R -3 m", "R-3m"),
                                           ("P 63/m m c", "P6_3/mmc"), ("F m -3 m", "Fm-3m"), ("-P 2ybc", "P2_1/c"), ("62", "Pnma")])
def test_operations_from_the_symbol(symbol, group):
    atoms = "Ca1 0 0 0\nO1 0.11 0.27 0.38\n"
    written = with_operations(group, atoms)
    tag = "_space_group_IT_number" if symbol.isdigit() else f"_symmetry_space_group_name_{'Hall' if symbol[0] == '-' else 'H-M'}"
    named = written[:written.index("loop_")] + f"{tag} '{symbol}'\n{ATOMS}{atoms}"
    one, two = (read_cif(text, min_distance=0) for text in (written, named))
    np.testing.assert_allclose(in_order(one.numbers, one.coords), in_order(two.numbers, two.coords), atol=1e-9)


@given(lengths=st.lists(st.floats(2, 20), min_size=3, max_size=3), angles=st.lists(st.floats(65, 115), min_size=3, max_size=3))
@settings(max_examples=60, **QUICK)
def test_cell_equals_pymatgen(lengths, angles):
    from pymatgen.core import Lattice

    np.testing.assert_allclose(cell_from_parameters(lengths, angles), Lattice.from_parameters(*lengths, *angles).matrix, atol=1e-12)


# ---- round trips and checks on random crystals


@st.composite
def crystals(draw):
    "A few random crystals in right-handed cells, with targets."
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = random.integers(1, 6, draw(st.integers(1, 4)))
    atoms = counts.sum()
    cells = cell_from_parameters(random.uniform(2, 9, (len(counts), 3)), random.uniform(65, 115, (len(counts), 3)))
    return StructureSet(random.integers(1, 119, atoms), random.uniform(-1, 2, (atoms, 3)), counts, cells, fractional=True,
                        targets={"energy": random.normal(size=len(counts))}, units={"energy": "eV"})


@given(s=crystals())
@settings(max_examples=40, **QUICK)
def test_exchange_is_exact(s):
    again = from_pymatgen(to_pymatgen(s), s.ids, s.targets, s.units, min_distance=0)
    assert again.digest() == s.digest()
    cartesian = replace(s, coords=s.positions(), fractional=False)
    assert from_ase(to_ase(s), s.ids, s.targets, s.units, min_distance=0).digest() == cartesian.digest()


@given(s=crystals())
@settings(max_examples=25, **QUICK)
def test_folder_is_exact(s):
    with tempfile.TemporaryDirectory() as place:
        again = read_cif_folder(write_cif_folder(s, f"{place}/cifs"), "energy", "eV", min_distance=0)
    assert (again.coords == s.coords).all() and (again.numbers == s.numbers).all() and again.ids.tolist() == s.ids.tolist()
    assert (again.targets["energy"] == s.targets["energy"]).all()
    np.testing.assert_allclose(again.cell, s.cell, atol=1e-10)


@given(s=crystals(), closest=st.floats(.1, 2.))
@settings(max_examples=60, **QUICK)
def test_close_atoms_as_by_brute_force(s, closest):
    shifts = np.array(np.meshgrid(*[range(-4, 5)]*3)).reshape(3, -1).T
    bad = []
    for k, key in enumerate(s.ids):
        points = s[k].frac_coords() % 1 @ s.cell[k]
        apart = np.linalg.norm(points[:, None, None] - points[None, :, None] + shifts @ s.cell[k], axis=-1)
        apart[np.arange(len(points)), np.arange(len(points)), len(shifts)//2] = np.inf
        bad += [key] if apart.min() < closest else []
    if len(bad) == len(s):
        with pytest.raises(MatattnError, match="closer than|do not fit"):
            check_structures(s, min_distance=closest)
        return
    kept = check_structures(s, "skip", closest)
    assert sorted([*kept.ids, *bad]) == sorted(s.ids.tolist())


@given(crowd=st.lists(st.integers(-2, 4), min_size=1, max_size=12), chunk=st.integers(1, 5))
@settings(max_examples=8, **QUICK)
def test_processes_change_nothing(crowd, chunk):
    def chain(count):
        if count < 0:
            raise MatattnError(f"{count}: it is negative; give a positive number.")
        return Parsed([1]*count, [[0, 0, k] for k in range(count)], targets={"n": count})

    found = []
    for jobs in (1, 2):
        try:
            one = read_parallel(crowd, chain, jobs=jobs, chunk=chunk, on_error="skip")
            found.append((one.digest(), one.report))
        except MatattnError as error:
            found.append(str(error))
    assert found[0] == found[1]


# ---- real data


DATA = os.environ.get("MATATTN_DATA")
real = pytest.mark.skipif(not DATA, reason="needs the real data: set MATATTN_DATA to their folder")


@real
def test_cif_folder_equals_the_prepared_set():
    found = read_cif_folder(f"{DATA}/raw_samples/mp_cif_500.zip", "formation_energy_per_atom", "eV/atom")
    prepared = read_arrays(f"{DATA}/mp36k/mp36k.npz", {"formation_energy_per_atom": "eV/atom"}, "material_id")
    row = {key: k for k, key in enumerate(prepared.ids)}
    assert len(found) == 500 and found.digest() == prepared[[row[key] for key in found.ids]].digest()


@real
def test_hoip_folder_equals_the_prepared_set():
    found = read_hoip_folder(f"{DATA}/raw_samples/hoip_cif_60.zip")
    prepared = read_arrays(f"{DATA}/hoip/hoip.npz", {name: unit for name, (_, unit) in HOIP_TARGETS.items()}, "entry_id")
    row = {key: k for k, key in enumerate(prepared.ids)}
    chosen = prepared[[row[key] for key in found.ids]]
    assert len(found) == 60 and found.digest() == chosen.digest()
    assert found.extras["label"].tolist() == chosen.extras["label"].tolist()


@real
def test_real_cifs_equal_pymatgen():
    from pymatgen.core import Structure

    with open_folder(f"{DATA}/raw_samples/hoip_cif_60.zip") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(folder.glob("*.cif"))[:20]:
            ours, theirs = to_pymatgen(read_cif(path))[0], Structure.from_file(path)
            ours = ours.get_sorted_structure()
            assert ours.species == theirs.species
            apart = ours.frac_coords - theirs.frac_coords
            assert np.abs(apart - np.round(apart)).max() < 1e-4  # pymatgen sets 0.3333 to 1/3
