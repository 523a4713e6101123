"""Twins: what must not change a fingerprint, what must, and that a split by composition lets none through."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matattn.core.partition import split
from matattn.core.runtime import MatattnError
from matattn.structures.sets import StructureSet
from matattn.structures.twins import fingerprints, leak_report, twins

COMMON = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 10**6)
CHANGES = [np.array(m) for m in ([[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [-1, 1, 0], [2, 0, 1]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])]


def crystal(seed, n_atoms=5):
    "A triclinic crystal of two elements, no two atoms near each other."
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(4, 6, 3)) + rng.uniform(-.8, .8, (3, 3))
    places = np.array([[i, j, k] for i in (0, .5) for j in (0, .5) for k in (0, .5)])[rng.permutation(8)[:n_atoms]]
    numbers, coords = rng.permutation([8]*(n_atoms - 2) + [26]*2), places + rng.uniform(-.06, .06, (n_atoms, 3))
    return StructureSet(numbers, coords, [n_atoms], [cell], fractional=True)


def molecule(seed, n_atoms=9):
    "Atoms on a shaken grid."
    rng = np.random.default_rng(seed)
    grid = 1.3*np.array([[i, j, k] for i in range(3) for j in range(3) for k in range(2)])[rng.permutation(18)[:n_atoms]]
    return StructureSet(rng.permutation([6]*(n_atoms - 4) + [1]*3 + [8]), grid + rng.uniform(-.2, .2, (n_atoms, 3)), [n_atoms])


def turned(rng):
    "A rotation, proper or not."
    return np.linalg.qr(rng.normal(size=(3, 3)))[0]


def distance(a, b, k=24):
    "Largest difference of two fingerprints, relative to the largest entry."
    prints = fingerprints(a, k), fingerprints(b, k)
    assert prints[0].numbers.tolist() == prints[1].numbers.tolist()
    return np.abs(prints[0].values - prints[1].values).max()/prints[0].values.max()


@COMMON
@given(seed=SEEDS, k=st.integers(1, 30))
def test_motions_and_order_of_crystals(seed, k):
    a, rng = crystal(seed), np.random.default_rng(seed + 1)
    order = rng.permutation(5)
    moved = StructureSet(a.numbers[order], a.coords[order] + rng.uniform(-3, 3, 3), [5], a.cell @ turned(rng), fractional=True)
    assert distance(a, moved, k) < 1e-8
    cartesian = replace(moved, coords=moved.positions(), fractional=False)
    assert distance(a, cartesian, k) < 1e-8


@COMMON
@given(seed=SEEDS, k=st.integers(1, 30))
def test_motions_and_order_of_molecules(seed, k):
    a, rng = molecule(seed), np.random.default_rng(seed + 1)
    order = rng.permutation(9)
    moved = StructureSet(a.numbers[order], a.coords[order] @ turned(rng) + rng.uniform(-9, 9, 3), [9])
    assert distance(a, moved, k) < 1e-8
    assert len(twins(StructureSet.concatenate([a, moved]))) == 1


@COMMON
@given(seed=SEEDS, change=st.sampled_from(CHANGES))
def test_other_cells(seed, change):
    a = crystal(seed)
    other = replace(a, cell=change @ a.cell, coords=a.coords @ np.linalg.inv(change))
    assert abs(np.linalg.det(change)) == pytest.approx(1)
    assert distance(a, other) < 1e-8


@COMMON
@given(seed=SEEDS, times=st.sampled_from([(2, 1, 1), (1, 3, 1), (2, 2, 1), (2, 1, 3)]))
def test_supercells(seed, times):
    a = crystal(seed)
    shifts = np.stack(np.meshgrid(*map(np.arange, times), indexing="ij"), -1).reshape(-1, 3)
    coords = ((a.coords[None] + shifts[:, None])/times).reshape(-1, 3)
    larger = StructureSet(np.tile(a.numbers, len(shifts)), coords, [len(coords)], np.diag(times) @ a.cell, fractional=True)
    assert distance(a, larger) < 1e-8
    found = twins(StructureSet.concatenate([a, larger]))
    assert found["distance"].tolist() == pytest.approx([0], abs=1e-8)


def test_niggli_cell():
    from pymatgen.core import Lattice, Structure

    a = crystal(3)
    skew = Structure(Lattice(np.array([[1, 2, 0], [0, 1, 3], [0, 0, 1]]) @ a.cell[0]), a.numbers, a.positions(), coords_are_cartesian=True)
    reduced = skew.get_reduced_structure("niggli")
    other = StructureSet(reduced.atomic_numbers, reduced.frac_coords, [len(reduced)], [reduced.lattice.matrix], fractional=True)
    assert distance(a, other) < 1e-8


@COMMON
@given(seed=SEEDS, shift=st.floats(1e-4, .03))
def test_a_small_shift_is_a_near_twin(seed, shift):
    a, rng = crystal(seed), np.random.default_rng(seed + 2)
    steps = rng.normal(size=(5, 3))
    near = replace(a, coords=a.positions() + shift*steps/np.linalg.norm(steps, axis=1, keepdims=True), fractional=False)
    found = twins(replace(a, coords=a.positions(), fractional=False), near, tolerance=1.)
    assert 0 < found["distance"].item() <= 4*24**.5*shift  # the bound of a sum of 24 differences; distances alone change by 2 shifts


def cubic(numbers, coords, a):
    "One crystal in a cubic cell."
    return StructureSet(numbers, coords, [len(numbers)], [a*np.eye(3)], fractional=True)


def test_polymorphs_and_orderings_differ():
    fcc = np.array([[0, 0, 0], [0, .5, .5], [.5, 0, .5], [.5, .5, 0]])
    doubled = np.vstack([fcc, fcc + [0, 0, 1]])/[1, 1, 2]
    height = np.round(doubled[:, 2]*4)
    layers, stacked = (StructureSet(np.where(copper, 29, 79), doubled, [8], [np.diag([4., 4, 8])], fractional=True)
                       for copper in (height % 2 == 0, height < 2))
    assert len(twins(StructureSet.concatenate([layers, stacked]), tolerance=.3)) == 0  # same sites, copper and gold ordered otherwise
    salt, blende = cubic([11]*4 + [17]*4, np.vstack([fcc, fcc + .5]), 5.6), cubic([11]*4 + [17]*4, np.vstack([fcc, fcc + .25]), 5.6)
    assert len(twins(StructureSet.concatenate([salt, blende]), tolerance=.3)) == 0
    swapped = cubic([17]*4 + [11]*4, np.vstack([fcc, fcc + .5]), 5.6)
    assert len(twins(StructureSet.concatenate([salt, swapped]))) == 1  # the same crystal from another origin
    other = cubic([19]*4 + [17]*4, np.vstack([fcc, fcc + .5]), 5.6)
    assert len(twins(StructureSet.concatenate([salt, other]))) == 0  # another composition


def test_tiny_structures():
    atoms = StructureSet([2, 2, 1, 1, 1, 1], np.eye(6)[:, :3]*.7, [1, 1, 2, 2])
    assert twins(atoms)[["first", "second"]].values.tolist() == [[0, 1]]
    for empty in (atoms[:0], StructureSet(np.zeros(0), np.zeros((0, 3)), np.zeros(0))):
        with pytest.raises(MatattnError, match="give at least one"):
            fingerprints(empty)


def test_mirror_images_count_as_twins():
    a = molecule(5)
    assert len(twins(StructureSet.concatenate([a, replace(a, coords=a.coords*[1, 1, -1])]))) == 1


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_a_split_by_composition_never_leaks(seed):
    rng = np.random.default_rng(seed)
    many = StructureSet.concatenate([crystal(int(i), n) for i, n in zip(rng.integers(0, 6, 30), rng.integers(3, 8, 30), strict=True)])
    many = replace(many, ids=np.arange(30).astype(str))
    report = leak_report(many, split(many, (.6, .2, .2), seed=seed, by="composition"))
    assert not report[["identical", "near twin", "same composition"]].to_numpy().any()
    again = leak_report(many, split(many, (.6, .4), seed=seed), pairs=(pairs := twins(many)))
    assert again["identical"].sum() > 0 and (pairs["first"] < pairs["second"]).all()
    labels, ends = split(many, (.6, .4), seed=seed).labels(), pairs[["first", "second"]].to_numpy()
    for row, (mine, theirs) in zip(again.itertuples(), ((0, 1), (1, 0)), strict=True):
        across = [*ends[(labels[ends] == [mine, theirs]).all(1), 0], *ends[(labels[ends] == [theirs, mine]).all(1), 1]]
        assert row.identical + again["near twin"][row.Index] == len(set(across))
