"""What a careless or hostile user does to sets, files and graphs: one sentence each time, nothing lost, nothing half-written."""

import gzip
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matattn.core.cards import run_cards
from matattn.core.partition import split
from matattn.core.runtime import MatattnError
from matattn.graphs.radius import nearest_graph, radius_graph
from matattn.graphs.sets import GraphSet
from matattn.graphs.voronoi_graph import voronoi_graph
from matattn.structures.cif_folder import read_cif_folder, write_cif_folder
from matattn.structures.exchange import from_ase
from matattn.structures.qm9 import read_qm9_xyz
from matattn.structures.reading import Parsed, read_parallel
from matattn.structures.sets import StructureSet
from matattn.structures.twins import twins
from matattn.structures.writing import write_xyz
from matattn.structures.xyz import read_xyz

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def two(**changes):
    arrays = {"numbers": [1, 1, 8], "coords": np.arange(9.).reshape(3, 3), "n_atoms": [2, 1], "ids": ["a", "b"],
              "targets": {"e": [1., np.nan]}, "units": {"e": "eV"}, "name": "pair"}
    return StructureSet(**(arrays | changes))


def graphs():
    return GraphSet([1, 1, 8], [2, 1], [2, 0], [0, 1], [1, 0], distance=[5.2, 5.2], name="pair")


@pytest.mark.parametrize("changes, words", [
    ({"numbers": np.array([262, 1, 1])}, "262"), ({"numbers": np.array([-1, 1, 1])}, "-1"), ({"numbers": [6.5, 1, 1]}, "6.5"),
    ({"numbers": ["H", "H", "O"]}, "numbers"), ({"targets": {"e": ["x", "y"]}}, "target 'e'"),
    ({"targets": {"e": np.zeros((2, 3))}}, "shape"),
    ({"coords": np.zeros((3, 2))}, "coords"), ({"coords": np.zeros((4, 2)), "n_atoms": [2], "numbers": [1, 1]}, "coords"),
    ({"coords": None}, "coords"), ({"cell": np.zeros((2, 3))}, "cell"), ({"extras": {"tags": [{}, []]}}, "'tags'")])
def test_arrays_that_mean_something_else(changes, words):
    with pytest.raises(MatattnError, match="pair") as error:
        two(**changes)
    assert words in str(error.value)


@pytest.mark.parametrize("make", [two, graphs])
def test_a_folder_with_other_things_is_never_replaced(make, tmp_path, monkeypatch):
    (tmp_path/"thesis.tex").write_text("years of work")
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path, ".", ""):
        with pytest.raises(MatattnError, match="other things"):
            make().save(place)
    (tmp_path/"notes").mkdir()
    (tmp_path/"notes"/"note.json").write_text("{}")
    with pytest.raises(MatattnError, match="other things"):
        make().save(tmp_path/"notes")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["note.json", "notes", "thesis.tex"]


