"""Over-represented attributes: the shares against plain sums, and the order a person would choose."""

import math
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from weakspot.explain.attributes import (
    OTHERS,
    accuracies,
    distributions,
    mean_errors,
    over_represented,
)
from weakspot.predictions.attributes import MISSING, categorise


@pytest.fixture
def planted():
    """Weights of which 90 % lie on one of four groups, as a spotlight's do on colored_digits."""
    rng = np.random.default_rng(0)
    n = 720
    digit = rng.integers(0, 10, n)
    colour = rng.choice(["red", "green"], n)
    group = np.array([f"{c}_{'≥5' if d >= 5 else '<5'}" for c, d in zip(colour, digit, strict=True)])
    worst = group == "red_≥5"
    weights = np.where(worst & (rng.random(n) < 0.3), rng.random(n), 0.0)
    weights[rng.choice(np.flatnonzero(~worst), 4, replace=False)] = 0.5
    table = pa.table({"digit": digit, "colour": colour, "group": group})
    return weights, table


def test_the_planted_group_comes_first(planted):
    weights, table = planted
    found = over_represented(weights, table)
    assert (found[0].attribute, found[0].value) == ("group", "red_≥5")
    groups = [line.value for line in found if line.attribute == "group"]
    assert groups[0] == "red_≥5"
    assert (found[1].attribute, found[1].value) == ("colour", "red")


def test_shares_equal_a_plain_sum(planted):
    weights, table = planted
    counts = np.random.default_rng(1).integers(1, 5, len(weights))
    for line in over_represented(weights, table, counts, top=100):
        has = np.array([str(value) == line.value for value in table[line.attribute].to_pylist()])
        inside = sum(c * w for c, w, h in zip(counts, weights, has, strict=True) if h)
        outside = sum(c * (1 - w) for c, w, h in zip(counts, weights, has, strict=True) if h)
        assert line.weight == pytest.approx(inside)
        assert line.share_inside == pytest.approx(inside / (counts @ weights))
        assert line.share_outside == pytest.approx(outside / (counts @ (1 - weights)))
        assert line.lift == pytest.approx(line.share_inside / line.share_outside)
        assert line.lift > 1


def test_accuracy_shows_which_value_fails(planted):
    weights, table = planted
    correct = np.array(table["group"].to_pylist()) != "red_≥5"
    for line in over_represented(weights, table, top=100, correct=correct):
        has = np.array([str(value) == line.value for value in table[line.attribute].to_pylist()])
        assert line.accuracy == pytest.approx(np.average(correct[has], weights=weights[has]))
    assert over_represented(weights, table, correct=correct)[0].accuracy == 0


def test_accuracies_begin_with_the_value_that_fails(planted):
    _, table = planted
    correct = np.array(table["group"].to_pylist()) != "red_≥5"
    counts = np.random.default_rng(3).integers(1, 4, len(correct))
    found = accuracies(categorise(table), correct, counts)
    assert (found[0].attribute, found[0].value, found[0].accuracy) == ("group", "red_≥5", 0)
    assert [line.accuracy for line in found] == sorted(line.accuracy for line in found)
    for line in found:
        has = np.array([str(value) == line.value for value in table[line.attribute].to_pylist()])
        assert line.size == counts[has].sum()
        assert line.accuracy == pytest.approx(np.average(correct[has], weights=counts[has]))


def test_mean_errors_begin_with_the_value_of_the_largest(planted):
    _, table = planted
    rng = np.random.default_rng(3)
    errors, counts = rng.exponential(size=len(table)), rng.integers(1, 4, len(table))
    errors[np.array(table["group"].to_pylist()) == "red_≥5"] += 5
    found = mean_errors(categorise(table), errors, counts, top=100, least=0)
    assert (found[0].attribute, found[0].value) == ("group", "red_≥5")
    assert [line.error for line in found] == sorted((line.error for line in found), reverse=True)
    for line in found:
        has = np.array([str(value) == line.value for value in table[line.attribute].to_pylist()])
        assert line.size == counts[has].sum()
        assert line.error == pytest.approx(np.average(errors[has], weights=counts[has]))
    common = mean_errors(categorise(table), errors, counts, top=100, least=found[0].size + 1)
    assert found[0] not in common
    assert all(line.size > found[0].size for line in common)


