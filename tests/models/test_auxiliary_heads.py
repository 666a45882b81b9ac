"""Networks with auxiliary heads (GoogLeNet, Inception-v3): trained with them as published, read without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from weakspot.models import SmallCNN, UserModel
from weakspot.pipeline.group_metrics import Groups
from weakspot.pipeline.learner import Learner
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.tasks import Classification

THREE = Classification(("a", "b", "c"))
KINDS = [
    pytest.param("googlenet", 64, 0.3, id="googlenet"),
    pytest.param("inception_v3", 299, 0.4, marks=pytest.mark.slow, id="inception_v3"),
]


def build(name: str) -> UserModel:
    torch.manual_seed(0)
    settings = {"init_weights": False, "aux_logits": True}
    return UserModel(THREE, path=f"torchvision.models:{name}", head="fc", kwargs=settings)


@pytest.mark.parametrize(("name", "side", "weight"), KINDS)
def test_the_objective_is_the_published_sum(name: str, side: int, weight: float) -> None:
    model = build(name).train()
    batch = {
        "input": torch.rand(4, 3, side, side),
        "target": torch.tensor([0, 1, 2, 0]),
        "index": torch.arange(4),
    }
    torch.manual_seed(1)
    logits, *further = model.net(batch["input"])
    expected = cross_entropy(logits, batch["target"])
    for outputs in further:
        expected = expected + weight * cross_entropy(outputs, batch["target"])
    for (
        module
    ) in model.modules():  # the pass above moved the running means; dropout is drawn again with the same seed
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
    learner = Learner(model, THREE, TrainingSettings())
    torch.manual_seed(1)
    drawn = model(batch["input"])  # dropout before the head is drawn once, in either pass
    assert drawn.shape == (4, 3)
    assert [share for share, _ in model.auxiliary()] == [weight] * len(further)
    torch.manual_seed(1)
    found = learner.training_step(batch, 0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    found.backward()
    unused = [path for path, parameter in model.net.named_parameters() if parameter.grad is None]
    assert unused == []  # or training on several devices would wait for them
    assert model.auxiliary() == []  # handed over once


@pytest.mark.parametrize(("name", "side", "weight"), KINDS)
def test_outputs_do_not_use_the_auxiliary_heads(name: str, side: int, weight: float) -> None:
    model = build(name).eval()
    x = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        outputs = model(x)
        torch.testing.assert_close(outputs, model.net(x))
        torch.testing.assert_close(model.head(model.embed(x)), outputs)
    assert model.auxiliary() == []


def test_without_auxiliary_heads_nothing_is_added_to_the_loss() -> None:
    torch.manual_seed(0)
    model = SmallCNN(THREE)
    batch = {"input": torch.rand(4, 3, 32, 32), "target": torch.tensor([0, 1, 2, 0])}
    found = Learner(
        model, THREE, TrainingSettings(), {"g": Groups(("all",), np.zeros(4, dtype=np.int64))}
    ).training_step(batch, 0)
    torch.testing.assert_close(found, cross_entropy(model(batch["input"]), batch["target"]))


def test_auxiliary_heads_of_a_one_logit_network_have_one_logit(tmp_path, monkeypatch) -> None:
    (tmp_path / "lone_auxiliary.py").write_text(
        "import torch\n\n\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fc, self.aux = torch.nn.Linear(12, 1), torch.nn.Linear(12, 1)\n\n"
        "    def forward(self, x):\n"
        "        flat = x.flatten(1)\n"
        "        return (self.fc(flat), self.aux(flat), flat) if self.training else self.fc(flat)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    model = UserModel(Classification(("no", "yes")), path="lone_auxiliary:Net", head="fc").train()
    x = torch.rand(5, 3, 2, 2)
    assert model(x).shape == (5, 2)
    ((share, outputs),) = model.auxiliary()  # its third output has another shape, so it is not one
    assert share == 0.4
    torch.testing.assert_close(outputs, torch.cat([torch.zeros(5, 1), model.net.aux(x.flatten(1))], dim=1))
