"""Neighbours: what must not change when a structure is turned, moved, renumbered or repeated, and equality with pymatgen."""

import os
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from matattn.core.runtime import MatattnError
from matattn.graphs.radius import nearest_graph, radius_graph
from matattn.graphs.search import neighbour_pairs
from matattn.graphs.voronoi_graph import voronoi_differences, voronoi_graph, voronoi_reference
from matattn.structures.sets import StructureSet, read_arrays

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=12, deadline=None, derandomize=True)
KINDS = {"radius": lambda s: radius_graph(s, 4.5), "nearest": lambda s: nearest_graph(s, 8, keep_ties=True),
         "voronoi": lambda s: voronoi_graph(s, 5.), "published": lambda s: voronoi_graph(s, 5., published=True)}


def crystal(seed, atoms=5):
    "A random crystal, dense as a solid, no two atoms within 1 Å."
    random = np.random.default_rng(seed)
    while True:
        cell = np.eye(3)*4.2 + random.normal(0, .5, (3, 3))
        trial = StructureSet(random.integers(1, 90, atoms), random.uniform(-1, 2, (atoms, 3)), [atoms], [cell], fractional=True)
        if np.linalg.det(cell) > 30 and neighbour_pairs(trial, 1.)[0].sum() == 0:
            return trial


def molecule(seed, atoms=9):
    "A random cloud of atoms, no two within 1 Å."
    random = np.random.default_rng(seed)
    while True:
        trial = StructureSet(random.integers(1, 90, atoms), random.normal(0, 1.8, (atoms, 3)), [atoms])
        if neighbour_pairs(trial, 1.)[0].sum() == 0:
            return trial


def edges(graphs, names=None):
    "Edges as sorted rows (centre, neighbour, distance, solid angle), atoms renamed when names are given."
    names = np.arange(len(graphs.numbers)) if names is None else names
    angle = graphs.features.get("solid_angle", np.zeros(len(graphs.centre)))
    rows = np.c_[names[graphs.centre], names[graphs.neighbour], graphs.distance, angle]
    return rows[np.lexsort((rows[:, 3].round(3), rows[:, 2].round(3), rows[:, 1], rows[:, 0]))]


def same(one, two):
    "Whether two lists of edges agree but for rounding."
    assert one.shape == two.shape
    np.testing.assert_array_equal(one[:, :2], two[:, :2])
    np.testing.assert_allclose(one[:, 2:], two[:, 2:], atol=2e-6)  # stored in single precision


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
@FEW
def test_rotation_and_translation_change_nothing(kind, seed):
    turn, random = Rotation.random(random_state=seed % 2**31).as_matrix(), np.random.default_rng(seed)
    one = crystal(seed)
    two = replace(one, cell=one.cell @ turn, coords=one.coords + random.uniform(-3, 3, 3))
    same(edges(KINDS[kind](one)), edges(KINDS[kind](two)))
    if kind != "published":  # the authors' box does not turn with the molecule
        one = molecule(seed)
        two = replace(one, coords=one.coords @ turn + random.uniform(-50, 50, 3))
        same(edges(KINDS[kind](one)), edges(KINDS[kind](two)))


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
@FEW
def test_the_order_of_atoms_changes_nothing(kind, seed):
    for one in (crystal(seed), molecule(seed)):
        order = np.random.default_rng(seed).permutation(len(one.numbers))
        two = replace(one, numbers=one.numbers[order], coords=one.coords[order])
        same(edges(KINDS[kind](one)), edges(KINDS[kind](two), names=order))


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS, repeats=st.tuples(*[st.integers(1, 3)]*3))
@FEW
def test_a_supercell_repeats_the_neighbours(kind, seed, repeats):
    one = crystal(seed, atoms=3)
    cells = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3)
    coords = (one.coords[None] + cells[:, None])/np.array(repeats)
    two = replace(one, numbers=np.tile(one.numbers, len(cells)), coords=coords.reshape(-1, 3), n_atoms=[3*len(cells)],
                  cell=one.cell*np.array(repeats)[None, :, None])
    single, many = KINDS[kind](one), KINDS[kind](two)
    copies = edges(many, names=np.arange(3*len(cells)) % 3)
    single = np.repeat(edges(single), len(cells), axis=0)
    same(single[np.lexsort((single[:, 3].round(3), single[:, 2].round(3), single[:, 1], single[:, 0]))], copies)


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_at_once_equals_one_by_one_and_does_not_depend_on_the_threads(kind):
    for make in (crystal, molecule):
        several = StructureSet.concatenate([replace(make(seed), ids=[str(seed)]) for seed in range(12)])
        at_once, threaded = KINDS[kind](several), voronoi_graph(several, 5., jobs=2)
        for number in range(12):
            np.testing.assert_array_equal(edges(at_once[number]), edges(KINDS[kind](several[number])))
        assert at_once.ids.tolist() == several.ids.tolist()
        assert voronoi_graph(several, 5.).digest() == threaded.digest()


@given(seed=SEEDS)
@FEW
def test_closed_cells_cover_the_sphere_and_facets_are_mutual(seed):
    graphs = voronoi_graph(crystal(seed), d_t=20., w_t=0., ratio=0.)
    covered = np.bincount(graphs.centre, graphs.features["solid_angle"])
    np.testing.assert_allclose(covered, 4*np.pi, atol=1e-5)
    forward = set(zip(graphs.centre.tolist(), graphs.neighbour.tolist(), map(tuple, graphs.image.tolist()), strict=True))
    seen = [(i, j, tuple(image), angle) for i, j, image, angle in
            zip(graphs.centre.tolist(), graphs.neighbour.tolist(), graphs.image.tolist(), graphs.features["solid_angle"], strict=True)]
    assert all((j, i, tuple(-k for k in image)) in forward for i, j, image, angle in seen if angle > 1e-3)


