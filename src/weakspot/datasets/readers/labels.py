"""Turns a column of labels into a task and targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np
from jaxtyping import Int, Num

from weakspot.class_names import class_names, is_number
from weakspot.datasets.readers.tables import TableFile
from weakspot.predictions.values_of_texts import MISSING_WORDS
from weakspot.tasks import Classification, Multilabel, Regression, Task


def read_labels(
    table_file: TableFile,
    column: str,
    classes: Sequence[str] | None = None,
    separator: str | None = None,
    kind: str | None = None,
) -> tuple[Task, Num[np.ndarray, "n ..."]]:
    """Return the task that a column of labels defines, and the target of every row, whatever its split.

    Args:
        table_file: The table and its file.
        column: The name of the column.
        classes: The classes in order; labels may then be their indices from 0. By default those that occur, in the
            order of an ordered categorical, or else sorted (numbers by value).
        separator: What separates the labels of a row, if a row may have several or none.
        kind: "classification" or "regression"; by default labels that are numbers with fractions make a regression.

    Raises:
        ValueError: If a label is missing, is not a class or not a number; the message names the line.
    """
    if kind not in (None, "classification", "regression"):
        raise ValueError(f"dataset.task={kind!r} is unknown; choose classification or regression")
    if separator is not None:
        if kind is not None:
            raise ValueError("dataset.separator means that a row has several classes: leave out dataset.task")
        return _several(table_file, column, classes, separator)
    if classes is not None and kind == "regression":
        raise ValueError("a regression has no classes: leave out dataset.classes")
    labels = table_file.required_texts(column)
    if kind is None and classes is None and _are_fractions(labels):
        kind = "regression"
    if kind == "regression":
        return Regression(), _numbers(table_file, column, labels)
    names = _names(table_file, column, labels, classes)
    return Classification(names), encode_labels(_as_names(labels, names), names, table_file.location)


def encode_labels(
    labels: Sequence[str], names: Sequence[str], locate: Callable[[int], str]
) -> Int[np.ndarray, " n"]:
    """Return the index of each label among the classes; raise ValueError, naming its place, for any other label."""
    position = {name: index for index, name in enumerate(names)}
    unknown = next((row for row, label in enumerate(labels) if label not in position), None)
    if unknown is not None:
        raise ValueError(f"{locate(unknown)} is of class {labels[unknown]!r}, not one of: {', '.join(names)}")
    return np.array([position[label] for label in labels], dtype=np.int64)


def _several(
    table_file: TableFile, column: str, classes: Sequence[str] | None, separator: str
) -> tuple[Task, Int[np.ndarray, "n C"]]:
    cells = [cell or "" for cell in table_file.table[column].to_pylist()]
    rows = [[name for part in cell.split(separator) if (name := part.strip())] for cell in cells]
    flat = [label for labels in rows for label in labels]
    if not flat:
        raise ValueError(f"{table_file.file}: no row has a label in {column!r}")
    owners = [row for row, labels in enumerate(rows) for _ in labels]
    names = _names(table_file, column, flat, classes)
    numbers = encode_labels(_as_names(flat, names), names, lambda at: table_file.location(owners[at]))
    targets = np.zeros((len(rows), len(names)), dtype=np.int64)
    targets[owners, numbers] = 1
    return Multilabel(names), targets


def _names(
    table_file: TableFile, column: str, labels: Sequence[str], classes: Sequence[str] | None
) -> tuple[str, ...]:
    return (
        tuple(map(str, classes))
        if classes is not None
        else table_file.orders.get(column) or class_names(labels)
    )


def _as_names(labels: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the labels as names: if none of them is a class, they are taken as indices of classes from 0."""
    if set(labels) & set(names):
        return list(labels)
    index = {str(number): name for number, name in enumerate(names)}
    whole = {
        label: str(int(Decimal(label)))
        for label in set(labels)
        if is_number(label) and float(label).is_integer()
    }
    return [index.get(whole.get(label, ""), label) for label in labels]


def _are_fractions(labels: Sequence[str]) -> bool:
    known = {label for label in labels if label.lower() not in MISSING_WORDS}
    return all(map(is_number, known)) and any(
        number != number.to_integral_value() for number in map(Decimal, known)
    )


def _numbers(table_file: TableFile, column: str, labels: Sequence[str]) -> Num[np.ndarray, " n"]:
    odd = next(
        (row for row, label in enumerate(labels) if not (is_number(label) and np.isfinite(float(label)))),
        None,
    )
    if odd is not None:
        raise ValueError(
            f"{table_file.location(odd)}: {column} is {labels[odd]!r}, not a number; give one, or remove the row"
        )
    return np.array(labels, dtype=np.float64)
