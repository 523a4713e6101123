"""The library on its own: it is imported quickly, quietly, and without what is not needed yet."""

import statistics
import subprocess
import sys
import time

import pytest

HEAVY = ("torch_geometric", "pymatgen", "rdkit", "dask", "distributed", "plotly", "ipywidgets", "papermill")


def python(code: str, *options: str) -> str:
    "What a program prints; it must not complain."
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_every_module_is_imported_quietly():
    count = python("""
import importlib, pkgutil, matattn
names = [found.name for found in pkgutil.walk_packages(matattn.__path__, "matattn.") if not found.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))""", "-W", "error")
    assert int(count) > 140


@pytest.mark.parametrize("line", ["import matattn, matattn.scann, matattn.uae, matattn.hatnet, matattn.structures, matattn.graphs",
                                  "from matattn.structures.sets import StructureSet"])
def test_packages_load_no_framework(line):
    assert python(f"import sys\n{line}\nprint([name for name in {(*HEAVY, 'torch', 'pandas')} if name in sys.modules])") == "[]"


def test_models_load_only_what_they_need():
    line = ("from matattn.scann import SCANN; from matattn.uae import ALIGNN, CGCNN, UAE, MEGNet; "
            "from matattn.hatnet.estimators import HATNetClassifier; from matattn.structures.prepared import load_structures")
    assert python(f"import sys\n{line}\nprint([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_import_is_quick():
    def seconds():
        start = time.perf_counter()
        python("import matattn")
        return time.perf_counter() - start

    assert statistics.median(seconds() for _ in range(3)) < 2
