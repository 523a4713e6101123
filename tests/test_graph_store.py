"Sets of graphs, edges, the store, batches and PyTorch Geometric: on random ragged sets, against plain loops."

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matattn.core.runtime import MatattnError
from matattn.graphs.batches import BatchPlan, batches
from matattn.graphs.edges import degrees, line_graph, reverse_edges, symmetrise, vectors
from matattn.graphs.pyg import as_pyg_batch, from_pyg, to_pyg
from matattn.graphs.sets import GraphSet, edge_order
from matattn.graphs.store import GraphStore
from matattn.structures.sets import StructureSet

SETTINGS = settings(max_examples=25, deadline=None)


def random_graphs(seed, n_atoms, density=.5, symmetric=False):
    "Graphs of random distinct edges, some structures without any; with the crystals that they belong to."
    rng = np.random.default_rng(seed)
    n_atoms = np.asarray(n_atoms)
    atoms = int(n_atoms.sum())
    crystals = StructureSet(rng.integers(1, 90, atoms), rng.random((atoms, 3)), n_atoms, np.tile(np.eye(3)*4, (len(n_atoms), 1, 1)),
                            targets={"a": rng.random(len(n_atoms)), "b": rng.random(len(n_atoms))}, fractional=True)
    parts = []
    for n in n_atoms:
        triples = np.array([(i, j, k) for i in range(n) for j in range(n) for k in (-1, 0, 1) if (i, k) != (j, 0)]).reshape(-1, 3)
        keep = rng.random(len(triples)) < (density if rng.random() < .8 else 0)
        parts.append(triples[keep])
    n_edges, edges = np.array([len(part) for part in parts]), np.concatenate(parts)
    image = np.stack([edges[:, 2], 0*edges[:, 2], 0*edges[:, 2]], axis=1)
    first = np.repeat(crystals.offsets[:-1], n_edges)
    positions = crystals.positions()
    distance = np.linalg.norm(positions[first + edges[:, 1]] + 4*image - positions[first + edges[:, 0]], axis=1).astype(np.float32)
    order = edge_order(n_edges, edges[:, 0], distance, edges[:, 1], image)
    graphs = GraphSet(crystals.numbers, n_atoms, n_edges, edges[order, 0], edges[order, 1], image[order], distance[order],
                      {"weight": rng.random((len(edges), 2))}, crystals.ids, crystals.targets, name="random")
    graphs = symmetrise(graphs) if symmetric else graphs
    return replace(graphs, features=graphs.features | {"vector": vectors(crystals, graphs)}), crystals


def plain_batch(graphs, chosen):
    "A batch made one structure after another."
    parts, atoms, edges = [], 0, 0
    reverse = reverse_edges(graphs)
    for i in chosen:
        g, low = graphs[int(i)], graphs.edge_offsets[i]
        back = reverse[low:low + len(g.centre)]
        parts.append({"numbers": g.numbers, "batch": np.full(len(g.numbers), len(parts)), "centre": g.centre + atoms,
                      "neighbour": g.neighbour + atoms, "image": g.image, "distance": g.distance, "weight": g.features["weight"],
                      "reverse": np.where(back < 0, -1, back - low + edges), "targets": np.array([[v[0] for v in g.targets.values()]])})
        atoms, edges = atoms + len(g.numbers), edges + len(g.centre)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


sizes = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@SETTINGS
@given(seed=st.integers(0, 2**32 - 1), n_atoms=sizes, data=st.data(), compiled=st.booleans())
def test_batch_equals_plain_loop(seed, n_atoms, data, compiled):
    graphs, crystals = random_graphs(seed, n_atoms)
    chosen = data.draw(st.lists(st.integers(0, len(n_atoms) - 1), min_size=1, max_size=9))
    store = GraphStore.from_graphs(graphs, reverse=True, structures=crystals)
    batch, plain = store.batch(chosen, compiled=compiled), plain_batch(graphs, chosen)
    for name, expected in plain.items():
        found = (batch.features[name] if name in batch.features else getattr(batch, name)).numpy()
        np.testing.assert_array_equal(found, expected.astype(found.dtype), err_msg=name)
    np.testing.assert_allclose(batch.positions.numpy(), crystals[np.array(chosen)].positions(), atol=1e-6)
    assert batch.ids.tolist() == [str(i) for i in chosen] and batch.cell.shape == (len(chosen), 3, 3)


