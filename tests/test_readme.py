"""README.md is what nbs/index.ipynb renders from the records that are committed."""

import re

import pytest
from conftest import ROOT

from matattn.core.readme import render_readme


@pytest.fixture(scope="module")
def page() -> str:
    return render_readme()


def test_readme_is_the_rendered_index(page):
    assert (ROOT/"README.md").read_text(encoding="utf8") == page, "run `make readme`"


def test_two_commands_in_the_first_screen(page):
    first = "\n".join(page.splitlines()[:25])
    assert "make reproduce" in first and "make test" in first


def test_links_lead_somewhere(page):
    links = re.findall(r"(?:\]\(|src=\")([^)\"#]+)", page)
    missing = [link for link in links if not re.match(r"[a-z]+:", link) and not (ROOT/link).exists()]
    assert links and not missing, missing


def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z -]+):", (ROOT/"Makefile").read_text(encoding="utf8"), re.MULTILINE))
    known = {name for group in targets for name in group.split()}
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page, re.MULTILINE)) <= known
