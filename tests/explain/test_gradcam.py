"""Grad-CAM: equal to a closed form and, for every family, to the definition written out with autograd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models import get_model

from gradcam_by_hand import by_hand, finish
from weakspot.explain.gradcam import grad_cam, overlay
from weakspot.models import SmallCNN, TorchvisionModel
from weakspot.tasks import Classification

TASK = Classification(("a", "b", "c", "d"))


class Pooled(nn.Module):
    """Convolution, ReLU, global average, linear: here Grad-CAM is the class activation map, known exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(6, 4)
        self.cam_layer: nn.Module = self.relu

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.relu(self.conv(x)).mean(dim=(2, 3)))
        return y


@pytest.fixture
def pooled() -> Pooled:
    torch.manual_seed(0)
    return Pooled()


@pytest.mark.parametrize("target", ["predicted", "label", "category"])
def test_equals_the_closed_form(pooled: Pooled, target: str) -> None:
    x = torch.rand(7, 3, 12, 9)
    outputs = pooled(x)
    targets = {"predicted": None, "label": np.array([0, 1, 2, 3, 0, 1, 2]), "category": np.full(7, 2)}[target]
    chosen = outputs.argmax(dim=1).numpy() if targets is None else targets
    maps = torch.einsum("nk,nkhw->nhw", pooled.fc.weight[chosen], F.relu(pooled.conv(x))).detach().numpy()
    cams = grad_cam(pooled, x, targets, batch_size=3)
    assert cams.dtype == np.float32
    assert cams.shape == (7, 12, 9)
    np.testing.assert_allclose(cams, finish(maps, 12, 9), atol=1e-5)


def test_an_image_without_evidence_has_an_empty_map(pooled: Pooled) -> None:
    with torch.no_grad():
        pooled.fc.weight[1] = -1.0  # every activation speaks against class 1
    assert grad_cam(pooled, torch.rand(2, 3, 8, 8), np.array([1, 1])).max() == 0


# each family's image size and Grad-CAM layer, by the name of torchvision's submodule
LAYERS: dict[str, tuple[int, str]] = {
    "alexnet": (127, "features.12"),
    "vgg11": (64, "features.20"),
    "resnet18": (64, "layer4.1"),
    "densenet121": (64, "features.norm5"),
    "squeezenet1_1": (64, "features.12"),
    "vit_b_32": (224, "encoder.layers.encoder_layer_11.ln_1"),
    "convnext_tiny": (64, "features.7.2"),
    "efficientnet_b0": (64, "features.8"),
    "mobilenet_v2": (64, "features.18"),
    "mobilenet_v3_small": (64, "features.12"),
}


def plain_autograd(name: str, net: nn.Module, x: Tensor, chosen: np.ndarray) -> np.ndarray:
    """Maps (n, h, w) before the ReLU, by a hook and `backward` on torchvision's own network."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, activations: Tensor) -> Tensor:
        if name.startswith("densenet"):
            activations = F.relu(activations)  # forward applies this next, in place
        activations.retain_grad()
        kept.append(activations)
        return activations.clone()

    net.get_submodule(LAYERS[name][1]).register_forward_hook(keep)
    outputs = net(x)
    outputs[range(len(x)), chosen].sum().backward()
    (activations,) = kept
    gradients = activations.grad
    assert gradients is not None
    if name.startswith("vit"):
        activations, gradients = (
            t[:, 1:].unflatten(1, (7, 7)).permute(0, 3, 1, 2) for t in (activations, gradients)
        )
    return by_hand(activations, gradients)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "vgg11" else ()) for name in LAYERS]
)
def test_equals_plain_autograd_for_every_family(name: str) -> None:
    torch.manual_seed(0)
    model = TorchvisionModel(TASK, name)
    nn.init.normal_(model.net.get_submodule(model._head_path).weight)  # ViT initialises it to zero
    model.double().train()
    side = LAYERS[name][0]
    x = torch.rand(2, 3, side, side, dtype=torch.float64)
    chosen = np.array([1, 3])
    with torch.device("meta"):
        net = get_model(name, weights=None, num_classes=4).double().eval()
    net.load_state_dict(model.net.state_dict(), assign=True)
    for parameter in net.parameters():
        parameter.requires_grad_(True)
    maps = plain_autograd(name, net, x, chosen)
    cams = grad_cam(model, x, chosen)
    np.testing.assert_allclose(cams, finish(maps, side, side), atol=1e-5)
    assert cams.max() == 1
    assert model.training


def test_small_cnn_equals_plain_autograd() -> None:
    torch.manual_seed(0)
    model = SmallCNN(TASK)
    x = torch.rand(5, 3, 32, 32)
    activations = model.features(x).detach().requires_grad_()
    outputs = model.head(model.embedding(activations))
    outputs.amax(dim=1).sum().backward()
    assert activations.grad is not None
    expected = finish(by_hand(activations, activations.grad), 32, 32)
    np.testing.assert_allclose(grad_cam(model, x), expected, atol=1e-5)


def test_tokens_of_an_oblong_image_with_special_tokens() -> None:
    """A linear readout of 5 special tokens and 3 × 6 patches, whose map is known exactly."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, stride=4)
            self.cam_layer = nn.Identity()
            self.fc = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            patches = self.patches(x).flatten(2).transpose(1, 2)
            tokens = self.cam_layer(torch.cat([torch.ones(len(x), 5, 8), patches], dim=1))
            y: Tensor = self.fc(tokens.mean(dim=1))
            return y

    torch.manual_seed(0)
    model = Tokens()
    x = torch.rand(3, 3, 12, 24)
    maps = torch.einsum("k,nkhw->nhw", model.fc.weight[2], model.patches(x)).detach().numpy()
    np.testing.assert_allclose(grad_cam(model, x, np.full(3, 2)), finish(maps, 12, 24), atol=1e-5)


