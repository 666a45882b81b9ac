"""Cluster trees in the explorer: uploaded files of the published tool, and the trees of runs."""

from __future__ import annotations

import json
import re

import pytest

from clustered_predictions import single_label
from explorer import asked, follow, opened, posted, read, serving
from paths import FIXTURES
from report_pages import needs_chromium
from weakspot import UDIS, Findings
from weakspot.app.cluster_trees import ClusterTree
from weakspot.findings.numbers import THIN
from weakspot.interop.udis_tree import export, leaves_of
from weakspot.report.html import render
from weakspot.slices import ClusterNode

BED = FIXTURES / "seed_tree_bed.json"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("runs")) as server:
        yield server


@needs_chromium
def test_the_published_bed_tree_is_uploaded_and_browsed(empty):
    with opened(empty) as tab:
        follow(tab, tab.get_by_role("link", name="Upload a tree"))
        tab.get_by_label("JSON file").set_input_files(BED)
        follow(tab, tab.get_by_role("button", name="Upload JSON"))
        assert tab.get_by_role("heading", level=1).inner_text() == "Clusters of seed_tree_bed.json"
        facts = tab.locator("dl.facts dd").all_inner_texts()
        assert facts == ["182", f"58.2{THIN}%", "11", "4"]
        rows = tab.locator("#failing tbody tr")
        assert sorted(rows.locator("th").all_inner_texts()) == ["331", "343", "346", "352"]
        assert rows.locator("td:nth-child(2)").all_inner_texts() == ["7", "7", "10", "42"]
        assert tab.locator("#outline .node").count() == 21
        assert tab.locator("#outline .node.fails:visible").count() == 4  # the nodes above them are unfolded

        tab.get_by_label("Threshold").fill("0.4")
        follow(tab, tab.get_by_role("button", name="View clusters"))
        assert tab.locator("dl.facts dd").last.inner_text() == "0"
        tab.get_by_label("Accuracy of all").fill("80")
        follow(tab, tab.get_by_role("button", name="View clusters"))
        assert tab.locator("dl.facts dd").last.inner_text() == "3"  # below 0.4 of 80 %: 28.6, 28.6 and 30 %

        follow(tab, tab.locator("#failing tbody th a").nth(2))
        members = tab.locator("#members li")
        assert (members.count(), tab.locator("#members li.wrong").count()) == (10, 7)


def test_members_are_those_in_the_file(empty):
    published = json.loads(BED.read_text())
    _, headers, _ = posted(empty, "/trees", BED.read_bytes())
    for leaf in leaves_of(published):
        address = headers["Location"].removesuffix("tree") + f"node/{leaf['id']}/ids.csv"
        _, told, text = asked(empty, address)
        rows = dict(line.split(",") for line in text.split()[1:])
        wrong = {str(image) for image in leaf["inc_images"]}
        assert rows == {str(image): str(int(str(image) in wrong)) for image in leaf["images"]}
        assert told["Content-Disposition"].startswith("attachment")


def test_a_tree_of_the_single_label_variant_shows_the_same_facts(empty):
    u = UDIS().fit(single_label())
    published = export(u.slices_)
    status, headers, _ = posted(empty, "/trees", json.dumps(published).encode())
    assert status == 303
    words = read(asked(empty, headers["Location"])[2])
    overall, leaves = u.tree_.accuracy, list(u.tree_.leaves())
    assert f"Examples {u.tree_.size:.0f} Accuracy {100 * overall:.1f} % Leaves {len(leaves)}" in words
    failing = [leaf for leaf in leaves if leaf.failing]
    assert failing
    for leaf in failing:
        assert re.search(rf" {leaf.id} {leaf.size:.0f} {leaf.wrong:.0f} ", words)
        assert leaf.top_attributes[0].name in words


