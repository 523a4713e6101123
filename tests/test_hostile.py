"""What a careless or hostile user does to sets, files and graphs: one sentence each time, nothing lost, nothing half-written."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matattn.core.runtime import MatattnError
from matattn.graphs.sets import GraphSet
from matattn.structures.sets import StructureSet

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def two(**changes):
    arrays = dict(numbers=[1, 1, 8], coords=np.arange(9.).reshape(3, 3), n_atoms=[2, 1], ids=["a", "b"], targets={"e": [1., np.nan]},
                  units={"e": "eV"}, name="pair")
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
