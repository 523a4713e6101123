"""HATNet keeps scikit-learn's contract: every check that scikit-learn has for estimators."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from matattn.hatnet.estimators import HATNetClassifier, HATNetRegressor

SMALL = {"n_members": 2, "n_bins": 16, "width": 16, "batch_size": 16, "lr": 1e-2, "device": "cpu"}


@parametrize_with_checks([HATNetClassifier(epochs=30, **SMALL), HATNetRegressor(epochs=60, dropout=0.0, **SMALL)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)
