"""The participants in a slice of ratings: the users who gave them, and the rated items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from weakspot.legible import shortened
from weakspot.predictions import Predictions


@dataclass(frozen=True)
class Participant:
    """Describes a user or an item in a slice.

    Attributes:
        name: The user or item.
        about: The attributes that are the same in all of its examples.
        traits: Among these, the names of the yes-or-no attributes that are yes.
        weight: Σ c·w over its examples.
        members: How many of its examples have any weight.
        given: The weighted mean rating.
        expected: The weighted mean of the model's expected rating.
        loss: The weighted mean loss.
    """

    name: str
    about: dict[str, Any]
    traits: tuple[str, ...]
    weight: float
    members: int
    given: float | None
    expected: float | None
    loss: float | None


def participants(
    weights: Float[np.ndarray, " n"], predictions: Predictions, column: str, top: int = 10
) -> list[Participant]:
    """Return the values of an attribute (`user`, `movie`) with the most weight in a slice, in descending order.

    They are described by the attributes that depend on them alone: a user's age, but not a movie's year.

    Args:
        weights: (n,) memberships.
        predictions: The n examples.
        column: The attribute.
        top: How many values to return at most.
    """
    mass = np.asarray(weights, dtype=np.float64) * predictions.row_counts
    encoded = predictions.attributes[column].combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    total = np.bincount(codes, weights=mass, minlength=len(encoded.dictionary) + 1)[: len(encoded.dictionary)]
    top_codes = [int(code) for code in np.argsort(-total, kind="stable")[:top] if total[code] > 0]
    own = _columns_of(predictions.attributes, column)
    given = None if predictions.labels is None else _ratings(predictions)[predictions.labels]
    expected = _expected(predictions)
    result = []
    for code in top_codes:
        rows = np.flatnonzero((codes == code) & (mass > 0))

        def mean(values: np.ndarray | None, rows: np.ndarray = rows) -> float | None:
            return None if values is None else float(np.average(values[rows], weights=mass[rows]))

        first = predictions.attributes.select(own).slice(int(rows[0]), 1).to_pylist()[0] if own else {}
        flags = {column for column in own if _is_flag(predictions.attributes[column])}
        result.append(
            Participant(
                name=shortened(str(encoded.dictionary[code])),
                about={column: value for column, value in first.items() if column not in flags},
                traits=tuple(column for column in own if column in flags and first[column] in ("yes", True)),
                weight=float(total[code]),
                members=len(rows),
                given=mean(given),
                expected=mean(expected),
                loss=mean(predictions.losses),
            )
        )
    return result


def _columns_of(attributes: pa.Table, column: str) -> list[str]:
    """Return the other attributes that are a function of this one: each of its values has only one of theirs."""
    others = [name for name in attributes.column_names if name != column]
    groups = pa.TableGroupBy(attributes, column).aggregate([(name, "count_distinct") for name in others])
    return [
        name
        for name in others
        if pc.max(groups[f"{name}_count_distinct"]).as_py() == 1
        and pc.count_distinct(attributes[name]).as_py() > 1
    ]


def _is_flag(column: pa.ChunkedArray) -> bool:
    return pa.types.is_boolean(column.type) or set(pc.unique(column).to_pylist()) <= {"yes", "no"}


def _ratings(predictions: Predictions) -> np.ndarray:
    return np.array([float(name) for name in predictions.classes()])


def _expected(predictions: Predictions) -> np.ndarray | None:
    if predictions.outputs is None or predictions.task is None:
        return None
    import torch

    index = predictions.task.estimate(torch.tensor(predictions.outputs)).numpy()
    return np.asarray(index + _ratings(predictions)[0])
