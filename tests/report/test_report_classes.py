"""Classes on the page and in CSV files: they show what a loop over the examples counts."""

from __future__ import annotations

import csv
import io
import re
from itertools import pairwise

import numpy as np
import pytest

from predictions_of_classes import NAMES, found_in, one_label, searched, several_labels
from report_pages import Reader, chromium, needs_chromium, opened, read, report_of
from weakspot import UDIS, Predictions
from weakspot.findings.numbers import count, percent_to_tenth
from weakspot.pipeline.discover import discover
from weakspot.report import render
from weakspot.report.class_csv import class_csv_files
from weakspot.report.classes import class_table, co_occurrence
from weakspot.report.html import SCRIPTS
from weakspot.tasks import Multilabel, Regression

HOSTILE = "<script>alert(1)</script>\"'&"


def many(k=55, n=500, name="class {}"):
    """Many classes, later ones being more frequent; on every other one the model is right half of the time."""
    rng = np.random.default_rng(0)
    labels = (rng.random((n, k)) < np.linspace(0.02, 0.5, k)).astype(int)
    said = np.where(rng.random((n, k)) < np.where(np.arange(k) % 2, 0.5, 0.05), 1 - labels, labels)
    task = Multilabel(tuple(name.format(i) for i in range(k)))
    return Predictions.from_arrays(rng.normal(size=(n, 3)), labels=labels, predictions=said, task=task)


def shares_by_hand(answers):
    """For each pair of classes, the share of the examples with the row's class that also have the column's."""
    k = answers.shape[1]
    return np.array(
        [
            [
                np.nan if i == j or not answers[:, i].any() else answers[answers[:, i] == 1, j].mean()
                for j in range(k)
            ]
            for i in range(k)
        ]
    )


def drawn(one, k, cell):
    """Kind and strength of every cell, read from the paths of a map."""
    kinds, strengths = np.full((k, k), "", dtype=object), np.zeros((k, k))
    for level in one.levels:
        squares = re.findall(r"M(\d+) (\d+)h(\d+)v\3h-\3z", level.path)
        assert "".join(f"M{x} {y}h{s}v{s}h-{s}z" for x, y, s in squares) == level.path
        for x, y, _ in squares:
            place = int(y) // cell, int(x) // cell
            assert strengths[place] == 0
            kinds[place], strengths[place] = level.kind, level.strength
    return kinds, strengths


def test_the_cells_of_a_map_are_darker_for_larger_shares():
    p = several_labels()
    made = co_occurrence(found_in(p))
    assert made.names == list(NAMES)
    by_labels, by_predictions = (shares_by_hand(np.asarray(of)) for of in (p.labels, p.predictions))
    largest = max(np.nanmax(by_labels), np.nanmax(by_predictions))
    difference = by_predictions - by_labels
    for one, shares, scale in zip(
        made.maps,
        (by_labels, by_predictions, difference),
        (largest, largest, np.nanmax(np.abs(difference))),
        strict=True,
    ):
        kinds, strengths = drawn(one, len(NAMES), made.cell)
        assert one.largest == pytest.approx(scale)
        expected = np.nan_to_num(np.abs(shares) / scale)
        assert ((strengths - expected >= -1e-9) & (strengths - expected < 0.1 + 1e-9)).all()
        if one is made.maps[2]:
            np.testing.assert_array_equal(kinds == "more-often", np.nan_to_num(shares) > 0)
            np.testing.assert_array_equal(kinds == "rarer", np.nan_to_num(shares) < 0)
    assert kinds[0, 2] == "more-often"  # dogs on beds


def test_the_maps_stand_side_by_side():
    made = co_occurrence(found_in(many()))
    side = made.cell * len(made.names)
    lefts = [one.left for one in made.maps]
    assert lefts[0] >= made.margin
    assert all(after - before > side for before, after in pairwise(lefts))
    assert made.width > lefts[-1] + side
    assert made.height > made.margin + side


def test_the_pair_that_differs_most_for_its_size_leads_the_table():
    p = several_labels()
    one, other, pair = co_occurrence(found_in(p)).pairs[0]
    assert (one, other) == ("bed", "dog")
    both = [(np.asarray(of)[:, 0] & np.asarray(of)[:, 2]).sum() for of in (p.labels, p.predictions)]
    assert [pair.labels, pair.predictions] == both
    assert f"bed and dog {both[0]} {both[1]} +{both[1] - both[0]}" in read(render(found_in(p)))


def test_every_class_has_a_row_on_the_page():
    findings = found_in(several_labels())
    words = read(render(findings))
    for row in findings.whole.classes:
        numbers = [
            count(row.examples),
            count(row.predicted),
            *map(percent_to_tenth, (row.precision, row.recall, row.f1)),
        ]
        assert " ".join([row.name, *numbers]).replace("\u202f", " ") in words
    assert "classes.csv" not in words
    assert "An example counts as right if all of its labels are." in words
    assert "UDIS" not in words


