"""The table with which a sweep ends."""

from __future__ import annotations

import re

import numpy as np


def rows(text: str) -> list[list[str]]:
    """The cells of the last table that was printed."""
    table = text.rpartition("The runs of this sweep")[2]
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in table.splitlines()
        if line.startswith("│")
    ]


def test_a_sweep_ends_with_a_row_for_each_run_even_where_a_gate_fails(shell):
    rng = np.random.default_rng(0)
    groups, labels = np.arange(600) % 6, np.arange(600) // 6 % 2
    right = rng.random(600) < np.where(groups == 0, 0.2, 0.95)
    np.savez(
        shell.folder / "my.npz",
        embeddings=6 * np.eye(6)[groups] + rng.normal(size=(600, 6)),
        labels=labels,
        predictions=np.where(right, labels, 1 - labels),
        losses=np.where(right, 0.1, 3.0) + 0.01 * rng.random(600),
    )
    words = (
        "predictions=my.npz",
        "method=kmeans",
        "method.n_clusters=6",
        "logger=none",
        "hydra.sweep.dir=swept",
    )
    text = shell("discover", "-m", *words, "confirm=0,0.5,0.6", fails=False)
    assert "The runs of this sweep, below swept (python browse.py 'folders=[swept]' shows them)" in text
    (number, settings, confirmed, accuracy), (_, other, some, _), _ = rows(text)
    assert (number, settings, other) == ("0", "confirm=0", "confirm=0.5")
    assert confirmed.startswith("none tested of ")
    assert some.startswith("1 of ")
    assert accuracy == f"{100 * right.mean():.1f}\u202f%"

    text = shell("discover", "-m", *words, "seed=1,2", "fail_if.accuracy_below=0.7", fails=3)
    # The third run below the folder is one of the earlier sweep.
    assert [row[:2] for row in rows(text)] == [["0", "seed=1"], ["1", "seed=2"]]  # the gate is shared by both


def test_a_sweep_of_trainings_shows_their_validation_losses(shell):
    text = shell("train", "-m", "training.epochs=1", "seed=3,4", "logger=none")
    found = rows(text)
    assert [row[:2] for row in found] == [["0", "seed=3"], ["1", "seed=4"]]
    assert all(0 < float(row[2]) < 2 for row in found)
    assert "browse.py" not in text  # which shows reports
    assert re.search(r"below multirun/train/\d{4}-\d\d-\d\d/", text)
    assert "The runs of this sweep" not in shell("train", "training.epochs=1", "seed=3", "logger=none")
    assert not list(shell.folder.glob("outputs/train/**/result.json"))