@SETTINGS
@given(seed=st.integers(0, 2**32 - 1), n_atoms=sizes, compiled=st.booleans(), more=st.tuples(*[st.integers(1, 9)]*3))
def test_ghost_adds_and_changes_nothing(seed, n_atoms, compiled, more):
    store = GraphStore.from_graphs(random_graphs(seed, n_atoms)[0], reverse=True, pairs=True)
    chosen = np.random.default_rng(seed).permutation(len(n_atoms))
    batch = store.batch(chosen)
    shape = (len(batch.numbers) + more[0], len(batch.distance) + more[1], len(chosen) + more[2], len(batch.cosine) + more[2])
    padded = store.batch(chosen, pad_to=shape, compiled=compiled)
    assert (len(padded.numbers), len(padded.distance), padded.n_graphs, len(padded.cosine)) == shape
    assert len(padded.ptr) == len(padded.edge_ptr) == padded.n_graphs + 1 and padded.mask.sum() == padded.n_real == len(chosen)
    for name in ("numbers", "batch", "distance", "image", "reverse", "cosine"):
        found, expected = getattr(padded, name), getattr(batch, name)
        assert torch.equal(found[:len(expected)], expected), name
    for name, count in (("edge_index", batch.edge_index.shape[1]), ("pairs", len(batch.cosine))):
        assert torch.equal(getattr(padded, name)[:, :count], getattr(batch, name))
    assert padded.edge_index[:, len(batch.distance):].min() >= len(batch.numbers)
    assert padded.targets[len(chosen):].isnan().all() and torch.equal(padded.targets[:len(chosen)], batch.targets)
    assert (padded.batch[len(batch.numbers):] == len(chosen)).all()


@SETTINGS
@given(seed=st.integers(0, 2**32 - 1), n_atoms=sizes, symmetric=st.booleans(), backtracking=st.booleans())
def test_reverse_and_line_graph_equal_search(seed, n_atoms, symmetric, backtracking):
    graphs, crystals = random_graphs(seed, n_atoms, symmetric=symmetric)
    structure = np.repeat(np.arange(len(graphs)), graphs.n_edges)
    keys = [*zip(structure, graphs.centre, graphs.neighbour, map(tuple, graphs.image.tolist()), strict=True)]
    where = {key: e for e, key in enumerate(keys)}
    expected = [where.get((s, j, i, tuple(-t for t in image)), -1) for s, i, j, image in keys]
    reverse = reverse_edges(graphs)
    assert reverse.tolist() == expected and (not symmetric or (reverse >= 0).all())
    pairs = line_graph(graphs, backtracking)
    found = list(zip(pairs.target + np.repeat(graphs.edge_offsets[:-1], pairs.n_pairs),
                     pairs.source + np.repeat(graphs.edge_offsets[:-1], pairs.n_pairs), strict=True))
    assert found == [(e, f) for e, (s, _, j, _) in enumerate(keys) for f, (r, c, _, _) in enumerate(keys)
                     if s == r and c == j and (backtracking or f != expected[e])]
    batch = GraphStore.from_graphs(graphs, pairs=True, backtracking=backtracking).batch(np.arange(len(graphs)))
    assert batch.pairs.T.tolist() == [[source, target] for target, source in found]
    np.testing.assert_allclose(batch.cosine.numpy(), pairs.cosine, atol=1e-6)
    assert degrees(graphs).sum() == len(graphs.centre)


@SETTINGS
@given(seed=st.integers(0, 2**32 - 1), n_atoms=sizes)
def test_angles_equal_geometry(seed, n_atoms):
    graphs, crystals = random_graphs(seed, n_atoms)
    positions, first = crystals.positions(), np.repeat(graphs.atom_offsets[:-1], graphs.n_edges)
    along = positions[first + graphs.neighbour] + 4*graphs.image - positions[first + graphs.centre]
    pairs = line_graph(graphs)
    shift = np.repeat(graphs.edge_offsets[:-1], pairs.n_pairs)
    to_k, to_i = along[pairs.source + shift], -along[pairs.target + shift]
    cosine = (to_k*to_i).sum(1)/np.linalg.norm(to_k, axis=1)/np.linalg.norm(to_i, axis=1)
    np.testing.assert_allclose(pairs.cosine, cosine, atol=1e-5)


