"""Images in four groups; a model fails in one of them. Also their clusters."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from weakspot.methods.udis import UDIS
from weakspot.predictions import Predictions
from weakspot.tasks import Classification


def clustered_images():
    """Four separated groups of images, clustered by UDIS; the model fails in the group red_≥5."""
    rng = np.random.default_rng(0)
    digit, red = rng.integers(0, 10, 320), rng.random(320) < 0.5
    label = (digit >= 5).astype(int)
    group = np.array(
        [f"{'red' if r else 'green'}_{'≥5' if y else '<5'}" for r, y in zip(red, label, strict=True)]
    )
    right = rng.random(320) < np.where(group == "red_≥5", 0.1, 0.97)
    guess = np.where(right, label, 1 - label)
    logits = np.stack([1 - guess, guess], axis=1) * rng.uniform(1, 5, (320, 1))
    predictions = Predictions.from_arrays(
        np.eye(4)[2 * label + red] * 6 + rng.normal(size=(320, 4)),
        outputs=logits,
        labels=label,
        attributes=pa.table({"digit": digit, "group": group}),
        task=Classification(("<5", "≥5")),
    )
    return predictions, UDIS().fit(predictions).slices_