@given(seed=SEEDS)
@FEW
def test_voronoi_equals_pymatgen(seed):
    for one in (crystal(seed, atoms=3), molecule(seed, atoms=6)):
        assert voronoi_differences(voronoi_graph(one, 5., published=True), voronoi_reference(one, 5.)).max() < 1e-6


@pytest.mark.parametrize("positions", [[[0., 0, 0]], [[0., 0, 0], [0, 0, 1.1]], [[0., 0, 0], [0, 0, 1.06], [0, 0, 2.22]],
                                       [[1.4*np.cos(a), 1.4*np.sin(a), 0] for a in np.arange(6)*np.pi/3]],
                         ids=["atom", "pair", "line", "ring"])
def test_flat_molecules_equal_pymatgen_in_the_box_and_have_no_images_without(positions):
    flat = StructureSet(np.full(len(positions), 6), positions, [len(positions)])
    assert voronoi_differences(voronoi_graph(flat, published=True), voronoi_reference(flat)).max() < 1e-6
    sound = voronoi_graph(flat)
    assert not sound.image.any()
    assert len(positions) == 1 or sound.n_edges[0] >= 2*(len(positions) - 1)


@pytest.mark.parametrize("lattice", [np.eye(3), np.ones((3, 3)) - np.eye(3), np.ones((3, 3)) - 2*np.eye(3)], ids=["sc", "fcc", "bcc"])
def test_symmetric_crystals_equal_pymatgen(lattice):
    cell = lattice*1.9 if np.linalg.det(lattice) > 0 else -lattice*1.9
    one = StructureSet([29], np.zeros((1, 3)), [1], [cell])
    assert voronoi_differences(voronoi_graph(one, 6., published=True), voronoi_reference(one, 6.)).max() < 1e-6
    shells = nearest_graph(one, 1, keep_ties=True).n_edges[0]
    assert shells == {0: 6, 1: 12, -1: 8}[{1.: 0, 2.: 1, 4.: -1}[round(abs(np.linalg.det(lattice)), 6)]]


def test_a_slab_in_vacuum_is_like_a_surface_and_ends_in_time():
    random = np.random.default_rng(0)
    points = np.stack(np.meshgrid(*[np.arange(3)]*3, indexing="ij"), -1).reshape(-1, 3)*2.6 + random.normal(0, .05, (27, 3))
    near, far = (voronoi_graph(StructureSet(np.full(27, 78), points, [27], [np.diag([7.8, 7.8, height])])) for height in (60., 400.))
    began = time.perf_counter()
    voronoi_graph(StructureSet(np.full(27, 78), points, [27], [np.diag([7.8, 7.8, 5000.])]))
    assert time.perf_counter() - began < 5
    same(edges(near), edges(far))


def test_long_and_very_skewed_cells():
    for cell in ([[60., 0, 0], [0, 2.2, 0], [0, 0, 2.2]], [[2.5, 0, 0], [11., 2.4, 0], [-9., 13, 2.6]]):
        one = StructureSet([14], [[.3, .4, .1]], [1], [cell], fractional=True)
        theirs = radius_graph(one, 8., order="pymatgen")
        assert np.sort(theirs.distance).tolist() == pytest.approx(np.sort(radius_graph(one, 8.).distance).tolist(), abs=1e-5)


def test_what_makes_no_sense_is_refused():
    one = molecule(0)
    for call in (lambda: radius_graph(one, -1.), lambda: nearest_graph(one, 0), lambda: voronoi_graph(one, w_t=20.),
                 lambda: voronoi_graph(one[:0]), lambda: radius_graph(one, order="pymatgen")):
        with pytest.raises(MatattnError):
            call()


def real(path, count, **columns):
    "Some structures of a real set, or skip."
    folder = os.environ.get("MATATTN_DATA")
    if not folder or not (file := Path(folder, path)).is_file():
        pytest.skip(f"{path} is not in MATATTN_DATA")
    structures = read_arrays(file, units={}, **columns)
    return structures[np.sort(np.random.default_rng(7).permutation(len(structures))[:count])]


@pytest.mark.parametrize(("path", "count", "d_t"), [("qm9/qm9.npz", 40, 4.), ("mp36k/mp36k.npz", 10, 6.), ("hoip/hoip.npz", 6, 6.)])
def test_real_structures_have_pymatgens_voronoi_neighbours(path, count, d_t):
    some = real(path, count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert voronoi_differences(voronoi_graph(some, d_t, published=True), voronoi_reference(some, d_t)).max() < 1e-6


def test_real_crystals_have_the_graphs_of_cgcnn_index_for_index():
    from pymatgen.core import Structure

    some = real("mp36k/mp36k.npz", 12)
    graphs = radius_graph(some, 8., 12, order="pymatgen")
    for number in range(len(some)):
        atoms = slice(some.offsets[number], some.offsets[number + 1])
        theirs = Structure(some.cell[number], some.numbers[atoms], some.coords[atoms]).get_all_neighbors(8., include_index=True)
        nearest = [sorted(found, key=lambda n: n.nn_distance)[:12] for found in theirs]
        wanted = [(i, n.index, *map(int, n.image)) for i, found in enumerate(nearest) for n in found]
        one = graphs[number]
        assert wanted == list(zip(one.centre, one.neighbour, *one.image.T, strict=True))
