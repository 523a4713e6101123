"""settings.ini, pyproject.toml, the lock and environment.yml agree; what is installed is this checkout."""

import configparser
import importlib.metadata
import re
import tomllib
from fnmatch import fnmatch

import pytest
import yaml
from conftest import ROOT, project_files
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import matattn

GROUPS = {"requirements": None, "run_requirements": "run", "cluster_requirements": "cluster", "dev_requirements": "dev"}


def settings() -> dict:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT/"settings.ini", encoding="utf8")
    return parser["DEFAULT"]


def project() -> dict:
    return tomllib.loads((ROOT/"pyproject.toml").read_text(encoding="utf8"))["project"]


def pins(lines) -> dict[str, str]:
    "name -> exact version; refuses anything that is not one."
    found = {}
    for line in lines:
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and re.fullmatch(r"[\w.]+", specifier.version), line
        found[canonicalize_name(requirement.name)] = specifier.version
    return found


def locked() -> dict[str, str]:
    return pins(line for line in (ROOT/"requirements.lock").read_text(encoding="utf8").splitlines() if line and line[0] != "#")


def direct() -> list[Requirement]:
    return [Requirement(word) for key in GROUPS for word in settings()[key].split()]


@pytest.mark.parametrize(("key", "extra"), GROUPS.items())
def test_pyproject_equals_settings(key, extra):
    listed = project()["dependencies"] if extra is None else project()["optional-dependencies"][extra]
    assert listed == settings()[key].split()


def test_lock_meets_the_ranges():
    for requirement in direct():
        version = locked()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} but locked {version}"
    assert not [name for name in locked() if name.startswith(("nvidia-", "triton", "matattn"))]


def test_environment_equals_lock():
    environment = yaml.safe_load((ROOT/"environment.yml").read_text(encoding="utf8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert environment["name"] == "matattn" and environment["channels"] == ["conda-forge"] and pip[-1] == "-e ."
    wanted = {canonicalize_name(requirement.name) for requirement in direct()}
    assert pins(pip[:-1]) == {name: version for name, version in locked().items() if name in wanted}


def test_installed_is_locked():
    wrong = {}
    for line in (ROOT/"requirements.lock").read_text(encoding="utf8").splitlines():
        if not line or line[0] == "#" or ((marker := Requirement(line).marker) and not marker.evaluate()):
            continue
        ((name, version),) = pins([line]).items()
        found = importlib.metadata.version(name).partition("+")[0]
        if found != version:
            wrong[name] = f"installed {found}, locked {version}"
    assert not wrong, f"run `make venv`: {wrong}"


def test_one_version():
    citation = yaml.safe_load((ROOT/"CITATION.cff").read_text(encoding="utf8"))
    versions = {settings()["version"], str(citation["version"]), importlib.metadata.version("matattn")}
    assert versions == {matattn.__version__}
    assert project()["dynamic"] == ["version"] and project()["requires-python"] == f">={settings()['min_python']}"


def test_entry_points_load():
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="matattn")
    (index,) = importlib.metadata.entry_points(group="nbdev", name="matattn")
    assert callable(command.load()) and f"matattn={command.value}" == settings()["console_scripts"]
    assert index.load()["settings"]["lib_path"] == "matattn"


def test_package_data_are_shipped():
    patterns = tomllib.loads((ROOT/"pyproject.toml").read_text(encoding="utf8"))["tool"]["setuptools"]["package-data"]["*"]
    files = [path for path in project_files() if path.is_relative_to(ROOT/"matattn") and path.suffix != ".py"]
    assert not [path.name for path in files if not any(fnmatch(path.name, pattern) for pattern in patterns)]
