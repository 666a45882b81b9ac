"""The map together with the rest of the report: tree nodes, findings, thumbnails, printing and touch gestures."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clustered_images import clustered_images
from map_page import in_page, large, placed, saved, to_map
from report_pages import chromium, needs_chromium, opened, picture, planted, read
from weakspot import Findings
from weakspot.findings import Media
from weakspot.report import render
from weakspot.report.points import points_of
from weakspot.report.sprites import sprites_of


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def run():
    """A run of UDIS on images, half of them held out: its record, slices, findings and page."""
    predictions, slices = clustered_images()
    findings = Findings.build(predictions, slices, confirm=np.arange(320) % 2 == 0)
    return predictions, slices, findings, render(findings, Media(picture))


def members(node):
    return sorted(row for leaf in node.leaves() for row in leaf.members)


def test_the_map_has_the_leaf_of_every_example(run):
    predictions, slices, findings, _ = run
    leaves = dict(zip(findings.map["row"].to_pylist(), findings.map["leaf"].to_pylist(), strict=True))
    expected = {row: leaf.id for leaf in slices.tree.leaves() for row in leaf.members}
    assert expected
    assert leaves == {row: expected.get(row) for row in range(len(predictions))}


def test_leaves_are_saved_and_without_them_no_node_can_be_highlighted(run, tmp_path):
    _, _, findings, page = run
    findings.save(tmp_path)
    assert Findings.load(tmp_path).equals(findings)
    older = render(replace(findings, map=findings.map.drop_columns(["leaf"])), Media(picture))
    assert re.search(r'class="highlight"\s+data-node', page)
    assert not re.search(r'class="highlight"\s+data-node', older)
    assert re.search(r'class="highlight"\s+data-finding', older)


def thumbnails_of(data):
    """The thumbnail of each point that has one, decoded as the page does."""
    sprites = json.loads(data)
    points = np.frombuffer(gzip.decompress(base64.b64decode(sprites["points"])), np.uint8)
    points = points.reshape(4, -1).T.copy().view("<u4").ravel()
    sheets = [Image.open(io.BytesIO(base64.b64decode(sheet))) for sheet in sprites["sheets"]]
    side, across = sprites["side"], sprites["across"]
    tiles = {}
    for k, point in enumerate(points.tolist()):
        at = k % across**2
        corner = side * (at % across), side * (at // across)
        tiles[point] = sheets[k // across**2].crop((*corner, corner[0] + side, corner[1] + side))
    return tiles


def test_each_thumbnail_shows_its_example(run):
    page = run[3]
    data = re.search(r'<script type="application/json" id="sprites">(.*?)</script>', page)[1]
    tiles = thumbnails_of(data)
    assert sorted(tiles) == list(range(320))
    assert "Every one has a small image" in read(page)
    for row, tile in tiles.items():
        far = np.abs(np.asarray(tile, dtype=float) - np.asarray(picture(row), dtype=float)).mean()
        assert far < 12
    other = np.abs(np.asarray(tiles[0], dtype=float) - np.asarray(picture(1), dtype=float)).mean()
    assert other > 30


def test_thumbnails_keep_to_their_size_limit_and_show_members_of_findings(run):
    looked = []

    def preview(row):
        looked.append(row)
        return Image.fromarray(np.random.default_rng(row).integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize(
            (40, 60), Image.Resampling.BICUBIC
        )

    findings = Findings.build(*planted(n=600), confirm=np.arange(600) % 2 == 0)
    points = points_of(large(findings, 4000, attributes=0), 10_000_000)
    sprites = sprites_of(points, Media(preview), 700_000)
    assert len(sprites.data) <= 720_000
    assert 2048 < sprites.shown <= len(looked) == len(set(looked)) < 4000
    assert 0.3 < points.inside[looked].mean() < 0.6
    assert sprites_of(points, Media(preview), 100) is None
    assert sprites_of(points, Media(lambda row: "a text"), 700_000) is None
    assert 'id="sprites"' not in render(run[2], Media(lambda row: "a text"))


# The map in Chromium


@needs_chromium
def test_nodes_select_their_points_and_points_link_to_their_nodes(browser, tmp_path, run):
    predictions, slices, _, page = run
    tab, requests, complaints = opened(browser, tmp_path, page)
    inner = next(node for node in slices.tree.walk() if not node.leaf and node.id != slices.tree.id)
    tab.evaluate(f"location.hash = 'node-{inner.id}'")
    tab.locator(f".about button[data-node='{inner.id}']").click()
    tab.locator(".map-summary h3", has_text=f"Node {inner.id}").wait_for()
    assert saved(tab) == predictions.ids[members(inner)].tolist()

    tab.locator("details", has=tab.locator("#clusters")).last.locator("> summary").click()
    leaf = max(slices.tree.leaves(), key=lambda one: one.size)
    tab.locator(f"#clusters button[data-node='{leaf.id}']").click()
    tab.locator(".map-summary h3", has_text=f"ode {leaf.id}").wait_for()
    assert saved(tab) == predictions.ids[members(leaf)].tolist()
    homes = tab.locator(".map-containers tbody tr", has=tab.locator(f"a[href='#node-{leaf.id}']"))
    assert homes.locator("td").all_inner_texts() == ["100\u202f%", "100\u202f%"]

    to_map(tab)
    at = placed(tab, in_page(page)["at"].astype(float))
    row = next(row for row in np.argsort(at[:, 0]).tolist() if row in members(slices.tree))
    tab.mouse.click(*at[row])
    link = tab.locator(".map-pinned a[href^='#node-']")
    own = next(one.id for one in slices.tree.leaves() if row in one.members)
    assert link.get_attribute("href") == f"#node-{own}"
    link.click()
    assert tab.locator(f"#node-{own}").is_visible()

    card = tab.locator(".card button.highlight").first
    card.click()
    tab.locator(".map-summary h3", has_text="Finding 1").wait_for()
    assert tab.locator(".map-containers a[href='#finding-1']").is_visible()
    assert (len(requests), complaints) == (1, [])
    tab.close()


_PIXELS = """(selector) => {
  const canvas = document.querySelector(selector);
  const data = canvas && canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data && data[3] ? Array.from(data) : null;
}"""


def mean_of(tab, selector):
    """The mean colour of a canvas, once it is drawn."""
    pixels = tab.wait_for_function(_PIXELS, arg=selector).json_value()
    return np.reshape(pixels, (-1, 4))[:, :3].mean(axis=0)


@needs_chromium
def test_thumbnails_are_shown_by_pointer_touch_and_keys(browser, tmp_path, run):
    predictions, _, _, page = run
    tab, requests, complaints = opened(browser, tmp_path, page, width=390, has_touch=True)
    to_map(tab)
    at = placed(tab, in_page(page)["at"].astype(float))
    for row, act in (
        (int(np.argmax(at[:, 0])), tab.mouse.move),
        (int(np.argmin(at[:, 0])), tab.touchscreen.tap),
    ):
        act(*at[row])
        expected = np.asarray(picture(row), dtype=float).mean(axis=(0, 1))
        np.testing.assert_allclose(mean_of(tab, ".map-hover .map-thumbnail"), expected, atol=6)
    assert tab.locator(".map-pinned h3").inner_text() == predictions.ids[row]
    np.testing.assert_allclose(mean_of(tab, ".map-pinned .map-thumbnail"), expected, atol=6)

    board = tab.locator(".map-board > canvas")
    board.focus()
    tab.keyboard.press("Enter")
    box = board.bounding_box()
    middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    nearest = int(np.argmin(np.linalg.norm(placed(tab, in_page(page)["at"].astype(float)) - middle, axis=1)))
    assert tab.locator(".map-pinned h3").inner_text() == predictions.ids[nearest]
    tab.keyboard.press("Escape")
    assert not tab.locator(".map-pinned").is_visible()

    tab.locator("#map select").select_option(label="Right or wrong")
    tab.locator(".map-legend button", has_text="wrong").click()
    shown = tab.locator(".map-strip button")
    ids = [button.get_attribute("aria-label") for button in shown.all()]
    assert len(set(ids)) == min(24, int((~predictions.correct).sum()))
    assert set(ids) <= set(predictions.ids[~predictions.correct])
    shown.first.focus()
    tab.keyboard.press("Enter")
    assert tab.locator(".map-pinned h3").inner_text() == ids[0]
    assert (requests, complaints) == ([tab.url], [])
    tab.close()


@needs_chromium
def test_two_fingers_zoom_and_move_the_map(browser, tmp_path, run):
    predictions, _, _, page = run
    tab, _, complaints = opened(browser, tmp_path, page, has_touch=True)
    to_map(tab)
    box = tab.locator(".map-board > canvas").bounding_box()
    at = placed(tab, in_page(page)["at"].astype(float))
    scrolled = tab.evaluate("scrollY")
    middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    touch = tab.context.new_cdp_session(tab)

    def fingers(kind, *places):
        points = [{"x": float(x), "y": float(y), "id": k} for k, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    up = np.array([0.0, 40.0])
    fingers("touchStart", middle - up)
    fingers("touchStart", middle - up, middle + up)
    for step in (1.25, 1.5, 1.75, 2.0):
        fingers("touchMove", middle - step * up, middle + step * up)
    fingers("touchMove", middle - 2 * up + [30, 0], middle + 2 * up + [30, 0])
    fingers("touchEnd")
    tab.wait_for_timeout(100)
    moved = middle + 2 * (at - middle) + [30, 0]
    low, high = (
        np.array([box["x"], box["y"]]) + 5,
        np.array([box["x"] + box["width"], box["y"] + box["height"]]) - 5,
    )
    inside = np.flatnonzero(((moved > low) & (moved < high)).all(axis=1))
    row = int(inside[np.argmax(moved[inside, 0])])
    tab.mouse.click(*moved[row])
    assert tab.locator(".map-pinned h3").inner_text() == predictions.ids[row]
    assert tab.evaluate("[scrollY, visualViewport.scale]") == [scrolled, 1]
    assert complaints == []
    tab.close()


@needs_chromium
def test_the_map_is_printed_even_if_nobody_scrolled_to_it(browser, tmp_path, run):
    tab, _, complaints = opened(browser, tmp_path, run[3])
    tab.locator("#map .map-legend > *").first.wait_for()
    assert tab.evaluate("scrollY") == 0
    tab.emulate_media(media="print")
    shot = Image.open(io.BytesIO(tab.locator(".map-board > canvas").screenshot())).convert("RGB")
    assert shot.height > 150
    inked = (np.asarray(shot).astype(int).min(axis=2) < 200).mean()
    assert 0.002 < inked < 0.5
    assert tab.pdf().startswith(b"%PDF")
    assert complaints == []
    tab.close()
