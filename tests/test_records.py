"""Records and stages: what is refused, what is resumed, what a full disk does."""

import json
import os

import numpy as np
import pytest
from conftest import ROOT

from matattn.core import records
from matattn.core.records import Stages, best_record, read_records, record_path, write_record
from matattn.core.runtime import MatattnError, TimeBudget


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("MATATTN_RECORDS", str(tmp_path/"records"))
    monkeypatch.setenv("MATATTN_RUNS", str(tmp_path/"runs"))


def content(mean=.5, embedded=False, **changes):
    "A valid record's content, with changes."
    metrics = {"auroc": {"mean": mean, "std": .1, "n": 10, "unit": "1", "low": .4, "high": .6}}
    result = {"protocol": "audited", "model": "toy", "data": "toy", "configuration": {}, "parameters": 7, "split": "10-fold",
              "metrics": metrics}
    return {"data": [{"name": "toy", "digest": "0", "rows": 4, "embedded": embedded}], "claims": ["a-claim"], "results": [result],
            "config": {"seed": 0}, **changes}


def test_a_record_says_where_it_comes_from():
    path = write_record("toy", "quick", 3, **content(), budget=TimeBudget(5))
    record = json.loads(path.read_text(encoding="utf8"))
    assert path == record_path("toy", "quick", 3) and [file.name for file in path.parent.iterdir()] == ["quick-seed3.json"]
    assert {"processor", "cores", "accelerator"} <= set(record["hardware"]) and "numpy" in record["versions"]
    assert record["time"]["limit_minutes"] == 5 and record["time"]["limit_hit"] is False and record["time"]["wall_seconds"] >= 0
    assert set(record["git"]) == {"commit", "clean"} and len(record["code"]["library"]) == 16
    assert str(ROOT) not in path.read_text(encoding="utf8")


def claim(name="a-claim", **entry):
    "A record's content with an entry for a claim."
    return content(extras={"claims": {name: entry}})


METRIC = {"mean": .9, "std": .1, "n": 3, "unit": "1"}


@pytest.mark.parametrize(("wrong", "message"), [
    (content(mean=float("nan")), "record toy/quick-seed0, results[0].metrics.auroc.mean: nan is no number; write None"),
    (content(mean=np.inf), "results[0].metrics.auroc.mean: inf is no number"),
    (content(mean="good"), "results[0].metrics.auroc.mean: 'good' is not of type"),
    (content(data=[]), "data: [] should be non-empty"),
    (content(config={"when": object()}), "config.when: object does not fit into JSON"),
    (claim("other", audited=METRIC, protocol="p"), "extras.claims: 'other' is not in the record's list of claims"),
    (claim(protocol="p"), "extras.claims.a-claim: 'audited' is a required property"),
    (claim(audited=METRIC, protocol="p", direction="up"), "extras.claims.a-claim.direction: 'up'"),
])
def test_what_is_refused(wrong, message):
    with pytest.raises(MatattnError) as told:
        write_record("toy", "quick", 0, **wrong)
    assert message in str(told.value)
    assert not record_path("toy", "quick", 0).parent.exists()


def test_none_is_allowed():
    write_record("toy", "quick", 0, **content(mean=None))
    assert read_records("toy")[0]["results"][0]["metrics"]["auroc"]["mean"] is None


def test_the_best_record():
    write_record("toy", "smoke", 0, **content())
    assert best_record("toy") is None
    write_record("toy", "quick", 1, **content(embedded=True))
    assert best_record("toy")["seed"] == 1 and best_record("toy", real=True) is None
    write_record("toy", "quick", 2, **content())
    assert best_record("toy")["seed"] == 1 and best_record("toy", real=True)["seed"] == 2
    write_record("toy", "paper", 5, **content())
    assert best_record("toy")["profile"] == "paper" and best_record("toy", seed=2)["profile"] == "quick"


def test_a_damaged_record_is_named():
    path = write_record("toy", "quick", 0, **content())
    path.write_text(path.read_text(encoding="utf8")[:100], encoding="utf8")
    with pytest.raises(MatattnError, match="quick-seed0.json: not a record .* run the experiment again"):
        read_records()


@pytest.mark.parametrize(("number", "text"), [(28, "No space left on device"), (30, "Read-only file system")])
def test_a_full_disk_or_read_only_folder(monkeypatch, number, text):
    path = write_record("toy", "quick", 0, **content())
    before = path.read_bytes()

    def full(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("matattn.core.runtime.os.fsync", full)
    with pytest.raises(MatattnError) as told:
        write_record("toy", "quick", 0, **content(mean=.9))
    assert f"({text}); make room or set MATATTN_RECORDS to another folder" in str(told.value)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1  # the old record whole, no half one beside it
    with pytest.raises(MatattnError, match="stage .* make room or set MATATTN_RUNS"):
        Stages("toy", "quick", 0, {})("one", lambda: {"a": 1})


def test_stages_resume():
    calls = []

    def fold(number, scale):
        calls.append(number)
        if number == 2 and len(calls) == 3:
            raise KeyboardInterrupt
        return {"p": np.full((2, 2), number*scale, dtype=np.float32), "score": np.float64(.5), "nested": [{"y": np.arange(number)}]}

    def run():
        stages = Stages("toy", "paper", 0, {"data": "0"})
        return [stages(f"fold{number}", fold, number=number, scale=2.) for number in range(4)]

    with pytest.raises(KeyboardInterrupt):
        run()
    results = run()
    assert calls == [0, 1, 2, 2, 3]  # the finished ones were read
    assert results[3]["p"].dtype == np.float32 and (results[3]["p"] == 6).all() and results[3]["nested"][0]["y"].tolist() == [0, 1, 2]
    again = run()
    assert calls == [0, 1, 2, 2, 3]
    assert all((one["p"] == two["p"]).all() and one["score"] == two["score"] for one, two in zip(results, again))


def test_stages_depend_on_all_they_come_from(monkeypatch):
    def one(n):
        return {"n": n}

    def two(n):
        return {"n": n + 0}

    stages = Stages("toy", "paper", 0, {"data": "0"})
    base = stages.path("s", one, {"n": 1})
    others = [stages.path("s", one, {"n": 2}), stages.path("s", two, {"n": 1}), stages.path("t", one, {"n": 1}),
              Stages("toy", "paper", 1, {"data": "0"}).path("s", one, {"n": 1}),
              Stages("toy", "paper", 0, {"data": "1"}).path("s", one, {"n": 1})]
    monkeypatch.setattr(records, "code_digests", lambda experiment: {"library": "changed", "notebook": None})
    others.append(Stages("toy", "paper", 0, {"data": "0"}).path("s", one, {"n": 1}))
    assert len({base, *others}) == 7


def test_a_stage_without_its_arrays_is_made_again():
    stages = Stages("toy", "paper", 0, {})
    calls = []

    def numbers():
        calls.append(1)
        return {"a": np.arange(3)}

    stages("s", numbers)
    for file in stages.folder.glob("*.json"):  # killed between the two files: arrays first, so the JSON says that both are there
        file.unlink()
    assert stages("s", numbers)["a"].tolist() == [0, 1, 2] and len(calls) == 2
