"""Prepares predictions of other examples for testing slices: aligns their classes and removes shared examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from weakspot.predictions.record import Predictions
from weakspot.tasks import Classification


def examples_to_test(other: Predictions, reference: Predictions) -> tuple[Predictions, int]:
    """Return the other examples on which slices of the reference can be tested, and how many were left out.

    Args:
        other: Predictions of other examples, by the same model.
        reference: The predictions in which slices were found.

    Returns:
        The examples that are not in the reference, with the reference's classes; the number of those left out.

    Raises:
        ValueError: The predictions do not match the reference (see `align_classes`), there are none, or the reference
            holds all of them.
    """
    names = _names(other, reference)
    if not len(other):
        raise ValueError(f"{names[0]} is empty; a test needs examples")
    aligned = align_classes(other, reference)
    shared = shared_examples(other, reference)
    if shared.all():
        raise ValueError(f"{names[0]} holds the same examples as {names[1]}; a test needs others")
    return (aligned.take(~shared) if shared.any() else aligned), int(shared.sum())


def align_classes(other: Predictions, reference: Predictions) -> Predictions:
    """Return predictions whose class indices mean what they mean in the reference.

    If a file holds class names, they are numbered by the names that occur in it, so two files may number classes
    differently. Classes that the reference lacks come after its own.

    Args:
        other: Predictions of other examples, by the same model.
        reference: The predictions in which slices were found.

    Raises:
        ValueError: The tasks differ, the classes differ where outputs or multilabel rows depend on them, or only the
            reference has labels.
    """
    name, reference_name = _names(other, reference)
    if other.labels is None and reference.labels is not None:
        raise ValueError(
            f"{name} has no labels, but {reference_name} has, and slices are tested among examples of the same label: "
            "add labels to the former"
        )
    if other.task == reference.task or other.task is None or reference.task is None:
        return other
    own, wanted = other.task, reference.task
    if own.kind != wanted.kind:
        raise ValueError(
            f"{name} is a {own.kind} task, {reference_name} a {wanted.kind} task; give predictions of one model"
        )
    if own.classes == wanted.classes:
        return other
    if other.outputs is not None or not isinstance(own, Classification):
        raise ValueError(
            f"{name} has other classes ({_listed(own.classes)}) than {reference_name} ({_listed(wanted.classes)}); "
            "give predictions of the same model, with its classes in the same order"
        )
    names = (*wanted.classes, *(name for name in own.classes if name not in wanted.classes))
    index = np.array([names.index(name) for name in own.classes])
    return replace(
        other,
        labels=None if other.labels is None else index[other.labels],
        predictions=None if other.predictions is None else index[other.predictions],
        task=replace(own, classes=names),
    )


def shared_examples(other: Predictions, reference: Predictions) -> Bool[np.ndarray, " m"]:
    """Return which examples of `other` are also in the reference: slices found in them cannot be tested on them.

    Two examples are the same if their embeddings and losses (or outputs) are equal; without losses and outputs, if
    their embeddings and ids are. Equal ids alone mean nothing, because files without ids get row numbers.

    Returns:
        (m,) True for the examples that both hold.
    """
    if other.embeddings.shape[1] != reference.embeddings.shape[1]:
        return np.zeros(len(other), dtype=bool)
    keys, reference_keys = other.example_hashes, reference.example_hashes
    if _has_losses_or_outputs(other) and _has_losses_or_outputs(reference):
        return np.isin(keys, reference_keys)
    row_of = {id: row for row, id in enumerate(reference.ids.tolist())}
    rows = np.array([row_of.get(id, -1) for id in other.ids.tolist()])
    same: np.ndarray = (rows >= 0) & (keys == reference_keys[rows])
    return same


def held_out_copies(p: Predictions, searched: Bool[np.ndarray, " n"]) -> int:
    """Return how many examples that were not searched have the embedding and the loss (or outputs) of one that was.

    Args:
        p: The predictions; the result is 0 if they have neither losses nor outputs.
        searched: (n,) which of them were searched.
    """
    if not _has_losses_or_outputs(p):
        return 0
    keys = p.example_hashes
    return int(np.isin(keys[~searched], keys[searched]).sum())


def _has_losses_or_outputs(p: Predictions) -> bool:
    """Return whether there are losses or outputs, which two examples hardly share by chance."""
    return p.losses is not None or p.outputs is not None


def _names(other: Predictions, reference: Predictions) -> tuple[str, str]:
    """Return how messages refer to the two records: by their purpose and their source files."""
    source = reference.manifest.get("source")
    return (
        f"the record to test on ({other.manifest.get('source') or 'confirm'})",
        f"the record that the slices were found in{f' ({source})' if source else ''}",
    )


def _listed(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:6]) + (", …" if len(classes) > 6 else "")
