"""Reports of a published cluster tree alone, and the tree that every run of UDIS leaves."""

from __future__ import annotations

import copy
import io
import json
import logging
import re
import signal
import subprocess
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
from rich.console import Console

from clustered_predictions import multilabel, single_label
from paths import FIXTURES, ROOT
from processes import quiet_environment
from report_pages import read as words_of
from weakspot import UDIS, Findings, Predictions, Spotlight
from weakspot.findings.from_tree import from_tree
from weakspot.interop.udis_tree import export, leaves_of, read, to_tree
from weakspot.interop.udis_tree_record import record_of, slices_of
from weakspot.pipeline.discover import discover
from weakspot.report import render
from weakspot.slices import Slices
from weakspot.tracking.console import findings_summary

BED = FIXTURES / "seed_tree_bed.json"


def told(published, **settings):
    record = record_of(published)
    return from_tree(record, slices_of(published, record, **settings))


def printed(findings):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(findings_summary(findings))
    return re.sub(r"\s+", " ", console.export_text())


@pytest.fixture(scope="module")
def bed():
    return told(read(BED))


def test_the_published_bed_tree_has_the_published_numbers(bed):
    assert (bed.whole.n, bed.whole.errors) == (182, 76)
    assert round(100 * bed.whole.accuracy, 1) == 58.2
    assert sum(cluster.leaf for cluster in bed.clusters) == 11
    assert {cluster.id for cluster in bed.clusters if cluster.failing} == {331, 343, 346, 352}
    assert [one.statistics.size for one in bed.slices] == [7, 7, 10, 42]
    assert [round(one.statistics.accuracy_inside, 3) for one in bed.slices] == [0.286, 0.286, 0.3, 0.333]


def test_a_tree_alone_confirms_nothing_and_explains_why(bed):
    assert bed.confirmation.mode == "off"
    assert "A tree alone cannot be tested" in bed.confirmation.explanation
    assert "confirm=" not in bed.confirmation.explanation
    assert len(bed.findings) == 4
    for finding in bed.findings:
        assert (finding.verdict, finding.p, finding.p_corrected) == ("not_tested", None, None)
        assert finding.accuracy.interval is None
        assert finding.sentence.endswith("It was not tested.")
    assert sum(finding.examples for finding in bed.findings) == 66
    assert sum(finding.errors_explained for finding in bed.findings) == pytest.approx(45 / 76)


def test_losses_are_those_of_clusters_not_of_examples(bed):
    published = {leaf["id"]: leaf for leaf in leaves_of(read(BED))}
    for one in bed.slices:
        assert one.statistics.loss_inside == pytest.approx(published[one.statistics.cluster.node]["loss"])
    sizes = np.array([len(leaf["images"]) for leaf in published.values()])
    losses = np.array([leaf["loss"] for leaf in published.values()])
    assert bed.whole.loss == pytest.approx(sizes @ losses / sizes.sum())
    assert all(example.loss is None for example in bed.examples)
    wrong = {str(image) for leaf in published.values() for image in leaf["inc_images"]}
    assert {example.id for example in bed.examples if example.wrong} <= wrong
    first = bed.findings[0].portrait.top
    assert [bed.example(row).wrong for row in first] == [True] * len(first)


def test_one_command_prints_and_reports_a_tree(shell):
    text = shell("discover", f"tree={BED}", "logger=none")
    assert "4 of 11 clusters fail; accuracy of all 182: 58.2\u202f%" in text
    (report,) = shell.reports()
    assert report.parent.name.endswith("-udis-seed_tree_bed")
    words = re.sub(r"\s+", " ", words_of(report.read_text(encoding="utf-8")))
    assert "Examples 182 Accuracy 58.2 % Errors 76" in words
    assert "Embedding" not in words.partition("At a glance")[0]
    assert "The cut leaves 11 clusters; 4 of them fail" in words
    assert "Nothing was tested, so nothing is confirmed. Found, not tested" in words
    said = json.loads((report.parent / "findings.json").read_text(encoding="utf-8"))
    assert said["whole"]["n"] == 182
    assert [finding["verdict"] for finding in said["findings"]] == ["not_tested"] * 4
    assert len(Slices.load(report.parent / "slices")) == 4
    assert [path.name for path in (shell.folder / "outputs").iterdir()] == ["discover"]


