"""`make check-wheel`: a wheel alone, in an environment of its own outside the checkout, runs every notebook for readers."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTED = "from matattn.demo.online import reader_notebooks\nprint(*reader_notebooks(), sep='\\n')"
SIDE_BY_SIDE = 2  # notebooks at a time


def run(title: str, *command, folder: Path):
    "One step, with how long it took; what it has to say is shown when it fails."
    hidden = ("PYTHONPATH", "PYTHONHOME", "JUPYTER_PATH")
    env = {key: value for key, value in os.environ.items() if key not in hidden and key[:8] != "MATATTN_"}
    env["MATATTN_ROOT"], start = str(folder), time.monotonic()
    done = subprocess.run([str(part) for part in command], cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{title} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    print(f"{title}: {time.monotonic() - start:.0f} s", flush=True)
    return done.stdout.strip()


def main(folder: Path):
    "Build, install, run; the checkout is there, as the setup cell fetches it on Colab, but without the package."
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in tracked:  # now: the notebooks of this wheel, even when the checkout changes
        if not name.startswith("matattn/"):
            (folder/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT/name, folder/name)
    run("build", sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, folder=folder)
    (wheel,) = folder.glob("matattn-*.whl")
    run("environment", sys.executable, "-m", "venv", folder/"env", folder=folder)
    (python,) = (folder/"env").glob("*/python")
    run("install", python, "-m", "pip", "install", "-q", "-c", ROOT/"requirements.lock", f"{wheel}[run]", folder=folder)
    place = run("import", python, "-c", "import matattn; print(matattn.__file__)", folder=folder)
    assert Path(place).is_relative_to(folder/"env"), f"{place} is not what was installed"
    assert (Path(place).parent/"py.typed").is_file() and (Path(place).parent/"structures"/"sets.pyi").is_file(), "its types are missing"
    notebooks = [Path(line) for line in run("list", python, "-c", LISTED, folder=folder).splitlines()]
    assert len(notebooks) > 30 and all(path.is_relative_to(folder) for path in notebooks), notebooks

    def execute(path):
        "What failed, or nothing."
        out = folder/"executed"/path.parent.name/path.name
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            run(f"{path.relative_to(folder)}", python, "-m", "papermill", "--no-progress-bar", "--kernel", "python3", "--cwd", path.parent,
                path, out, folder=folder)
        except SystemExit as failure:
            return str(failure)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        failures = [failure for failure in pool.map(execute, notebooks) if failure]
    if failures:
        sys.exit("\n\n".join(failures))
    print(f"{len(notebooks)} notebooks ran from the wheel")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(Path(place).resolve())