@pytest.mark.parametrize("make, load", [(two, StructureSet.load), (graphs, GraphSet.load)])
@pytest.mark.parametrize("container", ["set.npz", "set"])
@FUZZ
@given(data=st.data())
def test_damaged_sets(make, load, container, data, tmp_path):
    place = make().save(tmp_path/container)
    files = [place] if place.is_file() else sorted(place.glob("*.npy"))
    file = data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        content = content[:data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    try:
        load(place).digest()
    except MatattnError as error:
        assert "\n" not in str(error)


def test_one_kind_is_not_taken_for_another(tmp_path):
    two().save(tmp_path/"structures")
    graphs().save(tmp_path/"graphs")
    with pytest.raises(MatattnError, match="no set of structures"):
        StructureSet.load(tmp_path/"graphs")
    with pytest.raises(MatattnError, match="no set of graphs"):
        GraphSet.load(tmp_path/"structures")
    np.save(tmp_path/"about.npy", np.array(json.dumps([])))
    (tmp_path/"structures"/"about.npy").write_bytes((tmp_path/"about.npy").read_bytes())
    with pytest.raises(MatattnError, match="another kind of data"):
        StructureSet.load(tmp_path/"structures")


def test_choosing_in_odd_ways():
    for s in (two(), graphs()):
        for chosen in ([[0, 1]], None, "a", 5, -3, [True], np.array([0.])):
            with pytest.raises(MatattnError, match="pair"):
                s[chosen]
        assert [len(part) for part in s] == [1, 1]
        assert len(s[:0]) == 0 and s[:0].digest() == s[[]].digest()


def test_the_digest_does_not_depend_on_the_container(tmp_path):
    s = two()
    kept = [StructureSet.load(s.save(tmp_path/"a.npz")), StructureSet.load(s.save(tmp_path/"a"))]
    kept += [StructureSet.load(tmp_path/"a", mmap=False)]
    kept += [pickle.loads(pickle.dumps(kept[1])), kept[1][[0, 1]], StructureSet.concatenate([s[:0], s[:1], kept[1][1:]])]
    kept += [StructureSet.load(kept[1].save(tmp_path/"a"))]
    assert {other.digest() for other in kept} == {s.digest()}


CRYSTAL = """data_salt
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na 0 0 0
Cl 0.5 0.5 0.5
"""
TABLE = "a,1.5\nb,-2\nc,3\n"


@pytest.fixture
def folder(tmp_path):
    for name in "abc":
        (tmp_path/f"{name}.cif").write_text(CRYSTAL)
    (tmp_path/"id_prop.csv").write_text(TABLE)
    return tmp_path


@pytest.mark.parametrize("table", ["\ufeff" + TABLE, TABLE.replace("\n", "\r\n"), "\n\n" + TABLE.replace("\n", "\n\n  \n"),
                                   'a, "1.5"\n"b", -2\n c ,3'])
def test_tables_as_spreadsheets_write_them(table, folder):
    known = read_cif_folder(folder, jobs=1).digest()
    (folder/"id_prop.csv").write_bytes(table.encode())
    assert read_cif_folder(folder, jobs=1).digest() == known


@pytest.mark.parametrize("table, words", [("a,high\nb,-2\nc,3", "line 1: the target of 'a' is no number ('high')"),
                                          ("b,-2\nc,3\na,1\na,2", "line 4: the id 'a' is there twice"),
                                          ("a,1_5\nb,-2\nc,3", "'1_5'"), ("a,inf\nb,1\nc,3", "'inf'"),
                                          ("a\nb,1\nc,1", "0 values for the 1 target")])
def test_bad_lines_of_the_table_are_collected(table, words, folder):
    (folder/"id_prop.csv").write_text(table)
    with pytest.raises(MatattnError, match="id_prop.csv, line") as error:
        read_cif_folder(folder, jobs=1)
    assert words in str(error.value)
    found = read_cif_folder(folder, jobs=1, on_error="skip")
    assert found.ids.tolist() == ["b", "c"]
    assert [where for where, _ in found.report.skipped] == ["a"] and words in found.report.skipped[0][1]


def test_files_that_do_not_belong(folder):
    known = read_cif_folder(folder, jobs=1).digest()
    (folder/"._a.cif").write_bytes(b"\0\5\26\7Mac OS X")
    (folder/"sub.cif").mkdir()
    (folder/"b.cif").write_text("\ufeff" + CRYSTAL, encoding="utf8")
    assert read_cif_folder(folder, jobs=1).digest() == known
    (folder/"a.CIF").write_text(CRYSTAL)
    if len(list(folder.glob("a.*"))) == 2:
        with pytest.raises(MatattnError, match="differ in upper and lower case"):
            read_cif_folder(folder, jobs=1)


def test_a_folder_of_cifs_is_written_whole_or_not_at_all(folder):
    s = read_cif_folder(folder, jobs=1)
    s.ids = np.array(["a", "b", "c"*300])
    with pytest.raises(MatattnError, match="cannot be written"):
        write_cif_folder(s, folder/"out")
    assert not (folder/"out").exists() and not list(folder.glob(".*"))
    with pytest.raises(MatattnError, match="holds files already"):
        write_cif_folder(s, folder)


WATER = "3\n{}\nO 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n"
CELL = 'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 '


@pytest.mark.parametrize("comment, periodic", [('pbc="T T T"', True), ('pbc="F F F"', False), ("pbc=[1,1,1]", True),
                                               ("pbc=F", False), ("", True)])
def test_periodic_or_not(comment, periodic, tmp_path):
    (tmp_path/"w.xyz").write_text(WATER.format(CELL + comment))
    s = read_xyz(tmp_path/"w.xyz")
    assert s.periodic is periodic
    assert not s.extras and read_xyz(write_xyz(s, tmp_path/"again.xyz")).periodic is periodic


@pytest.mark.parametrize("comment, words", [(CELL + 'pbc="T T F"', "not periodic in all directions or in none"),
                                            (CELL + 'pbc="yes"', "pbc="),
                                            ('Properties=species:S:1:pos:R:3 pbc="T T T"', "no Lattice")])
def test_partly_periodic_is_told(comment, words, tmp_path):
    (tmp_path/"w.xyz").write_text(WATER.format(comment) + WATER.format(CELL))
    with pytest.raises(MatattnError, match="frame 1, comment line") as error:
        read_xyz(tmp_path/"w.xyz")
    assert words in str(error.value)
    assert read_xyz(tmp_path/"w.xyz", on_error="skip").ids.tolist() == ["w/1"]


def test_xyz_in_other_dress(tmp_path):
    plain = WATER.format("-1.5")
    (tmp_path/"w.xyz").write_text(plain)
    known = read_xyz(tmp_path/"w.xyz", "gap")
    assert known.targets["gap"].tolist() == [-1.5]
    (tmp_path/"w.xyz").write_text("\ufeff" + plain.replace("\n", "\r\n").replace(" ", "\t") + "\r\n \r\n", encoding="utf8", newline="")
    assert read_xyz(tmp_path/"w.xyz", "gap").digest() == known.digest()
    (tmp_path/"v.xyz").write_text(WATER.format(CELL))
    (tmp_path/"w.xyz.gz").write_bytes(gzip.compress(plain.encode()))
    assert read_xyz(tmp_path/"w.xyz.gz", "gap").digest() == known.digest()
    kept = read_xyz([tmp_path/"w.xyz", tmp_path/"v.xyz"], on_error="skip")
    assert len(kept) == 1 and kept.report.skipped[0][0] == "v.xyz"
    (tmp_path/"w.xyz").write_text(WATER.format(CELL.replace('"', "'") + "note='it is'"))
    assert read_xyz(tmp_path/"w.xyz").extras["note"].tolist() == ["it is"]


def test_objects_with_odd_columns():
    from ase import Atoms

    atoms = [Atoms("He"), Atoms("Ne")]
    s = from_ase(iter(atoms), ids=(name for name in "ab"), targets={"e": (x for x in (1, None))})
    assert s.ids.tolist() == ["a", "b"] and np.isnan(s.targets["e"][1])
    with pytest.raises(MatattnError, match="target 'e'"):
        from_ase(atoms, targets={"e": ["high", 1]})


ATOMS = np.random.default_rng(0).random((8, 3))*6
MAKERS = [lambda s: radius_graph(s, 5.), lambda s: radius_graph(s, 5., 12, order="pymatgen"), lambda s: nearest_graph(s, 12), voronoi_graph,
          lambda s: voronoi_graph(s, published=True), twins]


def crystal(**changes):
    arrays = {"numbers": np.full(8, 6), "coords": ATOMS, "n_atoms": [8], "cell": np.eye(3)[None]*6, "ids": ["odd one"], "name": "made"}
    return StructureSet(**(arrays | changes))


@pytest.mark.parametrize("changes, words", [
    ({"coords": np.where(ATOMS == ATOMS[3, 1], np.nan, ATOMS)}, "atom 4 (C) has a position that is not finite"),
    ({"coords": ATOMS*np.inf}, "not finite"), ({"coords": ATOMS*1e300}, "beyond"), ({"cell": np.diag([6., 6., 0.])[None]}, "no volume"),
    ({"cell": np.array([[[6., 0, 0], [6, 0, 0], [0, 0, 6]]])}, "no volume"), ({"cell": np.diag([6., np.nan, 6.])[None]}, "not finite"),
    ({"numbers": [6]*7 + [0]}, "no element")])
@pytest.mark.parametrize("make", MAKERS)
def test_graphs_of_unchecked_structures_end_and_tell(make, changes, words):
    with pytest.raises(MatattnError, match="structure 'odd one'") as error:
        make(crystal(**changes))
    assert words in str(error.value)


@pytest.mark.parametrize("cell", [None, np.eye(3)[None]*6])
def test_two_atoms_at_one_place(cell):
    s = crystal(coords=ATOMS[[0, 0, 2, 3, 4, 5, 6, 7]], cell=cell)
    for published in (False, True):
        with pytest.raises(MatattnError, match="atom 1 .C. and atom 2 .C. are 0 Å apart"):
            voronoi_graph(s, published=published)
    for graph in (radius_graph(s, 5.), nearest_graph(s, 3)):
        assert (graph.distance == 0).sum() == 2


def test_left_handed_cells_have_the_same_neighbours():
    right, left = crystal(), crystal(cell=6*np.eye(3)[None, [1, 0, 2]])
    for make in (lambda s: radius_graph(s, 5.), voronoi_graph):
        assert np.array_equal(make(right).distance, make(left).distance)


@pytest.mark.parametrize("jobs", [None, 0, -3, 2])
def test_threads_change_nothing(jobs, monkeypatch):
    monkeypatch.setenv("MATATTN_CORES", "1")
    s = StructureSet.concatenate([crystal(ids=[f"{k}"], coords=ATOMS + .1*k) for k in range(5)])
    for make in (radius_graph, voronoi_graph, nearest_graph):
        assert make(s, jobs=jobs).digest() == make(s).digest()


@pytest.mark.parametrize("rows, options", [
    (10.5, {}), (None, {}), ("abc", {}), (10, {"sizes": ("a", "b")}), (10, {"sizes": None}), (10, {"seed": None}), (10, {"seed": -1}),
    (10, {"by": "time", "gap": -1}), (10, {"by": "target", "values": np.arange(10.), "bins": 0}), (["a"], {"missing": "maybe"}),
    (10, {"by": "element", "values": "Fe", "sizes": {"train": 1.}})])
def test_splits_that_make_no_sense(rows, options):
    with pytest.raises(MatattnError, match="split"):
        split(rows, **options)


def test_a_missing_target_has_a_part():
    assert sorted(split(4, (.5, .5), by="target", values=[None, 1, 2, 3]).labels()) == [0, 0, 1, 1]


def test_cards_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("MATATTN_ROOT", str(tmp_path))
    with pytest.raises(MatattnError, match="run this in a checkout"):
        run_cards(["qm9"])


@pytest.mark.parametrize("part", [None, [], {"numbers": [6.5]}, {"numbers": ["H"]}, {"numbers": [300]}, {"numbers": [], "coords": []},
                                  {"coords": [[0, 0], [0, 0, 0]]}, {"coords": [0, 0, 0]}, {"cell": [[1, 2], [3]]}, {"cell": np.eye(2)},
                                  {"targets": {"e": "high"}}, {"extras": {"tags": {}}}])
def test_parsers_that_return_nonsense(part):
    with pytest.raises(MatattnError):
        read_parallel(["x"], lambda _: Parsed(**({"numbers": [1], "coords": [[0, 0, 0]]} | part)) if type(part) is dict else part, jobs=1)


@pytest.mark.skipif(os.name == "nt", reason="signals of a group of processes")
@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_reading_ends_at_once_and_leaves_no_process(jobs):
    code = ("import time\nfrom matattn.structures.reading import Parsed, read_parallel\nprint('begun', flush=True)\n"
            f"read_parallel(range(1000), lambda _: time.sleep(.2) or Parsed([1], [[0, 0, 0]]), jobs={jobs}, chunk=2)")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True,  # and take the signal even where whoever runs the tests in the background does not
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    process.stdout.readline()
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert told.count("Traceback") == 1 and "KeyboardInterrupt" in told
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_atoms_of_qm9_at_one_place(tmp_path):
    head = "2\ngdb {}\t1\t1\t1\t0\t13\t-.3\t.1\t.4\t35\t.04\t-1.1\t-1.1\t-1.1\t-1.1\t6\nH\t0\t0\t0\t0\nH\t0\t0\t{}\t0\n1300\nH\tH\nI\tI\n"
    for number, height in ((1, ".74"), (2, "2.*^-6")):
        (tmp_path/f"dsgdb9nsd_{number:06}.xyz").write_text(head.format(number, height))
    with pytest.raises(MatattnError, match="structure 'gdb_2': atom 1 .H. and atom 2 .H. are 2e-06 Å apart"):
        read_qm9_xyz(tmp_path)
    kept = read_qm9_xyz(tmp_path, on_error="skip")
    assert kept.ids.tolist() == ["gdb_1"] and kept.report.skipped[0][0] == "gdb_2"
