"""The command line as a user meets it."""

import argparse
import os
import re
import shlex
import subprocess
import sys

import pytest

import matattn
from matattn.core.cli import main, parser


def call(*arguments, **environment):
    command = [sys.executable, "-c", "import sys; from matattn.core.cli import main; sys.exit(main())", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


def test_version():
    assert call("--version").stdout == f"matattn {matattn.__version__}\n"


def test_nothing_heavy_is_imported_for_the_help():
    code = "import sys, matattn.core.cli; print([name for name in ('torch', 'pandas', 'papermill', 'matplotlib') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("command", ["run", "list", "report", "claims", "readme", "data", "predict", "models"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0 and capsys.readouterr().out.startswith(f"usage: matattn {command}")


def commands(found, name="matattn"):
    "(name, parser) of a program and of all its commands."
    yield name, found
    for action in found._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from commands(below, f"{name} {word}")


@pytest.mark.parametrize(("name", "found"), list(commands(parser())),
                         ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_has_examples_that_are_options(name, found):
    lines = [line for line in (found.epilog or "").splitlines() if line.startswith("  matattn ")]
    examples = [re.split("   +", line.strip()) for line in lines]
    assert lines and all(len(example) == 2 for example in examples), "each example is a call, three spaces or more, what it does"
    for call, _ in examples:
        words = shlex.split(call)
        options = parser().parse_args(words[1:])
        assert callable(options.function) and call.startswith(name)
        if not any(isinstance(action, argparse._SubParsersAction) for action in found._actions):
            assert options.function is found.get_default("function"), f"{call} is an example of another command"


@pytest.mark.parametrize("arguments", [[], ["rum"], ["run", "--jobs", "0"], ["run", "--max-minutes", "-1"], ["run", "--max-minutes", "nan"],
                                       ["run", "--seed", "one"], ["data", "fetch"]])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    told = capsys.readouterr().err
    assert end.value.code == 2 and "error: " in told and "Traceback" not in told


def test_wrong_input_is_one_sentence(tmp_path):
    done = call("data", "path", "mos3", MATATTN_ROOT=str(tmp_path))
    assert done.returncode == 2 and done.stderr.startswith("matattn: ") and done.stderr.count("\n") == 1 and "mos3" in done.stderr
    assert "Traceback" in call("data", "path", "mos3", MATATTN_ROOT=str(tmp_path), MATATTN_DEBUG="1").stderr


def test_outside_a_checkout(tmp_path):
    for command in (["run", "all"], ["claims"], ["report"]):
        done = call(*command, MATATTN_ROOT=str(tmp_path))
        assert done.returncode == 2 and "checkout" in done.stderr and done.stderr.count("\n") == 1
    assert call("list", MATATTN_ROOT=str(tmp_path)).returncode == 0


def test_tables_of_the_real_project(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MATATTN_RECORDS", str(tmp_path))
    assert main(["claims"]) == 0
    assert "hatnet-cqd-organic-mse" in (shown := capsys.readouterr().out) and "not testable here" in shown
    assert main(["data", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert {"mos2", "qm9", "mp36k", "jarvis_dft3d"} <= set(rows) and "in the library" in rows["xtb-molecules"]


def test_a_closed_pipe(tmp_path):
    command = f"{sys.executable} -c 'import sys; from matattn.core.cli import main; sys.exit(main())' claims | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True,
                          env={**os.environ, "MATATTN_RECORDS": str(tmp_path)})
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("\n") == 1
