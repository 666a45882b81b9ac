"""Scores of a model, class by class, compared with other implementations and a count by hand."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from sklearn.metrics import precision_recall_fscore_support
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multilabel_accuracy,
    multilabel_f1_score,
    multilabel_precision,
    multilabel_recall,
)

from weakspot import Predictions
from weakspot.pipeline.model_scores import score, score_by_class
from weakspot.tasks import Classification, Multilabel, Rating
from weakspot.tracking.score_reports import scores_table


class Alone:
    """The part of a dataset that `score` needs."""

    def __init__(self, task):
        self.task = task

    def scores(self, predictions):
        return {}


def several_labels(n=300, k=6, seed=0):
    """Predictions of uneven quality; the last class never occurs, and the one before it is never predicted."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, k)) < np.linspace(0.6, 0.1, k)).astype(np.int64)
    outputs = rng.normal(size=(n, k)).astype(np.float32) + 2 * labels - 1
    labels[:, -1] = 0
    outputs[:, -2] = -1
    task = Multilabel(tuple("abcdef"[:k]))
    return Predictions.from_arrays(rng.normal(size=(n, 2)), outputs=outputs, labels=labels, task=task)


def test_multilabel_precision_recall_and_f1_match_torchmetrics_and_sklearn():
    p = several_labels()
    outputs, labels, k = torch.from_numpy(np.array(p.outputs)).sigmoid(), torch.from_numpy(p.labels), 6
    theirs = {"P": multilabel_precision, "R": multilabel_recall, "F": multilabel_f1_score}
    measures = score(p, Alone(p.task))
    for letter, of in theirs.items():
        assert measures[f"{letter}_C"] == pytest.approx(float(of(outputs, labels, k, average="macro")))
        assert measures[f"{letter}_O"] == pytest.approx(float(of(outputs, labels, k, average="micro")))
    assert measures["F_C"] == pytest.approx(measures["f1"])
    precision, recall, f1, support = precision_recall_fscore_support(p.labels, p.predictions, zero_division=0)
    accuracy = multilabel_accuracy(outputs, labels, k, average="none").numpy()
    by_class = score_by_class(p)
    assert list(by_class) == list("abcdef")
    columns = {
        name: np.array([found[name] for found in by_class.values()])
        for name in ("examples", "accuracy", "precision", "recall", "f1")
    }
    expected = zip(columns.values(), (support, accuracy, precision, recall, f1), strict=True)
    for ours, other in expected:
        np.testing.assert_allclose(ours, other, rtol=1e-6)


def test_multilabel_scores_match_a_count_by_hand():
    """Precision and recall. Cat: 1 of 2, 1 of 1. Dog: 1 of 1, 1 of 2. Both together: 2 of 3, 2 of 3."""
    labels = np.array([[1, 1], [0, 1], [0, 0]])
    outputs = np.where([[1, 1], [1, 0], [0, 0]], 2.0, -2.0)
    p = Predictions.from_arrays(np.eye(3), outputs=outputs, labels=labels, task=Multilabel(("cat", "dog")))
    measures = score(p, Alone(p.task))
    assert {name: round(measures[name], 4) for name in ("P_C", "R_C", "F_C", "P_O", "R_O", "F_O")} == {
        "P_C": 0.75,
        "R_C": 0.75,
        "F_C": 0.6667,
        "P_O": 0.6667,
        "R_O": 0.6667,
        "F_O": 0.6667,
    }
    assert score_by_class(p)["cat"] == pytest.approx(
        {"examples": 1, "accuracy": 2 / 3, "precision": 0.5, "recall": 1, "f1": 2 / 3}
    )


