"""From crystals to embeddings, back ends and gains: what is held out stays unseen, what is stopped goes on, what is reported adds up."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from scipy import stats

from matattn.core.runtime import MatattnError, TimeBudget
from matattn.graphs.batches import BatchPlan
from matattn.structures.sets import StructureSet
from matattn.uae.arms import Arm, Outcome, paired_gain, run_arm, train_arm
from matattn.uae.backends import backend, build_graphs, train_backend
from matattn.uae.contests import Bench, Contest
from matattn.uae.embeddings import UAE
from matattn.uae.pretraining import TRAININGS, Pretraining, rows_to_learn, run_pretrainings, twins_of_tests
from matattn.uae.results import side_entries
from matattn.uae.study import PROBLEMS, Source, find_embeddings, load_crystals
from matattn.uae.training import NetworkRecipe

TINY = (("layers", 1), ("width", 16), ("heads", 2), ("hidden", 16))
SMALL = (("width", 8), ("hidden", 8), ("convolutions", 1), ("neighbours", 6))
SOURCE = Source(name="mp36k", data="embedded", limits=(120, 30, 40), watched=10)
RECIPE = NetworkRecipe(epochs=4, batch_size=30, lr=.01, ema=.5)
ARM = Arm(group="test", backend="cgcnn", targets=("ef",), recipe=RECIPE, sizes=SMALL)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    "Two embeddings: one has seen the test crystals."
    folder = tmp_path_factory.mktemp("pretraining")
    recipe = NetworkRecipe(epochs=2, batch_size=30, lr=3e-3)
    jobs = [Pretraining(name=name, targets=TRAININGS["mt2"], recipe=recipe, sizes=TINY, leak=name == "leaky")
            for name in ("sound", "leaky")]
    outcomes = run_pretrainings(jobs, SOURCE, np.zeros(0, int), folder, device="cpu")
    return folder/"embeddings", dict(zip(("sound", "leaky"), outcomes, strict=True))


def test_pretraining_sees_no_test_crystal_unless_it_leaks(pretrained):
    folder, outcomes = pretrained
    study = SOURCE.study()
    job = Pretraining(name="x", targets=("ef",), recipe=RECIPE, sizes=TINY)
    assert set(rows_to_learn(study, job, np.zeros(0, int))) == set(study.split["train"])
    assert outcomes["sound"]["rows"] == 120 and outcomes["leaky"]["rows"] == 190
    counts = np.zeros(101, int)
    for row in study.split["train"]:
        counts[np.unique(study.structures[[row]].numbers)] += 1
    assert np.array_equal(UAE.load(folder/"sound.safetensors").counts, counts[1:])
    assert UAE.load(folder/"leaky.safetensors").card["leak"] is True


def test_crystals_of_other_test_parts_are_found():
    study, other = load_crystals("mp36k", "embedded"), load_crystals("elasticity", "embedded", seed=3)
    withheld = twins_of_tests(study, [other])
    same = np.isin(study.structures.ids, other.structures.ids[other.split["test"]])
    assert set(np.flatnonzero(same[study.split["train"]])) and set(study.split["train"][same[study.split["train"]]]) <= set(withheld)
    assert not set(withheld) & {*study.split["valid"], *study.split["test"]}


def test_pretraining_and_back_ends_are_split_alike():
    "A smaller training part leaves the test part as it is, for every set."
    for name in PROBLEMS:
        whole, part = load_crystals(name, "embedded", seed=1), load_crystals(name, "embedded", limits=(20, 10, 0), seed=1)
        ids = [s.structures.ids[s.split["test"]].tolist() for s in (whole, part)]
        assert ids[0] == ids[1] and not set(ids[0]) & set(whole.structures.ids[whole.split["train"]])


def test_a_stopped_arm_goes_on_exactly(tmp_path, pretrained):
    source = replace(SOURCE, embeddings=(("sound", str(pretrained[0]/"sound.safetensors")),))
    arm = replace(ARM, table="uae:sound")
    (tmp_path/"whole").mkdir()
    whole = run_arm(arm, source, tmp_path/"whole", device="cpu")

    class Steps(TimeBudget):
        "Over after so many looks."
        looks = 0

        @property
        def over(self):
            self.looks += 1
            return self.looks > 7

    (tmp_path/"parts").mkdir()
    assert run_arm(arm, source, tmp_path/"parts", Steps(None), "cpu") is None
    resumed = run_arm(arm, source, tmp_path/"parts", device="cpu")
    assert np.array_equal(resumed.errors, whole.errors) and resumed.valid == whole.valid
    assert [point["epoch"] for point in resumed.course] == [1, 2, 3, 4]


def test_frozen_embeddings_stay_and_others_learn(tmp_path, pretrained):
    path = pretrained[0]/"sound.safetensors"
    source, before = replace(SOURCE, embeddings=(("sound", str(path)),)), UAE.load(path).table().vectors
    for words, moves in (("uae:sound frozen", False), ("uae:sound", True)):
        trained, *_ = train_arm(replace(ARM, table=words), source, tmp_path, device="cpu")
        after = trained.model.elements.weight.detach().numpy()
        assert (np.abs(after - before).max() > 1e-4) == moves, words


def test_another_embedding_is_another_training(tmp_path, pretrained):
    "Files of one name and other content must not be taken for each other."
    (tmp_path/"a").mkdir()
    errors = []
    for name in ("sound", "leaky"):
        source = replace(SOURCE, embeddings=(("mt2", str(pretrained[0]/f"{name}.safetensors")),))
        errors.append(run_arm(replace(ARM, table="uae:mt2"), source, tmp_path/"a", device="cpu").errors)
    assert not np.array_equal(*errors)


def brute_force(mine, theirs, draws=4000):
    "Percentiles of the ratio, seeds and structures drawn one by one."
    rng, found = np.random.default_rng(5), []
    for _ in range(draws):
        seeds, columns = rng.integers(0, len(mine), len(mine)), rng.integers(0, mine.shape[1], mine.shape[1])
        found.append(100*(mine[np.ix_(seeds, columns)].sum()/theirs[np.ix_(seeds, columns)].sum() - 1))
    return np.percentile(found, [2.5, 97.5])


def test_intervals_of_gains():
    rng = np.random.default_rng(2)
    theirs = rng.lognormal(0, 1, (3, 60))
    mine = theirs*rng.uniform(.5, 1.2, (3, 60))*np.array([[.9], [1.], [1.1]])
    ids = np.array([f"s{k}" for k in range(60)])
    sides = [[Outcome(ids, row[:, None], {}, 0., 1, 1) for row in table] for table in (mine, theirs)]
    gain = paired_gain(*sides, draws=4000)
    assert np.isclose(gain["mean"], 100*(mine.sum()/theirs.sum() - 1))
    low, high = brute_force(mine, theirs)
    student = stats.ttest_1samp(np.log(mine.sum(1)/theirs.sum(1)), 0).confidence_interval()  # of three seeds
    assert np.isclose(gain["low"], min(low, 100*np.expm1(student.low)), atol=1.)
    assert np.isclose(gain["high"], max(high, 100*np.expm1(student.high)), atol=1.)
    level = [np.repeat(table[:1], 3, axis=0) for table in (mine, theirs)]  # seeds do not differ: the bootstrap is the wider one
    same = [[Outcome(ids, row[:, None], {}, 0., 1, 1) for row in table] for table in level]
    close = paired_gain(*same, draws=4000)
    assert np.allclose([close["low"], close["high"]], brute_force(*level), atol=1.)
    worse = paired_gain(*sides[::-1])
    assert np.isclose((1 + gain["mean"]/100)*(1 + worse["mean"]/100), 1)
    clustered = paired_gain(*same, groups={one: one[-1] for one in ids.tolist()}, draws=4000)
    assert clustered["high"] - clustered["low"] != close["high"] - close["low"]


def test_gains_over_splits_of_their_own(tmp_path):
    "Seeds with other test parts are compared each with its own."
    arm = replace(ARM, targets=("ea",), by="composition", recipe=replace(RECIPE, epochs=20))
    bench = Bench(replace(SOURCE, name="hoip"), tmp_path, device="cpu")
    sides = bench.settle([Contest(arm=replace(arm, table=table), seeds=2, splits=True) for table in ("own", "one-hot")])
    own, hot = sides.values()
    assert set(own[0].ids) != set(own[1].ids) and not bench.unfinished
    entry = side_entries(bench, sides, bench.source.study("composition"))[1]
    expected = sum(one.errors.sum() for one in hot)/sum(one.errors.sum() for one in own)
    assert np.isclose(entry["comparison"]["own"]["mean"], 100*(expected - 1)) and entry["metrics"]["mae"]["n"] == 2
    with pytest.raises(MatattnError, match="not tested on the same structures"):
        paired_gain(hot, own[::-1])


@pytest.fixture(scope="module")
def large_crystals():
    "60 disordered crystals of 200 atoms."
    rng, cell = np.random.default_rng(0), np.full((60, 1, 1), 15.)*np.eye(3)
    return StructureSet(numbers=rng.integers(3, 20, 12_000), coords=rng.random((12_000, 3)), n_atoms=np.full(60, 200), cell=cell,
                        targets={"energy": rng.normal(size=60)}, fractional=True, name="large")


@pytest.mark.parametrize("name", ["cgcnn", "megnet", "alignn"])
def test_crystals_of_200_atoms_fit_the_default_batch(name, large_crystals):
    "What a batch holds is limited by atoms and edges, not by crystals alone."
    entry = backend(name)
    graphs, recipe = build_graphs(name, large_crystals), entry.recipe
    plan = BatchPlan(graphs, batch_size=recipe.batch_size, max_atoms=recipe.max_atoms, max_edges=recipe.max_edges).epoch(0)
    assert len(plan) > 1 and sorted(np.concatenate(plan)) == list(range(60))
    assert max(graphs.n_atoms[rows].sum() for rows in plan) <= 8192
    assert recipe.max_edges is None or max(graphs.n_edges[rows].sum() for rows in plan) <= recipe.max_edges
    some = graphs[np.arange({"cgcnn": 44, "megnet": 8, "alignn": 2}[name])]
    config = entry.config(line_layers=1, graph_layers=1) if name == "alignn" else entry.config()
    trained = train_backend(name, some, ["energy"], np.arange(len(some)), config=config, recipe=replace(recipe, epochs=1), device="cpu")
    assert trained.history.stopped == "finished" and np.isfinite(trained.predict(some, np.arange(2))).all()


def test_what_is_refused(tmp_path):
    for wrong, words in (({"table": "uae:mt4"}, "there is no embedding 'mt4' here"), ({"table": "gold"}, "no table of elements"),
                         ({"backend": "cgnn"}, "there is no back end 'cgnn'"), ({"targets": ("gap",)}, "there is no target 'gap'")):
        with pytest.raises(MatattnError, match=words):
            run_arm(replace(ARM, **wrong), SOURCE, tmp_path, device="cpu")
    with pytest.raises(MatattnError, match="run `matattn run ct_pretrain --profile quick` first"):
        find_embeddings(["no-such"], "quick", 0)


def test_claims_have_their_experiments():
    with open(ROOT/"nbs"/"experiments"/"references"/"claims.csv", encoding="utf8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["claim_id"].startswith("ctuae-")]
    assert rows and all((ROOT/"nbs"/"experiments"/f"{row['experiment']}.ipynb").is_file() for row in rows if row["testable"] == "yes")
