"""The report of many slices: folded parts, search, enlarged images, CSV downloads and the size of the page."""

import csv
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from report_pages import chromium, images_of, needs_chromium, opened, picture, planted, read, unfolded
from weakspot.findings import Findings, Media
from weakspot.methods.udis import UDIS
from weakspot.predictions import Predictions
from weakspot.report import html, render
from weakspot.report.folds import FoldedParts
from weakspot.report.member_csv import member_groups
from weakspot.report.options import ReportOptions
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification, Rating


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def many():
    """Findings of 230 slices over 2300 examples."""
    return findings_of_slices_of_ten(230)


def findings_of_slices_of_ten(k):
    predictions, _ = planted(n=10 * k, k=1)
    weights = np.zeros((k, 10 * k))
    weights[np.repeat(np.arange(k), 10), np.argsort(predictions.losses)[::-1]] = 1
    slices = Slices("udis", predictions.ids, weights, describe(weights, predictions))
    return Findings.build(predictions, slices, confirm=np.arange(10 * k) % 2 == 0)


def photograph(row):
    scene = np.random.default_rng(row).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(scene).resize((224, 224), Image.Resampling.BICUBIC)


def warm(rows):
    return [Image.blend(photograph(row), Image.new("RGB", (224, 224), "yellow"), 0.4) for row in rows]


# Folded parts


def test_the_first_parts_stay_in_the_page_and_the_others_are_compressed():
    folds = FoldedParts(elements=5, most=10_000)
    folds.open()
    folds.open()
    assert folds.close("<b>inner</b>") is None
    assert folds.close("<p><b>inner</b></p>" + "<i></i>" * 4) == 0  # with the inner one, six elements
    folds.open()
    assert folds.close("<p></p>" * 5) is None  # compressed parts do not count
    folds.open()
    folds.open()
    assert folds.close('<p id="slice-2"></p>') == 1
    assert folds.close('<details data-part="1"></details>') == 2
    table = json.loads(folds.table())
    assert table["holds"] == {"slice-2": 1}
    assert table["within"] == {"1": 2}
    page = '<details data-part="2"><summary>open</summary></details>'
    page += f'<script type="application/json" id="folded">{folds.table()}</script>'
    assert "data-part" in unfolded(page)  # that of the inner part, which has no summary here


def test_a_part_without_room_is_replaced_by_a_note():
    folds = FoldedParts(elements=0, most=300)
    noise = np.random.default_rng(0).bytes(4000).hex()
    assert folds.compress(f"<p>{noise}</p>") == 0
    page = '<details data-part="0"><summary>open</summary></details>'
    page += f'<script type="application/json" id="folded">{folds.table()}</script>'
    assert "Left out to keep this page small" in unfolded(page)
    assert folds.full
    assert not folds.has(0)


def test_a_part_without_room_frees_the_room_of_the_parts_inside_it():
    folds = FoldedParts(elements=0, most=700)
    inner = folds.compress('<p id="inner"></p>')
    middle = folds.compress(f'<details id="middle" data-part="{inner}"></details>')
    spent = len(folds.table())
    noise = np.random.default_rng(0).bytes(4000).hex()
    folds.compress(f'<details data-part="{middle}"></details><p id="outer">{noise}</p>')
    assert json.loads(folds.table()) == {"parts": [None] * 3, "holds": {}, "within": {}}
    assert [folds.compress(f'<p id="other-{i}"></p>') for i in range(5)] == [3, 4, 5, 6, 7]
    assert folds.has(7)  # there is room again
    assert spent > 700 / 5


def test_every_slice_can_be_unfolded(many):
    page = render(many)
    assert page.count("data-part=") > 0
    whole = unfolded(page)
    for one in many.slices:
        assert whole.count(f'id="slice-{one.number}"') == 1
    first = many.slices[-1].portrait.top[0]
    assert many.example(first).id in read(whole)


