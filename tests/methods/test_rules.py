"""Rules: the best of all conjunctions, against brute force, and conditions that carry over to other tables."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import combinations, product

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from weakspot import Findings, Predictions
from weakspot.methods import apply
from weakspot.methods.rules import Rules, conditions
from weakspot.pipeline.search import search
from weakspot.predictions.attributes import categorise
from weakspot.tasks import Classification

TASK = Classification(("cat", "dog"))


def recorded(attributes: pa.Table, wrong: np.ndarray, counts: np.ndarray | None = None) -> Predictions:
    n = len(wrong)
    labels = np.arange(n) % 2
    sure = np.where(wrong[:, None] ^ (np.arange(2) == labels[:, None]), 4.0, -4.0)
    return Predictions.from_arrays(
        np.random.default_rng(0).normal(size=(n, 2)),
        labels=labels,
        outputs=sure,
        counts=counts,
        attributes=attributes,
        task=TASK,
    )


@pytest.mark.parametrize("seed", range(12))
def test_no_conjunction_beats_the_rules(seed):
    """Enumerate all conjunctions of up to three values; those that hold for the same examples count once."""
    rng = np.random.default_rng(seed)
    n, widths = 250, rng.integers(2, 5, size=6)
    codes = rng.integers(0, widths[:, None], size=(6, n))
    codes[5] = np.minimum(codes[0], 1)  # adds nothing to a0
    wrong = rng.random(n) < 0.1 + 0.7 * (codes[0] == 0) * (codes[2] == 1)
    counts = rng.integers(1, 4, n)
    table = pa.table({f"a{i}": codes[i].astype(str) for i in range(6)})
    alpha, least, k = (0.97, 0.9)[seed % 2], 25, (3, 60)[seed // 2 % 2]
    p = recorded(table, wrong, counts)
    found = Rules(n_slices=k, alpha=alpha, min_size=least).fit(p)
    errors = 1 - np.exp(-p.losses.astype(float))
    best: dict[bytes, float] = {}
    for length in (1, 2, 3):
        for some in combinations(range(6), length):
            for values in product(*(range(widths[a]) for a in some)):
                holds = np.all([codes[a] == v for a, v in zip(some, values, strict=True)], axis=0)
                size = counts @ holds
                if size >= least:
                    rate = counts @ (holds * errors) / size / np.average(errors, weights=counts)
                    score = alpha * (rate - 1) - (1 - alpha) * (counts.sum() / size - 1)
                    if score > 1e-9 and not holds.all():
                        best[holds.tobytes()] = score
    expected = sorted(best.values(), reverse=True)[:k]
    scores = [best[row.astype(bool).tobytes()] for row in found.slices_.weights]
    assert len(expected) == len(scores) == len(set(map(bytes, found.slices_.weights))) >= 1
    assert_allclose(scores, expected)
    assert_array_equal(found.membership(p).T, found.slices_.weights)


def test_a_planted_conjunction_among_many_attributes_is_the_first_rule():
    """Thirty attributes of six values have more conjunctions than a float can count exactly."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 6, size=(30, 3000))
    planted = (codes[0] == 1) & (codes[29] == 2)
    wrong = rng.random(3000) < 0.1 + 0.7 * planted
    table = pa.table({f"a{i}": codes[i].astype(str) for i in range(30)})
    found = Rules(max_conditions=2).fit(recorded(table, wrong)).slices_
    assert_array_equal(found.weights[0], planted)
    assert Rules.advice(found)[0] == "Rule 1 is: a0 = 1 and a29 = 2."


def every_type(n: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=n)
    words = pa.array([("red", "green", None)[i] for i in rng.integers(3, size=n)])
    days = [date(2020, 1, 1) + timedelta(int(i)) for i in rng.integers(2000, size=n)]
    return pa.table(
        {
            "real": np.where(numbers > 1.5, np.nan, numbers),
            "whole": pa.array(rng.integers(0, 500, n)),
            "few": pa.array(rng.integers(0, 4, n)),
            "halves": pa.array(rng.integers(0, 4, n) / 2),
            "word": words,
            "yes": pa.array(rng.random(n) < 0.5),
            "kind": words.dictionary_encode(),
            "money": pa.array([Decimal(int(i)) / 4 for i in rng.integers(0, 400, n)]),
            "day": pa.array(days),
            "moment": pa.array([datetime(2024, 1, 1, int(i)) for i in rng.integers(24, size=n)]),
            "wait": pa.array([timedelta(seconds=int(i)) for i in rng.integers(1, 9000, n)]),
        }
    )


