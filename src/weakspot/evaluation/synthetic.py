"""Synthetic predictions whose true slices are known, to measure false confirmations and power of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Multilabel, Regression

Kind = Literal["independent", "label", "tags", "number", "patient"]

_CLASSES, _PARTS, _DIMENSIONS = 5, 4, 32
_ERROR_RATE = 0.2
_TAGS, _PLACES, _PATIENTS = 20, 20, 30


def null_predictions(kind: Kind, n: int, seed: int) -> Predictions:
    """Make predictions without any slice: given the label, losses do not depend on embeddings.

    Embeddings are four Gaussian groups for each of 5 labels, in 32 dimensions; for tags, numbers and patients they
    depend on these, and on twenty places besides.

    Args:
        kind: "independent": a fifth of every label's rows are misclassified. "label": 5 % to 50 % of a label's rows are
            misclassified, so that regions of high loss exist and the label explains all of them. "tags": of 20 tags one
            is missed in 60 % of the rows that have it, the others in 5 %. "number": the labels are log-normal numbers,
            and errors proportional to them. "patient": 30 patients, named by the attribute `patient`, have error rates
            of their own, drawn from one distribution.
        n: the number of rows; those of one seed (and patient) are independent of each other, so any split of them may
            be searched and tested.
        seed: the seed of all random choices.
    """
    random = np.random.default_rng(seed)
    if kind in _MAKERS:
        return _MAKERS[kind](random.integers(0, _PLACES, n), np.ones(n), random)
    labels, _, embeddings = _embedded(n, random)
    rates = np.full(_CLASSES, _ERROR_RATE) if kind == "independent" else np.linspace(0.05, 0.5, _CLASSES)
    return _answered(labels, embeddings, random.random(n) < rates[labels], random)


def planted_predictions(
    times: float, n: int, seed: int, kind: Kind = "independent"
) -> tuple[Predictions, Bool[np.ndarray, " n"]]:
    """Make predictions with one slice: a group of one label, a twentieth of the rows, is misclassified more often.

    Args:
        times: how many times as often as all other rows, a fifth of which are misclassified; at most 5. For tags,
            numbers and patients the slice is one of the twenty places, and its error rates (for numbers, its errors)
            are this many times as high.
        n: the number of rows.
        seed: the seed of all random choices.
        kind: what else losses depend on, as for `null_predictions`, except "label".

    Returns:
        The predictions, and (n,) which rows are in the slice.
    """
    random = np.random.default_rng(seed)
    if kind in _MAKERS:
        places = random.integers(0, _PLACES, n)
        return _MAKERS[kind](places, np.where(places == 0, times, 1.0), random), places == 0
    labels, parts, embeddings = _embedded(n, random)
    planted = (labels == 0) & (parts == 0)
    rates = np.where(planted, times * _ERROR_RATE, _ERROR_RATE)
    return _answered(labels, embeddings, random.random(n) < rates, random), planted


def _tagged(
    places: Int[np.ndarray, " n"], times: Float[np.ndarray, " n"], random: np.random.Generator
) -> Predictions:
    """Make predictions of 20 tags, one of which is hard."""
    n = len(places)
    tags = random.random((n, _TAGS)) < 0.15
    embeddings = tags @ random.normal(scale=1.5, size=(_TAGS, _DIMENSIONS)) + _placed(places, random)
    missed = np.where(tags, np.where(np.arange(_TAGS) == 0, 0.6, 0.05), 0.01)
    wrong = random.random((n, _TAGS)) < np.minimum(missed * times[:, None], 0.9)
    outputs = np.where(tags ^ wrong, 1.0, -1.0) * random.exponential(2.0, (n, _TAGS))
    task = Multilabel(tuple(map(str, range(_TAGS))))
    return Predictions.from_arrays(embeddings, labels=tags.astype(np.int64), outputs=outputs, task=task)


def _numbered(
    places: Int[np.ndarray, " n"], times: Float[np.ndarray, " n"], random: np.random.Generator
) -> Predictions:
    """Make predictions of a skewed number, with errors proportional to it."""
    labels = random.lognormal(sigma=1.2, size=len(places))
    along = random.normal(scale=1.5, size=_DIMENSIONS)
    embeddings = np.outer(np.log(labels), along) + _placed(places, random)
    outputs = labels * (1 + 0.3 * times * random.normal(size=len(places)))
    return Predictions.from_arrays(embeddings, labels=labels, outputs=outputs[:, None], task=Regression())


def _of_patients(
    places: Int[np.ndarray, " n"], times: Float[np.ndarray, " n"], random: np.random.Generator
) -> Predictions:
    """Make predictions of two classes in 30 patients, whose error rates are a fifth on average, and skewed."""
    n = len(places)
    patients, labels = random.integers(0, _PATIENTS, n), random.integers(0, 2, n)
    embeddings = random.normal(scale=1.5, size=(_PATIENTS, _DIMENSIONS))[patients] + _placed(places, random)
    rates = np.minimum(random.beta(1.5, 6.0, _PATIENTS)[patients] * times, 1.0)
    favoured = np.where(random.random(n) < rates, 1 - labels, labels)
    outputs = random.normal(size=(n, 2))
    outputs[np.arange(n), favoured] = outputs.max(axis=1) + random.exponential(2.0, n)
    names = [random.bytes(4).hex() for _ in range(_PATIENTS)]  # so that who is held out differs by seed
    return Predictions.from_arrays(
        embeddings,
        labels=labels,
        outputs=outputs,
        task=Classification(("0", "1")),
        attributes={"patient": np.array(names)[patients]},
    )


_MAKERS: dict[str, Callable[..., Predictions]] = {
    "tags": _tagged,
    "number": _numbered,
    "patient": _of_patients,
}


def _placed(places: Int[np.ndarray, " n"], random: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Draw embeddings around the centres of their places."""
    centres = random.normal(size=(_PLACES, _DIMENSIONS))
    embeddings: np.ndarray = centres[places] + random.normal(size=(len(places), _DIMENSIONS))
    return embeddings


def _embedded(
    n: int, random: np.random.Generator
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
    """Draw labels, the group of each row within its label, and embeddings."""
    labels, parts = random.integers(0, _CLASSES, n), random.integers(0, _PARTS, n)
    labelled = random.normal(size=(_CLASSES, _DIMENSIONS))
    parted = random.normal(size=(_CLASSES, _PARTS, _DIMENSIONS))
    centres = labelled[:, None] + 0.7 * parted
    return labels, parts, centres[labels, parts] + random.normal(size=(n, _DIMENSIONS))


def _answered(
    labels: Int[np.ndarray, " n"],
    embeddings: Float[np.ndarray, "n d"],
    mistaken: Bool[np.ndarray, " n"],
    random: np.random.Generator,
) -> Predictions:
    """Draw logits that favour the label, or another class if a row is misclassified, with varying margins."""
    n = len(labels)
    favoured = np.where(mistaken, (labels + random.integers(1, _CLASSES, n)) % _CLASSES, labels)
    outputs = random.normal(size=(n, _CLASSES))
    outputs[np.arange(n), favoured] = outputs.max(axis=1) + random.exponential(2.0, n)
    return Predictions.from_arrays(
        embeddings, labels=labels, outputs=outputs, task=Classification(tuple(map(str, range(_CLASSES))))
    )
