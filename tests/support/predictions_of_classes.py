"""Predictions with one or several classes per example, and findings with statistics of each class."""

from __future__ import annotations

import numpy as np

from weakspot import Findings, Predictions, Spotlight
from weakspot.tasks import Classification, Multilabel

NAMES = ("bed", "person", "dog", "cup", "never", "unsaid")


def several_labels(n=400, seed=0, **extra):
    """Dogs lie on beds; the model predicts one on nearly every bed. One class never occurs, one is never predicted."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, len(NAMES))) < [0.4, 0.5, 0.1, 0.2, 0, 0.1]).astype(int)
    labels[:, 2] |= labels[:, 0] & (rng.random(n) < 0.3)
    said = np.where(rng.random(labels.shape) < 0.1, 1 - labels, labels)
    said[:, 2] |= said[:, 0]
    said[:, 5] = 0
    return Predictions.from_arrays(
        rng.normal(size=(n, 4)), labels=labels, predictions=said, task=Multilabel(NAMES), **extra
    )


def one_label(**extra):
    rng = np.random.default_rng(1)
    labels, said = rng.integers(0, 4, 300), rng.integers(1, 5, 300)
    return Predictions.from_arrays(
        rng.normal(size=(300, 3)),
        labels=labels,
        predictions=said,
        task=Classification(tuple("abcde")),
        **extra,
    )


def found_in(p):
    return Findings.build(p, searched(p))


def searched(p):
    with_losses = Predictions.from_arrays(p.embeddings, losses=np.arange(len(p)) / len(p), ids=p.ids)
    return Spotlight(n_slices=1, starts=1).fit(with_losses).slices_
