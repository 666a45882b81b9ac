"""The command line on given predictions: what it finds, what it asks for, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from weakspot.commands.run_logging import typed_command


def test_given_predictions_need_no_dataset_and_no_model(shell):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    x[:30] += 6
    losses = np.where(np.arange(300) < 30, 5.0, 1.0) + rng.random(300)
    np.savez(shell.folder / "my.npz", embeddings=x, losses=losses, planted=np.arange(300) < 30)
    text = shell("discover", "predictions=my.npz", "logger=none", "method.n_slices=1")
    assert "planted = yes" in text
    assert len(shell.reports()) == 1


def test_probabilities_must_be_declared_as_probabilities(shell):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([1, 1, 1], 200)
    np.savez(
        shell.folder / "my.npz",
        embeddings=rng.normal(size=(200, 4)),
        outputs=shares,
        labels=rng.integers(0, 3, 200),
    )
    words = ["predictions=my.npz", "logger=none", "method.n_slices=1"]
    text = shell("discover", *words, fails=True)
    assert "my.npz: outputs look like probabilities, not logits (every row sums to 1): say" in text
    assert not shell.reports()
    shell("discover", *words, "outputs_are=probabilities")
    assert len(shell.reports()) == 1


def test_nan_in_an_embedding_is_refused_with_its_row_and_leaves_nothing(shell):
    x = np.zeros((10, 2), dtype=np.float32)
    x[4, 1] = np.nan
    np.savez(shell.folder / "my.npz", embeddings=x, losses=np.ones(10))
    text = shell("discover", "predictions=my.npz", "logger=none", fails=True)
    assert "row 4" in text
    assert not shell.reports()
    assert not list(shell.folder.glob("**/slices*"))


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/somewhere/discover.py", "python discover.py 'predictions=my run.npz'"),
        ("/usr/bin/weakspot-discover", "weakspot-discover 'predictions=my run.npz'"),
    ],
)
def test_the_command_is_recorded_as_it_can_be_typed_again(program, said, monkeypatch):
    monkeypatch.setattr("sys.argv", [program, "predictions=my run.npz"])
    assert typed_command() == said
