"""The record: what it derives, and what it refuses in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from weakspot import Predictions
from weakspot.tasks import Multilabel, Task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5)).astype(np.float32)
LOGITS = RNG.normal(size=(40, 3)).astype(np.float32)
LABELS = RNG.integers(0, 3, 40)


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


def test_multilabel_is_right_only_where_every_class_is():
    targets = RNG.integers(0, 2, (40, 3))
    p = Predictions.from_arrays(X, outputs=LOGITS, labels=targets, task=Multilabel(("a", "b", "c")))
    np.testing.assert_array_equal(p.correct, ((LOGITS > 0) == targets).all(axis=1))
    expected = torch.nn.BCEWithLogitsLoss()(torch.from_numpy(LOGITS), torch.from_numpy(targets).float())
    assert p.losses.mean() == pytest.approx(expected.item(), rel=1e-5)
    assert Task.from_dict(p.task.to_dict()) == p.task


def test_counts_weigh_the_accuracy():
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
        ({"embeddings": X, "ids": ["a"] * 40}, "'a' stands in rows 0 and 1"),
        ({"embeddings": X, "labels": LABELS, "outputs": LOGITS[:, :2]}, "outside 0…1"),
        ({"embeddings": X, "correct": np.full(40, 2)}, r"correct: row 0 .* neither 0 nor 1"),
        ({"embeddings": X, "attributes": {"loss": np.ones(40)}}, "'loss' has a name the record keeps"),
        ({"embeddings": X, "attributes": {"age": np.ones(39)}}, "attributes have 39 rows"),
        ({"embeddings": np.array([["a"]])}, "must be numbers"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arrays, message):
    with pytest.raises(ValueError, match=message) as caught:
        Predictions.from_arrays(**arrays)
    assert "\n" not in str(caught.value)
