"""A small site made by its own command: links, anchors, sizes, no network, the API whole, the search list, and a browser's view."""

import ast
import base64
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, modules, name_of

from matattn.site.frame import Sheet, framed
from matattn.site.links import HEAVIEST, check_site, read_html
from matattn.site.notebooks import shown_output
from matattn.site.outputs import all_outputs
from matattn.site.pages import find_pages

NOTEBOOKS = ("index", "core/02_writing", "graphs/20_voronoi", "reports/hatnet_table", "experiments/hatnet_mos2", "data/mos2")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    "Where the site and its executed notebooks go."
    return tmp_path_factory.mktemp("site")


def make(workplace, *options, names=NOTEBOOKS):
    "Call `matattn site`; a part of the site is enough here."
    environment = {**os.environ, "MATATTN_RUNS": str(workplace/"runs"), "MATATTN_ROOT": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("MATATTN_RECORDS", None)
    program = "import sys; from matattn.core.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "site", *names, "--out", str(workplace/"pages"), "--jobs", "1", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def site(workplace) -> Path:
    "The folder of a small site."
    done = make(workplace)
    assert done.returncode == 0, done.stderr
    assert f"{len(NOTEBOOKS)} of notebooks made anew" in done.stdout and " run, " in done.stdout and "min left" in done.stdout
    return workplace/"pages"


def test_unchanged_pages_stay(site, workplace):
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    done = make(workplace)
    assert done.returncode == 0 and " 0 of notebooks made anew" in done.stdout and "to run" not in done.stdout, done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()} == before


