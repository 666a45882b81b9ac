"""Half precision: the network computes in it, but metrics and recorded labels are not rounded to it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from weakspot import Predictions
from weakspot.datasets.colored_digits import ColoredDigits

NETWORK = """
import torch

class Net(torch.nn.Module):
    def __init__(self, num_classes, dtype="float32"):
        super().__init__()
        self.fc = torch.nn.Linear(48, num_classes)
        with torch.no_grad():  # the same always
            self.fc.weight.normal_(generator=torch.Generator().manual_seed(0)).mul_(0.1)
            self.fc.bias.zero_()
        self.to(getattr(torch, dtype))

    def forward(self, x):
        return self.fc(torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1))
"""
COMMON = ("model=module", "model.path=network:Net", "model.head=fc", "logger=none", "trainer=cpu")
DTYPES = {"16-true": torch.float16, "bf16-true": torch.bfloat16, "32-true": torch.float32}


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("precision", ["16-true", "bf16-true"])
def test_training_metrics_match_the_checkpoint(shell, precision):
    """Every metric of the kept epoch, recomputed from its checkpoint."""
    (shell.folder / "network.py").write_text(NETWORK)
    training = (
        "training.epochs=2",
        "training.optimizer=sgd",
        "training.learning_rate=0.1",
        "training.keep=last",
    )
    shell("train", *COMMON, *training, f"trainer.precision={precision}")
    (manifest,) = shell.folder.glob("outputs/checkpoints/*/manifest.json")
    measured = json.loads(manifest.read_text())["kept_epoch"]

    weights = torch.load(manifest.with_name("model.ckpt"), weights_only=True)["state_dict"]
    assert weights["model.net.fc.weight"].dtype == DTYPES[precision]
    data = ColoredDigits("val")
    x = torch.stack([data[row]["input"] for row in range(len(data))]).to(DTYPES[precision])
    targets = torch.from_numpy(data.targets)
    features = torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
    logits = torch.nn.functional.linear(
        features, weights["model.net.fc.weight"], weights["model.net.fc.bias"]
    ).float()
    correct = (logits.argmax(1) == targets).numpy()
    groups = np.array(data.examples["group"].to_pylist())
    worst = min(correct[groups == group].mean() for group in np.unique(groups))
    assert measured["val/loss"] == pytest.approx(float(cross_entropy(logits, targets)), rel=1e-4)
    assert measured["val/accuracy"] == pytest.approx(correct.mean(), abs=1e-6)
    assert measured["val/worst_group"] == pytest.approx(worst, abs=1e-6)


@pytest.mark.parametrize("precision", ["16-true", "bf16-true"])
def test_real_valued_labels_are_not_rounded_to_half_precision(shell, precision):
    """70 000 is beyond float16's range, and 1234.567 has more digits than it holds."""
    (shell.folder / "network.py").write_text(NETWORK)
    labels = np.array([1234.567, 70_000, 0.1, -3, 8.25, 17])
    rng = np.random.default_rng(0)
    with (shell.folder / "houses.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        for row, label in enumerate(labels):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(shell.folder / f"{row}.png")
            table.writerow([f"{row}.png", label, "test"])
    dataset = ("dataset=csv", "dataset.file=houses.csv", "dataset.size=8", "num_workers=0")
    shell("infer", *COMMON, *dataset, "checkpoint=pretrained", f"trainer.precision={precision}")
    (manifest,) = shell.folder.glob("outputs/predictions/*/manifest.json")
    p = Predictions.load(manifest.parent)
    np.testing.assert_array_equal(p.labels, labels.astype(np.float32))
    np.testing.assert_allclose(p.losses, (p.labels - p.predictions) ** 2, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_network_in_another_precision_computes_in_the_precision_of_the_trainer(shell, dtype):
    (shell.folder / "network.py").write_text(NETWORK)
    shell("infer", *COMMON, "checkpoint=pretrained", f"+model.kwargs.dtype={dtype}")
    (manifest,) = shell.folder.glob("outputs/predictions/*/manifest.json")
    p = Predictions.load(manifest.parent)
    weight = torch.empty(2, 48).normal_(generator=torch.Generator().manual_seed(0)).mul_(0.1)
    rounded = weight.to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_allclose(p.outputs, p.embeddings @ rounded.T, rtol=1e-4, atol=1e-5)