class Last(nn.Module):
    """Maps with channels last, as in Swin, read by a linear layer: Grad-CAM is known exactly."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, 4, stride=4)
        self.cam_layer = nn.Identity()
        self.fc = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.cam_layer(self.patches(x).permute(0, 2, 3, 1)).mean(dim=(1, 2)))
        return y


@pytest.mark.parametrize(("height", "width"), [(12, 12), (12, 24), (25, 12)])
@pytest.mark.parametrize("channels", [20, 40])
def test_maps_with_channels_last(height: int, width: int, channels: int) -> None:
    torch.manual_seed(0)
    model = Last(channels)
    x = torch.rand(3, 3, height, width)
    maps = torch.einsum("k,nkhw->nhw", model.fc.weight[2], model.patches(x)).detach().numpy()
    np.testing.assert_allclose(grad_cam(model, x, np.full(3, 2)), finish(maps, height, width), atol=1e-5)


def test_swin_of_torchvision_equals_plain_autograd() -> None:
    torch.manual_seed(0)
    net = get_model("swin_t", weights=None, num_classes=4).eval()
    net.cam_layer = net.features
    x = torch.rand(2, 3, 64, 96)
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, activations: Tensor) -> Tensor:
        activations.retain_grad()
        kept.append(activations)
        return activations.clone()

    hook = net.features.register_forward_hook(keep)
    net(x)[:, 1].sum().backward()
    hook.remove()
    (activations,) = kept
    assert activations.shape == (2, 2, 3, 768)
    assert activations.grad is not None
    maps = by_hand(activations.permute(0, 3, 1, 2), activations.grad.permute(0, 3, 1, 2))
    np.testing.assert_allclose(grad_cam(net, x, np.array([1, 1])), finish(maps, 64, 96), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4, 8, 64])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (32, 16)])
def test_maps_with_channels_first_are_recognised(channels: int, height: int, width: int) -> None:
    """Any number of channels relative to rows and columns is recognised, even if a stride drops a row."""
    torch.manual_seed(0)

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cam_layer = nn.Conv2d(3, channels, 5, stride=4, padding=1)
            self.fc = nn.Linear(channels, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc(self.cam_layer(x).mean(dim=(2, 3)))
            return y

    model = First()
    x = torch.rand(2, 3, height, width)
    maps = torch.einsum("k,nkhw->nhw", model.fc.weight[2], model.cam_layer(x)).detach().numpy()
    np.testing.assert_allclose(grad_cam(model, x, np.full(2, 2)), finish(maps, height, width), atol=1e-5)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantised_models_are_refused_for_lack_of_gradients(pooled: Pooled) -> None:
    with pytest.raises(ValueError, match=r"as in a model that computes in integers \(int8\).*cam=none"):
        grad_cam(torch.ao.quantization.quantize_dynamic(pooled, {nn.Linear}), torch.rand(2, 3, 8, 8))

    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cam_layer = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            levels = self.cam_layer(torch.quantize_per_tensor(x, 1 / 255, 0, torch.quint8))
            return levels.dequantize().mean(dim=(2, 3))

    with pytest.raises(ValueError, match="none pass from the outputs of Quantised to its cam_layer"):
        grad_cam(Quantised(), torch.rand(2, 3, 8, 8))


def test_an_in_place_operation_after_the_layer_changes_nothing(pooled: Pooled) -> None:
    class InPlace(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc(self.relu(self.conv(x)).mul_(0.5).mean(dim=(2, 3)))
            return y

    other = InPlace()
    other.load_state_dict(pooled.state_dict())
    x = torch.rand(3, 3, 8, 8)
    chosen = np.array([0, 1, 2])
    np.testing.assert_allclose(grad_cam(other, x, chosen), grad_cam(pooled, x, chosen), atol=1e-6)


def test_the_model_is_left_unchanged() -> None:
    torch.manual_seed(0)
    model = TorchvisionModel(TASK, "mobilenet_v3_small")
    for parameter in model.net.get_submodule("features").parameters():
        parameter.requires_grad_(False)
    model.train()
    model.net.get_submodule("features").eval()
    model.net.get_submodule("classifier.3").weight.grad = torch.ones(4, 1024)

    def state() -> list[object]:
        return [
            [module.training for module in model.modules()],
            [parameter.requires_grad for parameter in model.parameters()],
            [None if p.grad is None else p.grad.sum().item() for p in model.parameters()],
            [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
            [tensor.double().sum().item() for tensor in model.state_dict().values()],
        ]

    before = state()
    x = torch.rand(3, 3, 64, 64)
    grad_cam(model, x)
    assert state() == before
    assert not x.requires_grad
    with pytest.raises(ValueError, match=r"classes 0…3"):
        grad_cam(model, x, np.array([0, 1, 4]))
    assert state() == before


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_works_while_gradients_are_off(pooled: Pooled, around: Callable[[], torch.no_grad]) -> None:
    x = torch.rand(4, 3, 8, 8)
    expected = grad_cam(pooled, x)
    for parameter in pooled.parameters():
        parameter.requires_grad_(False)
    with around():
        np.testing.assert_array_equal(grad_cam(pooled, x + 0), expected)


def test_batches_are_respected_and_little_is_saved_for_backward() -> None:
    """Batches have the requested size, and nothing below the layer is saved for a backward pass."""
    torch.manual_seed(0)
    model = TorchvisionModel(TASK, "resnet18")
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    saved: list[int] = []

    def weigh(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        grad_cam(model, torch.rand(7, 3, 64, 64), batch_size=3)
        assert sizes == [3, 3, 1]
        ours, saved[:] = sum(saved), []
        model.eval()(torch.rand(3, 3, 64, 64))
    assert ours < sum(saved) / 50


def test_unsuitable_layers_and_targets_are_refused(pooled: Pooled) -> None:
    x = torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match="Sequential names no layer for Grad-CAM: set its cam_layer"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), x)
    with pytest.raises(ValueError, match=r"targets have shape \(3,\) but there are 2 inputs"):
        grad_cam(pooled, x, np.array([0, 1, 2]))
    pooled.cam_layer = pooled.fc
    with pytest.raises(ValueError, match=r"cam_layer gives \(2, 4\)"):
        grad_cam(pooled, x)
    pooled.cam_layer = nn.ReLU()
    with pytest.raises(ValueError, match="cam_layer of Pooled takes no part in its forward pass"):
        grad_cam(pooled, x)


# --- overlay


def luminance(colour: np.ndarray) -> float:
    """Relative luminance of an sRGB colour, WCAG 2.1."""
    c = np.asarray(colour, dtype=float) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_overlay_keeps_size_and_place() -> None:
    """Heat in one corner of a coarse map lies in that corner of the image and nowhere else."""
    cam = np.zeros((4, 4), dtype=np.float32)
    cam[0, 3] = 1
    image = overlay(Image.new("L", (80, 60), 100), cam)
    assert image.size == (80, 60)
    assert image.mode == "RGB"
    changed = np.abs(np.asarray(image, dtype=int) - 100).max(axis=2) > 2
    assert changed[5, 75]
    assert not changed[30:, :].any()
    assert not changed[:, :40].any()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK"])
def test_overlay_takes_any_image(mode: str) -> None:
    image = overlay(Image.new("RGB", (8, 8), (200, 40, 40)).convert(mode), np.ones((2, 2)))
    assert image.mode == "RGB"


@pytest.mark.parametrize(
    "ground", [(0, 0, 0), (64, 64, 64), (128, 128, 128), (190, 190, 190), (255, 255, 255)]
)
def test_overlay_is_visible_on_dark_and_light(ground: tuple[int, int, int]) -> None:
    """Strong evidence is vivid on a grey image, and lighter than it if the image is dark."""
    plain, half, full = (
        np.asarray(overlay(Image.new("RGB", (1, 1), ground), np.full((1, 1), strength)))[0, 0].astype(int)
        for strength in (0.0, 0.5, 1.0)
    )
    assert (plain == ground).all()
    assert np.ptp(half) > 40
    assert np.ptp(full) > 100
    if ground < (128, 128, 128):
        assert luminance(plain) < luminance(half) < luminance(full)


def test_overlay_lets_the_image_through() -> None:
    """A black and a white pixel still differ clearly under the strongest evidence."""
    image = Image.fromarray(np.array([[[0] * 3, [255] * 3]], dtype=np.uint8))
    dark, light = np.asarray(overlay(image, np.ones((1, 2))))[0].astype(int)
    assert (light - dark >= 70).all()
