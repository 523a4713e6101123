"""The nested cross-validation of the baselines against a plain loop, and what must never leak."""

import numpy as np
import pandas as pd
import pytest

from matattn.core.data import find
from matattn.core.metrics import auroc, fold_metrics
from matattn.core.runtime import MatattnError
from matattn.core.splits import repeated_folds
from matattn.hatnet import baseline_models, baselines
from matattn.hatnet.tables import load_table, twin_groups
from matattn.hatnet.trees import BoostedTrees, TableEncoder, fast_xgboost, shap_values


@pytest.fixture(scope="module")
def table():
    return load_table("mos2", data="embedded")


def nested(model, table, folds, y=None, **options):
    options = {"task": table.task, "jobs": 1, "progress": False, "n_candidates": 3, **options}
    return baselines.nested_cv(model, table.X, table.y if y is None else y, folds, **options)


def test_halved_work_gives_what_the_plain_loop_gives(table):
    "Every pair of folds is fitted once and used twice; here it is fitted twice."
    folds = repeated_folds(table.y, n_folds=4, n_repeats=1, stratify=True)
    fold, y = folds[0], table.y
    baseline = baseline_models.MODELS["classification"]["xgboost"]
    candidates = baseline.candidates(3, np.random.default_rng(0))
    found = nested("xgboost", table, folds)
    for k in range(4):
        scores = np.zeros((3, 3, len(baseline_models.TREES)))
        for i, j in enumerate(j for j in range(4) if j != k):
            train = (fold != k) & (fold != j)
            Z = TableEncoder().fit(table.X[train]).transform(table.X)
            for c, config in enumerate(candidates):
                trees = BoostedTrees(rounds=max(baseline_models.TREES), params=config).fit(Z[train], y[train])
                scores[i, c] = auroc(y[fold == j], trees.staged(Z[fold == j], baseline_models.TREES))
        best, stage = np.unravel_index(scores.mean(0).argmax(), (3, len(baseline_models.TREES)))
        assert found["chosen"][0][k] == candidates[best] | {"rounds": baseline_models.TREES[stage]}


@pytest.mark.parametrize("model", ["xgboost", "svm"])
def test_labels_of_the_outer_fold_change_nothing_in_it(table, model):
    folds = repeated_folds(table.y, n_folds=4, n_repeats=1, stratify=True)
    own = folds[0] == 2
    first, second = nested(model, table, folds), nested(model, table, folds, np.where(own, 1 - table.y, table.y))
    assert first["chosen"][0][2] == second["chosen"][0][2]
    assert np.array_equal(first["predictions"][0, own], second["predictions"][0, own])


def test_same_numbers_in_one_or_two_processes(table):
    folds = repeated_folds(table.y, n_folds=3, n_repeats=2, stratify=True)
    one, two = nested("xgboost", table, folds), nested("xgboost", table, folds, jobs=2)
    assert np.array_equal(one["predictions"], two["predictions"]) and one["chosen"] == two["chosen"]
    alone = nested("xgboost", table, folds[1:])
    assert np.array_equal(one["predictions"][1:], alone["predictions"])


def test_levels_of_a_category_come_from_training_rows_only():
    X = pd.DataFrame({"gas": ["Ar", "Ar", "N2", "H2"]})
    encoder = TableEncoder().fit(X[:3])
    assert encoder.columns_ == [("gas", "N2")]
    assert encoder.transform(X).ravel().tolist() == [0, 0, 1, 0]


def test_bad_requests(table):
    folds = repeated_folds(table.y, n_folds=3, n_repeats=1)
    with pytest.raises(MatattnError, match="no baseline 'forest'"):
        nested("forest", table, folds)
    with pytest.raises(MatattnError, match="no baseline 'svm' for ranking"):
        nested("svm", table, folds, task="ranking")
    X, pure = pd.DataFrame({"x": np.arange(60.)}), np.repeat(np.arange(6), 10)
    with pytest.raises(MatattnError, match="no inner fold holds both classes"):
        baselines.nested_cv("svm", X, pure // 3, pure, task="classification", jobs=1, progress=False)


@pytest.mark.parametrize("name", ["mos2", "cqd"])
def test_shap_values_add_up(name):
    table = load_table(name, data="embedded")
    fitted = fast_xgboost(table.X, table.y, task=table.task)
    values, base = shap_values(fitted, table.X)
    margin = fitted[-1].decision_function(fitted[0].transform(table.X))
    assert list(values) == list(table.X)
    assert values.sum(axis=1).to_numpy() + base == pytest.approx(margin, abs=1e-4)


def test_untuned_trees_on_the_real_table():
    "Where the real table lies at hand: the level that anyone gets from xgboost's defaults, and less of it without twins in training."
    try:
        find("mos2", download=False)
    except MatattnError:
        pytest.skip("the real table is not at hand")
    table = load_table("mos2", data="real")
    for groups, low, high in ((None, .955, .975), (twin_groups(table.X), .935, .965)):
        folds = repeated_folds(table.y, n_repeats=3, stratify=True, groups=groups)
        found = nested("xgboost_default", table, folds, n_candidates=None)["predictions"]
        assert low < np.nanmean(fold_metrics(table.y, found, folds, table.task)["auroc"]) < high
