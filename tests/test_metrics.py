"""Metrics against the public definitions on random cases, and the coverage of the corrected interval."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from matattn.core import metrics
from matattn.core.runtime import MatattnError
from matattn.core.splits import repeated_folds


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 80), st.integers(1, 3))
def test_classification_agrees_with_scikit_learn(seed, n, decimals):
    "Ties, small tables and any class share included."
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, 2, n), rng.random(n).round(decimals)
    y[:2] = 0, 1
    found = metrics.classification_metrics(y, p)
    assert found["auroc"] == pytest.approx(reference.roc_auc_score(y, p), abs=1e-12)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y, p > .5))
    assert found["sensitivity"] == pytest.approx(reference.recall_score(y, p > .5))
    assert found["specificity"] == pytest.approx(reference.recall_score(y, p > .5, pos_label=0))
    assert 0 <= found["ece"] <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 60), st.floats(1e-3, 1e3))
def test_regression_agrees_with_scikit_learn(seed, n, scale):
    rng = np.random.default_rng(seed)
    y, yhat = scale*rng.normal(size=n), scale*rng.normal(size=n)
    found = metrics.regression_metrics(y, yhat)
    assert found["r2"] == pytest.approx(reference.r2_score(y, yhat), rel=1e-9)
    assert found["mse"] == pytest.approx(reference.mean_squared_error(y, yhat))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(y, yhat))


def test_many_rows_of_scores_are_scored_one_by_one():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 50), rng.random((3, 4, 50))
    many = metrics.classification_metrics(y, p)
    for name, values in many.items():
        assert values.shape == (3, 4)
        assert values[2, 1] == pytest.approx(metrics.classification_metrics(y, p[2, 1])[name], abs=1e-12)


def test_perfect_calibration_has_a_small_error():
    rng = np.random.default_rng(1)
    p = rng.random(200_000)
    y = rng.random(p.size) < p
    assert metrics.calibration_error(y, p) < .01
    assert metrics.calibration_error(y, p**3) > .1
    curve = metrics.reliability_curve(y, p)
    assert np.mean((curve["low"] <= curve["predicted"]) & (curve["predicted"] <= curve["high"])) >= .7


def test_fold_metrics_match_a_loop():
    rng = np.random.default_rng(2)
    y = rng.normal(size=40)
    folds, predictions = repeated_folds(y, n_folds=4, n_repeats=3), rng.normal(size=(3, 40))
    found = metrics.fold_metrics(y, predictions, folds, "regression")["mse"]
    assert found.shape == (3, 4)
    assert found[1, 2] == pytest.approx(np.mean((y - predictions[1])[folds[1] == 2]**2))


def test_interval_of_repeated_folds_is_honest():
    """The naive interval of a 10 x 10 cross-validated mean misses the truth far more often than 5 %; the corrected one does not.

    The 'model' is the training mean of a normal sample, its score the squared error, whose expectation is known.
    """
    rng, n, missed = np.random.default_rng(3), 60, np.zeros(2)
    folds = repeated_folds(np.zeros(n), n_folds=10, n_repeats=5)
    truth = 1 + 1/(.9*n)
    for _ in range(200):
        y = rng.normal(size=n)
        parts = np.array([[np.mean((y[f == k] - y[f != k].mean())**2) for k in range(10)] for f in folds])
        for i, summary in enumerate((metrics.summarise(parts), metrics.summarise(parts.ravel()))):
            missed[i] += not summary["low"] <= truth <= summary["high"]
    corrected, naive = missed/200
    assert corrected < .1 < .2 < naive


def test_t_test_agrees_with_the_plain_one_when_nothing_overlaps():
    "With no test fraction the posterior of the mean is that of the paired t-test."
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(4)
    a, b = rng.normal(.1, 1, 30), rng.normal(size=30)
    found, plain = metrics.correlated_t_test(a, b, test_fraction=0), ttest_rel(a, b)
    assert 2*min(found["p_better"], found["p_worse"]) == pytest.approx(plain.pvalue)
    assert (found["low"], found["high"]) == pytest.approx(tuple(plain.confidence_interval()))


def test_undefined_scores_are_left_out_and_counted():
    assert metrics.summarise([np.nan, np.nan]) == {"mean": None, "std": None, "n": 0, "unit": "1", "low": None, "high": None}
    assert metrics.correlated_t_test([1, np.nan, 2], [0, 0, 0], .1)["difference"] == 1.5


def test_wrong_test_fraction():
    with pytest.raises(MatattnError, match=".1 for 10 folds"):
        metrics.correlated_t_test([1, 2], [0, 1], test_fraction=10)
