"""The map: positions and columns of the examples, its data in the page, and its behaviour in Chromium."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from map_page import drag, in_page, large, placed, saved, to_map, unpacked
from paths import ROOT
from report_pages import chromium, needs_chromium, opened, planted, read
from samples import unsealed
from weakspot import Findings, Predictions
from weakspot.delimited import formula_free
from weakspot.explain.neighbour_maps import check_installed, neighbour_map
from weakspot.explain.projection import projection
from weakspot.findings.map import NO_MAP, map_kind
from weakspot.findings.numbers import percent
from weakspot.predictions.reading import DamagedError
from weakspot.report import render
from weakspot.report.options import ReportOptions
from weakspot.report.points import points_of
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Multilabel, QuestionAnswering, Regression

HOSTILE = "</script><script>alert(1)</script>\"'&<b>"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def found():
    predictions, slices = planted(n=600)
    return predictions, Findings.build(predictions, slices, confirm=np.arange(600) % 2 == 0)


# The map in the findings


def test_every_audited_example_is_placed_by_the_projection(found):
    predictions, findings = found
    table = findings.map
    assert map_kind(table) == "pca"
    at = np.column_stack([table.column(name).to_numpy() for name in "xy"]).astype(float)
    expected = projection(predictions.embeddings)
    expected = (expected - expected.min(axis=0)) / np.ptp(expected, axis=0).max() * 65_535
    np.testing.assert_allclose(at, expected, atol=1)
    assert at.max() == 65_535
    assert table.column("id").to_pylist() == predictions.ids.tolist()
    names = np.array(predictions.classes())
    assert table.column("label").to_pylist() == names[predictions.labels].tolist()
    assert table.column("prediction").to_pylist() == names[predictions.predictions].tolist()
    assert table.column("correct").to_pylist() == predictions.correct.tolist()
    np.testing.assert_allclose(table.column("loss").to_numpy(), predictions.losses, rtol=1e-6)
    assert table.column("attribute:colour").to_pylist() == predictions.attributes.column("colour").to_pylist()


def test_the_map_is_saved_with_the_findings(found, tmp_path):
    _, findings = found
    findings.save(tmp_path)
    loaded = Findings.load(tmp_path)
    assert loaded.equals(findings)
    assert not replace(loaded, map=findings.map.slice(1)).equals(findings)
    (tmp_path / "map.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"map\.parquet is missing; run discover\.py again"):
        Findings.load(tmp_path)


def test_runs_of_earlier_versions_have_no_map(found, tmp_path):
    findings = replace(found[1], map=NO_MAP)
    findings.save(tmp_path)
    assert not (tmp_path / "map.parquet").exists()
    assert Findings.load(tmp_path).equals(findings)
    unsealed(tmp_path / "findings.json")
    page = render(Findings.load(tmp_path))
    assert 'id="map"' not in page
    assert 'href="#map"' not in page
    assert 'class="highlight"' not in page


def test_a_map_with_unexpected_columns_is_refused(found, tmp_path):
    predictions, findings = found
    for table in (
        findings.map.append_column("extra", pa.array(np.zeros(len(predictions)))),
        findings.map.drop_columns(["x"]),
        findings.map.set_column(3, "y", pa.array([None] * len(predictions), pa.uint16())),
        findings.map.set_column(2, "x", pa.array(["far"] * len(predictions))),
    ):
        replace(findings, map=table).save(tmp_path)
        with pytest.raises(DamagedError, match=r"map\.parquet cannot be read"):
            Findings.load(tmp_path)


@pytest.mark.parametrize("embeddings", [np.empty((200, 0)), np.ones((200, 3))])
def test_empty_or_constant_embeddings_have_no_map(embeddings):
    p, slices = planted(n=200, k=1)
    flat = replace(p, embeddings=embeddings)
    findings = Findings.build(flat, slices)
    assert findings.map.equals(NO_MAP)
    assert 'id="map"' not in render(findings)


def test_the_map_can_be_turned_off(found):
    p, slices = planted(n=200, k=1)
    assert not Findings.build(p, slices, projection="none").map.num_rows
    assert 'id="map"' not in render(found[1], options=ReportOptions(map="none"))
    with pytest.raises(ValueError, match=r"report\.map=tsne must be pca, umap, pacmap or none"):
        ReportOptions(map="tsne")


def findings_of(**arrays):
    rng = np.random.default_rng(0)
    n = 120
    p = Predictions.from_arrays(rng.normal(size=(n, 3)), **arrays)
    weights = (np.arange(n) < 30)[None] * 1.0
    return p, Findings.build(p, Slices("scan", p.ids, weights, describe(weights, p)))


def test_the_map_names_the_labels_of_every_task():
    rng = np.random.default_rng(1)
    several = rng.integers(0, 2, (120, 2))
    _, findings = findings_of(
        labels=several, predictions=1 - several, losses=rng.random(120), task=Multilabel(("a", "b"))
    )
    wanted = {(0, 0): "none", (1, 0): "a", (0, 1): "b", (1, 1): "a, b"}
    assert findings.map.column("label").to_pylist() == [wanted[tuple(row)] for row in several.tolist()]

    numbers = rng.normal(size=120)
    _, findings = findings_of(labels=numbers, outputs=numbers[:, None] + 0.1, task=Regression())
    assert "correct" not in findings.map.column_names
    order = np.argsort(numbers)
    names = np.array(findings.map.column("label").to_pylist())[order]
    assert 4 <= len(set(names)) <= 6
    assert (names[1:] != names[:-1]).sum() == len(set(names)) - 1  # ranges, from low to high

    spans = np.column_stack([np.zeros(120, int), np.arange(120)])
    _, findings = findings_of(
        labels=spans,
        predictions=spans,
        correct=rng.random(120) < 0.5,
        losses=rng.random(120),
        task=QuestionAnswering(),
    )
    assert not {"label", "prediction"} & set(findings.map.column_names)


# The map in the page


def test_the_page_holds_the_map_of_the_findings(found):
    predictions, findings = found
    page = render(findings)
    points = in_page(page)
    table = findings.map
    assert points["ids"] == predictions.ids.tolist()
    np.testing.assert_array_equal(points["at"][:, 0], table.column("x").to_numpy())
    np.testing.assert_array_equal(points["at"][:, 1], table.column("y").to_numpy())
    columns = points["columns"]
    assert columns["label", "Label"].tolist() == table.column("label").to_pylist()
    assert columns["attribute", "colour"].tolist() == table.column("attribute:colour").to_pylist()
    assert ((columns["correct", "Right or wrong"] == "right") == predictions.correct).all()
    decoded = points["loss"]["low"] + points["loss"]["scale"] * np.expm1(
        points["loss"]["top"] * points["level"] / points["loss"]["levels"]
    )
    np.testing.assert_allclose(decoded, predictions.losses, rtol=1e-3, atol=1e-4)
    assert (points["weight"] == 1).all()
    listed = findings.memberships.to_pylist()
    for number, members in points["members"].items():
        weights = {m["row"]: m["weight"] for m in listed if (m["group"], m["number"]) == ("finding", number)}
        core = sorted(row for row, weight in weights.items() if weight >= max(weights.values()) / 2)
        assert members.tolist() == core
    assert read(page).count("by the first two principal components") == 1


def test_many_examples_are_represented_by_a_weighted_sample(found):
    findings = large(found[1], 50_000, attributes=2)
    points = points_of(findings, 10_000_000, most=4000)
    assert (points.shown, points.total) == (4000, 50_000)
    drawn = unpacked(points.data)
    assert len(drawn["members"][1]) == 1000  # every member of the finding
    assert drawn["weight"].sum() == pytest.approx(50_000)
    wrong = drawn["columns"]["correct", "Right or wrong"] == "wrong"
    assert drawn["weight"] @ wrong == pytest.approx(1000)
    assert points_of(findings, 10_000_000, most=4000).data == points.data
    fewer = unpacked(points_of(findings, 10_000_000, most=1000).data)
    assert len(fewer["members"][1]) == 800
    assert fewer["weight"] @ (fewer["columns"]["correct", "Right or wrong"] == "wrong") == pytest.approx(1000)


def test_the_map_keeps_to_its_size_limit(found):
    findings = large(found[1], 40_000)
    for room in (600_000, 200_000):
        points = points_of(findings, room)
        assert 0.7 * room < len(points.data) <= room
        assert 1000 <= points.shown < 40_000
    assert points_of(findings, 5000) is None
    page = render(findings)
    assert len(page) < 5e6
    few = len(in_page(page)["ids"])
    assert f"{few // 1000} {few % 1000:03} of 40 000 examples as a point" in read(page)
    assert len(in_page(render(findings, options=ReportOptions(examples="all")))["ids"]) == 40_000


def test_a_column_of_many_values_keeps_the_most_common_ones(found):
    findings = large(found[1], 3000, attributes=0)
    values = np.where(np.arange(3000) < 2000, np.arange(3000) % 200, np.arange(3000))
    column = pa.array([f"v{i}" for i in values]).cast(pa.dictionary(pa.int32(), pa.string()))
    findings = replace(findings, map=findings.map.append_column("attribute:many", column))
    shown = unpacked(points_of(findings, 10_000_000).data)["columns"]["attribute", "many"]
    assert (shown[:2000] == [f"v{i % 200}" for i in range(2000)]).all()
    assert set(shown[2500:]) == {"(others)"}


# Maps by other libraries


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("weakspot.explain.neighbour_maps.find_spec", lambda name: None)
    for kind, package in (("umap", "umap-learn"), ("pacmap", "pacmap")):
        with pytest.raises(ImportError, match=rf'{kind} needs {package}.*pip install "weakspot\[maps\]"'):
            check_installed(kind)
    check_installed("pca")


@pytest.mark.optional
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["umap", "pacmap"])
def test_neighbour_maps_keep_clusters_together(kind, monkeypatch):
    pytest.importorskip(kind)
    monkeypatch.setattr("weakspot.explain.neighbour_maps._FITTED", 400)
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 4, 600)
    x = (np.eye(4, 10)[cluster] * 20 + rng.normal(size=(600, 10))).astype(np.float32)
    at = neighbour_map(x, kind)
    np.testing.assert_array_equal(neighbour_map(x, kind), at)
    centres = np.array([at[cluster == c].mean(axis=0) for c in range(4)])
    away = np.linalg.norm(at[:, None] - centres[None], axis=2)
    assert (away.argmin(axis=1) == cluster).mean() > 0.98


# The map in Chromium


def told(tab):
    names, values = (tab.locator(f".map-summary {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return {name: value.replace("\u202f", " ") for name, value in zip(names, values, strict=True)}


def image_of(tab):
    return tab.evaluate("document.querySelector('#map canvas').toDataURL()")


def wait_for_image(tab, wanted):
    """Return the map's image once `wanted` accepts it, or as it is after five seconds: the page draws with a delay."""
    for _ in range(50):
        image = image_of(tab)
        if wanted(image):
            break
        tab.wait_for_timeout(100)
    return image


