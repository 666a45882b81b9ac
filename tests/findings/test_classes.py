"""Metrics per class and counts of co-occurring classes, checked against loops, scikit-learn and repeated rows."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from predictions_of_classes import NAMES, one_label, several_labels
from weakspot import UDIS, Findings, Predictions
from weakspot.findings.classes import MOST_PAIRS, class_metrics, class_pairs, count_classes
from weakspot.tasks import Multilabel, Rating


@pytest.mark.parametrize("make", [several_labels, one_label])
def test_precision_recall_and_f1_of_every_class_match_scikit_learn(make):
    p = make()
    k = len(p.classes())
    precision, recall, f1, support = precision_recall_fscore_support(
        p.labels, p.predictions, labels=range(k), zero_division=np.nan
    )
    rows = class_metrics(p)
    assert [row.name for row in rows] == list(p.classes())
    assert [row.examples for row in rows] == support.tolist()
    for name, theirs in (("precision", precision), ("recall", recall), ("f1", f1)):
        ours = [getattr(row, name) for row in rows]
        assert [share is None for share in ours] == np.isnan(theirs).tolist()
        np.testing.assert_allclose(np.array(ours, dtype=float), theirs)
    assert any(row.precision is None for row in rows)
    assert any(row.recall is None for row in rows)


def test_the_precision_is_the_accuracy_that_udis_audits():
    p = several_labels()
    audited = UDIS(category="dog").audited(p)
    (dog,) = (row for row in class_metrics(p) if row.name == "dog")
    assert dog.predicted == audited.rows.sum()
    assert dog.precision == pytest.approx(audited.correct[audited.rows].mean())


def test_pair_counts_match_a_loop():
    p = several_labels()
    found = {(one.first, one.second): (one.labels, one.predictions) for one in class_pairs(p)[0]}
    expected = {}
    for i in range(len(NAMES)):
        for j in range(i + 1, len(NAMES)):
            both = tuple(float((of[:, i] & of[:, j]).sum()) for of in (p.labels, p.predictions))
            if any(both):
                expected[i, j] = both
    assert found == expected
    assert list(found) == sorted(found)
    assert any(labels == 0 for labels, _ in found.values())
    assert any(predictions == 0 for _, predictions in found.values())
    assert found[0, 2][1] > 2 * found[0, 2][0]


@pytest.mark.parametrize("make", [several_labels, one_label])
def test_counts_are_equivalent_to_repeated_rows(make):
    p = make()
    counts = np.random.default_rng(0).integers(1, 4, len(p))
    weighed, repeated = make(counts=counts), p.take(np.repeat(np.arange(len(p)), counts))
    assert class_metrics(weighed) == class_metrics(repeated)
    assert class_pairs(weighed) == class_pairs(repeated)
    assert count_classes(weighed).total == counts.sum()


def test_without_classes_or_predictions_there_are_no_class_metrics():
    x = np.random.default_rng(0).normal(size=(9, 5))
    rated = Predictions.from_arrays(x, outputs=x, labels=np.arange(9) % 5, task=Rating(tuple("12345")))
    for p in (rated, Predictions.from_arrays(x, losses=np.ones(9))):
        assert class_metrics(p) == ()
        assert class_pairs(p) == ((), 0)
    assert class_pairs(one_label()) == ((), 0)


def test_findings_save_the_class_metrics_of_the_whole_record(tmp_path):
    p = several_labels()
    findings = Findings.build(p, UDIS(category="bed").fit(p).slices_)
    assert findings.whole.n < findings.whole.record == len(p)
    assert findings.whole.classes == class_metrics(p)
    assert (findings.whole.pairs, findings.whole.pairs_left_out) == class_pairs(p)
    findings.save(tmp_path)
    assert Findings.load(tmp_path).equals(findings)


def test_with_thousands_of_classes_the_pairs_that_differ_most_are_kept():
    n, k = 2000, 3000
    rng = np.random.default_rng(0)
    labels = np.zeros((n, k), dtype=bool)
    labels[np.arange(n)[:, None], (k * rng.random((n, 30)) ** 2).astype(int)] = True
    said = labels ^ (rng.random((n, k)) < 0.002)
    said[:60, 2990] = said[:60, 2991] = True  # two rare classes, often predicted together
    p = Predictions.from_arrays(
        np.zeros((n, 1)), labels=labels, predictions=said, task=Multilabel(tuple(map(str, range(k))))
    )
    kept, left_out = class_pairs(p)
    by_labels, by_predictions = (np.triu(of.T @ of, 1) for of in (labels.astype("f4"), said.astype("f4")))
    there = by_labels + by_predictions > 0
    assert len(kept) + left_out == there.sum() > 800_000
    assert len(kept) < 21_000
    places = [(one.first, one.second) for one in kept]
    assert places == sorted(set(places))
    for one in kept:
        assert (one.labels, one.predictions) == (
            by_labels[one.first, one.second],
            by_predictions[one.first, one.second],
        )
    held = np.zeros((k, k), dtype=bool)
    held[tuple(np.array(places).T)] = True
    frequent = np.argsort(-(labels.sum(0) + said.sum(0)), kind="stable")[:40]
    assert (held | ~there)[np.ix_(frequent, frequent)].all()
    apart = abs(by_predictions - by_labels)
    for measure in (apart, apart / np.sqrt(np.maximum(by_labels + by_predictions, 1))):
        assert measure[there & ~held].max() <= np.sort(measure[there])[-MOST_PAIRS // 2]
    assert held[2990, 2991]
    size = len(json.dumps([asdict(one) for one in kept]))
    all_of_them = size / len(kept) * there.sum()
    print(f"{size / 1e6:.1f} MB of {len(kept)} pairs in place of {all_of_them / 1e6:.0f} MB of {there.sum()}")
    assert size < 2e6
