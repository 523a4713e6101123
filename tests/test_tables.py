"""Bad tables: whatever is wrong with a file, one sentence names file, row and column and says what to do."""
import re
import warnings

import numpy as np
import pytest

from matattn.core.data import DataNotFound
from matattn.core.runtime import MatattnError
from matattn.hatnet.tables import SPECS, load_table, read_table, virtual_grid

HEADING = ",".join(column.name for column in (*SPECS["mos2"].features, SPECS["mos2"].target))
ROWS = ["0,2.0 ,Face Down (Flat),50 ,700 ,13 ,10 ,0 ", "1,2.5 ,Face Down (Tilted),60 ,725 ,15 ,12 ,1 ",
        "0,1.5,Face Down (Flat),80,750,17,15,1"]  # made up; the odd blanks are the source's habit


def lines(*rows, heading=HEADING):
    return "\n".join([heading, *rows]) + "\n"


def swap(row, old, new):
    changed = list(ROWS)
    changed[row] = changed[row].replace(old, new, 1)
    return lines(*changed)


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path/"own.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf8"))
        return read_table(path, SPECS["mos2"])
    return read


BAD = {
    "missing file": (None, "no such file"),
    "empty": (b"", "the file is empty"),
    "blank lines only": ("\n\n , ,\n", "the file is empty"),
    "heading only": (lines(), "data rows: 0; at least two"),
    "one row": (lines(ROWS[0]), "data rows: 1; at least two"),
    "Latin-1": (lines(*ROWS).encode("latin1"), r"row 1: not UTF-8 text \(byte 0xb0\); save the table as 'CSV UTF-8'"),
    "UTF-16": (lines(*ROWS).encode("utf16"), "row 1: not UTF-8 text"),
    "semicolons": (lines(*ROWS).replace(",", ";"), "separate the cells by commas"),
    "missing column": (lines(*ROWS, heading=HEADING.replace("Ramp time (min),", "")), "row 1: column 'Ramp time \\(min\\)' is missing"),
    "misspelt column": (lines(*ROWS, heading=HEADING.replace("Ramp time", "Ramp tme")), r"rename 'Ramp tme \(min\)'"),
    "extra column": (lines(*(row + ",x" for row in ROWS), heading=HEADING + ",Operator"), "row 1: column 'Operator' is not part"),
    "column twice": (lines(*(row + ",1" for row in ROWS), heading=HEADING + ",Result"), "row 1: column 'Result' is there twice"),
    "stray comma": (swap(1, "60 ", "60,5"), "row 3: 9 cells where the heading has 8"),
    "row too short": (lines(ROWS[0], ROWS[1], "0,1.5"), "row 4: 2 cells where the heading has 8"),
    "empty line inside": (lines(ROWS[0], "", ROWS[1]), "row 3: 0 cells"),
    "text in a number": (swap(1, "725", "72S"), r"row 3, column 'Reaction Temperature \(°C\)': '72S' is no number"),
    "decimal comma": (swap(2, "1.5", '"1,5"'), r"row 4, column 'Distance of S outside Furnace \(in cm\)': '1,5' is no number"),
    "infinity": (swap(0, "700", "inf"), "row 2, column 'Reaction Temperature .*: 'inf' is no number"),
    "blank cell": (swap(0, "700 ", " "), "row 2, column 'Reaction Temperature .*: the cell is blank"),
    "NaN": (swap(2, "750", "NaN"), "row 4, column 'Reaction Temperature .*: the cell is blank"),
    "unknown category": (swap(1, "(Tilted)", "(Upright)"), r"row 3, column 'Flat/Tilted': 'Face Down \(Upright\)' is unknown; use one of"),
    "flag of 2": (swap(1, "1,", "2,"), "row 3, column 'Add NaCl': '2' is neither 0 nor 1"),
    "label of 2": (lines(*ROWS[:2], ROWS[2][:-1] + "2"), "row 4, column 'Result': '2' is neither 0 nor 1"),
    "text as label": (lines(*ROWS[:2], ROWS[2][:-1] + "yes"), "row 4, column 'Result': 'yes' is no number"),
    "one class": (lines(*ROWS[1:]), "column 'Result': every row is 1; both outcomes are needed"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_told_in_one_sentence(kind, read, tmp_path):
    content, expected = BAD[kind]
    with pytest.raises(MatattnError) as error:
        read_table(tmp_path/"own.csv", SPECS["mos2"]) if content is None else read(content)
    message = str(error.value)
    assert re.search(expected, message), message
    assert message.startswith(str(tmp_path/"own.csv")) and "\n" not in message and error.value.__cause__ is None


@pytest.mark.parametrize("change", [lambda text: text, lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"),
                                    lambda text: text + "\n\n", lambda text: text.replace(" ,", ","),
                                    lambda text: text.replace("Face Down (Flat)", '"Face Down (Flat)"')],
                         ids=["plain", "byte-order mark", "CRLF", "empty lines at the end", "no blanks", "quotes"])
def test_harmless_differences_read_alike(read, change):
    frame, plain = read(change(lines(*ROWS))), read(lines(*ROWS))
    assert frame.equals(plain) and frame["Reaction Temperature (°C)"].tolist() == [700, 725, 750]
    assert frame["Flat/Tilted"].cat.codes.tolist() == [0, 1, 0]


def test_order_of_columns_is_free(read):
    shuffled = ["Result," + HEADING.removesuffix(",Result"), *(f"{row.strip()[-1]},{row.strip()[:-2]}" for row in ROWS)]
    assert read("\n".join(shuffled)).equals(read(lines(*ROWS)))


@pytest.mark.parametrize("name", ["mos2", "cqd"])
def test_grid_and_tables_have_the_same_columns(name):
    table, grid = load_table(name, "embedded"), virtual_grid(name).head(3)
    assert list(grid) == list(table.X)
    for column in table.X.select_dtypes("category"):
        assert list(grid[column].cat.categories) == list(table.X[column].cat.categories)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("MATATTN_DATA", raising=False)
    monkeypatch.setenv("MATATTN_CACHE", str(tmp_path))
    monkeypatch.setenv("MATATTN_OFFLINE", "1")


def test_auto_says_that_it_uses_simulated_data(nowhere):
    with pytest.warns(UserWarning, match="SIMULATED mos2 data .*matattn data get mos2"):
        table = load_table("mos2")
    assert table.embedded and table.name == "simulated-mos2"


def test_real_never_falls_back(nowhere):
    with pytest.raises(DataNotFound, match="matattn data get cqd"):
        load_table("cqd", "real")


def test_embedded_is_silent(nowhere):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(load_table("cqd", "embedded").y).all()


@pytest.mark.parametrize("arguments", [("mos3",), ("mos2", "fake")])
def test_wrong_arguments(arguments):
    with pytest.raises(MatattnError, match="the name is mos2 or cqd, data is auto, real or embedded"):
        load_table(*arguments)