def test_a_folder_with_other_files_is_left_alone(workplace, tmp_path):
    (tmp_path/"thesis.tex").write_text("years of work")
    done = make(workplace, "--out", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"matattn: {tmp_path} is not empty and holds no site; name another folder, or a new one.\n"
    assert (tmp_path/"thesis.tex").read_text() == "years of work"


def test_a_wrong_name_is_told_in_a_sentence(workplace):
    done = make(workplace, names=["core/10_recrods"])
    assert done.returncode == 2 and done.stderr == "matattn: no notebook 'core/10_recrods' below nbs/; write it as core/10_records.\n"


def test_nothing_needs_the_network(site):
    tags = re.compile(r"<(?:script|link|img|iframe|source|object|video|audio)\b[^>]*>")
    for path in site.rglob("*.html"):
        remote = [tag for tag in tags.findall(path.read_text(encoding="utf8")) if re.search(r"(?:src|href|data)=[\"']?(?:https?:)?//", tag)]
        assert not remote, f"{path.name}: {remote}"
    for path in [*site.glob("assets/*.css"), *(site/"assets"/name for name in ("site.js", "search.js"))]:
        text = path.read_text(encoding="utf8")
        assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//|import\(|fetch\(|XMLHttpRequest", text), path.name


def test_sizes(site):
    heavy = {path.name: path.stat().st_size for path in site.rglob("*.html") if path.stat().st_size > HEAVIEST}
    assert HEAVIEST == 1_500_000 and not heavy


def test_a_broken_site_is_refused(site, tmp_path):
    shutil.copytree(site, tmp_path/"copy")
    page = tmp_path/"copy"/"core"/"02_writing.html"
    page.write_text(page.read_text(encoding="utf8").replace('href="../index.html"', 'href="../nowhere.html"'), encoding="utf8")
    (tmp_path/"copy"/"api"/"core.writing.html").write_text("<main></main>", encoding="utf8")
    wrong = "\n".join(check_site(tmp_path/"copy"))
    assert "core/02_writing.html: the link ../nowhere.html leads nowhere" in wrong
    assert "core.writing.html#write_file: there is no such anchor" in wrong


def public(tree) -> list[str]:
    "`__all__` of a parsed module."
    return next((ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"), [])


@pytest.mark.parametrize("path", [path for path, tree in modules().items() if public(tree)], ids=name_of)
def test_api_has_every_name(site, path):
    tree, name = modules()[path], ".".join(path.relative_to(ROOT/"matattn").with_suffix("").parts)
    page = (site/"api"/f"{name}.html").read_text(encoding="utf8")
    anchors, said = set(read_html(page).ids), html.unescape(re.sub(r"<[^>]+>", "", page))
    assert set(public(tree)) <= anchors
    lines = path.read_text(encoding="utf8").splitlines()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in public(tree) and len(node.args.args) > 1:
            for argument in node.args.args:
                meaning = lines[argument.end_lineno - 1].partition("  # ")[2].replace("`", "")
                assert meaning in said.replace("`", ""), f"{node.name}({argument.arg}): {meaning}"
            for raised in re.findall(r"Raises? `\w+`", ast.get_docstring(node) or ""):
                assert raised.replace("`", "") in said


def test_pages_show_results(site):
    report = (site/"reports"/"hatnet_table.html").read_text(encoding="utf8")
    assert report.count("<img ") >= 2 and "Run for this site" in report and "XGBoost, tuned" in report
    experiment = (site/"experiments"/"hatnet_mos2.html").read_text(encoding="utf8")
    assert 'class="verdicts"' in experiment and "hatnet-mos2-accuracy" in experiment and "figures/hatnet_audited.png" in experiment
    assert "HATNetClassifier" in (site/"index.html").read_text(encoding="utf8")
    assert "rows of the source" in (site/"data"/"mos2.html").read_text(encoding="utf8")


def test_formulas_are_mathml(site):
    page = (site/"graphs"/"20_voronoi.html").read_text(encoding="utf8")
    assert page.count("<math") >= 6 and 'display="block"' in page
    assert not re.search(r"\$[^<>$]*\\[a-z]+", re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL))


def test_search_list(site):
    text = (site/"assets"/"search.js").read_text(encoding="utf8")
    parts = json.loads(text.removeprefix("matattn.parts=").rstrip(";\n"))
    assert ["matattn.core.writing", "write_file"] in [part[:2] for part in parts]
    anchors = {path.relative_to(site).as_posix(): set(read_html(path.read_text(encoding="utf8")).ids) for path in site.rglob("*.html")}
    for _, _, url, _ in parts:
        place, _, anchor = url.partition("#")
        assert place in anchors and (not anchor or anchor in anchors[place]), url
    assert {url.partition("#")[0] for _, _, url, _ in parts} == set(anchors)


def test_outputs_of_elsewhere_are_taken(tmp_path, monkeypatch):
    (page,) = find_pages(["experiments/hatnet_mos2"])
    monkeypatch.setenv("MATATTN_RUNS", str(tmp_path))
    book = json.loads(page.source.read_text(encoding="utf8"))
    book["metadata"]["papermill"] = {"end_time": None}
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    code[-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "the last word"}]
    place = tmp_path/"hatnet_mos2"/"paper-seed0"/"notebook.ipynb"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(book), encoding="utf8")
    assert all_outputs([page], 1)[page.url].note == "", "a run that has not ended is not shown"
    book["metadata"]["papermill"]["end_time"] = "2026-01-01"
    place.write_text(json.dumps(book), encoding="utf8")
    outputs = all_outputs([page], 1)[page.url]
    assert "matattn" in outputs.note and "the last word" in json.dumps(outputs.notebook)
    next(cell for cell in code if "parameters" in cell["metadata"].get("tags", []))["source"] = "profile = 'other'"
    place.write_text(json.dumps(book), encoding="utf8")
    assert all_outputs([page], 1)[page.url].note == "", "other cells, other results"


