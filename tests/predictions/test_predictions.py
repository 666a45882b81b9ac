"""The record: what it derives, and what it refuses in one sentence."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import log_loss

from weakspot import Predictions
from weakspot.tasks import Classification, Multilabel, Rating, Regression, Task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5)).astype(np.float32)
LOGITS = RNG.normal(size=(40, 3)).astype(np.float32)
LABELS = RNG.integers(0, 3, 40)
PAIRS = np.stack([LABELS > 0, LABELS > 1], axis=1).astype(int)


def test_losses_predictions_and_correctness_follow_from_logits_and_labels():
    p = Predictions.from_arrays(X, outputs=LOGITS, labels=LABELS)
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert p.losses.mean() == pytest.approx(log_loss(LABELS, probabilities, labels=[0, 1, 2]), rel=1e-5)
    np.testing.assert_array_equal(p.predictions, LOGITS.argmax(axis=1))
    np.testing.assert_array_equal(p.correct, LOGITS.argmax(axis=1) == LABELS)
    assert p.accuracy == np.mean(p.correct)


def test_names_become_indices_into_sorted_classes():
    p = Predictions.from_arrays(X, labels=np.where(LABELS == 0, "cat", "ant"), predictions=["cat"] * 40)
    assert p.classes() == ("ant", "cat")
    np.testing.assert_array_equal(p.correct, LABELS == 0)
    assert p.name_of(p.predictions, 0) == "cat"


def test_multilabel_is_right_only_if_every_class_is():
    targets = RNG.integers(0, 2, (40, 3))
    p = Predictions.from_arrays(X, outputs=LOGITS, labels=targets, task=Multilabel(("a", "b", "c")))
    np.testing.assert_array_equal(p.correct, ((LOGITS > 0) == targets).all(axis=1))
    expected = torch.nn.BCEWithLogitsLoss()(torch.from_numpy(LOGITS), torch.from_numpy(targets).float())
    assert p.losses.mean() == pytest.approx(expected.item(), rel=1e-5)
    assert Task.from_dict(p.task.to_dict()) == p.task


def test_counts_weight_the_accuracy():
    correct = np.arange(40) < 10
    p = Predictions.from_arrays(X, correct=correct, counts=np.where(correct, 3, 1))
    assert p.accuracy == pytest.approx(30 / 60)


def test_take_keeps_rows_together():
    p = Predictions.from_arrays(X, outputs=LOGITS, labels=LABELS, attributes={"row": np.arange(40)})
    rows = np.array([7, 3, 30])
    q = p.take(rows)
    assert q.ids.tolist() == ["7", "3", "30"]
    assert q.attributes["row"].to_pylist() == [7, 3, 30]
    np.testing.assert_array_equal(q.embeddings, X[rows])


def test_between_gives_the_same_rows_as_take_without_a_copy():
    for given in ({"attributes": {"row": np.arange(40)}, "outputs": LOGITS}, {"counts": np.arange(40) + 1}):
        p = Predictions.from_arrays(X, labels=LABELS, **given)
        part, same = p.between(7, 30), p.take(np.arange(7, 30))
        for name in ("ids", "embeddings", "losses", "labels", "outputs", "predictions", "correct", "counts"):
            np.testing.assert_array_equal(getattr(part, name), getattr(same, name))
        assert part.attributes.to_pydict() == same.attributes.to_pydict()
        assert np.shares_memory(part.embeddings, p.embeddings)


def broken(value):
    array = X.copy()
    array[17, 2] = value
    return array


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"embeddings": X[:0]}, "empty"),
        ({"embeddings": X[0]}, "2 dimensions"),
        ({"embeddings": broken(np.nan)}, r"embeddings: row 17 \(id 17\) holds NaN"),
        ({"embeddings": broken(np.inf)}, "row 17"),
        ({"embeddings": X, "losses": np.ones(39)}, "losses has 39 rows but embeddings have 40"),
        ({"embeddings": X, "losses": np.where(np.arange(40) == 3, np.nan, 1)}, "losses: row 3"),
        ({"embeddings": X, "counts": np.arange(40)}, r"counts: row 0 .* must be positive"),
        ({"embeddings": X, "ids": ["a"] * 40}, "'a' occurs in rows 0 and 1"),
        ({"embeddings": X, "labels": LABELS, "outputs": LOGITS[:, :2]}, "outside 0…1"),
        (
            {"embeddings": X, "labels": LABELS + 1, "outputs": LOGITS},
            "outside 0…2; indices count from 0, and these",
        ),
        ({"embeddings": X, "correct": np.full(40, 2)}, r"correct: row 0 .* neither 0 nor 1"),
        ({"embeddings": X, "attributes": {"loss": np.ones(40)}}, "'loss' has a reserved name"),
        ({"embeddings": X, "attributes": {"age": np.ones(39)}}, "attributes have 39 rows"),
        ({"embeddings": np.array([["a"]])}, "must be numbers"),
        ({"embeddings": X * 1j}, "must be numbers, not complex"),
        ({"embeddings": X, "labels": PAIRS, "predictions": LABELS}, r"labels have shape \(40, 2\) but"),
        ({"embeddings": X, "labels": PAIRS + 1}, r"labels: row 0 .* a multilabel row holds 0 and 1"),
        ({"embeddings": X, "labels": PAIRS, "task": Multilabel(("a", "b", "c"))}, r"has \(40, 3\)"),
        ({"embeddings": X, "labels": PAIRS, "task": Classification(("a", "b"))}, r"has \(40,\)"),
        ({"embeddings": X, "labels": LABELS, "task": Multilabel(("a", "b"))}, r"has \(40, 2\)"),
        ({"embeddings": X, "labels": PAIRS[:, :, None]}, r"not of shape \(40, 2, 1\)"),
        ({"embeddings": X, "labels": 3}, r"not of shape \(\)"),
        ({"embeddings": X, "labels": LABELS * 1j}, "class indices or names, or real numbers, not complex"),
        (
            {"embeddings": X, "labels": LABELS * 0.5, "outputs": LOGITS},
            "not fractions, because outputs have a column",
        ),
        ({"embeddings": X, "labels": LABELS * 0.5, "task": Classification(("a", "b"))}, "task=Regression"),
        (
            {"embeddings": X, "labels": PAIRS * 0.5},
            "two dimensions must be 0 and 1 for each class, not fractions",
        ),
        (
            {"embeddings": X, "labels": ["a"] * 40, "predictions": LABELS * 0.5},
            "as the labels are, not fractions",
        ),
        (
            {"embeddings": X, "labels": LABELS > 0, "predictions": LOGITS[:, 0]},
            "give probabilities as outputs=",
        ),
        (
            {"embeddings": X, "labels": ["a"] * 40, "task": Regression()},
            "labels must be numbers for a regression",
        ),
        ({"embeddings": X, "outputs": LOGITS, "task": Regression()}, "3 columns but a regression has 1"),
        (
            {"embeddings": X, "labels": LABELS * 1e300},
            "as large as 2e[+]300, too large for class indices: .* names",
        ),
        (
            {"embeddings": X, "labels": LABELS, "predictions": LABELS * 1e18},
            r"predictions .* task=Regression\(\)",
        ),
        ({"embeddings": X, "labels": ["a"] * 40, "predictions": LABELS * 1e18}, "not numbers as large as 2e"),
        ({"embeddings": X, "labels": PAIRS * 1e18}, "0 and 1 for each class, not numbers as large as 1e"),
        (
            {"embeddings": X, "labels": LABELS * 1e18, "task": Rating(("1", "2", "3"))},
            "labels must be class indices or names, not numbers as large",
        ),
        ({"embeddings": X, "labels": np.where(LABELS == 9, 0, np.nan)}, "labels: row 0 .* NaN"),
        ({"embeddings": X, "labels": ["a"] * 5 + [None] + ["b"] * 34}, r"labels: row 5 \(id 5\) is None"),
        ({"embeddings": X, "labels": [b"\xff"] * 40}, "not UTF-8 text"),
        (
            {"embeddings": X, "labels": LABELS * 100_000},
            r"is 200000 in 40 rows; if these are quantities, add",
        ),
        ({"embeddings": X, "attributes": {1: LABELS, "1": LABELS}}, "two attributes '1'"),
        (
            {"embeddings": X, "attributes": pa.table([LABELS, LABELS], names=["a", "a"])},
            "two attributes 'a'",
        ),
        ({"embeddings": X, "attributes": {"wave": LABELS * 1j}}, "attribute 'wave' cannot be kept"),
        ({"embeddings": X, "attributes": LABELS}, "attributes must be a mapping"),
        ({"embeddings": X, "attributes": {"grid": PAIRS}}, "attribute 'grid' cannot be kept"),
        ({"embeddings": X, "attributes": {"raw": [b"\xff"] * 40}}, "attribute 'raw' cannot be kept"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arrays, message):
    with pytest.raises(ValueError, match=message) as caught:
        Predictions.from_arrays(**arrays)
    assert "\n" not in str(caught.value)


def test_bytes_become_text_and_half_floats_become_single(tmp_path):
    names = np.where(LABELS == 0, "öl", "ant")
    encoded = [name.encode() for name in names]
    p = Predictions.from_arrays(
        X, labels=encoded, attributes={"text": encoded, "half": LABELS.astype(np.float16)}
    )
    assert p.classes() == ("ant", "öl")
    q = Predictions.load(p.save(tmp_path / "record"))
    assert q.attributes["text"].to_pylist() == names.tolist()
    assert q.attributes.schema.field("half").type == pa.float32()
    np.testing.assert_array_equal(q.attributes["half"].to_numpy(), LABELS)


def test_names_beside_indices_are_indices_into_the_names():
    p = Predictions.from_arrays(X, labels=np.array(["a", "b", "c"])[LABELS], predictions=LABELS)
    assert p.classes() == ("a", "b", "c")
    assert p.accuracy == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.float64, np.float64),
        (torch.float32, np.float32),
        (torch.bfloat16, np.float32),
        (torch.int64, np.float32),
    ],
)
def test_a_tensor_keeps_its_precision(given, kept):
    values = torch.arange(1, 13).reshape(4, 3).to(given)
    p = Predictions.from_arrays(values)
    assert p.embeddings.dtype == kept
    np.testing.assert_array_equal(p.embeddings, np.arange(1, 13).reshape(4, 3))


BIG = "values computed from it overflow beyond"


@pytest.mark.parametrize(
    ("name", "dtype", "value", "sentence"),
    [
        (
            "embeddings",
            np.float64,
            1e200,
            rf"embeddings: row 7 \(id 7\) holds 1e\+200, and {BIG} 1e\+14; divide all",
        ),
        (
            "embeddings",
            np.float64,
            -1e154,
            r"holds -1e\+154, .*divide all embeddings by 1e\+154 or",
        ),
        ("embeddings", np.float32, 1e20, rf"embeddings: row 7 \(id 7\) holds 1e\+20, and {BIG} 1e\+14"),
        (
            "losses",
            np.float64,
            1e200,
            rf"losses: row 7 \(id 7\) holds 1e\+200, and {BIG} 1e\+37; divide all losses",
        ),
    ],
)
def test_numbers_whose_squares_overflow_are_refused(name, dtype, value, sentence):
    draw = np.random.default_rng(0)
    arrays = {"embeddings": draw.normal(size=(40, 3)).astype(dtype), "losses": draw.random(40).astype(dtype)}
    arrays[name].reshape(40, -1)[7, -1] = value
    with pytest.raises(ValueError, match=sentence):
        Predictions.from_arrays(**arrays)


def test_a_derived_loss_that_overflows_is_refused():
    x, y = np.zeros((3, 2)), np.array([0.5, 1e200, 1.5])
    said = r"losses: row 1 \(id 1\) holds NaN or infinity; divide all labels and predictions by a constant"
    with pytest.raises(ValueError, match=said):
        Predictions.from_arrays(x, labels=y, predictions=-y)


@pytest.mark.parametrize("kind", [np.float64, np.uint64, np.int64, object])
def test_the_numbers_of_a_regression_may_have_any_size(kind):
    """Whole numbers beyond 2^53 are not indices; the array beside them shows that this is a regression."""
    large, fractions = np.array([2**60, 2**61, 2**60], dtype=kind), np.array([0.5, 1.5, 2.5])
    for given, recorded in (
        ({"labels": fractions, "predictions": large}, "predictions"),
        ({"labels": large, "predictions": fractions}, "labels"),
        ({"labels": large, "outputs": fractions[:, None]}, "labels"),
    ):
        p = Predictions.from_arrays(np.eye(3), **given)
        assert p.task == Regression()
        np.testing.assert_array_equal(getattr(p, recorded), [2.0**60, 2.0**61, 2.0**60])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_whose_squares_fit_are_accepted(dtype):
    x = np.full((3, 2), min(1e14, float(np.finfo(dtype).max)) * 0.999).astype(dtype)
    Predictions.from_arrays(x, losses=np.full(3, 1e36))
