"""The report of clusters: their tree, and each failing cluster beside its nearest well-served one."""

import re

import numpy as np
import pytest
from PIL import Image

from clustered_images import clustered_images
from report_pages import chromium, images_of, needs_chromium, opened, picture, read, report_of
from weakspot.methods.udis import UDIS
from weakspot.predictions import Predictions
from weakspot.report.tree import tone
from weakspot.slices.failing_rule import fails
from weakspot.tasks import Classification, Multilabel


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def clusters():
    return clustered_images()


def overlays(rows):
    return [Image.blend(picture(row), Image.new("RGB", (32, 32), "yellow"), 0.4) for row in rows]


def test_a_failing_cluster_is_shown_beside_a_well_served_one(clusters):
    predictions, slices = clusters
    page = report_of(predictions, slices, preview=picture, cams=overlays)
    words = read(page)
    first = slices.statistics[0]
    assert re.search(r"group = red_≥5 confirmed About \d+ examples", words)
    assert f"cluster {first.cluster.cluster}, node {first.cluster.node}" in words
    section = page[page.index('id="slice-1"') :].split("</details>")[0]
    members, *others = re.split("Nearest (?:well|better)-served cluster", section)
    shown = re.findall(r'alt="(\d+), label', members)
    inside = np.flatnonzero(slices.weights[0])
    heaviest = inside[np.argsort(-predictions.losses[inside], kind="stable")][:12]
    assert shown == predictions.ids[heaviest].tolist()
    assert members.count('alt="Grad-CAM of') == len(shown)
    kinds = {nearest.node for nearest in first.cluster.nearest}
    assert len(others) == len(kinds)
    beside = re.findall(r'alt="(\d+), label', "".join(others))
    near = {row for nearest in first.cluster.nearest for row in nearest.members}
    assert beside
    assert set(beside) <= set(predictions.ids[sorted(near)])
    assert "weight" not in words[words.index("Members, the highest loss first") :]


def test_each_row_is_previewed_and_explained_at_most_once(clusters):
    predictions, slices = clusters
    looked, explained = [], []

    def preview(row):
        looked.append(row)
        return picture(row)

    def cams(rows):
        explained.extend(rows)
        return overlays(rows)

    report_of(predictions, slices, preview=preview, cams=cams)
    assert len(looked) == len(set(looked))
    assert len(explained) == len(set(explained))
    assert set(explained) <= set(looked)


def test_the_tree_shows_every_node_and_marks_failing_clusters(clusters):
    predictions, slices = clusters
    page = report_of(predictions, slices)

    nodes = list(slices.tree.walk())
    outline = page[page.index('<ul class="tree">') :].split("</section>")[0]
    assert outline.count("<li") == outline.count('<span class="who">') == len(nodes)
    assert (
        len(re.findall(r'<li id="node-\d+" class="fails"', outline))
        == sum(node.failing for node in nodes)
        == len(slices)
    )
    icicle = page[page.index('class="ground"') :].split("</svg>")[0]
    assert icicle.count("<rect") == len(nodes) + len(slices)
    place = r'\s+x="([\d.]+)%"\s+y="[\d.]+"\s+width="([\d.]+)%"'
    cells = re.findall(r'<rect class="[^"]*" data-node="\d+"(?: data-leaf="")?' + place, icicle)
    assert len(cells) == len(nodes)
    assert all(float(x) >= 0 and float(x) + float(width) <= 100.01 for x, width in cells)


@pytest.mark.parametrize(
    ("accuracy", "overall", "expected"),
    [
        (0.0, 0.6, "low-5"),
        (0.59, 0.6, "low-1"),
        (0.6, 0.6, "even"),
        (0.61, 0.6, "high-1"),
        (1.0, 0.6, "high-5"),
        (0.36, 0.6, "low-2"),
        (1.0, 1.0, "even"),
        (0.0, 0.0, "even"),
    ],
)
def test_tones_are_divided_at_the_overall_accuracy(accuracy, overall, expected):
    assert tone(accuracy, overall) == expected


def test_the_page_states_that_no_cluster_fails(clusters):
    predictions, _ = clusters
    good = Predictions.from_arrays(
        predictions.embeddings,
        labels=predictions.labels,
        predictions=predictions.labels,
        task=predictions.task,
    )
    words = read(report_of(good, UDIS().fit(good).slices_))
    assert "No cluster fails." in words
    assert "none of them fails" in words


def test_auditing_a_category_judges_by_that_category():
    """Only beds are judged: an example with a bed has no red frame, even if its other categories are wrong."""
    rng = np.random.default_rng(0)
    names = ("bed", "person", "dog", "sofa")
    room = rng.integers(0, 2, 300)
    labels = (rng.random((300, 4)) < np.where(room[:, None] == 0, [1, 0.5, 0.5, 0], [0, 0.5, 0.5, 1])).astype(
        int
    )
    logits = np.where(labels == 1, 3.0, -3.0) + rng.normal(size=(300, 4))
    logits[:, 0] = 3  # every example is predicted to have a bed
    logits[:, 2] *= -1  # every dog is missed
    predictions = Predictions.from_arrays(
        np.eye(2)[room] * 9 + rng.normal(size=(300, 2)), outputs=logits, labels=labels, task=Multilabel(names)
    )
    slices = UDIS(category="bed").fit(predictions).slices_
    assert len(slices)
    page = report_of(predictions, slices, preview=picture)
    words = read(page)
    assert "Predicted bed 300" in words
    assert "Categories predicted along" in words
    assert "not bed" in words
    framed = {
        ("bed" in alt.split(", predicted")[0]) != ("wrong" in classes) for alt, classes, _ in images_of(page)
    }
    assert framed == {True}