def test_the_accuracy_of_a_class_is_the_share_of_its_examples_predicted_right():
    rng = np.random.default_rng(0)
    labels, outputs = rng.integers(0, 4, 200), rng.normal(size=(200, 5)).astype(np.float32)
    p = Predictions.from_arrays(
        rng.normal(size=(200, 2)), outputs=outputs, labels=labels, task=Classification(tuple("abcde"))
    )
    by_class = score_by_class(p)
    theirs = multiclass_accuracy(torch.from_numpy(outputs), torch.from_numpy(labels), 5, average=None)
    for one, other in zip("abcd", theirs, strict=False):
        assert by_class[one]["accuracy"] == pytest.approx(float(other))
    assert by_class["a"]["examples"] == (labels == 0).sum()
    assert by_class["e"]["examples"] == 0
    assert np.isnan(by_class["e"]["accuracy"])


def test_ratings_and_records_without_labels_have_no_scores_by_class():
    x = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    rated = Predictions.from_arrays(x, outputs=x, labels=np.arange(9) % 5, task=Rating(tuple("12345")))
    assert score_by_class(rated) == {}
    assert score_by_class(Predictions.from_arrays(x, losses=np.ones(9))) == {}


def printed(scores, by_class):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(scores_table(scores, by_class))
    return console.export_text()


def test_the_table_fits_80_columns_whatever_the_class_names():
    p = several_labels()
    names = ["[red]x[/red]", "\x1b[31mloud", "a very long name of a class " * 4, "größe", "c/d", "="]
    text = printed(score(p, Alone(p.task)), dict(zip(names, score_by_class(p).values(), strict=True)))
    assert max(map(len, text.splitlines())) <= 80
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    assert re.search(r"P_C 0\.\d+ · R_C 0\.\d+ · F_C", " ".join(text.split()))


def test_only_the_worst_of_very_many_classes_are_shown():
    by_class = {f"class {i}": {"examples": 1.0, "accuracy": (i * 37 % 1000) / 1000} for i in range(1000)}
    by_class["empty"] = {"examples": 0.0, "accuracy": float("nan")}
    text = printed({"accuracy": 0.5}, by_class)
    assert "The 20 worst of 1\u202f001 classes; scores.csv in the run's folder has all." in text
    shown = [float(share) for share in re.findall(r"│ +(\d+(?:\.\d)?)\u202f% │", text)]
    assert shown == [i / 10 for i in range(20)]
    assert "empty" not in text


@pytest.mark.slow
def test_one_command_prints_logs_and_saves_the_scores(shell):
    rows = ["path,tags,split"]
    for row in range(60):
        Image.new("RGB", (12, 12), (4 * row, 20, 20)).save(shell.folder / f"{row}.png")
        rows.append(f"{row}.png,{'young' if row < 30 else 'old|tall'},{('train', 'val', 'test')[row % 3]}")
    (shell.folder / "my.csv").write_text("\n".join(rows))
    text = shell(
        "infer",
        *("dataset=csv", "dataset.file=my.csv", "dataset.label=tags", "dataset.separator='|'"),
        *("model=small_cnn", "dataset.size=12", "training.epochs=1", "trainer=cpu", "logger=csv"),
        COLUMNS="80",
    )
    p = Predictions.load(next(shell.folder.glob("outputs/predictions/*/manifest.json")).parent)
    measures = score(p, Alone(p.task))
    flat = " ".join(text.split())
    for name in ("P_C", "R_C", "F_C", "P_O", "R_O", "F_O"):
        assert f"{name} {measures[name]:.4g}" in flat
    table = [line for line in text.splitlines() if line.startswith("│")]
    assert [line.split()[1] for line in table] == ["old", "tall", "young"]
    with next(shell.folder.glob("outputs/infer/*/*/scores.csv")).open(newline="") as file:
        kept = {row.pop("class"): row for row in csv.DictReader(file)}
    with next(shell.folder.glob("outputs/infer/**/metrics.csv")).open(newline="") as file:
        *_, logged = csv.DictReader(file)
    for one, found in score_by_class(p).items():
        for name, value in found.items():
            assert float(kept[one][name]) == pytest.approx(value, rel=1e-5)
            assert float(logged[f"test/class={one}/{name}"]) == pytest.approx(value)
    assert float(logged["test/F_O"]) == pytest.approx(measures["F_O"])