@pytest.mark.parametrize("share", [0.66, 0.9])
def test_an_exported_tree_is_read_back_with_the_same_clusters(share):
    p = single_label()
    u = UDIS(accuracy_threshold=share).fit(p)
    ours, theirs = Findings.build(p, u.slices_), told(export(u.slices_), accuracy_threshold=share)
    assert len(ours.slices) == len(theirs.slices) > 0
    for mine, other in zip(ours.slices, theirs.slices, strict=True):
        for name in ("size", "share", "members", "accuracy_inside", "accuracy_outside"):
            assert getattr(other.statistics, name) == pytest.approx(getattr(mine.statistics, name))
        assert other.statistics.loss_inside == pytest.approx(mine.statistics.loss_inside)
        assert other.statistics.loss_outside == pytest.approx(mine.statistics.loss_outside)
        assert other.statistics.cluster.node == mine.statistics.cluster.node
        assert other.statistics.cluster.confidence == pytest.approx(mine.statistics.cluster.confidence)
    names = [attribute.name for attribute in theirs.slices[0].statistics.cluster.top_attributes]
    assert names == [a.name for a in ours.slices[0].statistics.cluster.top_attributes]
    assert names[0] in render(theirs)


def test_a_tree_without_failing_clusters_names_the_worst():
    findings = told(read(BED), accuracy_threshold=0.4)
    assert findings.slices == ()
    assert [miss.size for miss in findings.near_misses] == [7, 7, 10]
    assert "none of 11 clusters fail" in printed(findings)
    assert "The worst: 7 examples at 28.6 %, 5.3 points above it" in printed(findings)


def test_a_tree_that_lacks_the_loss_of_one_cluster_has_no_overall_loss():
    published = copy.deepcopy(read(BED))
    next(leaves_of(published))["loss"] = float("nan")
    findings = told(published)
    assert findings.whole.loss is None
    assert findings.clusters[0].loss is None
    assert len(findings.slices) == 4
    for door in (words_of(render(findings)), printed(findings)):
        assert not re.search(r"\bnan\b", door, re.IGNORECASE)


def test_two_images_of_the_same_name_are_refused():
    published = copy.deepcopy(read(BED))
    leaf = next(leaves_of(published))
    leaf["images"].append(str(leaf["images"][0]))
    with pytest.raises(ValueError, match="two images of the same name, one as text and one as a number"):
        record_of(published)


@pytest.mark.parametrize("kind", [single_label, multilabel])
def test_every_run_of_udis_leaves_its_tree(kind, tmp_path):
    p = kind()
    findings = discover(UDIS(), p, tmp_path)
    tree = to_tree(read(tmp_path / "fc_treeData.json"), p.ids)
    assert (tree.size, tree.accuracy) == (findings.clusters[0].size, findings.clusters[0].accuracy)
    assert [leaf.id for leaf in tree.leaves()] == [c.id for c in findings.clusters if c.leaf]
    kept = Slices.load(tmp_path / "slices").tree
    assert [leaf.members for leaf in tree.leaves()] == [leaf.members for leaf in kept.leaves()]


def test_predictions_without_losses_and_confidences_leave_no_tree(tmp_path, caplog):
    p = single_label()
    bare = Predictions.from_arrays(p.embeddings, correct=p.correct)
    with caplog.at_level(logging.INFO):
        discover(UDIS(), bare, tmp_path)
    assert not (tmp_path / "fc_treeData.json").exists()
    assert (
        "the report shows the cluster tree; there is no copy of it for the published UDIS tool's viewer "
        "(fc_treeData.json): the published format needs the loss and confidence of every cluster, which come from "
        "outputs and labels; if you have them, give them with the predictions" in caplog.text
    )


def test_a_method_without_a_tree_leaves_none(tmp_path):
    discover(Spotlight(n_slices=1, search="published", steps=50), single_label(200), tmp_path)
    assert not (tmp_path / "fc_treeData.json").exists()


def test_browsing_a_tree_leaves_no_run(tmp_path):
    """The actual command: it serves a single page, the report of `discover.py tree=FILE`."""
    line = [sys.executable, str(ROOT / "browse.py"), f"tree={BED}", "port=0", "open=false"]
    browsing = subprocess.Popen(
        line,
        cwd=tmp_path,
        env=quiet_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = browsing.stdout.readline()
        address = re.fullmatch(
            rf"{re.escape(str(BED))} → (http://127\.0\.0\.1:\d+/) \(Ctrl\+C ends\)\n", said
        )[1]
        with urlopen(address) as answer:
            page = answer.read().decode()
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{address}run/0123456789abcdef")
    finally:
        browsing.send_signal(signal.SIGINT)
        browsing.communicate(timeout=60)
    assert browsing.returncode == 130
    words = re.sub(r"\s+", " ", words_of(page))
    assert "Examples 182 Accuracy 58.2 % Errors 76" in words
    assert "The cut leaves 11 clusters; 4 of them fail" in words
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