def test_distributions_sum_to_one_and_pool_the_rest():
    rng = np.random.default_rng(0)
    table = pa.table(
        {"site": [f"s{i:02}" for i in rng.integers(0, 30, 900)], "side": rng.choice(["l", "r"], 900)}
    )
    weights = rng.random(900)
    site, side = distributions(weights, categorise(table), top=12)
    assert side.values == ("l", "r")
    assert len(site.values) == 12
    assert site.values[-1] == OTHERS
    for found in (site, side):
        assert sum(found.inside) == pytest.approx(1)
        assert sum(found.outside) == pytest.approx(1)
    has = np.array(table["side"].to_pylist()) == "l"
    assert side.inside[0] == pytest.approx(weights[has].sum() / weights.sum())
    assert side.outside[0] == pytest.approx((1 - weights[has]).sum() / (1 - weights).sum())


def test_counts_are_repeated_rows(planted):
    weights, table = planted
    counts = np.random.default_rng(2).integers(1, 4, len(weights))
    rows = np.repeat(np.arange(len(weights)), counts)
    once = over_represented(weights, table, counts)
    repeated = over_represented(weights[rows], table.take(pa.array(rows)))
    assert [(a.attribute, a.value) for a in once] == [(a.attribute, a.value) for a in repeated]
    assert [a.share_inside for a in once] == pytest.approx([a.share_inside for a in repeated])


def test_the_order_of_rows_changes_nothing(planted):
    weights, table = planted
    rows = np.random.default_rng(3).permutation(len(weights))
    before, after = (
        over_represented(weights, table),
        over_represented(weights[rows], table.take(pa.array(rows))),
    )
    assert [(a.attribute, a.value) for a in before] == [(a.attribute, a.value) for a in after]


def test_a_rare_coincidence_does_not_come_first(planted):
    """A single example with a unique value has a huge lift but describes nothing."""
    weights, table = planted
    camera = np.full(len(weights), "a", dtype=object)
    camera[int(np.argmax(weights))] = "prototype"
    found = over_represented(weights, table.append_column("camera", pa.array(camera.tolist())), top=100)
    accident = next(line for line in found if line.value == "prototype")
    assert accident.lift > 1000
    assert found.index(accident) > 1
    assert found[0].value == "red_≥5"


def test_a_value_seen_only_inside_has_an_infinite_lift():
    weights = np.array([1.0] * 5 + [0.0] * 20)
    found = over_represented(weights, pa.table({"site": ["north"] * 5 + ["south"] * 20}))
    assert [(line.value, line.lift, line.share_outside) for line in found] == [("north", math.inf, 0.0)]


def test_ties_keep_the_order_of_the_columns():
    """Each value has as many examples inside and outside as the others, but not the same ones."""
    weights = np.array([1.0] * 8 + [0.0] * 8)
    inside = {"z": [0, 1, 2, 3], "a": [2, 3, 4, 5], "b": [4, 5, 6, 7]}
    table = pa.table(
        {name: ["in" if i in rows else "out" for i in range(16)] for name, rows in inside.items()}
    )
    found = over_represented(weights, table)
    assert [line.attribute for line in found] == ["z", "a", "b"]
    assert not any(line.same for line in found)


def test_values_that_hold_for_the_same_examples_share_a_line(planted):
    weights, table = planted
    tinted = pa.array(["yes" if colour == "red" else "no" for colour in table["colour"].to_pylist()])
    thrice = pa.table({"colour": table["colour"], "tinted": tinted, "again": table["colour"]})
    (line,) = over_represented(weights, thrice)
    assert (line.attribute, line.value) == ("colour", "red")
    assert line.same == (("tinted", "yes"), ("again", "red"))
    correct = np.arange(len(weights)) % 3 == 0
    merged = accuracies(categorise(thrice), correct, top=2)
    plain = accuracies(categorise(table.select(["colour"])), correct)
    assert [replace(line, same=()) for line in merged] == plain
    assert {line.value: line.same for line in merged}["green"] == (("tinted", "no"), ("again", "green"))


