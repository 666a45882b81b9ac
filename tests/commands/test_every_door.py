"""All outputs agree (the file, the report, the console and a real W&B run), whatever the data."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from functools import partial
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.special import log_softmax

from predictions_of_every_task import (
    classes,
    losses_alone,
    numbers,
    ratings,
    several_labels,
    texts,
)
from processes import quiet_environment
from weakspot import UDIS, Findings, Scan, Spotlight
from weakspot.findings import Media
from weakspot.findings.numbers import THIN, decimal, percent
from weakspot.pipeline.discover import discover
from weakspot.pipeline.run_outputs import RunOutputs
from weakspot.report.html import render
from weakspot.tracking.console import findings_summary
from weakspot.tracking.loggers import close, wandb_logger
from weakspot.tracking.scalars import scalars
from weakspot.tracking.tables import findings_tables

CASES = {
    "scan": (classes, Scan()),
    "spotlight": (classes, Spotlight(n_slices=2, starts=2)),
    "udis": (classes, UDIS()),
    "texts": (texts, Spotlight(n_slices=2, starts=2)),
    "several labels": (several_labels, UDIS()),
    "one category": (several_labels, UDIS(category="bed")),
    "ratings": (ratings, Spotlight(n_slices=2, starts=2)),
    "numbers": (numbers, Spotlight(n_slices=2, starts=2)),
    "losses alone": (losses_alone, Spotlight(n_slices=2, starts=2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_all_outputs_agree(case, tmp_path, monkeypatch):
    make, method = CASES[case]
    monkeypatch.setenv("WANDB_MODE", "offline")
    predictions, media, *written = make(np.random.default_rng(1))
    logger = wandb_logger(tmp_path, "discover", {})
    findings = discover(
        method,
        predictions,
        tmp_path,
        media=media,
        texts=written[0] if written else None,
        outputs=RunOutputs(logger=logger),
    )
    close(logger)

    said = json.loads((tmp_path / "findings.json").read_text(encoding="utf-8"))
    assert Findings.load(tmp_path).equals(findings)
    confirmed = [f for f in said["findings"] if f["verdict"] == "confirmed"]
    assert confirmed, "the planted failure was not found"
    page = squeezed(unescape((tmp_path / "report.html").read_text(encoding="utf-8")))
    printed = printed_on_a_console(findings)
    logged, table = from_wandb(tmp_path)

    assert squeezed(said["title"]) in page
    assert squeezed(said["title"]) in printed
    assert logged["title"] == said["title"]
    assert squeezed(said["confirmation"]["explanation"]) in page
    assert squeezed(said["confirmation"]["explanation"]) in printed
    assert logged["confirmed/n"] == len(confirmed)
    assert ("slice_1/search/objective" in logged) == (findings.method == "spotlight")
    assert ("slice_1/p_searched" in logged) == (findings.method == "scan")
    assert [row["name"] for row in table] == [f["name"] for f in said["findings"]]
    tables = {re.sub(r"_\d+_.*", "", path.name) for path in tmp_path.glob("wandb/*/files/media/table/*.json")}
    assert ("classes" in tables) == bool(said["whole"]["classes"])
    assert ("co_occurrence" in tables) == bool(said["whole"]["pairs"])
    for finding, row in zip(said["findings"], table, strict=True):
        assert squeezed(finding["sentence"]) in page
        assert row["sentence"] == finding["sentence"]
        assert row["verdict"] == finding["verdict"]
        assert squeezed(finding["name"]) in printed
        assert squeezed(percent(finding["errors_explained"])) in printed
        prefix = f"finding_{finding['number']}"
        assert logged[f"{prefix}/errors_explained"] == pytest.approx(finding["errors_explained"])
        stated = next(name for name in ("accuracy", "error", "loss") if finding[name] is not None)
        show = percent if stated == "accuracy" else decimal
        inside = finding[stated]["inside"]
        assert logged[f"{prefix}/{stated}_inside"] == pytest.approx(inside)
        assert squeezed(show(inside)) in printed
        assert squeezed(show(inside)) in page
        assert squeezed(show(inside)) in squeezed(finding["sentence"])


@pytest.mark.parametrize("case", ["ratings", "numbers"])
def test_slices_of_ratings_and_numbers_are_described_by_the_metric_of_the_task(case):
    make, _ = CASES[case]
    p, _ = make(np.random.default_rng(1))
    slices = Spotlight(search="published", steps=300, n_slices=2, min_size=20).fit(p).slices_
    findings = Findings.build(p, slices)
    grid = np.arange(1, 6)
    truth, guess = (
        (grid[p.labels], np.exp(log_softmax(p.outputs, axis=1)) @ grid)
        if case == "ratings"
        else (p.labels, p.predictions)
    )
    for one, weights in zip(findings.slices, slices.weights, strict=True):
        told = one.error.inside, one.error.outside
        assert told == pytest.approx([rmse(truth - guess, w) for w in (weights, 1 - weights)], rel=1e-5)
        assert one.error.interval is None
    table = render(findings, Media()).split('id="all-title"')[1].split("</table>")[0]
    assert "RMSE inside" in table
    assert "Accuracy" not in table
    assert decimal(findings.slices[0].error.inside) in table
    logged = scalars(findings)
    assert logged["slice_1/error_inside"] == findings.slices[0].error.inside
    columns, rows = findings_tables(findings)["slices"]
    assert rows[0][columns.index("error_inside")] == findings.slices[0].error.inside
    assert not any("accuracy" in name for name in (*logged, *columns))


@pytest.mark.parametrize(
    ("make", "counted"),
    [
        (classes, "errors"),
        (ratings, "squared errors"),
        (partial(numbers, loss="absolute"), "absolute errors"),
        (losses_alone, "loss"),
    ],
)
def test_all_outputs_name_what_the_share_is_of_in_the_same_words(make, counted):
    p, _ = make(np.random.default_rng(1))
    slices = Spotlight(n_slices=1, starts=2, min_size=20).fit(p).slices_
    findings = Findings.build(p, slices)
    share = percent(findings.findings[0].errors_explained)
    assert f"They hold {share} of all {counted}." in findings.findings[0].sentence
    assert f"with {share} of all {counted}." in unescape(render(findings, Media()))
    assert f"of all {counted}" in printed_on_a_console(findings)


def rmse(errors, weights):
    return np.sqrt(weights @ errors**2 / weights.sum())


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace(THIN, " "))


def printed_on_a_console(findings: Findings) -> str:
    console = Console(width=220, record=True, file=io.StringIO())
    console.print(findings_summary(findings))
    return squeezed(console.export_text())


def from_wandb(folder: Path) -> tuple[dict[str, object], list[dict[str, object]]]:
    """The summary and the findings table of the run in a folder, read from the files that W&B wrote."""
    (run,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    for _ in range(50):  # the file may lag behind the end of the run
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)],
            capture_output=True,
            text=True,
            env=quiet_environment(),
        )
        if done.returncode == 0 and '"exit"' in done.stdout:
            break
        time.sleep(0.2)
    summary: dict[str, object] = {}
    for record in map(json.loads, done.stdout.splitlines()):
        if record["type"] == "summary":
            summary |= record["summary"]["update"]
    (file,) = folder.glob("wandb/offline-run-*/files/media/table/findings*.json")
    stored = json.loads(file.read_text(encoding="utf-8"))
    return summary, [dict(zip(stored["columns"], row, strict=True)) for row in stored["data"]]