def test_the_page_shows_forty_of_many_classes_and_states_which():
    findings = found_in(many())
    rows, made = class_table(findings).rows, co_occurrence(findings)
    scores = sorted(row.f1 for row in findings.whole.classes if row.f1 is not None)
    assert [row.f1 for row in rows] == scores[:40]
    assert len(made.names) == 40
    frequency = {row.name: row.examples + row.predicted for row in findings.whole.classes}
    left_out = [name for name in frequency if name not in made.names]
    assert min(frequency[name] for name in made.names) >= max(frequency[name] for name in left_out)
    page = render(findings)
    assert "The 40 classes with the lowest F1 of 55; classes.csv in the run’s folder has all." in read(page)
    assert (
        "The 40 most frequent of 55 classes are drawn; co_occurrence.csv in the run’s folder has all."
        in read(page)
    )
    section = page.split('<section class="classes"')[1].split("</section>")[0]
    assert section.count("<") / 2 < 1200


def test_the_csv_files_contain_all_classes_and_pairs():
    p = many()
    held = {
        name: list(csv.DictReader(io.StringIO(text))) for name, text in class_csv_files(found_in(p)).items()
    }
    assert [row["class"] for row in held["classes.csv"]] == list(p.classes())
    place = {name: i for i, name in enumerate(p.classes())}
    labels, said = np.asarray(p.labels), np.asarray(p.predictions)
    by_labels, by_predictions = shares_by_hand(labels), shares_by_hand(said)
    seen = set()
    for row in held["co_occurrence.csv"]:
        i, j = place[row["class"]], place[row["with"]]
        seen.add((i, j))
        both = [float((of[:, i] & of[:, j]).sum()) for of in (labels, said)]
        assert [float(row[name]) for name in ("labels", "predictions", "difference")] == [
            *both,
            both[1] - both[0],
        ]
        for name, shares in (("share_of_labels", by_labels), ("share_of_predictions", by_predictions)):
            assert float(row[name]) == pytest.approx(shares[i, j], rel=1e-4)
    together_at_all = (labels.T @ labels + said.T @ said) > 0
    assert seen == {(i, j) for i, j in np.argwhere(together_at_all).tolist() if i != j}


def test_counts_of_millions_keep_every_digit():
    counts = np.full(400, 1_234_567)
    counts[0] = 7_654_321
    p = several_labels(counts=counts)
    rows = csv.DictReader(io.StringIO(class_csv_files(found_in(p))["classes.csv"]))
    of_each_class = counts @ np.asarray(p.labels)
    assert [row["examples"] for row in rows] == [str(count) for count in of_each_class]


def test_a_share_of_no_examples_is_an_empty_cell():
    text = class_csv_files(found_in(several_labels()))["co_occurrence.csv"]
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["class"] in ("never", "unsaid")]
    assert {
        (row["class"], row["share_of_labels"] == "", row["share_of_predictions"] == "") for row in rows
    } == {
        ("never", True, False),
        ("unsaid", False, True),
    }


def test_a_run_writes_the_csv_files_to_its_folder(tmp_path):
    p = several_labels()
    findings = discover(UDIS(category="bed"), p, tmp_path)
    for name, text in class_csv_files(findings).items():
        assert (tmp_path / name).read_bytes().decode() == text
    assert {path.suffix for path in tmp_path.iterdir()} >= {".csv", ".html", ".json"}


def test_single_labels_have_a_table_but_no_map_and_numbers_have_neither():
    findings = found_in(one_label())
    assert co_occurrence(findings) is None
    page = render(findings)
    assert "Class by class" in page
    assert "Which classes come together" not in page
    assert "if all of its labels are" not in page
    assert list(class_csv_files(findings)) == ["classes.csv"]
    rng = np.random.default_rng(0)
    numbers = Predictions.from_arrays(
        rng.normal(size=(90, 3)),
        labels=rng.normal(size=90),
        predictions=rng.normal(size=90),
        task=Regression(),
    )
    assert "Class by class" not in render(found_in(numbers))
    assert class_csv_files(found_in(numbers)) == {}


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@needs_chromium
@pytest.mark.parametrize("width", [1200, 390])
def test_the_maps_are_drawn_and_scroll_only_in_their_frame(browser, tmp_path, width):
    p = many(name=HOSTILE + "{}")
    page = report_of(p, searched(p))
    assert HOSTILE not in page
    assert [tag for tag, _ in Reader(page).elements].count("script") == 4 + len(SCRIPTS)
    tab, _, complaints = opened(browser, tmp_path, page, width=width)
    assert complaints == []
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    maps = tab.locator(".together g")
    assert maps.count() == 3
    boxes = [one.bounding_box() for one in maps.all()]
    assert all(box["width"] > 250 and box["height"] > 250 for box in boxes)
    seen = {
        kind: tab.locator(f".together path.{kind}").first.evaluate("e => getComputedStyle(e).fill")
        for kind in ("labels", "predictions", "more-often", "rarer")
    }
    assert seen["labels"] == seen["predictions"]
    assert len(set(seen.values())) == 3
    tab.close()
