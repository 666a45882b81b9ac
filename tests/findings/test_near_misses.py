"""UDIS if no cluster fails: the worst clusters and how far they are from failing, the same in every output."""

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from report_pages import picture, read, report_of
from weakspot import UDIS, Findings, Predictions
from weakspot.findings import Media
from weakspot.report import render
from weakspot.tasks import Multilabel
from weakspot.tracking.console import findings_summary
from weakspot.tracking.tables import findings_tables

SIZES = (40, 30, 20, 4)


def groups(right):
    """Four groups far apart, 94 examples in all; the first `right` examples of each are correct."""
    centres = 50 * np.eye(4)
    x = np.concatenate([np.repeat(centre[None], n, axis=0) for centre, n in zip(centres, SIZES, strict=True)])
    x += np.random.default_rng(0).normal(size=x.shape)
    correct = np.concatenate([np.arange(n) < r for n, r in zip(SIZES, right, strict=True)])
    return Predictions.from_arrays(x, correct=correct)


def clustered(right, **settings):
    p = groups(right)
    return p, UDIS(cut=4, **settings).fit(p)


def test_the_worst_clusters_are_listed_with_their_distance_from_failing():
    _, u = clustered((28, 24, 13, 0))  # accuracies 70, 80, 65 and, with too few examples, 0 %; overall 65/94
    assert len(u.slices_) == 0
    misses = u.near_misses(u.slices_)
    assert [miss.size for miss in misses] == [20, 40, 30]
    assert [miss.score for miss in misses] == [0.65, 0.7, 0.8]
    for miss in misses:
        assert miss.threshold == pytest.approx(0.66 * 65 / 94)
        assert miss.above == pytest.approx(miss.score - 0.66 * 65 / 94)
    assert u.advice(u.slices_) == [
        "No cluster fails: none of more than 5 examples has an accuracy below 45.6\u202f% (0.66 times that of all); "
        "method.accuracy_threshold sets this factor. The worst: 20 examples at 65.0\u202f%, "
        "19.4 points above it; 40 examples at 70.0\u202f%, 24.4 points above it; 30 examples at 80.0\u202f%, "
        "34.4 points above it."
    ]


def test_there_are_no_near_misses_if_a_cluster_fails():
    _, u = clustered((28, 24, 2, 0))
    assert len(u.slices_) == 1
    assert u.near_misses(u.slices_) == []


@pytest.mark.parametrize(
    ("right", "settings", "said"),
    [
        (SIZES, {}, "Every example is right."),
        ((40, 30, 20, 0), {}, "The clusters that are large enough have no errors."),
        ((40, 30, 20, 0), {"min_cluster_size": 0.5}, "The clusters that are large enough have no errors."),
        ((20, 15, 10, 2), {"min_cluster_size": 0.32}, "The worst: 40 examples at 50.0\u202f%, 17.0 points"),
        ((0, 0, 0, 0), {}, "method.accuracy_threshold sets this factor."),
    ],
)
def test_clusters_that_could_not_fail_are_not_near_misses(right, settings, said):
    _, u = clustered(right, **settings)
    (advice,) = u.advice(u.slices_)
    assert said in advice
    assert ("The worst" in advice) == ("The worst" in said)
    assert advice.count("points above it") == len(u.near_misses(u.slices_)) <= 1


def test_near_misses_by_f1_are_measured_in_f1():
    rng = np.random.default_rng(0)
    p = groups((0, 0, 0, 0))
    labels = (rng.random((94, 2)) < 0.7).astype(int)
    logits = np.where(rng.random((94, 2)) < 0.85, labels, 1 - labels) * 2.0 - 1
    p = Predictions.from_arrays(p.embeddings, labels=labels, outputs=logits, task=Multilabel(("bed", "cup")))
    u = UDIS(cut=4, metric="f1").fit(p)
    assert len(u.slices_) == 0
    leaves = {leaf.id: leaf for leaf in u.tree_.leaves()}
    misses = u.near_misses(u.slices_)
    assert [miss.score for miss in misses] == sorted(leaf.f1 for leaf in leaves.values() if leaf.size > 5)[:3]
    assert all(miss.threshold == 0.66 * u.tree_.f1 and miss.measure == "f1" for miss in misses)
    assert "has an F1 below" in u.advice(u.slices_)[0]


def test_every_output_shows_the_near_misses(tmp_path):
    p, u = clustered((28, 24, 13, 0))
    findings = Findings.build(p, u.slices_)
    findings.save(tmp_path)
    assert Findings.load(tmp_path).equals(findings)
    said = json.loads((tmp_path / "findings.json").read_text(encoding="utf-8"))["near_misses"]
    assert [(miss["size"], miss["score"], round(100 * miss["above"], 1)) for miss in said] == [
        (20, 0.65, 19.4),
        (40, 0.7, 24.4),
        (30, 0.8, 34.4),
    ]
    columns, rows = findings_tables(findings)["near_misses"]
    assert [dict(zip(columns, row, strict=True)) for row in rows] == said

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(findings_summary(findings))
    printed = re.sub(r"\s+", " ", console.export_text())
    words = re.sub(r"\s+", " ", read(render(findings, Media())))
    for door in (printed, words):
        assert "The worst: 20 examples at 65.0 %, 19.4 points above it; 40 examples at 70.0 %" in door
    assert "udis: none of 4 clusters fail; accuracy of all 94: 69 %" in printed
    assert "No cluster fails. Those that came nearest to it:" in words
    assert "Examples Accuracy It fails below Points above that 20 65.0 % 45.6 % 19.4 40 70.0 %" in words


def test_the_report_shows_images_of_the_near_misses():
    p, u = clustered((28, 24, 13, 0))
    page = report_of(p, u.slices_, preview=picture)
    table = page[page.index("came nearest to failing") :].partition("</table>")[0]
    assert "Members, the wrong ones first" in table
    rows = table.split("<tr>")[2:]
    assert len(rows) == 3
    wrong = [re.findall(r'class="thumb [^"]*"', row) for row in rows]
    assert ["wrong" in frame for frame in wrong[0]] == [True] * 7 + [False]