@needs_chromium
def test_the_tree_folds_by_keyboard_and_links_to_the_clusters(browser, tmp_path, clusters):
    predictions, slices = clusters
    page = report_of(predictions, slices, preview=picture, cams=overlays)
    tab, requests, complaints = opened(browser, tmp_path, page, width=390)
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    first = tab.locator(".tree .fails").first
    assert first.is_visible()  # the branches of failing clusters are open
    root = tab.locator(".tree > li > details")
    root.locator("> summary").press("Enter")
    assert not first.is_visible()
    root.locator("> summary").press("Enter")
    first.locator("> details > summary").press("Enter")
    first.get_by_role("link", name="All about").click()
    assert re.search(r"#slice-\d+$", tab.url)
    assert (len(requests), complaints) == (1, [])
    tab.close()


@needs_chromium
def test_every_node_can_be_opened_from_the_diagram(browser, tmp_path, clusters):
    predictions, slices = clusters
    tab, _, complaints = opened(browser, tmp_path, report_of(predictions, slices, preview=picture))
    nodes = list(slices.tree.walk())
    inner = next(node for node in nodes if node.children and node is not slices.tree)
    row = tab.locator(f"#node-{inner.id}")
    tab.locator(".tree > li > details > summary").click()
    assert not row.is_visible()
    tab.locator(f'.ground rect[data-node="{inner.id}"]').click()
    row.locator("> details > .about").wait_for()
    assert f"Node {inner.id}" in row.locator("> details > .about").inner_text()
    assert row.locator("> details > .strip img").count() > 0
    assert complaints == []
    tab.close()


@needs_chromium
def test_the_slider_marks_clusters_that_fail_at_its_threshold(browser, tmp_path, clusters):
    predictions, slices = clusters
    tab, _, complaints = opened(browser, tmp_path, report_of(predictions, slices))
    leaves = [node for node in slices.tree.walk() if not node.children]
    overall = slices.tree.accuracy
    slider = tab.locator(".threshold input")
    for share in (20, 66, 100):
        slider.fill(str(share))
        below = {node.id for node in leaves if fails(node.size, node.accuracy, overall, share / 100)}
        marked = tab.locator(".ground rect.below").evaluate_all(
            "cells => cells.map(e => Number(e.dataset.node))"
        )
        assert set(marked) == below
        assert f": {len(below)} of " in tab.locator(".threshold output").inner_text()
        assert tab.locator(".tree li.below").count() == len(below)
    assert below
    assert complaints == []
    tab.close()


@needs_chromium
def test_all_clusters_are_listed_in_a_table(browser, tmp_path, clusters):
    predictions, slices = clusters
    tab, _, complaints = opened(browser, tmp_path, report_of(predictions, slices))
    tab.get_by_text("All clusters in a table").click()
    table = tab.locator("#clusters")
    leaves = [node for node in slices.tree.walk() if not node.children]
    assert table.locator("tbody tr").count() == len(leaves)
    accuracy = table.get_by_role("columnheader", name="Accuracy")
    accuracy.get_by_role("button").click()
    accuracy.get_by_role("button").click()
    shown = table.locator("tbody td:nth-child(5)").evaluate_all(
        "cells => cells.map(e => Number(e.dataset.value))"
    )
    assert shown == sorted(node.accuracy for node in leaves)
    tab.locator('form[data-table="clusters"] input').fill("Cluster 1")
    assert table.locator("tbody tr:visible").count() == 1
    tab.locator(".columns summary").click()
    tab.locator(".columns").get_by_label("Loss").uncheck()
    assert not table.get_by_role("columnheader", name="Loss").is_visible()
    assert complaints == []
    tab.close()


@needs_chromium
def test_numbers_below_the_diagram_do_not_overlap(browser, tmp_path):
    """Forty failing clusters side by side: numbers that do not fit are left out."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(60), 12)
    label = cluster % 2
    wrong = (cluster < 40) & (rng.random(720) < 0.9)
    predictions = Predictions.from_arrays(
        np.eye(60)[cluster] * 9 + rng.normal(size=(720, 60)) * 0.1,
        outputs=np.eye(2)[np.where(wrong, 1 - label, label)] * 4.0,
        labels=label,
        task=Classification(("a", "b")),
    )
    slices = UDIS(cut=60).fit(predictions).slices_
    assert len(slices) >= 35
    tab, _, complaints = opened(browser, tmp_path, report_of(predictions, slices), width=390)
    boxes = tab.locator(".icicle text").evaluate_all(
        "texts => texts.map(e => { const b = e.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; })"
    )
    assert len(boxes) > 10
    for i, (left, right, top, bottom) in enumerate(boxes):
        for other_left, other_right, other_top, other_bottom in boxes[:i]:
            apart = right <= other_left or other_right <= left
            assert apart or bottom <= other_top + 1 or other_bottom <= top + 1
    assert complaints == []
    tab.close()
