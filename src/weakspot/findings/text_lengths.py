"""Measures how long the texts of each slice are, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from weakspot.evaluation.contrasts import Contrast, loss_contrast
from weakspot.findings.record import Findings
from weakspot.methods.registry import audit_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices


@dataclass(frozen=True)
class TextLengths:
    """Holds the lengths of one group of texts.

    Attributes:
        name: "all", or the slice's name.
        size: The size of the group in examples.
        mean: The mean number of words in a text, with its 95 % interval; None for an empty group.
        quartiles: The lower and upper quartile, in words; None for an empty group.
        words: Distinctive words of the slice, the most distinctive first.
    """

    name: str
    size: float
    mean: Contrast | None
    quartiles: tuple[float, float] | None
    words: tuple[str, ...] = ()


def measure_text_lengths(
    findings: Findings, predictions: Predictions, slices: Slices, texts: Sequence[str], most: int
) -> list[TextLengths]:
    """Measure the lengths of all audited texts, and of those of the first slices; words are separated by spaces.

    Args:
        findings: The findings, for the slices' names and distinctive words.
        predictions: The n examples, each weighted by its count.
        slices: Slices of the same examples.
        texts: The text of each example.
        most: How many slices are measured.

    Returns:
        One for all texts, then one for each slice.
    """
    rows = np.flatnonzero(audit_of(slices, predictions).rows)
    counts = predictions.row_counts[rows]
    lengths = np.array([len(texts[row].split()) for row in rows.tolist()], dtype=np.float64)
    result = [_lengths("all", lengths, counts, counts)]
    for one in findings.slices[:most]:
        mass = counts * np.asarray(slices.weights[one.number - 1])[rows]
        words = tuple(word.text for word in one.portrait.words)
        result.append(_lengths(one.name, lengths, mass, counts, words))
    return result


def _lengths(
    name: str,
    lengths: Float[np.ndarray, " r"],
    mass: Float[np.ndarray, " r"],
    counts: Float[np.ndarray, " r"],
    words: tuple[str, ...] = (),
) -> TextLengths:
    size = float(mass.sum())
    if size <= 0:
        return TextLengths(name, size, None, None, words)
    return TextLengths(
        name, size, loss_contrast(lengths, mass, counts - mass, None), _quartiles(lengths, mass), words
    )


def _quartiles(values: Float[np.ndarray, " r"], mass: Float[np.ndarray, " r"]) -> tuple[float, float]:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(mass[order]) / mass.sum()
    lower, upper = np.minimum(np.searchsorted(reached, [0.25, 0.75]), len(values) - 1)
    return float(values[order[lower]]), float(values[order[upper]])
