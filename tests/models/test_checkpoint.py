"""Weights from files: every wrapper is understood, no code is run, weights that do not fit are named."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
from argparse import Namespace
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as lightning
import torch
import torchvision
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.serialization import get_safe_globals

from weakspot.models import SmallCNN, TorchvisionModel, digest, load_weights
from weakspot.models.torch_files import read_torch
from weakspot.tasks import Classification, Multilabel

TASK = Classification(("no", "yes"))


def small(seed: int, classes: int = 2) -> SmallCNN:
    torch.manual_seed(seed)
    return SmallCNN(Classification(tuple(map(str, range(classes)))), channels=(4, 8), embedding=6)


def same(model: nn.Module, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


class Lit(lightning.LightningModule):
    """A typical Lightning module for Hydra: its configuration and a partial among the hyperparameters,
    the network under its own name, a weighted loss beside it."""

    def __init__(
        self, config: DictConfig, optimizer: Callable[..., torch.optim.Optimizer], folder: Path
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.backbone = small(1)
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))

    def training_step(self, batch: Any) -> Tensor:
        return self.criterion(self.backbone(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = self.hparams["optimizer"](self.parameters())
        return optimizer


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
    "net": lambda state: {"net": state, "acc": 95.1, "epoch": 199},  # pytorch-cifar
    "model_state": lambda state: {"model_state": state, "optimizer_state": {"state": {}}},
    "deepspeed": lambda state: {"module": state, "lr_scheduler": None, "global_steps": 3},
    "wilds": lambda state: {"algorithm": prefixed("model.")(state), "epoch": 3, "best_val_metric": 0.7},
    "a description under a wrapper's name": lambda state: {"model": {"name": "small"}, "net": state},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_weights_are_read_from_every_wrapper(wrapping: str, tmp_path: Path) -> None:
    weights = small(1).state_dict()
    torch.save(WRAPPINGS[wrapping](weights), tmp_path / "weights.pt")
    model = small(2)
    assert not same(model, weights)
    load_weights(model, tmp_path / "weights.pt")
    assert same(model, weights)


def test_weights_of_real_data_parallel_and_compiled_networks_are_read(tmp_path: Path) -> None:
    source = small(1)
    torch.save(nn.DataParallel(torch.compile(source)).state_dict(), tmp_path / "weights.pt")
    model = small(2)
    load_weights(model, tmp_path / "weights.pt")
    assert same(model, source.state_dict())


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6 on torch 2.15
def test_a_real_lightning_checkpoint_is_read(tmp_path: Path) -> None:
    lit = Lit(hydra_config(), partial(torch.optim.AdamW, lr=1e-3), tmp_path)
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


def test_safetensors_and_the_format_before_zip_are_read(tmp_path: Path) -> None:
    weights = small(1).state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("weights.safetensors", "old.pth"):
        model = small(2)
        load_weights(model, tmp_path / name)
        assert same(model, weights)


def hydra_config() -> DictConfig:
    """A configuration as in a running job, with the result of an interpolation in its cache."""
    config = OmegaConf.create({"lr": 0.1, "again": "${lr}", "sizes": [1, 2], "inner": {"name": "a"}})
    assert config.again == 0.1
    return config


class Colour(Enum):
    RED = 1


class Attributes(dict[str, Any]):
    """A mapping whose items are attributes too, as EasyDict and yacs' CfgNode are."""

    def __init__(self, **items: Any) -> None:
        super().__init__(items)
        self.__dict__.update(items)