def test_a_small_run_has_no_folded_parts():
    predictions, slices = planted(k=3)
    page = render(Findings.build(predictions, slices), Media(picture))
    assert unfolded(page) == page
    assert "unfold by script" not in page


def test_images_that_a_reader_sees_first_have_priority(monkeypatch):
    """At a fifth of the usual limit, with a fifth of the images."""
    monkeypatch.setattr(html, "_ROOM", 800_000)
    many = findings_of_slices_of_ten(46)
    media = Media(photograph, warm)
    page = render(many, media)
    assert len(page) < 1e6
    words = read(page)
    assert int(re.search(r"(\d[\d ]*) images were left out", words)[1].replace(" ", "")) > 0
    shown = {alt.split(",")[0] for alt, _, _ in images_of(unfolded(page))}
    for finding in many.findings:
        assert {many.example(row).id for row in finding.portrait.top[:12]} <= shown
    roomy = render(many, media, ReportOptions(examples="all"))
    assert "left out" not in read(roomy)
    assert 1e6 < len(roomy) < 5e6


def test_member_groups_are_the_contiguous_runs_of_the_memberships(many):
    table = many.memberships
    found = member_groups(table)
    assert [group.anchor for group in found] == [
        *(f"finding-{one.number}" for one in many.findings),
        *(f"slice-{one.number}" for one in many.slices),
    ]
    assert [group.start for group in found[1:]] == [group.end for group in found[:-1]]
    assert found[-1].end == table.num_rows


def test_all_members_are_shown_on_request():
    predictions, slices = planted(k=1)
    weights = np.array([(predictions.losses > 1) * 1.0])
    found = Slices("udis", slices.ids, weights, describe(weights, predictions))
    held = np.arange(len(predictions)) % 2 == 0
    top, everyone = (
        Findings.build(predictions, found, confirm=held, members=members) for members in (24, "all")
    )
    ids = set(predictions.ids[weights[0] > 0])
    assert len(ids) > 60
    options = ReportOptions(members="all")
    pages = [unfolded(render(top, Media(picture))), unfolded(render(everyone, Media(picture), options))]
    assert not ids <= {alt.split(",")[0] for alt, _, _ in images_of(pages[0])}
    assert ids <= {alt.split(",")[0] for alt, _, _ in images_of(pages[1])}
    assert " members</summary>" not in pages[0]
    more = rf"{len(ids) - 12} more of the\s+{len(ids)} members</summary>"
    assert re.search(more, pages[1])
    with pytest.raises(ValueError, match='members="all"'):
        render(top, options=options)
    fewer = Findings.build(predictions, found, confirm=held, members=3)
    assert [len(one.portrait.top) for one in fewer.slices] == [3]


@pytest.mark.parametrize(
    "words", [{"members": 0}, {"members": "some"}, {"members": True}, {"examples": "most"}]
)
def test_unknown_options_are_refused(words):
    (name,) = words
    with pytest.raises(ValueError, match=rf"report\.{name}="):
        ReportOptions(**words)


# In a browser


@needs_chromium
def test_a_link_opens_a_folded_part(browser, tmp_path, many):
    tab, requests, complaints = opened(browser, tmp_path, render(many, Media(picture)))
    name = next(one.number for one in reversed(many.slices))
    target = tab.locator(f"#slice-{name}")
    assert target.count() == 0
    tab.evaluate(f"location.hash = 'slice-{name}'")
    target.wait_for()
    assert target.is_visible()
    assert target.locator("img").evaluate_all(
        "images => images.length && images.every(e => e.src.startsWith('data:'))"
    )
    tab.reload()  # the address alone opens it, too
    target.wait_for()
    assert {url.partition("#")[0] for url in requests} == {(tmp_path / "report.html").as_uri()}
    assert complaints == []
    tab.close()