def inside_polygon(points, corners):
    from matplotlib.path import Path

    return Path(corners).contains_points(points)


@needs_chromium
def test_a_rectangle_and_a_lasso_select_the_examples_inside(browser, tmp_path, found):
    predictions, findings = found
    tab, requests, complaints = opened(browser, tmp_path, render(findings))
    to_map(tab)
    at = placed(tab, in_page(render(findings))["at"].astype(float))
    middle = np.median(at, axis=0)

    tab.keyboard.down("Shift")
    drag(
        tab,
        [(middle[0] - 60.5, middle[1] - 40.5), (middle[0], middle[1]), (middle[0] + 80.5, middle[1] + 30.5)],
    )
    tab.keyboard.up("Shift")
    low, high = np.add(middle, (-60.5, -40.5)), np.add(middle, (80.5, 30.5))
    inside = ((at > low) & (at < high)).all(axis=1)
    assert 10 < inside.sum() < 590
    assert saved(tab) == predictions.ids[inside].tolist()
    assert told(tab)["Examples"] == str(inside.sum())

    tab.locator("#map [data-tool=lasso]").click()
    to_map(tab)
    at = placed(tab, in_page(render(findings))["at"].astype(float))
    middle = np.median(at, axis=0)
    corners = [
        tuple(middle + step) for step in [(-90, -70), (20, -110), (100, 0), (30, 20), (60, 90), (-40, 60)]
    ]
    drag(tab, corners)
    inside = inside_polygon(at, corners)
    assert saved(tab) == predictions.ids[inside].tolist()
    share = predictions.correct[inside].mean()
    n, z = inside.sum(), 1.959964
    centre, half = (
        (share + z * z / 2 / n) / (1 + z * z / n),
        z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / 4 / n / n),
    )
    rounded = [f"{100 * value:.0f} %" for value in (share, centre - half, centre + half)]
    said = told(tab)
    assert said["Accuracy"] == f"{rounded[0]}, 95 % interval {rounded[1]} to {rounded[2]}"
    wrong = ~predictions.correct
    assert said["Share of all errors"] == f"{100 * (wrong & inside).sum() / wrong.sum():.0f} %"
    assert said["Accuracy of all others"] == f"{100 * predictions.correct[~inside].mean():.0f} %"
    words = tab.locator(".map-summary").inner_text()
    assert "tests nothing" in words
    assert "no p value" in words
    tab.locator(".map-clear").click()
    assert not tab.locator(".map-summary").is_visible()
    assert requests == [tab.url]
    assert complaints == []
    tab.close()


