"""The report of many slices: what is folded away, found, enlarged and taken along, and how large the page is."""

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
from weakspot.report import render
from weakspot.report.folds import Folds
from weakspot.report.ids import groups
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
    predictions, _ = planted(n=2300, k=1)
    weights = np.zeros((230, 2300))
    weights[np.repeat(np.arange(230), 10), np.argsort(predictions.losses)[::-1]] = 1
    slices = Slices("udis", predictions.ids, weights, describe(weights, predictions))
    return Findings.build(predictions, slices, confirm=np.arange(2300) % 2 == 0)


def photograph(row):
    scene = np.random.default_rng(row).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(scene).resize((224, 224), Image.Resampling.BICUBIC)


def warm(rows):
    return [Image.blend(photograph(row), Image.new("RGB", (224, 224), "yellow"), 0.4) for row in rows]


# What is folded away


def test_the_first_parts_stand_in_the_page_and_the_others_beside_it():
    folds = Folds(elements=5, most=10_000)
    folds.opening()
    folds.opening()
    assert folds.closing("<b>inner</b>") is None
    assert folds.closing("<p><b>inner</b></p>" + "<i></i>" * 4) == 0  # with the inner one, six elements
    folds.opening()
    assert folds.closing("<p></p>" * 5) is None  # what was compressed takes no room
    folds.opening()
    folds.opening()
    assert folds.closing('<p id="slice-2"></p>') == 1
    assert folds.closing('<details data-part="1"></details>') == 2
    table = json.loads(folds.table())
    assert table["holds"] == {"slice-2": 1}
    assert table["within"] == {"1": 2}
    page = '<details data-part="2"><summary>open</summary></details>'
    page += f'<script type="application/json" id="folded">{folds.table()}</script>'
    assert "data-part" in unfolded(page)  # of the part inside, which has no summary here


def test_what_has_no_room_says_so():
    folds = Folds(elements=0, most=300)
    noise = np.random.default_rng(0).bytes(4000).hex()
    assert folds.apart(f"<p>{noise}</p>") == 0
    page = '<details data-part="0"><summary>open</summary></details>'
    page += f'<script type="application/json" id="folded">{folds.table()}</script>'
    assert "Left out to keep this page small" in unfolded(page)


def test_every_slice_can_be_unfolded(many):
    page = render(many)
    assert page.count("data-part=") > 0
    whole = unfolded(page)
    for one in many.slices:
        assert whole.count(f'id="slice-{one.number}"') == 1
    first = many.slices[-1].portrait.top[0]
    assert many.example(first).id in read(whole)


def test_a_small_run_is_all_in_the_page():
    predictions, slices = planted(k=3)
    page = render(Findings.build(predictions, slices), Media(picture))
    assert unfolded(page) == page
    assert "unfold by script" not in page


def test_images_that_a_reader_sees_first_come_first(many):
    media = Media(photograph, warm)
    page = render(many, media)
    assert len(page) < 5e6
    words = read(page)
    assert int(re.search(r"(\d[\d ]*) images were left out", words)[1].replace(" ", "")) > 0
    shown = {alt.split(",")[0] for alt, _, _ in images_of(unfolded(page))}
    for finding in many.findings:
        assert {many.example(row).id for row in finding.portrait.top[:12]} <= shown
    roomy = render(many, media, ReportOptions(examples="all"))
    assert "left out" not in read(roomy)
    assert 5e6 < len(roomy) < 25e6


def test_groups_are_the_runs_of_the_memberships(many):
    table = many.memberships
    found = groups(table)
    assert [group.anchor for group in found] == [
        *(f"finding-{one.number}" for one in many.findings),
        *(f"slice-{one.number}" for one in many.slices),
    ]
    assert [group.start for group in found[1:]] == [group.end for group in found[:-1]]
    assert found[-1].end == table.num_rows


def test_all_members_are_there_where_they_are_asked_for():
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
    assert f"{len(ids) - 12} more of the {len(ids)} members</summary>" in pages[1]
    with pytest.raises(ValueError, match='members="all"'):
        render(top, options=options)
    fewer = Findings.build(predictions, found, confirm=held, members=3)
    assert [len(one.portrait.top) for one in fewer.slices] == [3]


@pytest.mark.parametrize(
    "words", [{"members": 0}, {"members": "some"}, {"members": True}, {"examples": "most"}]
)
def test_options_that_there_are_not(words):
    (name,) = words
    with pytest.raises(ValueError, match=rf"report\.{name}="):
        ReportOptions(**words)


# In a browser


@needs_chromium
def test_a_link_leads_into_what_is_folded_away(browser, tmp_path, many):
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
    tab.reload()  # the address alone leads there, too
    target.wait_for()
    assert {url.partition("#")[0] for url in requests} == {(tmp_path / "report.html").as_uri()}
    assert complaints == []
    tab.close()


@needs_chromium
def test_slices_are_found_by_words_and_verdict(browser, tmp_path, many):
    tab, _, complaints = opened(browser, tmp_path, render(many))
    rows = tab.locator("#slices tbody tr")
    assert rows.count() == 200
    member = many.example(many.slices[220].portrait.top[0]).id  # of a row that is not there yet
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
    strip = tab.locator(".strip button.picture")
    strip.nth(0).press("Enter")
    assert dialog.locator("img").get_attribute("alt") == strip.nth(0).locator("img").get_attribute("alt")
    assert dialog.locator("img").bounding_box()["width"] > 200
    tab.keyboard.press("ArrowRight")
    assert dialog.locator("img").get_attribute("alt") == strip.nth(1).locator("img").get_attribute("alt")
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert strip.nth(1).evaluate("e => e === document.activeElement")
    figure = tab.locator(".slice .example").first
    figure.locator("button.picture").first.click()
    assert figure.locator("figcaption").inner_text().split("\n")[0] in dialog.inner_text()
    assert complaints == []
    tab.close()


@needs_chromium
def test_members_are_taken_along_as_csv(browser, tmp_path):
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
def test_ten_thousand_photographs_in_89_failing_clusters_and_their_tree(browser, tmp_path):
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
    assert_within_budget(browser, tmp_path, render(findings, Media(photograph, warm)))


@needs_chromium
@pytest.mark.slow
def test_ratings_in_114_clusters(browser, tmp_path):
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