def test_identifiers_captions_constants_and_nested_columns_are_left_out():
    n = 100
    table = pa.table(
        {
            "file": [f"img_{i:03}.png" for i in range(n)],
            "row": np.arange(n),
            "caption": [f"a photo of {i // 2 if i < 60 else i}" for i in range(n)],
            "split": ["test"] * n,
            "box": [[i, i + 1] for i in range(n)],
            "empty": pa.nulls(n),
            "kept": ["a", "b"] * (n // 2),
            "score": np.random.default_rng(0).random(n),  # all distinct, but a number to be binned
        }
    )
    assert [column.name for column in categorise(table)] == ["kept", "score"]


def test_values_are_readable_and_missing_is_a_value():
    table = pa.table(
        {
            "flag": [True, False, None, True, False, True],
            "stars": pa.array([1.0, 2.5, math.nan, 1.0, None, 2.5]),
            "site": pa.array(["b", "a", "b", None, "a", "a"]).dictionary_encode(),
        }
    )
    columns = {column.name: column for column in categorise(table)}
    assert columns["flag"].values == ("no", "yes", MISSING)
    assert columns["stars"].values == ("1", "2.5", MISSING)
    assert columns["site"].values == ("a", "b", MISSING)
    assert columns["stars"].codes.tolist() == [0, 1, 2, 0, 2, 1]
    found = over_represented(np.array([0, 0, 1.0, 0, 1.0, 0]), table)
    assert (found[0].attribute, found[0].value) == ("stars", MISSING)


@pytest.mark.parametrize(
    "numbers",
    [
        np.random.default_rng(0).integers(0, 95, 500),
        np.random.default_rng(1).normal(3e-4, 1e-4, 500),
        np.random.default_rng(2).lognormal(9, 2, 500),
        np.where(np.random.default_rng(3).random(500) < 0.8, 0.0, np.random.default_rng(4).random(500)),
        np.random.default_rng(5).integers(0, 40, 500).astype(np.uint8),
        np.append(np.random.default_rng(6).normal(size=499), [np.inf]),
    ],
    ids=["ages", "tiny", "skewed", "mostly zero", "unsigned", "infinite"],
)
def test_bins_match_their_labels(numbers):
    (column,) = categorise(pa.table({"x": numbers}))
    assert 2 <= len(column.values) <= 5
    whole = np.issubdtype(numbers.dtype, np.integer)
    number = r"(-?[\d.]+(?:e[+-]?\d+)?)"
    for code, label in enumerate(column.values):
        held = numbers[column.codes == code].astype(float)
        assert len(held) >= 0.1 * len(numbers)
        if match := re.fullmatch(f"up to {number}", label):
            assert held.max() <= float(match[1])
        elif match := re.fullmatch(f"over {number}", label):
            assert held.min() > float(match[1])
        elif match := re.fullmatch(f"{number} to {number}", label):
            low, high = float(match[1]), float(match[2])
            assert held.max() <= high
            assert held.min() >= low if whole else held.min() > low
        else:
            pytest.fail(f"label {label!r} is not a range")


def test_binned_numbers_can_name_a_slice():
    rng = np.random.default_rng(7)
    age = rng.integers(18, 90, 1000)
    (best, *_) = over_represented((age > 76).astype(float), pa.table({"age": age}))
    assert best.attribute == "age"
    assert best.value.startswith("over 7")
    assert best.lift > 3


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_without_an_inside_or_an_outside_nothing_stands_out(weight):
    assert over_represented(np.full(4, weight), pa.table({"a": ["x", "x", "y", "y"]})) == []


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="attribute 'a' has 4 rows but there are 3 weights"):
        over_represented(np.ones(3) / 2, pa.table({"a": ["x", "x", "y", "y"]}))


def test_no_attributes_give_no_lines():
    assert over_represented(np.array([1.0, 0.0]), pa.table({})) == []