@needs_chromium
def test_the_map_formats_shares_as_the_rest_of_the_page_does(browser):
    tab = browser.new_page()
    tab.add_script_tag(path=ROOT / "src" / "weakspot" / "report" / "points.js")
    shares = [0, 1e-17, 0.0004, 0.004, 0.0096, 0.123, 0.99, 0.996, 1 - 2**-53, 1, 1 + 2**-52]
    assert tab.evaluate("shares => shares.map(mapShare)", shares) == [percent(share) for share in shares]
    tab.close()


@needs_chromium
def test_values_more_common_in_a_selection_are_listed_with_their_shares(browser, tmp_path, found):
    predictions, findings = found
    tab, _, complaints = opened(browser, tmp_path, render(findings))
    to_map(tab)
    tab.locator("#map select").select_option(label="group")
    tab.locator(".map-legend button", has_text="red_≥5").click()
    inside = np.array(predictions.attributes.column("group").to_pylist()) == "red_≥5"
    assert saved(tab) == predictions.ids[inside].tolist()
    rows = {
        row.locator("th").inner_text(): [
            cell.replace("\u202f", " ") for cell in row.locator("td").all_inner_texts()
        ]
        for row in tab.locator(".map-more-common tbody tr").all()
    }
    assert next(iter(rows)) == "group: red_≥5"
    red = np.array(predictions.attributes.column("colour").to_pylist()) == "red"
    assert rows["colour: red"] == ["100 %", f"{100 * red[~inside].mean():.0f} %"]
    assert complaints == []
    tab.close()