def test_values_match_other_tables_as_they_match_the_first():
    """Every type is covered; bins keep the edges of the first table, although the other would give different ones."""
    first, other = every_type(800, 0), every_type(500, 1)
    columns = categorise(first)
    assert [column.name for column in columns] == first.column_names
    both = pa.concat_tables([first, other], promote_options="permissive")
    for column in columns:
        values = [column.value(code) for code in range(len(column.values))]
        held = np.array([value.matches(first) for value in values])
        assert_array_equal(held.argmax(axis=0), column.codes)
        assert (held.sum(axis=0) == 1).all()
        elsewhere = np.array([value.matches(other) for value in values])
        assert (elsewhere.sum(axis=0) <= 1).all()
        assert elsewhere.any(axis=0).mean() > 0.9
        assert_array_equal(np.c_[held, elsewhere], [value.matches(both) for value in values])


def test_only_the_requested_attributes_make_rules():
    table = every_type(400, 0)
    wrong = np.asarray(table["yes"]) & (np.asarray(table["few"]) < 3)
    p = recorded(table, wrong)
    found = Rules(attributes=["few", "word"]).fit(p).slices_
    assert {one.attribute for rule in conditions(found) for one in rule} <= {"few", "word"}
    assert Rules(n_slices=1, max_conditions=1).fit(p).slices_.weights[0] @ wrong == wrong.sum()


def test_without_errors_there_are_no_rules():
    table = every_type(400, 0)
    p = Predictions.from_arrays(np.zeros((400, 2)), losses=np.zeros(400), attributes=table)
    assert Rules().fit(p).membership(p).shape == (400, 0)


def test_missing_or_unusable_attributes_are_refused():
    table = every_type(400, 0)
    p = recorded(table, np.asarray(table["yes"]))
    bare = recorded(pa.table({}), np.asarray(table["yes"]))
    with pytest.raises(
        ValueError, match=r"rules are made of attributes: give some, .*; these examples have none"
    ):
        Rules().fit(bare)
    with pytest.raises(
        ValueError, match=r"attributes=\['colour'\]: there is no attribute 'colour'; there are: real, "
    ):
        Rules(attributes=["colour"]).fit(p)
    ids = recorded(pa.table({"row": np.arange(400)}), np.asarray(table["yes"]))
    with pytest.raises(ValueError, match=r"none of those given \(row\) groups examples"):
        Rules().fit(ids)
    found = Rules(attributes=["yes"]).fit(p).slices_
    with pytest.raises(ValueError, match="there is no attribute 'yes' here; there are: none"):
        apply(found, bare)
    with pytest.raises(ValueError, match=r"there is no attribute 'yes' here\. Did you mean yess\?"):
        apply(found, recorded(table.rename_columns({"yes": "yess"}), np.asarray(table["yes"])))
    numbers = recorded(
        pa.table({"word": np.arange(400) % 7 * 1.5, "real": ["a", "b"] * 200}), np.asarray(table["yes"])
    )
    ranges = Rules(attributes=["real"], alpha=1).fit(p).slices_
    with pytest.raises(ValueError, match="the attribute 'real' is of another type here"):
        apply(ranges, numbers)


@pytest.mark.parametrize("confirm", [0.5, 0])
def test_a_finding_of_a_rule_is_named_by_the_rule(confirm):
    """Thresholds of attributes would name it only roughly: everybody over about 62, half of whom are outside it."""
    rng = np.random.default_rng(0)
    age, labels = rng.integers(18, 90, 1200), rng.integers(0, 2, 1200)
    right = rng.random(1200) < np.where((age >= 64) & (age <= 76), 0.4, 0.92)
    p = Predictions.from_arrays(
        rng.normal(size=(1200, 5)),
        losses=np.where(right, 0.1, 2.0) + rng.exponential(0.1, 1200),
        labels=labels,
        predictions=np.where(right, labels, 1 - labels),
        attributes={"age": age},
    )
    run = search(Rules(n_slices=1), p, confirm)
    (rule,) = Rules.slice_names(run.slices)
    assert rule.startswith("age 6")
    (found,) = Findings.build(p, run.slices, confirm=run.confirm, projection="none").findings
    assert (found.name, found.conditions, found.covers) == (rule, (), None)
    assert f"({rule})" in found.sentence
    assert found.examples == run.slices.statistics[0].size
