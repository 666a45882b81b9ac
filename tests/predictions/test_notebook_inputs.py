"""Inputs from a notebook: each kind of array, column and frame is read as intended, or refused in one sentence."""

from __future__ import annotations

import logging
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import sparse

from weakspot import Predictions
from weakspot.tasks import Classification, Multilabel, Regression

X = np.arange(12, dtype=np.float32).reshape(4, 3)
HOURS = np.array(["2020-01-01T10", "NaT", "2020-01-01T11", "2020-01-01T10"], "datetime64[h]")
LOGITS = np.array([[2.0, -1], [0.5, 1], [-3, 2], [1, 4]])


class Column:
    """A column like those of Polars: an Arrow stream that can be converted to NumPy."""

    def __init__(self, values: pa.Array, dtype: object = None) -> None:
        self.values, self.dtype = pa.chunked_array([values]), dtype

    def to_numpy(self) -> np.ndarray:
        return self.values.to_numpy()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.values.__arrow_c_stream__(requested_schema)


class Frame:
    """A frame like those of Polars: only an Arrow stream."""

    def __init__(self, **columns: object) -> None:
        self.table = pa.table(columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class Enum:
    """The type of an enumeration, as in Polars."""

    categories = pa.array(["small", "large"])


def rows_of_objects() -> np.ndarray:
    """A frame's column of arrays."""
    column = np.empty(4, dtype=object)
    column[:] = list(X)
    return column


@pytest.mark.parametrize(
    "embeddings",
    [
        rows_of_objects(),
        rows_of_objects()[:, None],  # a frame with only that column
        pa.table({"embedding": X.tolist()}),
        Column(pa.array(X.tolist())),
        pa.array(X.tolist()),
        pa.FixedSizeListArray.from_arrays(X.ravel(), 3),
        pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}),
        sparse.csr_matrix(X),
        sparse.coo_array(X),
        torch.from_numpy(X).to_sparse(),
        [torch.tensor(row, dtype=torch.bfloat16) for row in X],
        [list(map(Decimal, row.astype(int).tolist())) for row in X],
        np.ma.array(X),
        X.astype(np.longdouble),
    ],
)
def test_embeddings_are_read(embeddings):
    p = Predictions.from_arrays(embeddings)
    np.testing.assert_array_equal(p.embeddings, X)
    assert p.embeddings.dtype in (np.float32, np.float64)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ma.array(X, mask=X == 4), "embeddings: row 1 is masked; fill it in or leave out the row"),
        ([[1, 2], [3]], "embeddings: row 1 has 1 values, but row 0 has 2"),
        ([[1, 2], [3, None]], "embeddings must be numbers, but row 1 holds None"),
        (np.array([X[0], None, X[1]], dtype=object), "embeddings: row 1 has 0 values, but row 0 has 3"),
        (np.array(["1", "2"]), "embeddings must be numbers, not <U1"),
    ],
)
def test_invalid_embeddings_are_refused(embeddings, message):
    with pytest.raises(ValueError, match=message):
        Predictions.from_arrays(embeddings)


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [
        (np.array([1, 0, 0, 1], dtype=object), ("0", "1"), [1, 0, 0, 1]),
        ([Decimal(1), Decimal(0), Decimal(0), Decimal(1)], ("0", "1"), [1, 0, 0, 1]),
        (["1.0", "0.0", "0.0", "1.0"], ("0", "1"), [1, 0, 0, 1]),
        (np.array(["b", "a", "a", "b"], dtype=np.dtypes.StringDType()), ("a", "b"), [1, 0, 0, 1]),
        (Column(pa.array(["small", "large", "large", "small"]), Enum()), ("small", "large"), [0, 1, 1, 0]),
        (
            pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0]), pa.array(["z", "a"]), ordered=True),
            ("z", "a"),
            [0, 1, 1, 0],
        ),
        (
            pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0]), pa.array(["z", "a"]), ordered=False),
            ("a", "z"),
            [1, 0, 0, 1],
        ),
    ],
)
def test_labels_keep_the_order_of_their_type(labels, classes, indices):
    p = Predictions.from_arrays(X, labels=labels, outputs=LOGITS)
    assert p.classes() == classes
    assert p.labels.tolist() == indices


