"""Claims against what the papers published, and verdicts under changes that must not matter."""

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from matattn.core.claims import FAILS, HOLDS, IN_PART, UNMEASURED, UNTESTABLE, evaluate_claims, judge, read_claims, verdict_table
from matattn.core.runtime import MatattnError

NUMBERS = st.floats(-100, 100, allow_nan=False)


def metric(mean, low=None, high=None):
    return {"mean": mean, "std": .1, "n": 10, "unit": "1", "low": low, "high": high}


def record(profile="paper", seed=0, embedded=False, mean=.97, claim="hatnet-mos2-accuracy", unit="1"):
    "The parts of a record that verdicts are made from."
    entry = {"audited": {**metric(mean, mean - .01, mean + .01), "unit": unit}, "protocol": "10 x 10-fold"}
    return {"experiment": "hatnet_mos2", "profile": profile, "seed": seed, "extras": {"claims": {claim: entry}},
            "data": [{"name": "mos2", "digest": "0", "rows": 300, "embedded": embedded}]}


def verdict(*records):
    return {item["claim_id"]: item for item in evaluate_claims(list(records))}["hatnet-mos2-accuracy"]


def test_the_file():
    claims = read_claims()
    assert len(claims) == 62
    assert all(claim["source"] and claim["unit"] for claim in claims.values())
    assert {claim["doi"] for claim in claims.values() if claim["paper"] in ("HATNet", "SCANN", "ct-UAE")} <= {
        "", "10.1016/j.aei.2025.103462", "10.1038/s41524-023-01163-9", "10.1038/s41467-025-56481-x"}
    experiments = {claim["experiment"] for claim in claims.values()} - {""}
    assert experiments <= {path.stem for path in (ROOT/"nbs"/"experiments").glob("*.ipynb")}


@pytest.mark.parametrize(("old", "new", "message"), [
    (",fraction,", ",,", "row 2, unit"), ("0.95", "", "row 2, value: '' is no number"), (",yes", ",maybe", "row 2, testable: 'maybe'"),
    ("hatnet-mos2-accuracy", "HATNet accuracy", "row 2, claim_id")])
def test_a_wrong_row_is_named(tmp_path, old, new, message):
    text = (ROOT/"nbs"/"experiments"/"references"/"claims.csv").read_text(encoding="utf8")
    path = tmp_path/"claims.csv"
    path.write_text(text.replace(old, new, 1), encoding="utf8")
    with pytest.raises(MatattnError, match="claims.csv, ") as told:
        read_claims(path)
    assert message in str(told.value)


@given(NUMBERS, NUMBERS, NUMBERS, st.floats(0, 10))
def test_the_rule_is_the_same_for_more_and_less(published, audited, theirs, half):
    "Turning every sign and the direction leaves the verdict."
    up = judge(published, metric(audited, audited - half, audited + half), metric(theirs), "higher")[0]
    down = judge(-published, metric(-audited, -audited - half, -audited + half), metric(-theirs), "lower")[0]
    assert up == down


@given(NUMBERS, NUMBERS, st.floats(0, 10))
def test_better_is_never_judged_worse(published, audited, half):
    order = [FAILS, IN_PART, HOLDS]
    verdicts = [order.index(judge(published, metric(value, value - half, value + half), None, "higher")[0])
                for value in (audited, audited + half/2, audited + half)]
    assert verdicts == sorted(verdicts)


def test_a_mean_of_rounded_fractions_reaches_its_number():
    assert judge(.95, metric(sum([57/60]*10)/10), None, "higher")[0] == HOLDS


def test_records_that_do_not_count():
    assert verdict()["verdict"] == UNMEASURED
    assert verdict(record("smoke"))["verdict"] == UNMEASURED
    assert verdict(record(embedded=True))["verdict"] == UNMEASURED
    assert verdict(record("quick"))["verdict"] == HOLDS
    found = verdict(record("quick", mean=.97), record("paper", mean=.80), record("paper", seed=1, mean=.99))
    assert (found["verdict"], found["record"], found["data"]) == (FAILS, "hatnet_mos2/paper-seed0", "mos2")


def test_a_wrong_unit_is_refused():
    with pytest.raises(MatattnError, match="record hatnet_mos2/paper-seed0, hatnet-mos2-accuracy: unit is percent"):
        verdict(record(unit="percent"))


def test_what_cannot_be_tested_says_why():
    table = verdict_table([]).set_index("claim")
    assert tuple(table.loc["hatnet-cqd-organic-mse", ["verdict", "why"]]) == (UNTESTABLE, "data set not published")
    assert not [name for name in table.index if name.startswith("rival-")]
