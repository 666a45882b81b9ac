"""Weights from files: every wrapping is understood, nothing is run, what does not fit is named."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from weakspot.models import SmallCNN, digest, load_weights
from weakspot.tasks import Classification

TASK = Classification(("no", "yes"))


def small(seed: int, classes: int = 2) -> SmallCNN:
    torch.manual_seed(seed)
    return SmallCNN(Classification(tuple(map(str, range(classes)))), channels=(4, 8), embedding=6)


def same(model: nn.Module, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


class Lit(lightning.LightningModule):
    """A Lightning module as people write them: the network under its own name, a weighted loss beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = small(1)
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))

    def training_step(self, batch: Any) -> Tensor:
        return self.criterion(self.backbone(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def prefixed(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": dict,
    "parallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled parallel in lightning": lambda state: {
        "state_dict": prefixed("model.module._orig_mod.")(state)
    },
    "compiled inside": lambda state: {
        name.replace("features.", "features._orig_mod."): tensor for name, tensor in state.items()
    },
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "best": 0.5},
    "model": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "nested": lambda state: {"state_dict": {"model": state}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings(wrapping: str, tmp_path: Path) -> None:
    weights = small(1).state_dict()
    torch.save(WRAPPINGS[wrapping](weights), tmp_path / "weights.pt")
    model = small(2)
    assert not same(model, weights)
    load_weights(model, tmp_path / "weights.pt")
    assert same(model, weights)


def test_the_real_data_parallel_and_compile(tmp_path: Path) -> None:
    source = small(1)
    torch.save(nn.DataParallel(torch.compile(source)).state_dict(), tmp_path / "weights.pt")
    model = small(2)
    load_weights(model, tmp_path / "weights.pt")
    assert same(model, source.state_dict())


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6 on torch 2.15
def test_a_real_lightning_checkpoint(tmp_path: Path) -> None:
    lit = Lit()
    data = torch.utils.data.TensorDataset(torch.rand(8, 3, 8, 8), torch.tensor([0, 1] * 4))
    trainer = lightning.Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(lit, torch.utils.data.DataLoader(data, batch_size=4))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    model = small(2)
    load_weights(model, tmp_path / "last.ckpt")
    assert same(model, lit.backbone.state_dict())


def test_safetensors_and_the_format_before_zip(tmp_path: Path) -> None:
    weights = small(1).state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("weights.safetensors", "old.pth"):
        model = small(2)
        load_weights(model, tmp_path / name)
        assert same(model, weights)


class Crafted:
    """Unpickling this runs code: it writes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.trace)!r}, 'w').close()",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_crafted_file_runs_nothing(zipped: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = {"state_dict": small(1).state_dict(), "extra": Crafted(trace)}
    torch.save(content, tmp_path / "crafted.pt", _use_new_zipfile_serialization=zipped)
    torch.load(tmp_path / "crafted.pt", weights_only=False)
    assert trace.exists(), "the file must be dangerous for the test to mean anything"
    trace.unlink()
    with pytest.raises(
        ValueError, match=r"crafted.pt is refused: besides tensors it holds \S*exec, .*run code"
    ):
        load_weights(small(2), tmp_path / "crafted.pt")
    assert not trace.exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_plain_crafted_pickle_runs_nothing(protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "crafted.pkl").write_bytes(pickle.dumps(Crafted(trace), protocol))
    with pytest.raises(ValueError, match=r"crafted\.pkl"):
        load_weights(small(2), tmp_path / "crafted.pkl")
    assert not trace.exists()


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path: Path) -> None:
    model = small(2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = small(1, classes=5).state_dict()
    del weights["features.0.bias"]
    weights["features.9.weight"] = torch.zeros(1)
    torch.save(weights, tmp_path / "weights.pt")
    with pytest.raises(ValueError) as error:
        load_weights(model, tmp_path / "weights.pt")
    assert str(error.value) == (
        f"{tmp_path / 'weights.pt'} does not fit SmallCNN: missing features.0.bias; "
        "unexpected features.9.weight; wrong shape: output.weight is (5, 6) but the model's is (2, 6), "
        "output.bias is (5,) but the model's is (2,)"
    )
    assert same(model, before)


def test_many_differences_are_counted(tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_1(num_classes=2).state_dict(), tmp_path / "squeezenet.pt")
    with pytest.raises(
        ValueError, match=r"missing features.3.weight, .*and 3 more; unexpected .* more; wrong shape"
    ):
        load_weights(small(2), tmp_path / "squeezenet.pt")


def test_two_networks_in_one_file_are_not_guessed_at(tmp_path: Path) -> None:
    both = prefixed("student.")(small(1).state_dict()) | prefixed("teacher.")(small(3).state_dict())
    torch.save(both, tmp_path / "both.pt")
    with pytest.raises(
        ValueError, match=r"more than one network of this shape, under 'student\.' and 'teacher\.'"
    ):
        load_weights(small(2), tmp_path / "both.pt")


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*absent\.pt"):
        load_weights(small(2), tmp_path / "absent.pt")
    torch.save({"epoch": 3}, tmp_path / "epoch.pt")
    with pytest.raises(ValueError, match="holds no weights"):
        load_weights(small(2), tmp_path / "epoch.pt")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no weights"):
        load_weights(small(2), tmp_path / "list.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files(suffix: str, tmp_path: Path) -> None:
    whole, cut, text, empty = (tmp_path / f"{name}{suffix}" for name in ("whole", "cut", "text", "empty"))
    weights = small(1).state_dict()
    save_file(weights, whole) if suffix == ".safetensors" else torch.save(weights, whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    text.write_text("<!doctype html><title>404 Not Found</title>")
    empty.touch()
    for path in (cut, text, empty):
        with pytest.raises(ValueError, match=path.name):
            load_weights(small(2), path)


def test_files_from_before_batch_counters(tmp_path: Path) -> None:
    """torchvision's older files carry no num_batches_tracked."""
    source = torchvision.models.mobilenet_v3_small(num_classes=2)
    weights = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    torch.save(weights, tmp_path / "weights.pt")
    model = torchvision.models.mobilenet_v3_small(num_classes=2)
    load_weights(model, tmp_path / "weights.pt")
    assert same(model, source.state_dict())


def test_digest_follows_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abd")
    assert digest(tmp_path / "a") == "ba7816bf8f01"  # FIPS 180-2, appendix B.1
    assert digest(tmp_path / "b") != digest(tmp_path / "a")