def test_numeric_names_are_sorted_by_value():
    names = [f"{value}.0" for value in range(12)]
    p = Predictions.from_arrays(np.ones((12, 2)), labels=names, outputs=np.eye(12) * 9)
    assert p.accuracy == 1
    q = Predictions.from_arrays(np.ones((12, 2)), labels=[f"{value + 1}.5" for value in range(12)])
    assert q.classes() == tuple(f"{value + 1}.5" for value in range(12))


def test_an_assumed_order_of_classes_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        Predictions.from_arrays(X, labels=["no", "yes", "no", "yes"], outputs=LOGITS)
        Predictions.from_arrays(X, labels=["no", "yes", "no", "yes"], predictions=[0, 1, 1, 1])
    assert [record.getMessage()[:88] for record in caplog.records] == [
        "labels are names, so classes are numbered in the order of their names: 0 is no, 1 is yes"
    ] * 2
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Predictions.from_arrays(X, labels=["no", "yes", "no", "yes"], predictions=["no"] * 4)
        Predictions.from_arrays(
            X, labels=["no", "yes"] * 2, outputs=LOGITS, task=Classification(("yes", "no"))
        )
        Predictions.from_arrays(X, labels=["0", "1"] * 2, outputs=LOGITS)
    assert not caplog.records


def test_the_warning_says_which_array_holds_names(caplog):
    with caplog.at_level(logging.WARNING):
        Predictions.from_arrays(X, labels=[0, 1, 0, 1], predictions=["no", "yes", "no", "yes"])
    assert caplog.records[0].getMessage().startswith("predictions are names")


def test_classes_that_differ_in_case_alone_are_pointed_out(caplog):
    with caplog.at_level(logging.WARNING):
        p = Predictions.from_arrays(X, labels=["cat", "dog"] * 2, predictions=["Cat", "dog", "cow", "dog "])
    assert p.classes() == ("Cat", "cat", "cow", "dog", "dog ")
    assert [record.getMessage().partition(" count as")[0] for record in caplog.records] == [
        "'Cat' among predictions and 'cat' among labels",
        "'dog ' among predictions and 'dog' among labels",
    ]


@pytest.mark.parametrize("labels", [["a", "b"] * 2, ["1", "2"] * 2])
def test_an_ambiguous_order_of_classes_is_refused(labels):
    three = np.hstack([LOGITS, LOGITS[:, :1]])
    with pytest.raises(ValueError, match=r"3 columns but the task has 2 classes: store labels as indices"):
        Predictions.from_arrays(X, labels=labels, outputs=three)
    assert Predictions.from_arrays(X, labels=["0", "2"] * 2, outputs=three).labels.tolist() == [0, 2, 0, 2]


@pytest.mark.parametrize("logit", [np.array([-2.0, 1, 3, -1]), np.array([[-2.0], [1], [3], [-1]])])
@pytest.mark.parametrize(
    "labels", [[0, 1, 0, 0], [0.0, 1.0, 0.0, 0.0], ["no", "yes", "no", "no"], [False, True, False, False]]
)
def test_one_logit_is_that_of_the_second_class(logit, labels):
    p = Predictions.from_arrays(X, labels=labels, outputs=logit)
    assert p.predictions.tolist() == [0, 1, 1, 0]
    assert p.accuracy == 0.75
    truth = torch.tensor([0.0, 1, 0, 0], dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logit.ravel()), truth, reduction="none"
    )
    np.testing.assert_allclose(p.losses, expected, rtol=1e-5)


def test_one_logit_if_only_one_class_occurs():
    p = Predictions.from_arrays(X, labels=np.zeros(4, int), outputs=np.array([-2.0, 1, 3, -1]))
    assert p.accuracy == 0.5
    assert p.losses.max() == pytest.approx(np.log1p(np.exp(3)))


def test_one_output_column_of_unknown_meaning_is_refused():
    with pytest.raises(ValueError, match="outputs have one column, whose meaning is unknown without labels"):
        Predictions.from_arrays(X, outputs=LOGITS[:, :1])
    assert Predictions.from_arrays(X, outputs=LOGITS[:, :1], task=Regression()).predictions.tolist() == [
        2,
        0.5,
        -3,
        1,
    ]


SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-LOGITS))