PROBE = """<!DOCTYPE html><title>probe</title><pre id="out"></pre><script>
const wait = (time) => new Promise((done) => setTimeout(done, time)), found = [];
const frameDrawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 200)));
const visit = async (url, width) => {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  await new Promise((done) => { frame.onload = done; frame.src = url; document.body.append(frame); });
  const inside = frame.contentDocument, result = {url, width};
  result.over = inside.documentElement.scrollWidth - inside.documentElement.clientWidth;
  if (url === PAGES[0]) {
    const box = inside.querySelector(".search input");
    box.value = "write_file";
    box.dispatchEvent(new Event("input"));
    for (let turn = 0; turn < 50 && !inside.querySelector("#found a"); turn++) await wait(100);
    result.first = inside.querySelector("#found a")?.getAttribute("href") ?? "nothing";
  }
  const view = inside.querySelector(".view");
  if (view) {
    view.scrollIntoView();
    for (let turn = 0; turn < 500 && !view.querySelector(".main-svg"); turn++) await frameDrawn();
    result.view = Boolean(view.querySelector(".main-svg"));
  }
  const before = inside.documentElement.dataset.theme;
  inside.querySelector(".theme").click();
  result.turned = inside.documentElement.dataset.theme !== before;
  result.menu = getComputedStyle(inside.querySelector(".menu")).display !== "none";
  found.push(result);
  frame.remove();
};
(async () => {
  for (const url of PAGES) for (const width of [1400, 390]) await visit(url, width);
  document.getElementById("out").textContent = "DONE" + JSON.stringify(found) + "END";
})();
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path: pages are not looked at in a browser")
def test_in_a_browser(site, tmp_path):
    shutil.copytree(site, tmp_path/"pages")
    figure = {"data": [{"type": "mesh3d", "x": [0, 1, 0, 0], "y": [0, 0, 1, 0], "z": [0, 0, 0, 1], "text": ["C0"]*60}],
        "layout": {"height": 300}}
    page, files = find_pages(["core/02_writing"])[0], {}
    shown = shown_output({"output_type": "display_data", "data": {"application/vnd.plotly.v1+json": figure}}, files, page, "")
    (tmp_path/"pages"/"core"/"view.html").write_text(
        framed(Sheet("core/view.html", "A view", "", shown["data"]["text/html"]), []), encoding="utf8")
    import plotly

    shutil.copy(Path(plotly.__file__).parent/"package_data"/"plotly.min.js", tmp_path/"pages"/"assets"/"plotly.js")
    for place, content in files.items():
        (tmp_path/"pages"/place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/"pages"/place).write_bytes(content)
    urls = ["index.html", "core/view.html", "reports/hatnet_table.html", "experiments/hatnet_mos2.html", "graphs/20_voronoi.html",
        "api/index.html",
            "api/structures.sets.html", "figures.html", "experiments/index.html", "data/mos2.html"]
    (tmp_path/"pages"/"probe.html").write_text(PROBE.replace("<script>", f"<script>const PAGES = {json.dumps(urls)};", 1), encoding="utf8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--allow-file-access-from-files",
               "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=600000", "--enable-logging=stderr",
                   "--window-size=1600,1000",
               f"--user-data-dir={tmp_path/'profile'}", "--dump-dom", (tmp_path/"pages"/"probe.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    match = re.search(r"DONE(\[.*\])END", done.stdout)
    assert match, done.stderr[-2000:]
    found = json.loads(html.unescape(match[1]))
    assert len(found) == 2*len(urls)
    assert not [(one["url"], one["width"], one["over"]) for one in found if one["over"] > 0], "the page itself scrolls sideways"
    assert {one["first"] for one in found if "first" in one} == {"./api/core.writing.html#write_file"}
    assert [one["view"] for one in found if "view" in one] == [True, True]
    assert all(one["turned"] and one["menu"] == (one["width"] == 390) for one in found)
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line and re.search(r"Uncaught|ERR_|Refused|SyntaxError", line)]
    assert not errors, errors


def test_pictures_are_files():
    (page,), files = find_pages(["core/02_writing"]), {}
    dot = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
    shown = shown_output({"output_type": "display_data", "data": {"image/png": dot}, "metadata": {"image/png": {"width": 3, "height": 2}}},
        files, page, "a & b")
    assert list(files) and dot not in shown["data"]["text/html"] and 'alt="a &amp; b"' in shown["data"]["text/html"]