@needs_chromium
def test_colouring_hovering_clicking_zooming_and_keys(browser, tmp_path, found):
    predictions, findings = found
    page = render(findings)
    tab, _, complaints = opened(browser, tmp_path, page)
    to_map(tab)
    at = placed(tab, in_page(page)["at"].astype(float))
    seen = {image_of(tab)}
    for name in ("Loss", "Right or wrong", "Label", "colour"):
        tab.locator("#map select").select_option(label=name)
        seen.add(wait_for_image(tab, lambda image: image not in seen))
    assert len(seen) == 5

    row = int(np.argmax(at[:, 0]))  # alone at the edge
    tab.mouse.move(*at[row])
    names = predictions.classes()
    assert tab.locator(".map-hover span").all_inner_texts() == [
        predictions.ids[row],
        f"{names[predictions.labels[row]]} → {names[predictions.predictions[row]]}",
        f"loss {float(f'{predictions.losses[row]:.3g}'):g}",
    ]
    tab.mouse.click(*at[row])
    assert tab.locator(".map-pinned h3").inner_text() == predictions.ids[row]
    members = in_page(page)["members"][1]
    tab.mouse.click(*at[members[np.argmax(at[members, 0])]])
    tab.locator(".map-pinned a").click()
    assert tab.evaluate("location.hash") == "#finding-1"

    to_map(tab)
    whole = image_of(tab)
    canvas = tab.locator(".map-board > canvas")
    canvas.focus()
    for keys in (["+"], ["ArrowLeft", "ArrowUp"], ["-"]):
        before = image_of(tab)
        for key in keys:
            tab.keyboard.press(key)
        assert wait_for_image(tab, lambda image, before=before: image != before) != before
    tab.keyboard.press("0")
    assert wait_for_image(tab, lambda image: image == whole) == whole
    box = canvas.bounding_box()
    tab.mouse.move(box["x"] + 300, box["y"] + 200)
    tab.mouse.wheel(0, -200)
    zoomed = wait_for_image(tab, lambda image: image != whole)
    assert zoomed != whole
    tab.mouse.down()
    tab.mouse.move(box["x"] + 360, box["y"] + 260, steps=3)
    tab.mouse.up()
    assert wait_for_image(tab, lambda image: image != zoomed) != zoomed
    tab.locator("#map [data-act=whole]").click()
    assert wait_for_image(tab, lambda image: image == whole) == whole
    assert complaints == []
    tab.close()


