"""Which examples are compared with each other: those with equal labels, neighbouring numbers or similarly hard tags."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from weakspot import Findings, Predictions, Scan
from weakspot.evaluation import confirm
from weakspot.evaluation.synthetic import Kind, null_predictions, planted_predictions
from weakspot.findings.audited_examples import AuditedExamples, audit_examples, group_values
from weakspot.findings.compare_slices import compare_slices
from weakspot.findings.runs_to_compare import RunToCompare
from weakspot.methods import weights_of
from weakspot.methods.base import AuditedRows
from weakspot.pipeline.search import search
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Multilabel, Regression


def audited(p: Predictions) -> AuditedExamples:
    return audit_examples(AuditedRows(np.ones(len(p), dtype=bool), p), better=False, category=False)


def numbers(labels: np.ndarray, random: np.random.Generator) -> Predictions:
    outputs = labels + random.normal(size=len(labels))
    embeddings = random.normal(size=(len(labels), 3))
    return Predictions.from_arrays(embeddings, labels=labels, outputs=outputs[:, None], task=Regression())


def strata_of(examples: AuditedExamples) -> np.ndarray:
    assert examples.strata is not None
    return examples.strata


@pytest.mark.parametrize("n", [4, 95, 1000])
def test_strata_of_numbers_hold_about_ten_neighbours(n: int) -> None:
    random = np.random.default_rng(0)
    labels = random.lognormal(size=n)
    strata = strata_of(audited(numbers(labels, random)))
    assert (np.diff(strata[np.argsort(labels)]) >= 0).all()
    sizes = np.bincount(strata)
    assert sizes.min() >= min(n, 9)
    assert sizes.max() <= 11


def test_a_subset_gets_new_strata_of_about_ten_neighbours() -> None:
    random = np.random.default_rng(0)
    all_of_them = audited(numbers(random.lognormal(size=1000), random))
    tested = all_of_them.take(random.random(1000) < 0.3)
    assert 9 <= np.bincount(strata_of(tested)).min() <= np.bincount(strata_of(tested)).max() <= 11


def test_equal_numbers_share_a_stratum_and_frequent_ones_have_their_own() -> None:
    random = np.random.default_rng(0)
    labels = np.concatenate([np.repeat([1.0, 2.0, 3.0], [400, 40, 300]), random.uniform(4, 5, 100)])
    strata = strata_of(audited(numbers(labels, random)))
    members = [set(strata[labels == label].tolist()) for label in (1.0, 2.0, 3.0)]
    assert [len(one) for one in members] == [1, 1, 1]
    assert len(set.union(*members)) == 3
    assert not set.union(*members) & set(strata[labels > 3].tolist())
    assert len(set(strata_of(audited(numbers(np.full(50, 7.0), random))).tolist())) == 1


def test_examples_with_the_same_tags_share_a_stratum() -> None:
    p = null_predictions("tags", 1000, seed=0)
    patterns, codes = np.unique(p.labels, axis=0, return_inverse=True)
    assert len(patterns) > 300
    strata = strata_of(audited(p))
    assert all(len(set(strata[codes.ravel() == code].tolist())) == 1 for code in range(len(patterns)))
    has_hard_tag = p.labels[:, 0] == 1
    shares = np.bincount(strata, has_hard_tag) / np.maximum(np.bincount(strata), 1)
    assert ((shares == 0) | (shares > 0.8)).mean() > 0.8  # most strata have no hard tag or consist of it


def test_each_combination_of_tags_is_a_stratum_if_there_are_few() -> None:
    random = np.random.default_rng(0)
    tags = random.integers(0, 2, (400, 3))
    outputs = random.normal(size=(400, 3))
    p = Predictions.from_arrays(
        random.normal(size=(400, 2)), labels=tags, outputs=outputs, task=Multilabel(("a", "b", "c"))
    )
    assert len(set(zip(strata_of(audited(p)).tolist(), map(tuple, tags.tolist()), strict=True))) == 8
    assert audited(p).label_scores is None


def confirmed_by_labels(p: Predictions, memberships: np.ndarray) -> bool:
    found = confirm(memberships, p.losses, p.correct, strata_of(audited(p)))
    return any(one.verdict == "confirmed" for one in found)


def follows(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Memberships (1, n) in a slice of the highest twentieth of the values, after adding noise."""
    noisy = values + 0.1 * values.std() * random.normal(size=len(values))
    return (noisy >= np.quantile(noisy, 0.95))[None].astype(float)


