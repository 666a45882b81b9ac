"""Hugging Face's image classifiers: an exact split, outputs matched by name, images normalised as in training."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageClassification

from gradcam_by_hand import by_hand, finish
from weakspot import Predictions
from weakspot.explain.gradcam import grad_cam
from weakspot.models import ImageClassifier, load_weights
from weakspot.tasks import Classification

THREE = Classification(("cat", "dog", "owl"))
VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
SWIN = {
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": 2,
    "image_size": 32,
    "patch_size": 2,
}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1]}
FAMILIES: dict[
    str, tuple[dict[str, Any], str, int]
] = {  # settings, the layer for Grad-CAM, its number of patches
    "vit": (VIT, "vit.layers.1.layernorm_before", 16),
    "beit": (VIT, "beit.layers.1.layernorm_before", 16),
    "dinov2": (
        {name: VIT[name] for name in VIT if name != "intermediate_size"},
        "dinov2.encoder.layer.1.norm1",
        16,
    ),
    "swin": (SWIN, "swin.encoder.layers.1.blocks.0.layernorm_before", 64),
    "convnext": ({**STAGES, "num_stages": 2}, "convnext.encoder.stages.1", 0),
    "resnet": ({**STAGES, "embedding_size": 8}, "resnet.encoder.stages.1", 0),
    "regnet": ({**STAGES, "embedding_size": 8, "groups_width": 8}, "regnet.encoder.stages.1", 0),
    "mobilenet_v2": ({"depth_multiplier": 0.25}, "mobilenet_v2.conv_1x1", 0),
    "mobilevit": ({"image_size": 64}, "mobilevit.conv_1x1_exp", 0),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    tried = []

    def refuse(*call: object, **_: object) -> None:
        tried.append(call)
        raise OSError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not tried


def write(
    folder: Path, family: str = "vit", labels: tuple[str, ...] = THREE.classes, **normalised: Any
) -> Any:
    """Write a network with `save_pretrained`; all of its parameters are random, so that each affects the outputs."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **FAMILIES[family][0], id2label=dict(enumerate(labels)))
    net = AutoModelForImageClassification.from_config(config)
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    net.save_pretrained(folder)
    if normalised:
        (folder / "preprocessor_config.json").write_text(json.dumps(normalised))
    return net.eval()


def images(family: str = "vit", n: int = 2) -> Tensor:
    side = FAMILIES[family][0].get("image_size", 64)
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_its_head_applied_to_its_embedding(family: str, tmp_path: Path) -> None:
    net, x = write(tmp_path, family), images(family)
    model = ImageClassifier(THREE, tmp_path).eval()
    with torch.inference_mode():
        z = model.embed(x)
        assert z.shape == (2, model.embedding_size)
        assert torch.equal(model.head(z), model(x))
        torch.testing.assert_close(model(x), net(x).logits)
    assert model.head_is_trained
    assert model.cam_layer is model.net.get_submodule(FAMILIES[family][1])


@pytest.mark.parametrize("family", ["vit", "swin", "convnext", "resnet"])
def test_grad_cam_matches_its_definition(family: str, tmp_path: Path) -> None:
    net, x = write(tmp_path, family), images(family)
    kept: list[Tensor] = []

    def keep(_module: object, _inputs: object, given: Tensor) -> Tensor:
        kept.append(given)
        return given.clone()

    net.get_submodule(FAMILIES[family][1]).register_forward_hook(keep)
    logits = net(x).logits
    model, patches = ImageClassifier(THREE, tmp_path).eval(), FAMILIES[family][2]
    found = []
    for target in range(3):
        (gradients,) = torch.autograd.grad(logits[:, target].sum(), kept, retain_graph=True)
        maps = [kept[0].detach(), gradients]
        if patches:
            side = int(patches**0.5)
            maps = [tokens[:, -patches:].transpose(1, 2).reshape(2, -1, side, side) for tokens in maps]
        found.append(grad_cam(model, x, np.full(2, target)))
        np.testing.assert_allclose(found[-1], finish(by_hand(*maps), *x.shape[-2:]), atol=1e-4)
    assert max(cams.max() for cams in found) == 1


def test_outputs_are_in_the_order_of_the_classes(tmp_path: Path) -> None:
    net, x = write(tmp_path, labels=("Owl", "cat", "DOG")), images()
    model = ImageClassifier(THREE, tmp_path).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(x), net(x).logits[:, [1, 2, 0]])
    assert model.head_is_trained


def test_labels_with_synonyms_are_matched_by_the_first(tmp_path: Path) -> None:
    """As in ImageNet models, where two classes are named "crane"."""
    task = Classification(("tench", "crane bird", "chain saw", "crane"))
    net = write(tmp_path, labels=("tench, Tinca tinca", "crane", "chain saw, chainsaw", "crane, machine"))
    model = ImageClassifier(task, tmp_path).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(images()), net(images()).logits)
    assert model.head_is_trained