HOSTILE = {
    "no file": (b"", "no file was chosen"),
    "no JSON": (b"{", "is not a tree of the published UDIS tool"),
    "another JSON": (b"[1, 2]", "is not an object"),
    "no text": (b"\xff\xfe{", "is not a tree"),
    "a pickle": (b"\x80\x04\x95\x00cos\nsystem\n.", "is not a tree"),
    "nested": (b'{"a":' * 100_000, "it is nested too deeply"),
    "a great number": (b'{"id":' + b"9" * 5000 + b"}", "is not a tree"),
    "half a character": (BED.read_bytes().replace(b'"loss"', b'"x": "\\ud800", "loss"', 1), "is not a tree"),
    "an image twice": (
        json.dumps(
            {
                "id": 1,
                "leaf": "True",
                "images": [1, "1"],
                "inc_images": [],
                "loss": 0,
                "acc": 1,
                "f1": 1,
                "f1_c": 1,
            }
        ).encode(),
        "two images of the same name",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tree_is_refused_with_a_reason(empty, kind):
    content, reason = HOSTILE[kind]
    status, _, text = posted(empty, "/trees", content)
    assert status == 400
    assert reason.lower() in read(text).lower()


def test_a_tree_that_is_too_large_is_refused(empty):
    status, _, text = posted(empty, "/trees", b" " * (65 << 20))
    assert (status, text) == (413, "that is more than the 67,108,864 bytes that are allowed\n")


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>.json",
        "../../etc/passwd",
        "C:\\x\\tree.json",
        "a\u202eb\x07",
        "x" * 2000,
        "é'&",
    ],
)
def test_a_hostile_file_name_is_shown_as_text_and_written_nowhere(empty, name):
    status, headers, _ = posted(empty, "/trees", BED.read_bytes(), name=name)
    assert status == 303
    assert re.fullmatch(r"/uploaded/[0-9a-f]{16}/tree", headers["Location"])
    text = asked(empty, headers["Location"])[2]
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert "etc/" not in text
    assert len(read(text).partition("Clusters of ")[2].partition(" ·")[0]) <= 100


@pytest.mark.parametrize(
    "words", ["threshold=x", "threshold=nan", "threshold=-1", "accuracy=1e9", "threshold=0x1"]
)
def test_an_invalid_threshold_or_accuracy_is_refused(empty, words):
    address = posted(empty, "/trees", BED.read_bytes())[1]["Location"]
    for path in (address, "/clusters"):
        status, _, text = asked(empty, f"{path}?{words}")
        assert status == 400
        assert "is not a number between 0 and 100" in text


def test_a_tree_too_deep_for_a_browser_is_drawn_flat():
    node, ids = ClusterNode(0, 2.0, 1.0, 0.5, members=(0,), clusters=(0,)), ["a", "b"]
    for number in range(1, 3000):
        leaf = ClusterNode(-number, 1.0, 0.0, 1.0, members=(1,))
        node = ClusterNode(number, 3.0, 1.0, 0.5, children=(node, leaf))
    outline = ClusterTree(node, ids).outline([], 2000)
    opens = 0
    deepest = 0
    for branch in outline:
        opens += branch.folds
        deepest = max(deepest, opens)
        opens -= branch.closes
        assert opens >= 0
    assert (opens, len(outline)) == (0, 2000)
    assert deepest == 60


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Two UDIS runs, one of them for a single category."""
    folder = tmp_path_factory.mktemp("audited")
    for name, category in (("all", None), ("one", 1)):
        p = single_label()
        slices = UDIS(category=category).fit(p).slices_
        slices.save(folder / name / "slices")
        findings = Findings.build(p, slices, command=name)
        findings.save(folder / name)
        (folder / name / "report.html").write_text(render(findings), encoding="utf-8")
    return folder


def test_clusters_of_all_runs_are_filtered_by_threshold_accuracy_and_category(audited):
    with serving(audited) as server:

        def found(words=""):
            status, _, text = asked(server, f"/clusters?{words}")
            assert status == 200
            said = re.search(r"(\d+) clusters? of (\d+) runs?\.", read(text))
            return int(said[1]), int(said[2])

        both, one = found(), found("category=1")
        assert both[1] == 2
        assert one[1] == 1
        assert 0 < one[0] < both[0]
        assert found("threshold=0")[0] == 0
        assert found("threshold=100")[0] > both[0]
        assert found("threshold=0.66&accuracy=100")[0] >= both[0]
        assert found("dataset=another") == (0, 0)


def test_a_tree_linked_from_outside_its_run_is_not_read(audited, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (audited / "all").rename(elsewhere)
    try:
        (audited / "all").mkdir()
        for name in ("findings.json", "memberships.parquet", "report.html"):
            (audited / "all" / name).write_bytes((elsewhere / name).read_bytes())
        (audited / "all" / "slices").symlink_to(elsewhere / "slices")
        with serving(audited) as server:
            status, _, text = asked(server, "/clusters")
            assert status == 200
            assert "leads out of the run" in text
            assert "of 1 run." in read(text)
    finally:
        (audited / "all" / "slices").unlink()
        for file in (audited / "all").iterdir():
            file.unlink()
        (audited / "all").rmdir()
        elsewhere.rename(audited / "all")