@pytest.mark.parametrize("kind", ["number", "tags"])
def test_slices_explained_by_the_labels_are_not_confirmed(kind: Kind) -> None:
    """With numbers whose errors grow in proportion, and with tags one of which is hard."""
    sets, confirmed = 60, 0
    for seed in range(sets):
        p, random = null_predictions(kind, 1000, seed), np.random.default_rng(seed)
        values = np.log(p.labels) if kind == "number" else p.labels[:, 0].astype(float)
        confirmed += confirmed_by_labels(p, follows(values, random))
    assert confirmed <= binom.ppf(0.999, sets, 0.05)


@pytest.mark.parametrize("kind", ["number", "tags"])
def test_a_planted_failure_is_confirmed_among_similar_labels(kind: Kind) -> None:
    for seed in range(5):
        p, planted = planted_predictions(3.0, 1000, seed, kind)
        assert confirmed_by_labels(p, planted[None].astype(float))


def test_a_slice_that_is_a_whole_range_of_labels_is_explained_by_the_label() -> None:
    p = null_predictions("number", 1000, seed=0)
    strata = strata_of(audited(p))
    (found,) = confirm((strata >= 90)[None].astype(float), p.losses, labels=strata)
    assert found.verdict == "explained_by_label"
    assert found.p is None
    assert found.loss is not None
    assert found.loss.expected is None


def test_the_group_attribute_of_a_search_is_passed_to_the_test() -> None:
    p = null_predictions("patient", 600, seed=0)
    found = search(Scan(draws=0), p, 0.5, group="patient")
    assert found.slices.provenance["group"] == "patient"
    values = group_values(p, found.slices)
    assert values is not None
    assert values.tolist() == p.attributes.column("patient").to_pylist()
    assert group_values(p, search(Scan(draws=0), p, 0.5).slices) is None


def one_slice(p: Predictions, inside: np.ndarray, **provenance: str) -> Slices:
    weights = inside[None].astype(float)
    return Slices("scan", p.ids, weights, describe(weights, p), provenance=provenance)


def few_patients(seed: int = 0) -> tuple[Predictions, np.ndarray]:
    """A slice of four patients out of forty, in which all predictions are wrong."""
    p = null_predictions("patient", 800, seed)
    patients = np.array(p.attributes.column("patient").to_pylist())
    inside = np.isin(patients, sorted(set(patients.tolist()))[:4])
    correct = np.where(inside, False, p.correct)
    labels, attributes = p.labels, {"patient": patients}
    return Predictions.from_arrays(
        p.embeddings, labels=labels, correct=correct, losses=1.0 - correct, attributes=attributes
    ), inside


@pytest.mark.parametrize(
    ("kind", "within"),
    [
        ("label", "within labels;"),
        ("number", "within similar labels;"),
        ("patient", "within labels, by patient, whose"),
    ],
)
def test_the_explanation_states_which_examples_are_compared(kind: Kind, within: str) -> None:
    p = null_predictions(kind, 400, seed=0)
    half = np.arange(400) < 200
    found = Scan(n_slices=1, draws=0).fit(p.take(half)).slices_
    slices = found.carry_over(weights_of(found, p), p, np.flatnonzero(half), np.ones(400, dtype=bool))
    p = replace(p, manifest={"group": "patient"})
    assert within in Findings.build(p, slices, confirm=~half, projection="none").confirmation.explanation


def test_findings_of_too_few_patients_are_not_confirmed() -> None:
    p, inside = few_patients()
    tested = np.ones(len(p), dtype=bool)
    for provenance, verdict in (({}, "confirmed"), ({"group": "patient"}, "too_few")):
        slices = one_slice(p, inside, **provenance)
        findings = Findings.build(p, slices, confirm=tested, projection="none")
        assert {one.verdict for one in findings.findings} == {verdict}


def test_a_comparison_of_runs_respects_groups() -> None:
    p, inside = few_patients()
    for provenance, verdict in (({}, "confirmed"), ({"group": "patient"}, "too_few")):
        slices = one_slice(p, inside, **provenance)
        elsewhere = replace(slices, searched=np.zeros(len(p), dtype=bool))
        run = RunToCompare("a run", elsewhere, p)
        compared = compare_slices(run, run).slices
        assert {one.before.verdict for one in compared if one.before is not None} == {verdict}
