"""Real-valued targets: from arrays and files, through training, to a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pytorch_lightning import Trainer
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

from weakspot import UDIS, Findings, Predictions, Spotlight
from weakspot.datasets.base import Dataset
from weakspot.datasets.datamodule import DataModule
from weakspot.findings.numbers import decimal, signed
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline.infer import infer
from weakspot.pipeline.model_scores import score
from weakspot.pipeline.train import train
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.tasks import Classification, Multilabel, Rating, Regression, Task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
LABELS = 20 + 10 * RNG.normal(size=60)
SAID = LABELS + RNG.normal(size=60)
WEIGHTS = RNG.uniform(size=60)


def test_fractions_make_a_regression_with_squared_losses():
    p = Predictions.from_arrays(X, labels=LABELS, predictions=SAID)
    assert p.task == Regression()
    np.testing.assert_allclose(p.losses, (LABELS - SAID) ** 2)
    np.testing.assert_array_equal(p.labels, LABELS)
    assert p.correct is None
    assert p.accuracy is None
    assert p.name_of(p.labels, 0) == f"{LABELS[0]:.6g}"


@pytest.mark.parametrize("outputs", [SAID[:, None], SAID, torch.from_numpy(SAID[:, None])])
def test_one_column_of_outputs_is_the_prediction(outputs):
    p = Predictions.from_arrays(X, labels=LABELS, outputs=outputs)
    assert p.outputs.shape == (60, 1)
    np.testing.assert_array_equal(p.predictions, SAID)
    np.testing.assert_allclose(p.losses, (LABELS - SAID) ** 2)


@pytest.mark.parametrize(
    ("arrays", "task"),
    [
        ({"labels": LABELS.astype(np.float32)}, Regression()),
        ({"labels": LABELS[:, None], "predictions": SAID}, Regression()),
        ({"labels": LABELS.round().astype(int), "predictions": SAID}, Regression()),
        ({"labels": LABELS.round() % 5}, Classification(("0", "1", "2", "3", "4"))),
        ({"labels": LABELS.round() % 5, "task": Regression(loss="absolute")}, Regression(loss="absolute")),
        ({"labels": LABELS.round() - 100, "task": Regression()}, Regression()),
    ],
)
def test_the_task_follows_from_the_arrays(arrays, task):
    p = Predictions.from_arrays(X, **arrays)
    assert p.task == task
    if isinstance(task, Regression):
        assert p.labels.dtype == np.float64
        np.testing.assert_allclose(p.labels, np.ravel(arrays["labels"]))


@pytest.mark.parametrize(
    ("task", "mean_loss", "measure", "value"),
    [
        (Regression(), np.mean((SAID - LABELS) ** 2), "rmse", root_mean_squared_error(LABELS, SAID)),
        (Regression(loss="absolute"), np.mean(abs(SAID - LABELS)), "mae", mean_absolute_error(LABELS, SAID)),
        (
            Regression(loss="pinball", quantile=0.9),
            mean_pinball_loss(LABELS, SAID, alpha=0.9),
            "mae",
            mean_absolute_error(LABELS, SAID),
        ),
    ],
)
def test_losses_and_metrics_match_sklearn(task, mean_loss, measure, value):
    p = Predictions.from_arrays(X, labels=LABELS, predictions=SAID, task=task)
    assert p.losses.mean() == pytest.approx(mean_loss)
    assert task.measure == measure
    metric = task.metric()
    metric.update(torch.from_numpy(SAID), torch.from_numpy(LABELS))
    assert float(metric.compute()) == pytest.approx(value)
    assert task.aggregate(task.unit_errors(None, SAID, LABELS).mean()) == pytest.approx(value)
    assert Task.from_dict(task.to_dict()) == task


def test_a_weighted_group_has_the_weighted_metric():
    squared, absolute = Regression(), Regression(loss="absolute")
    for task, oracle in ((squared, root_mean_squared_error), (absolute, mean_absolute_error)):
        errors = task.unit_errors(SAID[:, None], None, LABELS)
        measured = task.aggregate(float(np.average(errors, weights=WEIGHTS)))
        assert measured == pytest.approx(oracle(LABELS, SAID, sample_weight=WEIGHTS))
    assert not squared.by_accuracy


def test_errors_of_ratings_are_those_of_the_expected_rating():
    task = Rating(("1", "2", "3"))
    outputs = RNG.normal(size=(60, 3)).astype(np.float32)
    labels = RNG.integers(0, 3, 60)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    errors = task.unit_errors(outputs, None, labels)
    np.testing.assert_allclose(errors, (shares @ [0, 1, 2] - labels) ** 2, rtol=1e-4)
    metric = task.metric()
    metric.update(task.estimate(torch.from_numpy(outputs)), torch.from_numpy(labels))
    assert task.aggregate(errors.mean()) == pytest.approx(float(metric.compute()), rel=1e-5)
    np.testing.assert_array_equal(task.unit_errors(None, labels[::-1], labels), (labels[::-1] - labels) ** 2)
    assert not task.by_accuracy


@pytest.mark.parametrize("task", [Regression(), Regression(loss="absolute")])
def test_errors_have_a_sign(task):
    np.testing.assert_allclose(task.signed_errors(None, SAID, LABELS), SAID - LABELS)
    assert Classification(("a", "b")).signed_errors(None, np.array([0]), np.array([1])) is None


def test_signed_errors_are_the_expected_rating_minus_the_label():
    logits = np.log(np.array([[0.5, 0.5, 1e-9], [0.2, 0.3, 0.5]], dtype=np.float32))
    task = Rating(("1", "2", "3"))
    np.testing.assert_allclose(task.signed_errors(logits, None, np.array([2, 0])), [-1.5, 1.3], atol=1e-6)


def test_other_tasks_have_an_error_rate():
    task = Classification(("a", "b"))
    labels, outputs = np.array([0, 1, 1]), np.array([[2.0, 0], [1, 0], [0, 3]])
    np.testing.assert_array_equal(task.unit_errors(outputs, None, labels), [0, 1, 0])
    pairs = Multilabel(("a", "b"))
    np.testing.assert_array_equal(pairs.unit_errors(None, np.eye(2), np.ones((2, 2))), [1, 1])
    assert task.by_accuracy
    assert pairs.by_accuracy
    with pytest.raises(ValueError, match="need outputs or predictions"):
        task.unit_errors(None, None, labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "huber"}, "choose squared, absolute or pinball"),
        ({"quantile": 1.0}, "must lie between 0 and 1"),
        ({"classes": ("a",)}, "has no classes"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Regression(**settings)


def test_a_saved_record_loads_unchanged(tmp_path: Path):
    task = Regression(loss="pinball", quantile=0.2)
    p = Predictions.from_arrays(X, labels=LABELS, outputs=SAID, task=task)
    q = Predictions.load(p.save(tmp_path / "record"))
    assert q.task == task
    assert q.correct is None
    for name in ("labels", "predictions", "outputs", "losses"):
        np.testing.assert_array_equal(getattr(q, name), getattr(p, name))


def test_a_file_of_real_valued_targets_is_searched_and_reported(shell):
    group = np.where(np.arange(60) < 15, "north", "south")
    said = np.where(group == "north", LABELS + 9, SAID)
    spread = np.where(group == "north", 3, 0)[:, None] + X
    np.savez(shell.folder / "prices.npz", embeddings=spread, labels=LABELS, predictions=said, region=group)
    printed = shell("discover", "predictions=prices.npz", "logger=none", "method.n_slices=1")
    assert "region = north" in printed
    assert "rmse of all 60" in printed
    assert "accuracy" not in printed
    page = shell.reports()[0].read_text()
    assert f"{LABELS[:15].min():.6g}" in page, "labels are shown as numbers"


@pytest.fixture
def rents(shell):
    """Rents that the model predicts 2 too high in the north, and with random errors (deviation 1) elsewhere."""
    random = np.random.default_rng(0)
    n = 600
    north = random.random(n) < 0.25
    labels = random.uniform(5, 20, n)
    error = np.where(north, 2, random.normal(size=n))
    x = np.where(north, 4, 0)[:, None] + random.normal(size=(n, 6))
    region = np.where(north, "north", "south")
    np.savez(
        shell.folder / "rents.npz", embeddings=x, labels=labels, predictions=labels + error, region=region
    )
    return shell


def test_a_finding_reports_its_bias_and_a_gate_judges_its_error(rents):
    line = ("discover", "predictions=rents.npz", "logger=none", "method.n_slices=1")
    text = rents(*line, "fail_if.error_above=1.5", "hydra.run.dir=a", fails=3)
    findings = Findings.load(rents.folder / "a")
    (one,) = (finding for finding in findings.findings if finding.confirmed)
    assert one.bias.inside == pytest.approx(2, abs=0.1)
    assert one.bias.outside == pytest.approx(0, abs=0.2)
    assert one.confidence is None
    rmse, (low, high) = decimal(one.error.inside), map(decimal, one.error.interval)
    assert (
        f"fail_if:\n  region = north: the RMSE is {rmse} (95\u202f% interval {low} to {high}), above 1.5"
        in text
    )
    north, *_ = findings.whole.values_of_large_error
    assert (north.attribute, north.value) == ("region", "north")
    assert north.error == pytest.approx(one.error.inside, rel=0.1)
    assert north.interval[0] <= north.error <= north.interval[1]
    page = " ".join((rents.folder / "a" / "report.html").read_text("utf-8").split())
    assert "RMSE by attribute</h2>" in page
    assert f">{decimal(north.error)}</td>" in page
    assert f"On average, prediction minus label is {signed(one.bias.inside, share=False)} (95" in page
    assert "nothing confirmed has an error above 3" in rents(*line, "fail_if.error_above=3")
    said = rents(*line, "fail_if.accuracy_below=0.5", fails=2)
    assert "needs answers that are right or wrong" in said
    for limit in ("0", "inf", "-1", "nan"):
        said = rents(*line, f"fail_if.error_above={limit}", fails=2)
        assert f"fail_if.error_above={limit} must be a finite number above 0" in said


def test_slices_are_not_carried_over_to_numbers_without_predictions(rents):
    rents("discover", "predictions=rents.npz", "logger=none", "method.n_slices=1", "hydra.run.dir=a")
    with np.load(rents.folder / "rents.npz") as file:
        x, labels = file["embeddings"], file["labels"]
    np.savez(rents.folder / "losses.npz", embeddings=x + 0.01, labels=labels, losses=labels**2)
    said = rents("discover", "slices=a", "predictions=losses.npz", "logger=none", "hydra.run.dir=b", fails=2)
    assert (
        "losses.npz: errors need outputs or predictions in addition to the labels; neither is given" in said
    )
    assert not (rents.folder / "b").exists()


def test_a_gate_on_errors_needs_ratings_or_numbers(shell):
    np.savez(
        shell.folder / "classes.npz", embeddings=X, labels=np.arange(60) % 2, predictions=np.zeros(60, int)
    )
    said = shell("discover", "predictions=classes.npz", "logger=none", "fail_if.error_above=1", fails=2)
    assert "fail_if.error_above=1 needs predicted ratings or numbers" in said
    assert "set fail_if.accuracy_below" in said


def test_a_gate_that_could_never_fail_is_refused(shell):
    """Without labels, nothing is right or wrong, and no error is known."""
    losses = np.random.default_rng(0).exponential(size=60)
    np.savez(shell.folder / "numbers.npz", embeddings=X, losses=losses, predictions=SAID)
    np.savez(shell.folder / "classes.npz", embeddings=X, losses=losses, predictions=np.arange(60) % 2)
    line = ("discover", "logger=none")
    said = shell(*line, "predictions=numbers.npz", "fail_if.error_above=1", fails=2)
    assert "needs predicted ratings or numbers with their labels" in said
    said = shell(*line, "predictions=classes.npz", "fail_if.accuracy_below=0.5", fails=2)
    assert "needs answers that are right or wrong, and these predictions have none" in said
    labels = np.arange(60) % 2
    np.savez(shell.folder / "losses.npz", embeddings=X, losses=losses, labels=labels)
    np.savez(shell.folder / "right.npz", embeddings=X + 1, losses=losses, labels=labels, predictions=labels)
    for words in ("predictions=losses.npz", "predictions=right.npz confirm=losses.npz"):
        said = shell(*line, *words.split(), "fail_if.accuracy_below=0.5", fails=2)
        assert "needs answers that are right or wrong, and these predictions have none" in said


def test_udis_refuses_a_regression_without_correctness():
    p = Predictions.from_arrays(X, labels=LABELS, predictions=SAID)
    with pytest.raises(ValueError, match="a regression does not define; give correct"):
        UDIS().fit(p)
    near = Predictions.from_arrays(X, labels=LABELS, predictions=SAID, correct=abs(SAID - LABELS) < 0.5)
    assert near.accuracy == pytest.approx(np.mean(abs(SAID - LABELS) < 0.5))
    assert UDIS().fit(near).tree_.size == 60
    UDIS().check_record(near)


class Brightness(Dataset):
    """Images whose brightness, a real number, is to be predicted."""

    task = Regression()

    def __init__(self, split: str) -> None:
        super().__init__(split)
        draw = np.random.default_rng(self.splits.index(split))
        self.targets = draw.uniform(0, 1, 64)
        self.examples = pa.table({"id": [f"{split}{i}" for i in range(64)], "half": np.arange(64) % 2})

    def input(self, row: int) -> torch.Tensor:
        return torch.full((3, 8, 8), float(self.targets[row]))

    def preview(self, row: int) -> str:
        return f"{self.targets[row]:.3f}"

    def fingerprint(self) -> str:
        return "brightness"


def make_trainer(**options) -> Trainer:
    return Trainer(**{"accelerator": "cpu", "enable_model_summary": False} | options)


@pytest.mark.slow
def test_a_head_of_one_output_learns_a_regression(tmp_path: Path):
    data = DataModule(Brightness, batch_size=16)
    torch.manual_seed(0)
    model = SmallCNN(task=Brightness.task)
    training = TrainingSettings(epochs=20, learning_rate=3e-3)
    kept = train(model, data, training, make_trainer, tmp_path / "run")
    manifest = json.loads((kept.parent / "manifest.json").read_text())
    assert {"val/rmse", "val/loss"} <= set(manifest["last_epoch"])
    p = infer(model, data, "test", make_trainer, tmp_path / "store", {})
    assert p.task == Brightness.task
    assert p.correct is None
    np.testing.assert_allclose(p.labels, Brightness("test").targets, rtol=1e-6)
    np.testing.assert_allclose(p.predictions, p.outputs[:, 0])
    measures = score(p, data.dataset("test"))
    assert measures["rmse"] == pytest.approx(root_mean_squared_error(p.labels, p.predictions), rel=1e-5)
    assert measures["rmse"] < 0.1 < np.std(p.labels)
    assert "accuracy" not in measures
    assert len(Spotlight(n_slices=1, min_size=8).fit(p).slices_) == 1