@SETTINGS
@given(seed=st.integers(0, 2**32 - 1), n_atoms=sizes, data=st.data())
def test_choosing_and_joining(seed, n_atoms, data):
    graphs, _ = random_graphs(seed, n_atoms)
    chosen = data.draw(st.lists(st.integers(0, len(n_atoms) - 1), min_size=1, max_size=9))
    one_by_one = GraphSet.concatenate([graphs[i] for i in chosen])
    assert graphs[np.array(chosen)].digest() == one_by_one.digest()
    mask = np.isin(np.arange(len(graphs)), chosen)
    assert graphs[mask].digest() == graphs[sorted(set(chosen))].digest()


@SETTINGS
@given(seed=st.integers(0, 2**32 - 1), n_atoms=sizes)
def test_pyg_there_and_back(seed, n_atoms):
    from torch_geometric.data import Batch

    graphs, crystals = random_graphs(seed, n_atoms)
    data = to_pyg(graphs, structures=crystals)
    back = from_pyg(Batch.from_data_list(data), features=("weight", "vector"), name="random")
    assert replace(back, targets=graphs.targets).digest() == graphs.digest()
    for name, values in back.targets.items():
        np.testing.assert_allclose(values, graphs.targets[name], rtol=1e-6)
    ours, theirs = as_pyg_batch(GraphStore.from_graphs(graphs, structures=crystals).batch(range(len(graphs)))), Batch.from_data_list(data)
    for name in ("z", "edge_index", "edge_attr", "image", "y", "batch", "ptr", "pos", "cell", "weight"):
        assert torch.equal(ours[name], theirs[name]), name


def test_disk_and_dtype(tmp_path):
    graphs, _ = random_graphs(3, [3, 1, 5, 2])
    graphs.save(tmp_path/"graphs")
    mapped = GraphStore.open(tmp_path/"graphs", reverse=True, pairs=True)
    assert isinstance(GraphSet.load(tmp_path/"graphs").distance, np.memmap)
    batch, again = (store.batch([2, 0]) for store in (mapped, GraphStore.from_graphs(graphs, reverse=True, pairs=True)))
    for name in ("numbers", "edge_index", "distance", "image", "reverse", "pairs", "cosine", "targets"):
        assert torch.equal(getattr(batch, name), getattr(again, name)), name
    low = GraphStore.from_graphs(graphs, dtype=torch.bfloat16).batch([2, 0])
    assert low.distance.dtype == low.targets.dtype == low.features["weight"].dtype == torch.bfloat16
    assert torch.equal(low.distance, batch.distance.bfloat16())


def test_large_structure_keeps_its_numbers():
    n = 70_000
    ring = GraphSet(np.ones(n), [n], [n], np.arange(n), (np.arange(n) + 1) % n, distance=np.ones(n))
    batch = GraphStore.from_graphs(GraphSet.concatenate([ring, ring])).batch([1, 0])
    assert batch.edge_index[:, -1].tolist() == [n, 2*n - 1]


@SETTINGS
@given(seed=st.integers(0, 99), limits=st.fixed_dictionaries({}, optional={"batch_size": st.integers(1, 9), "max_atoms": st.integers(1, 99),
                                                                           "max_edges": st.integers(1, 999)}),
       bucketed=st.booleans(), shuffle=st.booleans(), count=st.integers(1, 60))
def test_plan_holds_every_graph_once_within_limits(seed, limits, bucketed, shuffle, count):
    rng = np.random.default_rng(seed)
    columns = {"n_atoms": rng.integers(1, 30, count), "n_edges": rng.integers(0, 300, count)}
    graphs = type("Sizes", (), {**columns, "__len__": lambda _: count})()
    if not limits:
        with pytest.raises(MatattnError, match="give batch_size"):
            BatchPlan(graphs)
        return
    plan = BatchPlan(graphs, **limits, bucketed=bucketed, shuffle=shuffle, seed=seed)
    parts = plan.epoch(2)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    for part in parts:
        sums = {"batch_size": len(part), "max_atoms": graphs.n_atoms[part].sum(), "max_edges": graphs.n_edges[part].sum()}
        assert len(part) == 1 or all(sums[what] <= limit for what, limit in limits.items())


