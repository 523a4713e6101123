"""Claims against what the papers published, and verdicts under changes that must not matter."""

import copy
import csv
import os
from pathlib import Path

import pytest
from conftest import ROOT, code_cells
from hypothesis import given
from hypothesis import strategies as st

from matattn.core.claims import FAILS, HOLDS, IN_PART, QUOTED, UNMEASURED, UNTESTABLE, evaluate_claims, judge, read_claims
from matattn.core.cli import main
from matattn.core.ledger import VERDICTS, ledger_table, ledger_text, verdict_counts
from matattn.core.pointers import entry_at, number_at, read_entries
from matattn.core.records import read_records
from matattn.core.runtime import MatattnError

RECORDS = ROOT/"nbs"/"experiments"/"records"
NO_RECORD_YET: set[str] = set()

NUMBERS = st.floats(-100, 100, allow_nan=False)


def metric(mean, low=None, high=None):
    return {"mean": mean, "std": .1, "n": 10, "unit": "1", "low": low, "high": high}


def record(profile="paper", seed=0, embedded=False, mean=.97, claim="hatnet-mos2-accuracy", unit="1"):
    "The parts of a record that verdicts are made from."
    entry = {"audited": {**metric(mean, mean - .01, mean + .01), "unit": unit}, "protocol": "10 x 10-fold"}
    return {"experiment": "hatnet_mos2", "profile": profile, "seed": seed, "extras": {"claims": {claim: entry}}, "results": [],
            "data": [{"name": "mos2", "digest": "0", "rows": 300, "embedded": embedded}]}


def verdict(*records):
    return {item["claim_id"]: item for item in evaluate_claims(list(records))}["hatnet-mos2-accuracy"]


@pytest.fixture
def committed(monkeypatch) -> list[dict]:
    "The records that come with the project."
    monkeypatch.delenv("MATATTN_RECORDS", raising=False)
    return read_records(profile="paper")


def test_the_file():
    claims = read_claims()
    assert len(claims) == 112
    assert all(claim["source"] and claim["unit"] for claim in claims.values())
    assert {claim["doi"] for claim in claims.values() if claim["paper"] in ("HATNet", "SCANN", "ct-UAE")} <= {
        "", "10.1016/j.aei.2025.103462", "10.1038/s41524-023-01163-9", "10.1038/s41467-025-56481-x"}


def test_the_published_numbers_are_those_of_the_reference():
    data = Path(os.environ.get("MATATTN_DATA") or ROOT.parent/"shared"/"data")
    path = next((place for folder in (ROOT.parent/"shared", data.parent) if (place := folder/"reference"/"published.csv").is_file()), None)
    if path is None:
        pytest.skip("the published numbers are not beside the project")
    claims = read_claims()
    with open(path, encoding="utf8", newline="") as file:
        rows = [{**row, "value": float(row["value"])} for row in csv.DictReader(file)]
    own = "note"  # that of a rival that is measured against here
    for row in rows:
        known = claims[row["claim_id"]]
        differing = [key for key in row if row[key] != known[key] and not (key == own and known["statement"])]
        assert not differing, f"{row['claim_id']}: {differing} differ from {path.name}"
    assert len(rows) >= 50


@pytest.mark.parametrize("claim", [claim for claim in read_claims().values() if claim["testable"] == "yes"], ids=lambda c: c["claim_id"])
def test_a_cell_tests_each_claim(claim):
    path = ROOT/"nbs"/"experiments"/f"{claim['experiment']}.ipynb"
    assert path.is_file(), f"there is no experiment '{claim['experiment']}'"
    cells = {cell["id"]: cell["metadata"].get("tags", []) for cell, _ in code_cells(path)}
    assert claim["cell"] in cells, f"{path.name} has no code cell '{claim['cell']}' any more; name the one that tests the claim"
    assert not {"verdict", "setup", "parameters"} & set(cells[claim["cell"]])


def test_statements_point_at_numbers():
    claims, entries = read_claims(), read_entries()
    statements = {name for name, claim in claims.items() if claim["statement"] and claim["testable"] == "yes"}
    assert set(entries) == statements


def test_every_claim_has_a_paper_record(committed):
    made = {record["experiment"] for record in committed}
    claimed = {claim["experiment"] for claim in read_claims().values() if claim["testable"] == "yes"}
    assert claimed - made <= NO_RECORD_YET, "a claim is shown without a record"
    late = sorted(made & NO_RECORD_YET)
    assert not late, f"{late} have records now; take them from NO_RECORD_YET, then `matattn report` and `make readme`"
    for item in evaluate_claims(committed):
        if item["testable"] == "yes" and item["experiment"] in made:
            assert item["profile"] == "paper" and (RECORDS/f"{item['record']}.json").is_file()
            assert item["ours"] is not None or "not at hand" in item["why"], f"{item['claim_id']}: its record has no number for it"
            assert item["verdict"] in VERDICTS
        else:
            assert item["ours"] is None and item["verdict"] in (UNTESTABLE, UNMEASURED)