@needs_chromium
def test_a_finding_highlights_its_members(browser, tmp_path, found):
    predictions, findings = found
    page = render(findings)
    tab, _, complaints = opened(browser, tmp_path, page)
    tab.locator("#finding-1 button.highlight").click()
    tab.locator(".map-summary h3").wait_for()
    assert tab.locator(".map-summary h3").inner_text() == f"Finding 1: {findings.findings[0].subject}"
    assert saved(tab) == predictions.ids[in_page(page)["members"][1]].tolist()
    assert tab.locator(".map-board > canvas").is_visible()
    assert complaints == []
    tab.close()


@needs_chromium
def test_text_from_the_examples_is_escaped(browser, tmp_path):
    p, slices = planted(n=200, k=1)
    ids = [f'={HOSTILE}"{i},\n' if i % 10 else f"-{i}" for i in range(200)]
    values = np.where(np.array(p.attributes.column("colour").to_pylist()) == "red", HOSTILE, "=1+1")
    hostile = replace(p, ids=np.array(ids), attributes=pa.table({HOSTILE: values, "loss": values}))
    weights = np.asarray(slices.weights)
    findings = Findings.build(hostile, Slices("scan", hostile.ids, weights, describe(weights, hostile)))
    page = render(findings)
    tab, requests, complaints = opened(browser, tmp_path, page)
    alerts = []
    tab.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    to_map(tab)
    tab.locator("#map select").select_option(label=HOSTILE)
    tab.locator(".map-legend button", has_text="alert(1)").click()
    assert saved(tab) == [formula_free(ids[i]) for i in np.flatnonzero(values == HOSTILE)]
    assert f": {HOSTILE}" in tab.locator(".map-summary").inner_text()
    to_map(tab)
    at = placed(tab, in_page(page)["at"].astype(float))
    tab.mouse.click(*at[np.argmax(at[:, 0])])
    assert HOSTILE in tab.locator(".map-pinned").inner_text()
    assert HOSTILE in tab.locator(".map-hover").inner_text()
    assert tab.locator("#map script, #map b, #map img").count() == 0
    assert (alerts, complaints, requests) == ([], [], [tab.url])
    tab.close()


@needs_chromium
def test_a_selection_in_a_sample_states_how_many_examples_it_represents(browser, tmp_path, found):
    tab, _, complaints = opened(browser, tmp_path, render(large(found[1], 50_000)))
    to_map(tab)
    tab.locator("#map select").select_option(label="Right or wrong")
    tab.locator(".map-legend button", has_text="wrong").click()
    said = told(tab)
    assert said["Examples"] == "1 000 drawn, which stand for 1 000"
    assert said["Share of all"] == "2 %"
    assert said["Share of all errors"] == "100 %"
    assert complaints == []
    tab.close()


@needs_chromium
def test_without_javascript_a_sentence_replaces_the_map(browser, tmp_path, found):
    tab, _, _ = opened(browser, tmp_path, render(found[1]), java_script_enabled=False)
    words = tab.locator("#map").inner_text()
    assert "The map is drawn by script" in words
    assert not tab.locator(".map-board > canvas").is_visible()
    tab.close()