def test_padded_batches_are_compiled_once():
    from torch._dynamo.testing import CompileCounter

    def model(batch):
        atoms = torch.zeros(len(batch.numbers)).index_add(0, batch.centre, batch.distance)
        return torch.zeros(batch.n_graphs).index_add(0, batch.batch, atoms)

    store, counter = GraphStore.from_graphs(random_graphs(0, [3, 2, 5, 4, 1, 2, 3, 5, 5, 2])[0]), CompileCounter()
    compiled = torch.compile(model, backend=counter, dynamic=False)
    walk = batches(store, pad=True, max_atoms=9, max_edges=200)
    sums = [np.allclose(compiled(batch)[batch.mask], model(store.batch(batch.indices)), rtol=1e-5) for batch in walk]
    assert len(sums) > 3 and all(sums) and counter.frame_count == 1


def test_walk_resumes_at_every_step():
    store = GraphStore.from_graphs(random_graphs(1, [2, 3, 1, 4, 2, 2, 5])[0])
    whole = [batch.ids.tolist() for walk in [batches(store, max_atoms=6, seed=4)]*3 for batch in walk]
    for stop in range(1, len(whole)):
        walk = batches(store, max_atoms=6, seed=4)
        seen = []
        while len(seen) < stop:
            for batch in walk:
                seen.append(batch.ids.tolist())
                if len(seen) == stop:
                    break
        again = batches(store, max_atoms=6, seed=4)
        again.resume(walk.state())
        while again.epoch < 3:
            seen += [batch.ids.tolist() for batch in again]
        assert seen == whole


@pytest.mark.parametrize("change, why", [
    ({"centre": [0, 0, 2]}, "structure 'a': the centre of edge 2 is atom 2 of 2"),
    ({"neighbour": [1, -1, 0]}, "structure 'a': the neighbour of edge 1 is atom -1 of 2"),
    ({"centre": [1, 0, 1]}, "structure 'a': its edges are not sorted by centre; sort them with edge_order"),
    ({"features": {"angle": np.zeros(4)}}, "'angle' has 4 rows"),
    ({"distance": np.zeros(2)}, "'distance' has 2 rows"),
    ({"targets": {"gap": [1., 2., 3.]}}, "'gap' has 3 rows for 2 structures"),
    ({"n_edges": [4, -1]}, "structure 'b': it has -1 edges"),
    ({"n_atoms": [3, 0]}, "structure 'b': it has 0 atoms"),
])
def test_bad_sets_are_refused(change, why):
    good = {"numbers": [1, 1, 2], "n_atoms": [2, 1], "n_edges": [3, 0], "centre": [0, 0, 1], "neighbour": [1, 1, 0], "ids": ["a", "b"]}
    GraphSet(**good)
    with pytest.raises(MatattnError, match=why):
        GraphSet(**good | change)


def test_bad_requests_are_refused():
    graphs, crystals = random_graphs(2, [2, 3])
    store = GraphStore.from_graphs(graphs)
    for request, why in (([2], "no graph 2"), ([0, -1], "no graph -1"), ([], "at least one graph"), ([[0]], "mask of 2"),
                         (["0"], "mask of 2")):
        with pytest.raises(MatattnError, match=why):
            store.batch(request)
    with pytest.raises(MatattnError, match="do not hold the same structures"):
        GraphStore.from_graphs(graphs, structures=crystals[:1])
    with pytest.raises(MatattnError, match="differ in method"):
        GraphSet.concatenate([graphs, replace(graphs, method={"kind": "voronoi"})])
    if not torch.cuda.is_available():
        with pytest.raises(MatattnError, match="no GPU"):
            GraphStore.from_graphs(graphs, device="cuda")
        with pytest.raises(MatattnError, match="no GPU"):
            store.batch([0]).to("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_processor():
    graphs, crystals = random_graphs(5, [3, 1, 5, 2, 4])
    options = {"reverse": True, "pairs": True, "backtracking": False, "structures": crystals}
    ours, theirs = (GraphStore.from_graphs(graphs, device=device, **options).batch([4, 0, 0], pad_to=(40, 400, 5, 9000))
                    for device in ("cuda", "cpu"))
    for name in ("numbers", "batch", "edge_index", "distance", "image", "reverse", "pairs", "targets", "positions", "cell", "ptr",
                 "edge_ptr"):
        assert torch.equal(getattr(ours, name).nan_to_num().cpu(), getattr(theirs, name).nan_to_num()), name
    assert torch.allclose(ours.cosine.cpu(), theirs.cosine, atol=1e-6)
