"""Accessibility of the explorer's pages: no axe-core violations, and no horizontal scrolling on a phone."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from clustered_predictions import single_label
from explorer import follow, serving
from report_pages import chromium, needs_chromium
from weakspot import UDIS, Predictions
from weakspot.app.run_index import RunIndex
from weakspot.pipeline.discover import discover
from weakspot.pipeline.run_outputs import RunOutputs

pytestmark = [needs_chromium, pytest.mark.slow]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accessible")
    single_label().save(folder / "predictions" / "mine")
    for name in ("a", "b"):
        discover(
            UDIS(),
            Predictions.load(folder / "predictions" / "mine"),
            folder / name,
            outputs=RunOutputs(command="python discover.py"),
        )
    logged = folder / "a" / "wandb" / "offline-run-20261129_205941-ugvwkz6j"
    logged.mkdir(parents=True)
    (logged / "run-ugvwkz6j.wandb").write_bytes(b"")
    return folder


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_every_page_is_accessible(outputs, scheme, width):
    run = next(run for run in RunIndex([outputs]).all() if not run.is_comparison)
    pages = {
        "/": "Compare the ticked",
        f"/run/{run.digest}?rows=all&label=": "Examples",
        f"/run/{run.digest}/example/7": "Attributes",
        f"/run/{run.digest}/tree?threshold=1": "Failing clusters",
        "/clusters?threshold=1": "of 2 runs",
        "/compare": "Compare two runs",
        "/trees": "Upload a tree",
        "/models": "Upload a model",
        "/nowhere": "That is not possible",
    }
    with serving(outputs) as server, chromium() as browser:
        # axe is a separate script, which the pages' content security policy would block
        context = browser.new_context(
            bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900}
        )
        tab = context.new_page()

        def check(words):
            assert words in tab.locator("body").inner_text()
            tab.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
            found = Axe().run(tab).response
            assert len(found["passes"]) > 10  # axe did run its checks
            assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]] == []
            wider = tab.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wider <= 0, tab.url

        for path, words in pages.items():
            tab.goto(f"http://localhost:{server.port}{path}")
            check(words)
        tab.goto(
            f"http://localhost:{server.port}/run/{run.digest}?map=shown&lasso=-1,-1;70000,-1;70000,70000"
        )
        tab.locator(".map-summary h3").wait_for()
        check("Chosen by a lasso")
        tab.goto(f"http://localhost:{server.port}/compare")
        follow(tab, tab.get_by_role("button", name="Compare"))
        check("Fixed")
        tab.goto(f"http://localhost:{server.port}/run/{run.digest}/tree?threshold=1")
        follow(tab, tab.locator("#failing tbody a").first)
        check("Members")