BESIDE: dict[str, Callable[[], Any]] = {
    "DictConfig": hydra_config,
    "numpy scalar": lambda: np.float64(0.75),
    "numpy array": lambda: np.arange(3),
    "Namespace": lambda: Namespace(arch="resnet18", data=Path("images"), lr=0.1),
    "path": lambda: Path("runs/3"),
    "partial": lambda: partial(torch.optim.AdamW, lr=1e-3),
    "enum": lambda: Colour.RED,
    "set of objects": lambda: {Path("a"), Path("b")},
    "function": lambda: prefixed,
    "slice and range": lambda: [slice(3), range(3)],
    "defaultdict": lambda: defaultdict(list, {"train/loss": [0.3]}),
    "deque": lambda: deque([1.0, 2.0], maxlen=5),
    "mapping of its own class": lambda: Attributes(lr=0.1, path=Path("a")),
    "optimizer": lambda: torch.optim.AdamW([nn.Parameter(torch.zeros(2))]),
    "version": lambda: torch.__version__,
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before zip"])
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code:UserWarning")
def test_weights_beside_any_object_are_read(beside: str, zipped: bool, tmp_path: Path) -> None:
    weights = small(1).state_dict()
    content = {"args": BESIDE[beside](), "state_dict": weights, "last": [BESIDE[beside]()]}
    torch.save(content, tmp_path / "model_best.pth.tar", _use_new_zipfile_serialization=zipped)
    known = set(get_safe_globals())
    model = small(2)
    load_weights(model, tmp_path / "model_best.pth.tar")
    assert same(model, weights)
    assert set(get_safe_globals()) == known, "what torch lets in elsewhere stays as it was"


def test_placeholders_for_objects_are_empty(tmp_path: Path) -> None:
    torch.save({"beside": [make() for make in BESIDE.values()], "weight": torch.ones(2)}, tmp_path / "a.pt")
    content, names = read_torch(tmp_path / "a.pt")
    assert {"omegaconf.dictconfig.DictConfig", "argparse.Namespace", "functools.partial"} <= set(names)
    assert content["weight"].tolist() == [1, 1]
    placeholders = [value for value in content["beside"] if type(value).__module__ == "placeholder"]
    assert len(placeholders) >= 8
    assert not any(vars(placeholder) for placeholder in placeholders)


def test_a_network_beside_weights_is_skipped_except_in_the_old_format(tmp_path: Path) -> None:
    weights = small(1).state_dict()
    content = {"ema": nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "state_dict": weights}
    torch.save(content, tmp_path / "new.pt")
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    model = small(2)
    load_weights(model, tmp_path / "new.pt")
    assert same(model, weights)
    with pytest.raises(
        ValueError, match=r"old\.pt is not a file of weights that torch can read: Only persist"
    ):
        load_weights(model, tmp_path / "old.pt")  # it has the network's source, which torch would look at


def test_a_whole_network_is_not_read_but_named(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "network.pt")
    with pytest.raises(
        ValueError,
        match=r"holds no weights: .*holds torch\.nn\.modules\.container\.Sequential, .*state_dict\(\)",
    ):
        load_weights(small(2), tmp_path / "network.pt")


def test_a_file_with_too_many_types_of_objects_is_refused(tmp_path: Path) -> None:
    rows = b"](" + b"".join(b"cmod\nC%d\n" % i for i in range(500)) + b"e."
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + rows)
        archive.writestr("a/version", "3\n")
    with pytest.raises(ValueError, match=r"a\.pt is not a file of weights that torch can read: .*mod\.C200"):
        load_weights(small(2), tmp_path / "a.pt")


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


