"""Accessibility: axe-core, the checker that browser makers use, finds nothing serious in the pages."""

import numpy as np
import pyarrow as pa
import pytest
from axe_playwright_python.sync_playwright import Axe

from report_pages import chromium, needs_chromium, picture, planted, report_of
from weakspot.findings import Findings, Media
from weakspot.methods.udis import UDIS
from weakspot.predictions import Predictions
from weakspot.report import render
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification, Multilabel, Rating

pytestmark = [needs_chromium, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def overlays(rows):
    return [picture(row) for row in rows]


def of_images():
    predictions, slices = planted()
    return report_of(predictions, slices, preview=picture, cams=overlays)


def of_a_tree():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(12), 30)
    label = cluster % 2
    wrong = (cluster < 4) & (rng.random(360) < 0.9)
    predictions = Predictions.from_arrays(
        np.eye(12)[cluster] * 9 + rng.normal(size=(360, 12)) * 0.1,
        outputs=np.eye(2)[np.where(wrong, 1 - label, label)] * 4.0,
        labels=label,
        attributes=pa.table({"light": rng.choice(["day", "night"], 360)}),
        task=Classification(("a", "b")),
    )
    return report_of(predictions, UDIS(cut=12).fit(predictions).slices_, preview=picture, cams=overlays)


def of_ratings():
    rng = np.random.default_rng(0)
    user, movie, label = (rng.integers(0, k, 200) for k in (8, 12, 5))
    failing = (user == 3) & (movie < 6)
    predictions = Predictions.from_arrays(
        rng.normal(size=(200, 4)),
        labels=label,
        outputs=np.eye(5)[np.where(failing, 4 - label, label)] * 4.0,
        attributes=pa.table({"user": user.astype(str), "movie": [f"Film {m}" for m in movie]}),
        task=Rating(("1", "2", "3", "4", "5")),
    )
    weights = failing.astype(float)[None]
    slices = Slices("spotlight", predictions.ids, weights, describe(weights, predictions))
    return report_of(predictions, slices, preview=predictions.attributes.to_pylist().__getitem__)


def of_several_labels():
    rng = np.random.default_rng(0)
    predictions = Predictions.from_arrays(
        rng.normal(size=(200, 4)),
        outputs=rng.normal(size=(200, 5)),
        labels=rng.integers(0, 2, (200, 5)),
        task=Multilabel(("bed", "person", "dog", "sofa", "cat")),
    )
    return report_of(predictions, UDIS().fit(predictions).slices_, preview=picture)


def of_many():
    predictions, _ = planted(n=2300, k=1)
    weights = np.zeros((230, 2300))
    weights[np.repeat(np.arange(230), 10), np.argsort(predictions.losses)[::-1]] = 1
    slices = Slices("udis", predictions.ids, weights, describe(weights, predictions))
    return render(Findings.build(predictions, slices, confirm=np.arange(2300) % 2 == 0), Media(picture))


@pytest.mark.parametrize("page", [of_images, of_a_tree, of_several_labels, of_ratings, of_many])
def test_axe_finds_no_serious_problem(browser, tmp_path, page):
    """Everything in light colours; in dark ones what depends on colours."""
    path = tmp_path / "report.html"
    path.write_text(page(), encoding="utf-8")
    # axe is itself a script, which the page's policy would block
    context = browser.new_context(bypass_csp=True, color_scheme="light")
    tab = context.new_page()
    tab.goto(path.as_uri())
    tab.evaluate(
        "for (const details of [...document.querySelectorAll('details')].slice(0, 60)) details.open = true"
    )
    tab.wait_for_load_state("networkidle")
    found = Axe().run(tab).response
    tab.emulate_media(color_scheme="dark")
    dark = Axe().run(tab, options={"runOnly": ["color-contrast"]}).response
    assert [one["id"] for one in dark["passes"]] == ["color-contrast"]
    found["violations"] += dark["violations"]
    assert len(found["passes"]) > 15  # it did run
    serious = [
        f"{one['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]
    assert serious == []
    context.close()
