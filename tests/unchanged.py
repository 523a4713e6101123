"""Runs a check unless it passed already on what there is now: the same files of the project (tests aside), packages and data.

python tests/unchanged.py smoke -- matattn run all --profile smoke
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, project_files


def state(files: list[Path], command: list[str]) -> str:
    "Digest of files, of what lies in the data folder, of this Python and of the command."
    found = hashlib.sha256(repr((sys.version, command, os.environ.get("MATATTN_DATA"))).encode())
    for path in files:
        found.update(f"\n{path.relative_to(ROOT)} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    data = Path(os.environ.get("MATATTN_DATA") or ROOT/"none")
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        about = path.stat()
        found.update(f"\n{path} {about.st_size} {about.st_mtime_ns}".encode())
    return found.hexdigest()


def check(name: str, command: list[str], folder: Path, files: list[Path], fresh: bool = False) -> int:
    "Exit code of the command; 0 without running it when it passed on the same."
    passed, now = folder/"passed"/name, state(files, command)
    notebooks = sum(path.suffix == ".ipynb" for path in files)
    if not fresh and passed.is_file() and passed.read_text() == now:
        (folder/"checks").mkdir(parents=True, exist_ok=True)
        (folder/"checks"/f"{name}.unchanged").write_text(f"{notebooks} notebooks and all they stand on unchanged since it passed")
        return 0
    passed.unlink(missing_ok=True)
    code = subprocess.run(command).returncode
    if code == 0 and state(files, command) == now:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.write_text(now)
    return code


if __name__ == "__main__":
    name, _, *command = sys.argv[1:]
    counted = [path for path in project_files() if not path.is_relative_to(ROOT/"tests")]
    sys.exit(check(name, command, ROOT/"runs", counted, bool(os.environ.get("FRESH"))))
