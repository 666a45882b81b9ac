"""Any timm model: its own embedding, an exact split, weights that fit or are refused. Needs the extra `timm`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from processes import quiet_environment
from weakspot.models import TimmModel, load_weights
from weakspot.tasks import Classification

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.optional

FACES = Classification(("female", "male"))
DIGITS = Classification(tuple("0123456789"))
IMAGENET = Classification(tuple(map(str, range(1000))))
KINDS = {  # name: (side of the image, the layer for Grad-CAM)
    "resnet18": (64, "layer4"),
    "convnext_atto": (64, "stages.3"),
    "mobilenetv3_small_050": (64, "blocks.5"),
    "resnetv2_50x1_bit": (64, "stages.3"),  # its classifier is a convolution
    "densenet121": (64, "features.norm5"),
    "test_vit": (160, "blocks.5.norm1"),
    "swin_s3_tiny_224": (224, "layers.3"),  # maps with channels last
    "mixer_s32_224": (224, None),
}


@pytest.mark.parametrize("name", KINDS)
def test_split_is_exact_and_the_embedding_is_timms(name: str) -> None:
    torch.manual_seed(0)
    model = TimmModel(DIGITS, name).eval()
    side, layer = KINDS[name]
    x = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        z, outputs = model.read(x)
        assert z.shape == (2, model.embedding_size)
        assert torch.equal(outputs, model.net(x))
        assert torch.equal(outputs, model.head(z))
        own = model.net.forward_head(model.net.forward_features(x), pre_logits=True)
    assert torch.equal(z, own.flatten(1))
    assert model.cam_layer is (None if layer is None else model.net.get_submodule(layer))
    assert not model.head_is_trained


@pytest.mark.parametrize("name", ["convnext_atto", "densenet121", "test_vit", "swin_s3_tiny_224"])
def test_grad_cam_matches_its_definition(name: str) -> None:
    from gradcam_by_hand import by_hand, finish
    from weakspot.explain.gradcam import grad_cam

    torch.manual_seed(0)
    model = TimmModel(DIGITS, name).eval()
    side = KINDS[name][0]
    x = torch.rand(2, 3, side, side)
    kept: list[torch.Tensor] = []

    def keep(_module: object, _received: object, given: torch.Tensor) -> torch.Tensor:
        kept.append(given.clone())
        kept[0].retain_grad()
        return kept[0].clone()

    hook = model.cam_layer.register_forward_hook(keep)
    model(x).amax(dim=1).sum().backward()
    hook.remove()
    maps = [kept[0].detach(), kept[0].grad]
    if kept[0].ndim == 3:
        maps = [tokens[:, -100:].transpose(1, 2).reshape(2, -1, 10, 10) for tokens in maps]
    if name.startswith("swin"):
        maps = [layer.permute(0, 3, 1, 2) for layer in maps]
    torch.testing.assert_close(
        torch.from_numpy(grad_cam(model, x)),
        torch.from_numpy(finish(by_hand(*maps), side, side)).float(),
        atol=1e-5,
        rtol=0,
    )


def test_own_checkpoints_load_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, other = TimmModel(FACES, "test_resnet"), TimmModel(FACES, "test_resnet")
    torch.save(
        {"state_dict": {f"model.{k}": v for k, v in trained.state_dict().items()}}, tmp_path / "ours.ckpt"
    )
    load_weights(other, tmp_path / "ours.ckpt")
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(("task", "kept"), [(FACES, True), (DIGITS, False)])
def test_a_file_of_weights_keeps_its_head_if_the_number_of_classes_is_the_same(
    task: Classification, kept: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = timm.create_model("test_resnet", num_classes=2).state_dict()
    torch.save({"state_dict": {f"module.{k}": v for k, v in source.items()}}, tmp_path / "weights.pt")
    model = TimmModel(task, "test_resnet", weights=tmp_path / "weights.pt")
    assert model.head_is_trained == kept
    assert model.new_head == (
        None if kept else f"{tmp_path}/weights.pt: its head of 2 classes is replaced by a new one of 10"
    )
    own = model.net.state_dict()
    same = {
        name for name in own if own[name].shape == source[name].shape and torch.equal(own[name], source[name])
    }
    assert set(own) - same == (set() if kept else {"fc.weight", "fc.bias"})
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, task.n_outputs)


def test_position_embeddings_are_resized_to_the_image_size(tmp_path: Path) -> None:
    source = timm.create_model("test_vit", num_classes=2)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    model = TimmModel(FACES, "test_vit", tmp_path / "weights.safetensors", kwargs={"img_size": 96}).eval()
    assert model(torch.rand(1, 3, 96, 96)).shape == (1, 2)
    with pytest.raises(
        ValueError, match=r"test_vit takes images of exactly 96×96 pixels, not 160×160.*dataset\.size=96"
    ):
        model(torch.rand(1, 3, 160, 160))


def test_published_weights_come_from_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"model\.safetensors of timm/test_resnet.* are not in .*model\.download=true"
    ):
        TimmModel(IMAGENET, "test_resnet.r160_in1k", weights="DEFAULT")
    source = timm.create_model("test_resnet").state_dict()
    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    save_file(source, snapshot / "model.safetensors")
    model = TimmModel(IMAGENET, "test_resnet.r160_in1k", weights="DEFAULT")
    assert model.head_is_trained
    assert all(torch.equal(tensor, source[name]) for name, tensor in model.net.state_dict().items())


_PUBLISHED = """
import socket
tried = []
def refuse(*call, **_):
    tried.append(call)
    raise OSError("a network call")
socket.socket.connect = socket.getaddrinfo = refuse

from weakspot.models import TimmModel
from weakspot.tasks import Classification

try:
    TimmModel(Classification(("a", "b")), "test_resnet.r160_in1k", weights="DEFAULT")
except FileNotFoundError:
    print("not there", tried)
"""


def test_looking_for_published_weights_makes_no_network_call(tmp_path: Path) -> None:
    """In a fresh process with a fresh cache: the hub's library asks once, then remembers."""
    kept = {name: value for name, value in quiet_environment().items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", _PUBLISHED],
        env=kept | {"HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout == "not there []\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet19"}, r"has no model 'resnet19'; nearest: .*resnet1"),
        ({"name": "resnet18.nobody"}, r"has no model 'resnet18\.nobody'; nearest: .*resnet18\."),
        ({"name": "hf-hub:timm/resnet18"}, r"has no model 'hf-hub:timm/resnet18'"),
        ({"name": "deit_tiny_distilled_patch16_224"}, "ends in tuple, not in one linear layer"),
        ({"name": "test_resnet", "cam_layer": "layer5"}, r"no module 'layer5' to be its cam_layer; it has layer4"),
        ({"name": "test_resnet", "kwargs": {"widht": 3}}, r"cannot be made with model\.kwargs=.*widht"),
        ({"name": "test_resnet", "weights": "{tmp}/none.pt"}, r"no weights at .*none\.pt"),
        ({"name": "test_vit", "weights": "{tmp}/resnet.pt"}, r"resnet\.pt does not fit timm's test_vit: "),
        ({"name": "mixer_s32_224", "weights": "DEFAULT"}, "timm publishes no weights for mixer_s32_224"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_refused(arguments: dict[str, object], message: str, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet", num_classes=2).state_dict(), tmp_path / "resnet.pt")
    if "weights" in arguments:
        arguments["weights"] = str(arguments["weights"]).format(tmp=tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        TimmModel(FACES, **arguments)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ImportError, match=re.escape('pip install "weakspot[timm]"')):
        TimmModel(FACES, "resnet18")