@pytest.mark.parametrize(
    ("probabilities", "logits", "labels"),
    [
        (SHARES, LOGITS, [0, 1, 1, 0]),
        (SHARES.astype(np.float16), LOGITS, [0, 1, 1, 0]),
        (SIGMOID[:, :1], LOGITS[:, :1], [0, 1, 1, 0]),
        (SIGMOID, LOGITS, [[0, 1], [1, 1], [0, 0], [1, 0]]),
    ],
)
def test_probabilities_are_refused_unless_declared_as_such(probabilities, logits, labels):
    with pytest.raises(
        ValueError, match=r"look like probabilities, not logits .* say outputs_are=probabilities"
    ):
        Predictions.from_arrays(X, labels=labels, outputs=probabilities)
    said = Predictions.from_arrays(X, labels=labels, outputs=probabilities, outputs_are="probabilities")
    meant = Predictions.from_arrays(X, labels=labels, outputs=logits)
    np.testing.assert_allclose(said.losses, meant.losses, rtol=5e-3)
    np.testing.assert_array_equal(said.predictions, meant.predictions)
    taken = Predictions.from_arrays(X, labels=labels, outputs=probabilities, outputs_are="logits")
    assert abs(taken.losses - meant.losses).max() > 0.1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"outputs": LOGITS},
            r"row 0 \(id 0\) is \[2, -1\], but probabilities lie between 0 and 1 and sum to 1",
        ),
        ({"outputs": SIGMOID}, "sum to 1; are they logits"),
        ({"outputs": LOGITS[:, 0], "labels": [0, 1, 0, 1]}, "probabilities lie between 0 and 1; are they"),
        ({"outputs": LOGITS[:, 0], "task": Regression()}, "probabilities do not fit a regression task"),
    ],
)
def test_outputs_that_are_not_probabilities_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        Predictions.from_arrays(X, outputs_are="probabilities", **arrays)
    with pytest.raises(ValueError, match="choose logits or probabilities"):
        Predictions.from_arrays(X, **arrays | {"outputs_are": "scores"})


def test_certain_probabilities_stay_finite():
    p = Predictions.from_arrays(
        X, labels=[0, 1, 0, 0], outputs=np.eye(2)[[0, 1, 1, 0]], outputs_are="probabilities"
    )
    assert np.isfinite(p.losses).all()
    assert p.accuracy == 0.75
    both = Predictions.from_arrays(
        X, labels=np.eye(2)[[0, 1, 1, 0]], outputs=np.eye(2)[[0, 1, 1, 1]], outputs_are="probabilities"
    )
    assert isinstance(both.task, Multilabel)
    assert both.accuracy == 0.75
    assert np.isfinite(both.losses).all()


@pytest.mark.parametrize(
    ("column", "kept"),
    [
        (np.ma.array([1, 2, 3, 4], mask=[0, 1, 0, 0]), [1, None, 3, 4]),
        (
            np.array(["2020", "NaT", "2021", "2020"], "datetime64[Y]"),
            ["2020-01-01", None, "2021-01-01", "2020-01-01"],
        ),
        (HOURS - np.datetime64("2020", "h"), ["10:00:00", None, "11:00:00", "10:00:00"]),
        (Column(pa.array(["a", " b ", None, ""])), ["a", "b", None, None]),
        (torch.tensor([1, 2, 3, 4.0]).bfloat16(), [1, 2, 3, 4]),
        ([torch.tensor(value) for value in range(4)], [0, 1, 2, 3]),
        ([1, "a", None, 2.5], ["1", "a", None, "2.5"]),
        (np.array([1, "a", None, float("nan")], dtype=object), ["1", "a", None, "nan"]),
        ([1, 2, "n/a", 4], [1, 2, None, 4]),
        ([Decimal("1.5")] * 4, [1.5] * 4),
        ([["x", "y"], ["x"], [], None], ["x, y", "x", None, None]),
    ],
)
def test_attributes_are_read(column, kept):
    p = Predictions.from_arrays(X, attributes={"a": column})
    values = p.attributes["a"].to_pylist()
    assert [
        value if value is None or isinstance(value, (int, float)) else str(value) for value in values
    ] == kept


def test_a_frame_that_is_only_an_arrow_stream_is_read():
    nested = [{"lens": "wide", "iso": 100}] * 3 + [None]
    p = Predictions.from_arrays(X, attributes=Frame(site=["a", "b", None, "a"], camera=nested))
    assert p.attributes.to_pydict() == {
        "site": ["a", "b", None, "a"],
        "camera.lens": ["wide"] * 3 + [None],
        "camera.iso": [100] * 3 + [None],
    }
