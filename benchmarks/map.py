"""How large the map of a report is and how fast Chromium draws it, by the number of points.

    python benchmarks/map.py                      # 30 000 and 1 000 000 points
    python benchmarks/map.py 1000000 --runs 40

Each page is a whole report of a random record with eight attributes. It draws all of the examples, and gets the space
that they take; `report.examples=top|all` would draw a sample.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from playwright.sync_api import Page, sync_playwright

from weakspot import Findings, Predictions, Slices
from weakspot.report import html, render
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification

_FRAMES = """async (runs) => {
  const canvas = document.querySelector("#map canvas"), times = [];
  for (let i = 0; i < runs; i++) {
    const before = performance.now();
    drawnMap.drawNow();
    canvas.getContext("2d").getImageData(0, 0, 1, 1); // what is drawn has been drawn
    times.push(performance.now() - before);
  }
  return times;
}"""


def findings_of(n: int) -> Findings:
    """Return the findings of a record with ten clusters in 16 dimensions, on one of which the model fails."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 10, n)
    right = rng.random(n) < np.where(cluster == 3, 0.3, 0.95)
    label = rng.integers(0, 10, n)
    attributes = {f"attribute {i}": rng.choice(["yes", "no", "perhaps"], n) for i in range(7)}
    predictions = Predictions.from_arrays(
        ((rng.normal(size=(10, 16)) * 3)[cluster] + rng.normal(size=(n, 16))).astype(np.float32),
        losses=np.where(right, rng.exponential(0.1, n), 1 + rng.exponential(1, n)),
        labels=label,
        predictions=np.where(right, label, (label + 1) % 10),
        ids=[f"images/{i // 1000:04}/{i:07}.jpg" for i in range(n)],
        attributes=pa.table(attributes | {"size": rng.normal(size=n)}),
        task=Classification(tuple(f"class {i}" for i in range(10))),
    )
    weights = (cluster == 3)[None] * 1.0
    slices = Slices("scan", predictions.ids, weights, describe(weights, predictions))
    return Findings.build(predictions, slices, confirm=np.arange(n) % 2 == 0)


def page_of(findings: Findings, n: int) -> str:
    room = max(html._ROOM, 40 * n)  # characters
    with patch.multiple(html, _ROOM=room, _MAP=1.0, MOST=n):
        return render(findings)


def measured(tab: Page, n: int, runs: int) -> dict[str, float]:
    start = time.perf_counter()
    tab.evaluate("document.getElementById('map').scrollIntoView()")
    tab.wait_for_selector("#map .map-legend button", timeout=120_000)
    opened = 1000 * (time.perf_counter() - start)
    frames = tab.evaluate(_FRAMES, runs)
    recolour = tab.evaluate(
        "() => new Promise((tell) => { const before = performance.now(), s = document.querySelector('#map select'); "
        "s.value = 'loss'; s.dispatchEvent(new Event('change')); "
        "requestAnimationFrame(() => tell(performance.now() - before)); })"
    )
    box = tab.locator(".map-board > canvas").bounding_box()
    tab.click("#map [data-tool=lasso]")
    tab.evaluate(
        "window.chosen = 0; const drawn = () => (window.chosen ||= performance.now()); "
        "new MutationObserver(() => requestAnimationFrame(drawn)).observe("
        "document.querySelector('.map-summary'), { childList: true })"
    )
    tab.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25)
    tab.mouse.down()
    for across, down in ((0.6, 0.2), (0.7, 0.7), (0.3, 0.8)):
        tab.mouse.move(box["x"] + box["width"] * across, box["y"] + box["height"] * down, steps=10)
    tab.evaluate(
        "addEventListener('pointerup', () => (window.released = performance.now()), { capture: true })"
    )
    tab.mouse.up()
    tab.wait_for_function("window.chosen")
    return {
        "opened": opened,
        "median": float(np.median(frames)),
        "slowest": float(np.max(frames)),
        "recolour": recolour,
        "lasso": tab.evaluate("window.chosen - window.released"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("points", nargs="*", type=int, default=[30_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=20, help="frames that are timed")
    arguments = parser.parse_args()
    print("points     page MB  map MB  bytes a point  unpacked ms  frame ms (slowest)  colours ms  lasso ms")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for n in arguments.points:
            page = page_of(findings_of(n), n)
            packed = len(page.partition('id="points">')[2].partition("</script>")[0])
            path = Path(folder, f"{n}.html")
            path.write_text(page, encoding="utf-8")
            tab = browser.new_page(viewport={"width": 1200, "height": 900})
            tab.goto(path.as_uri())
            t = measured(tab, n, arguments.runs)
            print(
                f"{n:<9}  {len(page) / 1e6:7.1f}  {packed / 1e6:6.1f}  {packed / n:13.1f}  {t['opened']:11.0f}"
                f"  {t['median']:8.0f} ({t['slowest']:.0f})  {t['recolour']:16.0f}  {t['lasso']:8.0f}",
                flush=True,
            )
            tab.close()
        browser.close()


if __name__ == "__main__":
    main()
