"""Which classes of a multilabel model are wrong more often inside a finding than outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from weakspot import Findings, Predictions, Scan, Slices
from weakspot.evaluation import held_out
from weakspot.findings.audited_examples import AuditedExamples, audit_examples
from weakspot.findings.class_errors import class_errors
from weakspot.methods.base import AuditedRows
from weakspot.slices.statistics import describe
from weakspot.tasks import Multilabel

CLASSES = ("bed", "person", "dog")
N = 3000


def rooms() -> Predictions:
    """Dogs are missed in half of the attics; beds are wrong everywhere, and people nowhere more than by chance."""
    rng = np.random.default_rng(0)
    attic = rng.random(N) < 0.15
    labels = (rng.random((N, 3)) < 0.5).astype(int)
    labels[attic, 2] = 1
    predictions = np.where(rng.random((N, 3)) < [0.1, 0.02, 0.02], 1 - labels, labels)
    predictions[attic & (rng.random(N) < 0.5), 2] = 0
    return Predictions.from_arrays(
        np.c_[4.0 * attic, np.zeros(N)] + rng.normal(size=(N, 2)),
        labels=labels,
        predictions=predictions,
        losses=(labels != predictions).mean(axis=1),
        attributes={"room": np.where(attic, "attic", "hall")},
        task=Multilabel(CLASSES),
    )


def audit(p: Predictions) -> AuditedExamples:
    return audit_examples(AuditedRows(np.ones(len(p), dtype=bool), p), better=False, category=False)


def test_shares_are_those_of_the_weights():
    p, rng = rooms(), np.random.default_rng(1)
    attic = p.attributes.column("room").to_numpy() == "attic"
    weights = np.where(rng.random(N) < 0.5, 0, rng.random(N)) * attic
    audited = audit(p)
    (dog,) = class_errors(weights, audited, CLASSES)
    has, missed = p.labels[:, 2] == 1, p.predictions[:, 2] == 0
    assert (dog.name, dog.kind) == ("dog", "missed")
    assert dog.inside == pytest.approx(np.average(missed[has], weights=weights[has]))
    assert dog.outside == pytest.approx(np.average(missed[has], weights=1 - weights[has]))
    assert dog.examples == pytest.approx(weights[has].sum())
    assert dog.interval[0] < dog.inside < dog.interval[1]


def test_a_class_is_not_listed_for_being_common_inside():
    """A tenth of all dogs is missed, and dogs are always in attics: the model is no worse there."""
    rng = np.random.default_rng(3)
    labels = (rng.random((N, 2)) < 0.1).astype(int)
    labels[:400, 1] = 1
    predictions = np.where(rng.random((N, 2)) < 0.1, 0, labels)
    p = Predictions.from_arrays(
        np.zeros((N, 1)), labels=labels, predictions=predictions, task=Multilabel(("bed", "dog"))
    )
    assert class_errors((np.arange(N) < 400).astype(float), audit(p), p.classes()) == ()


def test_by_chance_alone_a_class_is_seldom_listed():
    """In 100 groups without a difference, at most 5 % list any of 20 classes (and not 5 % for each class)."""
    rng = np.random.default_rng(2)
    listed = 0
    for _ in range(100):
        labels = (rng.random((400, 20)) < 0.5).astype(int)
        p = Predictions.from_arrays(
            np.zeros((400, 1)),
            labels=labels,
            predictions=np.where(rng.random((400, 20)) < 0.2, 1 - labels, labels),
            task=Multilabel(tuple(map(str, range(20)))),
        )
        listed += bool(class_errors((np.arange(400) < 100).astype(float), audit(p), p.classes()))
    assert listed <= 100 * 0.05 + 2 * np.sqrt(100 * 0.05 * 0.95)


def test_a_finding_names_the_missed_class_and_is_saved_with_it(tmp_path: Path):
    p = rooms()
    mask = held_out(p.ids, 0.5)
    fitted = Scan(draws=0).fit(p.take(~mask))
    weights = fitted.membership(p).T
    slices = Slices("scan", p.ids, weights, describe(weights, p), parameters=fitted.slices_.parameters)
    findings = Findings.build(p, slices, confirm=mask)
    assert [one.name for one in findings.findings[0].class_errors] == ["dog"]
    assert findings.findings[0].class_errors[0].inside > 0.3
    findings.save(tmp_path)
    assert Findings.load(tmp_path).findings == findings.findings
    untested = Findings.build(p, slices)
    assert all(one.class_errors == () for one in untested.findings)