class Call:
    """Unpickling this calls a function or creates an object, and sets its state."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments, state)[: 2 if state is None else 3]

    def __reduce__(self) -> Any:
        return self.parts


ATTACKS: dict[str, Callable[[str], Any]] = {
    "os.system": lambda line: Call(os.system, line),
    "subprocess": lambda line: Call(subprocess.run, ["sh", "-c", line]),
    "Popen": lambda line: Call(subprocess.Popen, ["sh", "-c", line]),
    "eval": lambda line: Call(eval, f"__import__('os').system({line!r})"),
    "exec": lambda line: Call(exec, f"import os; os.system({line!r})"),
    "nested": lambda line: Call(list, Call(tuple, [Call(subprocess.getoutput, line)])),
    "attribute": lambda line: Call(
        list, Call(map, Call(getattr, Call(import_module, "subprocess"), "getoutput"), [line])
    ),
    "partial": lambda line: Call(list, Call(map, partial(subprocess.getoutput), [line])),
    "map": lambda line: Call(list, Call(map, subprocess.getoutput, [line])),
    "rebuilt as a tensor": lambda line: Call(
        torch._tensor._rebuild_from_type_v2, subprocess.getoutput, torch.Tensor, (line,), {}
    ),
    "parameter": lambda line: Call(nn.Parameter, Call(subprocess.getoutput, line)),
    "key": lambda line: {Call(subprocess.getoutput, line): 1},
    "state": lambda line: Call(Namespace, state={"a": Call(subprocess.getoutput, line)}),
}


REFUSED = {"os.system", "eval", "exec", "rebuilt as a tensor", "parameter"}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before zip"])
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.filterwarnings("ignore")  # from processes that a crafted file leaves behind
def test_no_crafted_object_is_run(attack: str, zipped: bool, tmp_path: Path) -> None:
    """Either the file is refused, or an empty placeholder replaces the object and the weights beside it are read."""
    trace, weights = tmp_path / "trace", small(1).state_dict()
    content = {"extra": ATTACKS[attack](f"echo > {trace}"), "state_dict": weights}
    path = tmp_path / "crafted.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with suppress(Exception):
        torch.load(path, weights_only=False)
    patience = time.monotonic() + 20
    while not trace.exists() and time.monotonic() < patience:  # written by another process
        time.sleep(0.01)
    assert trace.exists(), "the file must be dangerous for the test to mean anything"
    trace.unlink()
    refused = False
    model = small(2)
    try:
        load_weights(model, path)
    except ValueError:
        refused = True
    assert refused == (attack in REFUSED)
    assert refused or same(model, weights)
    time.sleep(0.2)
    assert not trace.exists()


def test_a_crafted_file_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "imported_by_a_file.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass A: pass\n")
    weights = small(1).state_dict()
    torch.save({"state_dict": weights}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "a.pt", "w") as crafted:
        for entry in plain.namelist():
            held = plain.read(entry)
            if entry.endswith("data.pkl"):  # a dict: add one item before its end
                assert held.endswith(b"s.")
                held = held[:-2] + b"sU\x01acimported_by_a_file\nA\n)\x81s."
            crafted.writestr(entry, held)
    monkeypatch.syspath_prepend(tmp_path)
    model = small(2)
    load_weights(model, tmp_path / "a.pt")
    assert same(model, weights)
    assert not trace.exists()
    assert "imported_by_a_file" not in sys.modules


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_plain_crafted_pickle_runs_nothing(protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "crafted.pkl").write_bytes(pickle.dumps(Crafted(trace), protocol))
    with pytest.raises(ValueError, match=r"crafted\.pkl"):
        load_weights(small(2), tmp_path / "crafted.pkl")
    assert not trace.exists()


def test_weights_that_do_not_fit_are_named_and_nothing_is_changed(tmp_path: Path) -> None:
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


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*absent\.pt"):
        load_weights(small(2), tmp_path / "absent.pt")
    torch.save({"epoch": 3}, tmp_path / "epoch.pt")
    with pytest.raises(ValueError, match="holds no weights"):
        load_weights(small(2), tmp_path / "epoch.pt")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no weights"):
        load_weights(small(2), tmp_path / "list.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files_are_named(suffix: str, tmp_path: Path) -> None:
    whole, cut, text, empty = (tmp_path / f"{name}{suffix}" for name in ("whole", "cut", "text", "empty"))
    weights = small(1).state_dict()
    save_file(weights, whole) if suffix == ".safetensors" else torch.save(weights, whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    text.write_text("<!doctype html><title>404 Not Found</title>")
    empty.touch()
    for path in (cut, text, empty):
        with pytest.raises(ValueError, match=path.name):
            load_weights(small(2), path)


def test_an_archive_that_claims_several_disks_is_damaged(tmp_path: Path) -> None:
    """zipfile raises when asked whether the file is an archive at all."""
    path = tmp_path / "weights.pt"
    locator, end = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 2), b"PK\x05\x06" + bytes(18)
    path.write_bytes(bytes(64) + locator + end)
    with pytest.raises(ValueError, match=r"weights\.pt is a damaged archive"):
        read_torch(path)


def test_older_files_without_batch_counters_are_read(tmp_path: Path) -> None:
    """torchvision's older files have no num_batches_tracked."""
    source = torchvision.models.mobilenet_v3_small(num_classes=2)
    weights = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    torch.save(weights, tmp_path / "weights.pt")
    model = torchvision.models.mobilenet_v3_small(num_classes=2)
    load_weights(model, tmp_path / "weights.pt")
    assert same(model, source.state_dict())


def test_the_published_coco_network_is_read(tmp_path: Path) -> None:
    """UDIS' script saves a DenseNet in DataParallel and calls its last BatchNorm norm_final."""
    source = torchvision.models.densenet201(num_classes=80)
    source.features.norm5.weight.data.uniform_()
    weights = {name.replace("norm5", "norm_final"): value for name, value in source.state_dict().items()}
    content = {"epoch": 36, "arch": "densenet201", "state_dict": prefixed("module.")(weights)}
    torch.save(content, tmp_path / "model_best.pth.tar", _use_new_zipfile_serialization=False)
    task = Multilabel(tuple(map(str, range(80))))
    model = TorchvisionModel(task, "densenet201")
    load_weights(model, tmp_path / "model_best.pth.tar")
    assert same(model.net, source.state_dict())
    start = TorchvisionModel(task, "densenet201", weights=tmp_path / "model_best.pth.tar")
    assert start.head_is_trained
    assert same(start.net, source.state_dict())


def test_digest_follows_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abd")
    assert digest(tmp_path / "a") == "ba7816bf8f01"  # FIPS 180-2, appendix B.1
    assert digest(tmp_path / "b") != digest(tmp_path / "a")


def test_keys_may_be_anything_and_line_breaks_are_escaped(tmp_path: Path) -> None:
    """A key that is not text does not name a weight, and a line break in a name is shown as an escape."""
    model, path = small(2), tmp_path / "weights.pt"
    torch.save(model.state_dict() | {(1, 2): torch.zeros(1)}, path)
    load_weights(small(2), path)
    torch.save(model.state_dict() | {"a\nb": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"unexpected a\\nb$"):
        load_weights(small(2), path)