def test_every_cell_of_the_table_has_a_record(committed):
    table = ledger_table(committed)
    shown = table[(table["ours"] != "–") | (table["as published"] != "–")]
    assert len(shown) >= 40
    assert all((RECORDS/f"{name}.json").is_file() for name in shown["record"])
    assert (table.drop(columns="note") != "").all(axis=None)


def test_pointers_lead_to_numbers_and_change_nothing(committed):
    claims, of = read_claims(), {record["experiment"]: record for record in committed if record["seed"] == 0}
    for name, entry in read_entries().items():
        record = of[claims[name]["experiment"]]
        before = copy.deepcopy(record)
        said = entry_at(record, entry, claims[name]["unit"], name)
        assert isinstance(said["audited"]["mean"], float) and said["audited"]["n"] >= 1 and said["protocol"]
        assert record == before
        assert name not in record["extras"].get("claims", {}), f"{name}: the record names the claim itself"


def test_a_wrong_pointer_is_told(committed):
    record = next(record for record in committed if record["experiment"] == "hatnet_mos2")
    with pytest.raises(MatattnError, match=r"^mos2: 0 results fit \{'model': 'HATNT'\}; correct entries.yaml.$"):
        number_at(record, {"where": {"model": "HATNT"}, "take": "metrics.auroc"}, "1", "mos2")
    with pytest.raises(MatattnError, match=r"^mos2: \d+ results fit \{'protocol': 'audited'\}"):
        number_at(record, {"where": {"protocol": "audited"}, "take": "metrics.auroc"}, "1", "mos2")


@pytest.mark.parametrize(("text", "message"), [
    ("a: {audited: {where: {model: x}, take: folds.x}, better: higher}", "entries.yaml, a"),
    ("a: {better: higher}", "'audited' is a required"),
    ("a: [", "entries.yaml: not YAML"), ("a: {audited: {extras: x}, better: more}", "'more' is not one of")])
def test_a_wrong_entry_is_named(tmp_path, text, message):
    (tmp_path/"entries.yaml").write_text(text, encoding="utf8")
    with pytest.raises(MatattnError, match="entries.yaml") as told:
        read_entries(tmp_path/"entries.yaml")
    assert message in str(told.value)


@pytest.mark.parametrize(("old", "new", "message"), [
    (",fraction,", ",,", "row 2, unit"), ("0.95", "", "row 2, value: '' is no number"), (",yes", ",maybe", "row 2, testable: 'maybe'"),
    ("hatnet-mos2-accuracy", "HATNet accuracy", "row 2, claim_id"), (",hatnet_mos2,yes", ",,yes", "row 2, experiment"),
    ("fc966c4a", "", "row 2, experiment")])
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
    table = ledger_table([]).set_index("claim")
    assert tuple(table.loc["hatnet-cqd-organic-mse", ["verdict", "why"]]) == (UNTESTABLE, "data set not published")
    quoted = {name for name, claim in read_claims().items() if claim["testable"] == QUOTED}
    assert quoted and not quoted & set(table.index)


def test_a_run_without_the_number_says_so():
    "A paper record that lacks a number leaves its claim untestable, a smaller run leaves it unmeasured."
    other = record(claim="tang-mos2-auroc", mean=.97)
    other["extras"]["missing"] = ["a set"]
    assert verdict(other)["verdict"] == UNTESTABLE and verdict(other)["why"].endswith("not at hand: a set")
    assert verdict({**other, "profile": "quick"})["verdict"] == UNMEASURED


@given(NUMBERS, NUMBERS, st.floats(.01, 10))
def test_a_gain_needs_its_interval(line, found, half):
    "No gain holds whose interval contains the line, and none below the line holds at all."
    told = judge(line, metric(found, found - half, found + half), None, "higher", gain=True)[0]
    assert (told == HOLDS) == (found - half > line) and (told == FAILS) == (found < line)


def test_short_training_decides_nothing():
    told, why = judge(32, metric(45.), None, "lower", "5 epochs, where the paper trains up to 1,000")
    assert told == UNTESTABLE and "5 epochs, where the paper trains up to 1,000" in why and "45" in why
    assert judge(32, metric(45.), None, "lower")[0] == FAILS


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_ledger_fits_the_terminal(committed, width):
    table = ledger_table(committed)
    lines = ledger_text(table, width).splitlines()
    assert max(map(len, lines)) <= width
    assert all(f"  {row['claim']}: {row['verdict'].upper()}" in lines for row in table.to_dict("records"))
    assert verdict_counts(table).loc["all"].sum() == len(table)


def test_the_command(committed, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["claims"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 70 and "hatnet-mos2-accuracy: " in out
    assert main(["claims", "--csv", str(tmp_path/"ledger.csv")]) == 0
    with open(tmp_path/"ledger.csv", encoding="utf8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["claim"] for row in rows] == list(ledger_table(committed)["claim"]) and {row["verdict"] for row in rows} >= {HOLDS, FAILS}
    assert main(["claims", "--csv", str(tmp_path/"ledger.csv"/"x.csv")]) == 2
    assert "cannot be written" in capsys.readouterr().err
