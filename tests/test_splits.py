"""Splits: sizes, determinism, what a way of splitting promises, and the errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matattn.core.partition import WAYS, split
from matattn.core.runtime import MatattnError
from matattn.structures.sets import StructureSet

COMMON = settings(max_examples=40, deadline=None)


def crystals():
    "Forty cubic cells of five elements in pairs, with a target."
    rng = np.random.default_rng(0)
    numbers = rng.choice([3, 8, 11, 17, 26], size=80)
    return StructureSet(numbers, np.tile([[0, 0, 0], [.5, .5, .5]], (40, 1)), np.full(40, 2), np.tile(4*np.eye(3), (40, 1, 1)),
                        ids=[f"c{i}" for i in range(40)], targets={"energy": rng.normal(size=40)}, units={"energy": "eV"}, fractional=True)


def partition_of(found):
    "Parts are sorted, within the set and share no row."
    rows = np.concatenate(list(found.parts.values()))
    assert all((np.diff(part) > 0).all() and len(part) for part in found.parts.values())
    assert len(np.unique(rows)) == len(rows) <= found.n_rows and rows.min() >= 0 and rows.max() < found.n_rows


@COMMON
@given(n=st.integers(40, 400), shares=st.lists(st.floats(.1, 1), min_size=2, max_size=4), seed=st.integers(0, 99),
       by=st.sampled_from(["random", "target", "group"]))
def test_fractions(n, shares, seed, by):
    sizes = {f"part{i}": share/sum(shares) for i, share in enumerate(shares)}
    values = None if by == "random" else np.random.default_rng(seed).integers(0, n, n)
    if by == "group":
        values[:4] = np.arange(n, n + 4)
    found = split(n, sizes, seed=seed, by=by, values=values)
    partition_of(found)
    assert sum(map(len, found.parts.values())) == n
    largest = np.unique(values, return_counts=True)[1].max() if by == "group" else 1
    assert all(abs(len(found[part]) - share*n) <= largest for part, share in sizes.items())
    assert found.digest == split(n, sizes, seed=seed, by=by, values=values).digest


@COMMON
@given(sizes=st.lists(st.integers(1, 30), min_size=3, max_size=60), seed=st.integers(0, 99))
def test_composition_is_never_divided(sizes, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(str)
    if len(groups) < 10:
        return
    found = split(len(groups), (.8, .1, .1), seed=seed, by="composition", values=groups)
    partition_of(found)
    parts = [set(groups[rows]) for rows in found.parts.values()]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


@COMMON
@given(lengths=st.lists(st.integers(40, 90), min_size=1, max_size=4), gap=st.integers(0, 5), seed=st.integers(0, 9))
def test_time_blocks_are_contiguous(lengths, gap, seed):
    runs = np.repeat(np.arange(len(lengths)), lengths)
    shuffle = np.argsort(np.random.default_rng(seed).permutation(len(runs))//7, kind="stable")  # trajectories by turns, each in its order
    runs = runs[shuffle]
    labels = split(len(runs), (.8, .1, .1), by="time", values=runs, gap=gap).labels()
    for run in range(len(lengths)):
        mine = labels[runs == run]
        used = mine[mine >= 0]
        assert (np.diff(used) >= 0).all() and set(used) == {0, 1, 2} and (mine < 0).sum() == 2*gap
        last, first = np.flatnonzero(mine == 0)[-1], np.flatnonzero(mine == 1)[0]
        assert first - last == gap + 1


@COMMON
@given(n=st.integers(100, 500), seed=st.integers(0, 99), missing=st.integers(0, 20))
def test_target_keeps_the_distribution(n, seed, missing):
    values = np.random.default_rng(seed).lognormal(size=n)
    values[:missing] = np.nan
    found = split(n, (.8, .2), seed=seed, by="target", values=values, bins=5)
    edges = np.nanquantile(values, np.linspace(0, 1, 6)[1:-1])
    bins = np.where(np.isnan(values), 5, np.searchsorted(edges, values, side="right"))
    whole, test = np.bincount(bins, minlength=6), np.bincount(bins[found["test"]], minlength=6)
    assert (np.abs(test - .2*whole) <= 2).all()


def test_structures_name_their_own_values():
    s = crystals()
    assert not set(s.formulas()[split(s, by="composition")["train"]]) & set(s.formulas()[split(s, by="composition")["test"]])
    assert split(s, by="target", values="energy").digest == split(40, by="target", values=s.targets["energy"]).digest
    iron = split(s, {"train": .9, "valid": .1}, by="element", values="Fe")
    assert (np.isin(np.arange(40), iron["test"]) == [("Fe" in name) for name in s.formulas()]).all()
    assert len(iron["train"]) + len(iron["valid"]) + len(iron["test"]) == 40
    lists = {"train": s.ids[::2], "test": s.ids[1::2]}
    assert (split(s, lists, by="ids")["test"] == np.arange(1, 40, 2)).all()


def test_every_way_is_deterministic_and_depends_on_the_seed():
    s = crystals()
    given_values = {"target": "energy", "group": s.formulas(), "element": "Fe"}
    for way in WAYS:
        sizes = {"train": s.ids[:9], "test": s.ids[9:]} if way == "ids" else {"train": .7, "valid" if way == "element" else "test": .3}
        digests = {split(s, sizes, seed, way, given_values.get(way)).digest for seed in (0, 0, 1)}
        assert len(digests) == (1 if way in ("ids", "time") else 2), way


@pytest.mark.parametrize("arguments, told", [
    ({"rows": 10, "sizes": {"a": .5, "b": .4}}, "add up to 0.9"),
    ({"rows": 10, "sizes": {"a": 8, "b": 4}}, "ask for 12 rows, but there are 10"),
    ({"rows": 3, "sizes": (.8, .1, .1)}, "part 'valid' would get none of the 3 rows"),
    ({"rows": 10, "sizes": {"a": float("nan"), "b": 1.}}, "not all positive numbers"),
    ({"rows": 10, "sizes": {"a": -.5, "b": 1.5}}, "not all positive numbers"),
    ({"rows": 10, "by": "group", "values": [0]*5 + [1]*5}, "2 groups cannot fill 3 parts"),
    ({"rows": 10, "by": "group", "values": [0]*5}, "5 values; give one value for each of the 10 rows"),
    ({"rows": 10, "by": "time", "gap": 9}, "too short for 3 parts with gaps of 9"),
    ({"rows": ["x", "y", "x"]}, "id 'x' is 2 times in the set"),
    ({"rows": ["x", "y"], "sizes": {"test": ["z"]}, "by": "ids"}, "id 'z' of the list 'test' is not in the set"),
    ({"rows": ["x", "y"], "sizes": {"train": ["x"], "test": ["x"]}, "by": "ids"}, "'train' and 'test'"),
    ({"rows": ["x", "y"], "sizes": {"train": ["x"], "test": []}, "by": "ids"}, "no id of the list 'test'"),
    ({"rows": 10, "by": "target", "values": "energy"}, "`values` is 'energy', no target"),
    ({"rows": 0}, "no rows to divide"),
    ({"rows": 10, "by": "moon"}, "by='moon' is not known"),
])
def test_errors(arguments, told):
    with pytest.raises(MatattnError, match=told.replace("(", r"\(")):
        split(**arguments)


@pytest.mark.parametrize("sizes, values, told", [
    ({"train": 1.}, "Xx", "'Xx' is no element"), ({"train": 1.}, "U", "none of the 40 structures hold U"),
    ({"train": 1.}, None, "give a symbol"), ((.8, .2), "Fe", "'test' gets every structure with the element")])
def test_element_errors(sizes, values, told):
    with pytest.raises(MatattnError, match=told):
        split(crystals(), sizes, by="element", values=values)