FOLLOW = """async () => {  // every link that is in the page once everything is opened, and every node of the icicle
  const pause = () => new Promise((done) => setTimeout(done));
  for (let left = 1; left; await pause()) {
    left = 0;
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      left++;
    }
    left += document.querySelectorAll("details[open][data-part]").length;
  }
  const names = new Set([...document.querySelectorAll('a[href^="#"]')].map((a) => a.getAttribute("href").slice(1)));
  for (const cell of document.querySelectorAll("rect[data-node]")) names.add(`node-${cell.dataset.node}`);
  const found = { there: [], told: [], nowhere: [] };
  for (const name of names) {
    const said = document.querySelector("output.missing");
    document.body.click();
    location.hash = "";
    await pause();
    location.hash = name;
    for (let tries = 0; tries < 100 && !document.getElementById(name) && !said?.textContent; tries++) await pause();
    const there = document.getElementById(name)?.checkVisibility();
    const words = said?.textContent ?? "";
    const kind = there ? "there" : words.includes("report.examples=all") && said.checkVisibility() ? "told" : "nowhere";
    found[kind].push(there ? name : `${name}: ${words}`);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def branching():
    """Findings of UDIS with a tree of many nodes, in which every third cluster fails."""
    rng = np.random.default_rng(0)
    n, k = 600, 60
    cluster = rng.integers(0, k, n)
    label = cluster % 2
    right = rng.random(n) < np.where(cluster % 3 == 0, 0.1, 0.9)
    predictions = Predictions.from_arrays(
        (rng.normal(size=(k, 16)) * 4)[cluster] + rng.normal(size=(n, 16)) * 0.3,
        outputs=np.eye(2)[np.where(right, label, 1 - label)] * rng.uniform(2, 5, (n, 1)),
        labels=label,
        attributes=pa.table({"light": rng.choice(["day", "night"], n)}),
        task=Classification(("cat", "dog")),
    )
    return Findings.build(predictions, UDIS(cut=k).fit(predictions).slices_, confirm=np.arange(n) % 2 == 0)


@needs_chromium
def test_every_link_of_a_page_at_its_size_limit_leads_somewhere(browser, tmp_path, monkeypatch, branching):
    monkeypatch.setattr(html, "_ELEMENTS", 200)
    for room in (60_000, 4_000_000):
        monkeypatch.setattr(html, "_ROOM", room)
        page = render(branching)
        tab, _, complaints = opened(browser, tmp_path, page)
        followed = tab.evaluate(FOLLOW)
        assert followed["nowhere"] == []
        assert len(followed["there"]) > 20
        assert bool(followed["told"]) == (room < 1e6) == ('<output class="missing"' in page)
        assert complaints == []
        tab.close()


@needs_chromium
def test_the_note_about_a_left_out_node_is_shown_until_the_next_click(
    browser, tmp_path, monkeypatch, branching
):
    monkeypatch.setattr(html, "_ELEMENTS", 0)
    monkeypatch.setattr(html, "_ROOM", 4000)
    tab, _, complaints = opened(browser, tmp_path, render(branching))
    tab.locator(".icicle rect[data-leaf]").first.click()
    notice = tab.locator("output.missing")
    notice.wait_for()
    assert re.match(r"Node \d+: left out to keep this page small\. A page with", notice.inner_text())
    tab.locator("h1").click()
    assert not notice.is_visible()
    assert complaints == []
    tab.close()


def test_the_hint_on_making_room_depends_on_the_options():
    assert "report.examples=all" in ReportOptions().more_room_hint
    assert "report.members=24" in ReportOptions(members="all", examples="all").more_room_hint
    assert "report." not in ReportOptions(examples="all").more_room_hint


@needs_chromium
def test_rows_that_are_added_later_are_sorted_with_the_others(browser, tmp_path, many):
    tab, _, complaints = opened(browser, tmp_path, render(many))
    rows = tab.locator("#slices tbody tr")
    column = "rows => rows.map((row) => Number(row.cells[{}].dataset.value))"
    assert rows.count() == 200
    tab.locator("#slices thead button", has_text="Slice").click()
    rows.nth(229).wait_for(state="attached")
    assert rows.evaluate_all(column.format(0)) == list(range(230, 0, -1))  # the last ones come first
    tab.locator("#slices thead button", has_text="Loss inside").click()
    losses = rows.evaluate_all(column.format(7))
    assert losses == sorted((one.statistics.loss_inside for one in many.slices), reverse=True)
    assert not tab.locator("button.rows").is_visible()
    tab.reload()
    tab.locator("button.rows").click()
    rows.nth(229).wait_for(state="attached")
    assert rows.evaluate_all(column.format(0)) == list(range(1, 231))  # unsorted after the reload
    assert complaints == []
    tab.close()


@needs_chromium
def test_rows_that_are_still_being_unpacked_are_filtered(browser, tmp_path, many):
    tab, _, complaints = opened(browser, tmp_path, render(many))
    tab.evaluate(
        """member => {
      document.querySelector("button.rows").click();
      const words = document.querySelector("form.search").elements.words;
      words.value = member;
      words.dispatchEvent(new Event("input", { bubbles: true }));
    }""",
        many.example(many.slices[220].portrait.top[0]).id,
    )
    tab.locator(".search output", has_text=re.compile(r"1 of 230")).wait_for()
    assert tab.locator("#slices tbody tr:visible th").inner_text() == many.slices[220].name
    assert complaints == []
    tab.close()


def test_rows_without_room_are_reported_as_left_out(monkeypatch, many):
    monkeypatch.setattr(html, "_ROOM", 4000)
    words = read(render(many))
    assert "The other 30 were left out to keep this page small. A page with report.examples=all" in words
    assert "Show the other" not in words


@needs_chromium
def test_slices_are_found_by_words_and_verdict(browser, tmp_path, many):
    tab, _, complaints = opened(browser, tmp_path, render(many))
    rows = tab.locator("#slices tbody tr")
    assert rows.count() == 200
    member = many.example(many.slices[220].portrait.top[0]).id  # in a row that is not in the table yet
    tab.locator("form.search input").fill(member)
    tab.locator(".search output", has_text=re.compile(r"1 of 230")).wait_for()
    assert tab.locator("#slices tbody tr:visible th").inner_text() == many.slices[220].name
    tab.locator("form.search input").fill("")
    for word, there in (
        (
            "too few to say",
            sum(one.evidence.verdict == "too_few" and one.finding is not None for one in many.slices),
        ),
        ("no worse", sum(one.finding is None for one in many.slices)),
    ):
        tab.locator(".search select").select_option(word)
        tab.locator(".search output", has_text=f"{there} of 230").wait_for()
    assert complaints == []
    tab.close()


@needs_chromium
def test_images_are_enlarged_by_mouse_and_keyboard(browser, tmp_path):
    predictions, slices = planted(k=1)
    tab, _, complaints = opened(
        browser, tmp_path, render(Findings.build(predictions, slices), Media(picture))
    )
    dialog = tab.locator("dialog.enlarged")
    strip = tab.locator(".strip button.thumb")
    strip.nth(0).press("Enter")
    assert dialog.locator("img").get_attribute("alt") == strip.nth(0).locator("img").get_attribute("alt")
    assert dialog.locator("img").bounding_box()["width"] > 200
    tab.keyboard.press("ArrowRight")
    assert dialog.locator("img").get_attribute("alt") == strip.nth(1).locator("img").get_attribute("alt")
    tab.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    tab.locator(".strip button.thumb:focus").wait_for()  # once the page has handled the closing of the dialog
    assert strip.nth(1).evaluate("e => e === document.activeElement")
    figure = tab.locator(".slice .example").first
    figure.locator("button.thumb").first.click()
    assert figure.locator("figcaption").inner_text().split("\n")[0] in dialog.inner_text()
    assert complaints == []
    tab.close()


@needs_chromium
def test_members_are_downloaded_as_csv(browser, tmp_path):
    predictions, slices = planted(k=2)
    findings = Findings.build(predictions, slices)
    tab, _, complaints = opened(browser, tmp_path, render(findings))
    with tab.expect_download() as download:
        tab.locator('button.ids[data-ids="finding-1"]').click()
    assert download.value.suggested_filename == "finding-1.csv"
    with open(download.value.path(), newline="") as file:
        rows = list(csv.DictReader(file))
    table = findings.memberships.filter(
        (pa.compute.field("group") == "finding") & (pa.compute.field("number") == 1)
    )
    assert [row["id"] for row in rows] == table.column("id").to_pylist()
    assert [float(row["weight"]) for row in rows] == pytest.approx(table.column("weight").to_pylist())
    assert complaints == []
    tab.close()


def assert_within_budget(browser, tmp_path, page):
    assert len(page.encode()) < 5e6
    tab, _, complaints = opened(browser, tmp_path, page)
    elements = tab.evaluate("document.querySelectorAll('*').length")
    paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"{len(page) / 1e6:.1f} MB, {elements} elements, first contentful paint after {paint:.0f} ms")
    assert elements < 20_000
    assert complaints == []
    tab.close()


@needs_chromium
@pytest.mark.slow
def test_ten_thousand_photographs_in_89_failing_clusters_stay_within_budget(browser, tmp_path):
    rng = np.random.default_rng(0)
    n, k = 10_000, 140
    cluster = rng.integers(0, k, n)
    label = cluster % 10
    right = rng.random(n) < np.where(cluster < 89, 0.1, 0.97)
    logits = np.eye(10)[np.where(right, label, (label + 1) % 10)] * rng.uniform(2, 5, (n, 1))
    attributes = {f"attribute {i}": rng.choice(["yes", "no"], n) for i in range(20)}
    predictions = Predictions.from_arrays(
        (rng.normal(size=(k, 32)) * 4)[cluster] + rng.normal(size=(n, 32)) * 0.5,
        outputs=logits,
        labels=label,
        attributes=pa.table(attributes | {"light": rng.choice(["day", "dusk", "night"], n)}),
        task=Classification(tuple(f"class {i}" for i in range(10))),
    )
    slices = UDIS(cut=k).fit(predictions).slices_
    assert len(slices) == 89
    findings = Findings.build(predictions, slices, confirm=np.arange(n) % 2 == 0)
    page = render(findings, Media(photograph, warm))
    assert_within_budget(browser, tmp_path, page)
    tab, _, _ = opened(browser, tmp_path, page)
    followed = tab.evaluate(FOLLOW)
    print({kind: len(names) for kind, names in followed.items()})
    assert followed["nowhere"] == []
    tab.close()


@needs_chromium
@pytest.mark.slow
def test_ratings_in_114_clusters_stay_within_budget(browser, tmp_path):
    rng = np.random.default_rng(0)
    n, k = 2010, 114
    user, movie, label = rng.integers(0, 300, n), rng.integers(0, 400, n), rng.integers(0, 5, n)
    cluster = rng.integers(0, k, n)
    off = rng.random(n) < np.where(cluster % 2 == 0, 0.8, 0.2)
    table = {"user": user.astype(str), "movie": [f"Film {m}" for m in movie], "age": 20 + user % 40}
    table |= {f"genre {i}": np.where((movie * (i + 7)) % 5 == 0, "yes", "no") for i in range(18)}
    predictions = Predictions.from_arrays(
        rng.normal(size=(n, 4)),
        labels=label,
        outputs=np.eye(5)[np.where(off, (label + 2) % 5, label)] * 4.0,
        attributes=pa.table(table),
        task=Rating(("1", "2", "3", "4", "5")),
    )
    weights = np.zeros((k, n))
    weights[cluster, np.arange(n)] = 1
    slices = Slices("udis", predictions.ids, weights, describe(weights, predictions))
    findings = Findings.build(predictions, slices, confirm=np.arange(n) % 2 == 0)
    record = predictions.attributes.to_pylist()
    assert_within_budget(browser, tmp_path, render(findings, Media(record.__getitem__)))
