"""The page is one file without external resources; it has the results of the runs, and a browser draws its charts."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from smskd.analysis.compare import compare
from smskd.analysis.paired import with_differences
from smskd.errors import UserError
from smskd.report.class_chart import class_chart
from smskd.report.figure import Analysis, Figure, Picture, Pictures, Table
from smskd.report.page import write_report, write_run_report
from smskd.report.probability_charts import distribution_chart, reliability_chart, weight_chart
from smskd.report.similarity_chart import similarity_chart
from smskd.runs.reader import find_runs, load_run
from tests.support.run_folders import PLAIN, THREE, sealed, write_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Elements(HTMLParser):
    """The elements of a page and its text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def charts_of(elements: Elements) -> list[str | None]:
    return [attributes["data-chart"] for _, attributes in elements.found if "data-chart" in attributes]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("single") / "run", name="at-fitnet-dkd", stages=THREE, seed=4)
    page = write_run_report(folder)
    assert page.notes == ()
    return page.path


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("several")
    for seed in range(2):
        write_run(out / "kd" / f"seed{seed}", seed=seed, top1=66.0 + seed)
        write_run(out / "plain" / f"seed{seed}", name="plain", seed=seed, stages=PLAIN, top1=60.0, teacher_top1=None)
    return write_report(find_runs([out]), out / "pages" / "all.html").path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison with every kind of chart: orders, a numeric key, numbers of stages, gains, small multiples."""
    out = tmp_path_factory.mktemp("many")
    orders = [["at", "kd"], ["at", "sp"], ["kd", "at"], ["kd", "sp"], ["sp"]]
    recipes = [("-".join(order), [[name] for name in order], {}) for order in orders]
    recipes += [(f"w{weight}", [["at"], ["rkd"]], {"stages.1.anchor.weight": weight}) for weight in (0.0, 0.3, 0.5)]
    for position, (name, stages, facts) in enumerate(recipes):
        for seed in range(2):
            top1 = 60.0 + position + seed * (1 + position / 8)
            run = out / name / f"seed{seed}"
            write_run(run, name, seed, stages, top1=top1, facts=facts, epochs_per_stage=3)
    runs = find_runs([out])
    rows, _ = with_differences(compare(runs), "at-kd")
    return write_report(runs, out / "page.html", rows=rows).path


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with an analysis, in which some names are hostile."""
    folder = write_run(tmp_path_factory.mktemp("analysed") / "run", stages=THREE, epochs_per_stage=3)
    counts = {name: {"retained": 5, "forgotten": 2, "learned": 1, "never_known": 2} for name in ("cat", HOSTILE[0])}
    stages = ("1 · at + sp", "2 · fitnet", "3 · dkd")
    bins = [0.1 * place / 4.5 for place in range(10)]
    similar = {"stage1": {"teacher's stage1": 0.7, "teacher's pooled": 0.2}, "pooled": {"teacher's pooled": 0.9}}
    figures = [
        Figure("classes-2", "Classes", class_chart("classes", counts), "By class."),
        Figure("calibration", "Calibration", reliability_chart("run", {s: [(0.5, 0.4, 9)] for s in stages}), "Bins."),
        Figure("confidence", "TCP", distribution_chart("tcp", dict.fromkeys(stages, bins)), "Shares."),
        Figure("weights", "Weights", weight_chart("weights", {stages[1]: (bins, bins)}), "Weights."),
        Figure("similarity", "CKA", similarity_chart("run", dict.fromkeys(stages, similar)), "CKA."),
    ]
    pictures = Pictures("Forgotten in stage 2", "Two.", [Picture(PIXEL, "", (HOSTILE[0], "test image 3"))] * 2)
    table = Table("Students", ("Stage", "Part", "Top-1 %"), 2, [(stages[0], "test", "61.00")], "A note.")
    found = Analysis(["Negative transfer."], [table], figures, [pictures])
    page = write_run_report(folder, found)
    assert page.notes == ()
    return page.path


HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "\x1b[31m\x00\uffff\u202eright to left",
    "${7*7} {{7*7}} datum['a'] \\u0041 \"quoted\" 'name'",
    "العربية עברית 👩‍🔬 漢字",
    "=cmd|' /C calc'!A0",
    "long" * 400,
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of runs whose names, models, data and methods are hostile."""
    out = tmp_path_factory.mktemp("hostile")
    for number in range(3):
        name, other = HOSTILE[number], HOSTILE[number + 3]
        stages = [[name], [f"{other}.package:Name[0]"]]
        write_run(out / f"{number}", name, stages=stages, student=other, data=name, epochs_per_stage=2)
    write_run(out / "variant", HOSTILE[0], stages=[["kd"]], facts={"student.name": HOSTILE[1]}, epochs_per_stage=2)
    return write_report(find_runs([out]), out / "page.html", [f"left out: {name}" for name in HOSTILE]).path


def test_the_run_folder_gets_page_and_svgs_and_no_leavings(single: Path) -> None:
    folder = single.parent
    assert single == folder / "report.html"
    assert {path.name for path in (folder / "charts").iterdir()} == {
        "accuracy.svg",
        "losses.svg",
        "outcomes.svg",
        "forgetting.svg",
    }
    assert {path.name for path in folder.iterdir()} == {
        "recipe.yaml",
        "environment.json",
        "metrics.jsonl",
        "summary.json",
        "report.html",
        "charts",
    }


@pytest.mark.parametrize("page", ["single", "several", "many", "analysed"])
def test_nothing_is_fetched(page: str, request: pytest.FixtureRequest) -> None:
    html = request.getfixturevalue(page).read_text(encoding="utf-8")
    elements = Elements(html)
    for tag, attributes in elements.found:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            address = attributes.get(name) or ""
            assert not re.match(r"\s*(https?:)?//", address), (tag, attributes)
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert styles
    assert "@import" not in styles
    assert "url(" not in styles
    policy = next(a["content"] for t, a in elements.found if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_all_results_of_a_run(single: Path) -> None:
    elements = Elements(single.read_text(encoding="utf-8"))
    words = elements.words
    for text in (
        "A resnet8x4 learns from a resnet20 on digits, in 3 stages: at + sp → fitnet → dkd.",
        "Top-1, last epoch % 78.50 65.00 −13.50",
        "Parameters 272 k 78.0 k 3.49× smaller",
        "MACs per image 40.8 M 12.5 M 3.26× smaller",
        "Latency, 1 image 1.65 ms 0.41 ms 4.00× faster",
        "Latency, 64 images 40.0 ms 12.5 ms 3.20× faster",
        "Part 1 · at + sp 2 · fitnet 3 · dkd Data 0.30 ms 0.30 ms 0.30 ms Teacher 8.25 ms",
        "Reference – 3.12 ms 3.12 ms Student forward 6.50 ms",
        "Step 28.3 ms 31.4 ms 31.4 ms Images per second 2.26 k 2.04 k 2.04 k Peak memory 912 MB",
        "200 55.6 % 36 10.0 % 18 5.0 % 106 29.4 %",
        "name: at-fitnet-dkd runtime: seed: 4 stages:",
        "cpu.threads 2",
        "tf32 no",
    ):
        assert text in words
    assert "best" not in words
    assert "Pretraining" not in words
    assert charts_of(elements) == ["run0-accuracy", "run0-losses", "run0-outcomes", "run0-forgetting"]


def test_with_a_validation_split_the_best_epoch_is_shown(tmp_path: Path) -> None:
    words = page_words(write_run(tmp_path / "run", best=64.25))
    for text in (
        "1,437 training, 144 validation and 360 test samples of 10 classes",
        "Top-1, best epoch by validation 64.25 %",
        "Top-1, best epoch by validation % 78.50 64.25 −14.25",
        "Dot: test accuracy after the last epoch, 65.00 %. Ring: best epoch by validation (epoch 19), 64.25 %.",
        "Top-1 last % Top-1 best %",
        "2 kd reference_kl 11–20 65.00 64.25",
    ):
        assert text in words


def test_pretraining_phases_have_a_table(tmp_path: Path) -> None:
    words = page_words(write_run(tmp_path / "run", stages=[["ab"], ["kd"]], pretraining=["ab"]))
    assert "Before stage Method Epochs Loss, first epoch Loss, last epoch 1 ab 3 4 1" in words


def page_words(folder: Path) -> str:
    return Elements(write_run_report(folder).path.read_text(encoding="utf-8")).words


def test_a_run_without_measured_cost_has_a_page_without_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    for side in ("student", "teacher"):
        del summary[side]["latency_milliseconds"]
    del summary["stages"][0]["cost"]
    summary["stages"][1]["cost"] = None
    (folder / "summary.json").write_text(sealed(summary))
    words = Elements(write_run_report(folder).path.read_text(encoding="utf-8")).words
    assert "Cost of a step" not in words
    assert "Latency" not in words
    assert "MACs per image" in words


def test_parts_that_never_came_up_are_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", name="plain", stages=PLAIN, teacher_top1=None)
    words = Elements(write_run_report(folder).path.read_text(encoding="utf-8")).words
    assert "Backward 11.8 ms" in words
    assert "Reference" not in words


def test_several_runs_begin_with_their_comparison(several: Path) -> None:
    elements = Elements(several.read_text(encoding="utf-8"))
    assert "2 recipes compared" in elements.words
    assert "66.50 ± 0.71" in elements.words
    assert [tag for tag, _ in elements.found].count("details") == 4
    assert charts_of(elements)[:5] == ["comparison", "curves", "cost-seconds", "cost-epochs", "run0-accuracy"]
    identifiers = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_every_kind_of_comparison_is_on_the_page(many: Path) -> None:
    elements = Elements(many.read_text(encoding="utf-8"))
    assert charts_of(elements)[:7] == [
        "comparison", "gains", "curves", "orders", "axis-1", "stages", "cost-seconds",
    ]  # fmt: skip
    assert "Gains against at-kd" in elements.words


def test_of_very_many_runs_the_page_has_a_list(tmp_path: Path) -> None:
    for seed in range(25):
        write_run(tmp_path / f"seed{seed}", seed=seed, epochs_per_stage=1)
    (tmp_path / "seed3" / "report.html").write_text("")
    html = write_report(find_runs([tmp_path]), tmp_path / "report.html").path.read_text(encoding="utf-8")
    elements = Elements(html)
    assert charts_of(elements) == ["comparison", "curves"]
    assert "25 runs" in elements.words
    assert [attributes["href"] for tag, attributes in elements.found if tag == "a"] == ["seed3/report.html"]
    assert elements.words.count("fitnet-kd") >= 25


def test_an_analysis_is_on_the_page_and_its_names_are_text(analysed: Path) -> None:
    elements = Elements(analysed.read_text(encoding="utf-8"))
    for words in ("Negative transfer.", "1 · at + sp test 61.00", "Forgotten in stage 2", "test image 3", HOSTILE[0]):
        assert words in elements.words
    images = [attributes["src"] for tag, attributes in elements.found if tag == "img"]
    assert images == [PIXEL, PIXEL]
    assert {path.stem for path in (analysed.parent / "charts").iterdir()} >= {"calibration", "classes-2", "weights"}


def test_a_plain_run_has_no_teacher_and_no_outcomes(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", name="plain", stages=PLAIN, teacher_top1=None, classes=4)
    words = Elements(write_run_report(folder).path.read_text(encoding="utf-8")).words
    assert "is trained on the labels on digits" in words
    assert not [word for word in ("Teacher", "Forgotten", "Top-5") if word in words]


def test_saved_weights_that_are_not_those_of_the_last_epoch_are_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    summary["student"]["top1"] = 67.25
    (folder / "summary.json").write_text(sealed(summary))
    words = Elements(write_run_report(folder).path.read_text(encoding="utf-8")).words
    assert "Top-1, saved weights % 78.50 67.25 −11.25" in words


def test_a_name_cannot_break_out(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><b>&"
    folder = write_run(tmp_path / "run", name=name, stages=[["<i>", "</pre>"]], student="</td><img src=x>")
    html = write_run_report(folder).path.read_text(encoding="utf-8")
    elements = Elements(html)
    assert not {"b", "i", "img"} & {tag for tag, _ in elements.found}
    assert [tag for tag, _ in elements.found].count("script") == 4
    assert name in elements.words


def test_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs"):
        write_report([], tmp_path / "page.html")


def test_a_failure_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_run(write_run(tmp_path / "run"))
    page = tmp_path / "page.html"
    page.write_text("old")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(UserError, match=r"page\.html cannot be written: no space left"):
        write_report([run], page)
    assert page.read_text() == "old"
    assert not list(tmp_path.glob(".page*"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


def test_hostile_names_are_text(hostile: Path) -> None:
    html = hostile.read_text(encoding="utf-8")
    elements = Elements(html)
    assert [tag for tag, _ in elements.found].count("script") == 4
    assert "img" not in {tag for tag, _ in elements.found}
    assert not set("\x00\x1b\u202e\uffff") & set(html)
    assert HOSTILE[0] in elements.words
    assert r"\x1b[31m\x00\uffff\u202eright to left" in elements.words
    assert f"<bdi>{HOSTILE[3]}</bdi>" in html
    assert HOSTILE[2] in elements.words


@pytest.mark.parametrize(
    ("page", "scheme"),
    [
        *product(["single", "several"], ["light", "dark"]),
        ("hostile", "light"),
        ("many", "light"),
        ("analysed", "dark"),
    ],
)
@pytest.mark.parametrize("width", [1100, 375])
def test_charts_are_drawn(page: str, width: int, scheme: str, browser: Any, request: pytest.FixtureRequest) -> None:
    file = request.getfixturevalue(page)
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    requests: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda sent: requests.append(sent.url))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    tab.goto(file.as_uri())
    places = len(charts_of(Elements(file.read_text(encoding="utf-8"))))
    for details in tab.query_selector_all("details"):
        details.evaluate("element => { element.open = true; }")
    drawn = (
        f"() => document.querySelectorAll('.chart svg .mark-line path, .chart svg .mark-rect path').length >= {places}"
    )
    tab.wait_for_function(
        f"() => [...document.querySelectorAll('.chart')].filter(c => c.querySelector('svg')).length === {places}",
        timeout=20_000,
    )
    tab.wait_for_function(drawn, timeout=20_000)
    sizes = tab.evaluate(
        "[...document.querySelectorAll('.chart svg')].map(s => s.getBoundingClientRect()).map(r => [r.width, r.height])"
    )
    room = tab.evaluate("document.querySelector('main').clientWidth")
    assert all(200 < wide <= room and high > 80 for wide, high in sizes)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    assert [address for address in requests if not address.startswith(("file:", "data:"))] == []
    tab.close()


def test_the_charts_follow_the_colour_scheme_and_the_pointer(single: Path, browser: Any) -> None:
    tab = browser.new_page(viewport={"width": 900, "height": 900}, color_scheme="light")
    tab.goto(single.as_uri())
    line = ".chart svg .mark-line path"
    tab.wait_for_selector(f"{line}[stroke='#2166ac']", state="attached", timeout=20_000)
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_selector(f"{line}[stroke='#5aa2ee']", state="attached", timeout=20_000)
    chart = tab.locator(".chart svg").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    for step in range(3):
        tab.mouse.move(box["x"] + 300 + step, box["y"] + box["height"] / 2)
    tip = tab.wait_for_selector("#vg-tooltip-element.visible", timeout=20_000)
    assert "Stage" in tip.inner_text()
    assert "undefined" not in tip.inner_text()
    tab.close()