@pytest.mark.parametrize("labels", [("a", "b", "c"), ("cat", "dog")])
def test_other_labels_get_a_new_head(labels: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path, labels=labels)
    model = ImageClassifier(THREE, tmp_path)
    assert not model.head_is_trained
    assert "it gets a new head" in (model.new_head or "")
    assert model(images()).shape == (2, 3)


@pytest.mark.slow
def test_a_new_head_is_reported_when_it_is_trained_or_refused(shell) -> None:
    """Not for an encoder, which needs none, nor when the trained one is read."""
    for name in ("net", "encoder"):
        write(shell.folder / name)
    words = ("logger=none", "dataset=digits", "model=image_classifier", "model.name=net", "training.epochs=1")
    elsewhere = ("encoder=image_classifier", "encoder.name=encoder")
    told = [
        shell("infer", *words, *elsewhere).count("distinguishes cat, dog, owl, not 0, 1, 2"),
        shell("infer", *words).count("new head"),
        shell("infer", *words, "checkpoint=pretrained", fails=2).count("it gets a new head"),
    ]
    assert told == [1, 0, 1]


MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.mark.parametrize("dataset", [{}, {"mean": MEAN, "std": STD}, {"mean": [0.5] * 3, "std": [0.5] * 3}])
def test_the_network_sees_images_normalised_as_it_was_trained(
    dataset: dict[str, Any], tmp_path: Path
) -> None:
    """However the dataset normalises images, the network sees (x - 0.5) / 0.5."""
    net = write(tmp_path, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5], do_normalize=True)
    x = images()
    mean, std = (
        torch.tensor(dataset.get(name, [otherwise] * 3)).view(3, 1, 1)
        for name, otherwise in (("mean", 0.0), ("std", 1.0))
    )
    model = ImageClassifier(THREE, tmp_path, **dataset).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model((x - mean) / std), net((x - 0.5) / 0.5).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalised", [{}, {"image_mean": MEAN, "image_std": STD, "do_normalize": False}])
def test_images_stay_unchanged_if_the_network_does_not_normalise_them(
    normalised: Any, tmp_path: Path
) -> None:
    net, x = write(tmp_path, **normalised), images()
    model = ImageClassifier(THREE, tmp_path, mean=MEAN, std=STD).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(x), net(x).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "JSON"),
        ("[1]", ""),
        ('{"image_mean": [1, 2, 3]}', "image_std"),
        ('{"image_mean": [1], "image_std": [0]}', "do not fit"),
    ],
)
def test_a_damaged_preprocessor_config_is_named(content: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(ValueError, match=rf"preprocessor_config.json cannot be read \(.*{reason}"):
        ImageClassifier(THREE, tmp_path)


def test_another_image_size_is_refused_with_the_one_required(tmp_path: Path) -> None:
    write(tmp_path)
    model = ImageClassifier(THREE, tmp_path)
    with pytest.raises(ValueError, match=r"exactly 32×32 pixels, not 64×48; .*dataset\.size=32"):
        model(torch.rand(1, 3, 64, 48))


def test_a_missing_model_and_a_missing_layer_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model.download=true"):
        ImageClassifier(THREE, "someone/no-such-model")
    write(tmp_path)
    with pytest.raises(
        ValueError, match=r"has no module 'vit\.layers\.9' to be its cam_layer; it has vit\.layers"
    ):
        ImageClassifier(THREE, tmp_path, cam_layer="vit.layers.9")


def test_a_checkpoint_loads_back(tmp_path: Path) -> None:
    write(tmp_path)
    model = ImageClassifier(THREE, tmp_path).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    torch.save(model.state_dict(), tmp_path / "own.pt")
    other = ImageClassifier(THREE, tmp_path).eval()
    load_weights(other, tmp_path / "own.pt")
    assert torch.equal(other(images()), model(images()))


@pytest.mark.slow
def test_one_command_audits_a_folder(shell, tmp_path: Path) -> None:
    """The pretrained model unchanged (checkpoint=pretrained), outputs matched by label name, with Grad-CAM."""
    task_labels = ("≥5", "<5")
    write(tmp_path / "net", labels=task_labels, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    words = ["model=image_classifier", f"model.name={tmp_path}/net", "checkpoint=pretrained", "logger=none"]
    shell("discover", *words, "trainer=cpu", "method.n_slices=1", HF_HUB_OFFLINE="1")
    (folder,) = (shell.folder / "outputs" / "predictions").glob("colored_digits-test-image_classifier-*")
    assert Predictions.load(folder).outputs.shape == (719, 2)
    (page,) = shell.reports()
    assert "Grad-CAM" in page.read_text(encoding="utf-8")
