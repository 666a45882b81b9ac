"""Models: the split into embedding and head is exact, for every family."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import get_model

from weakspot.models import NAMES, Model, SmallCNN, TorchvisionModel, UserModel, load_weights
from weakspot.tasks import Classification

DIGITS = Classification(tuple("0123456789"))
FACES = Classification(("female", "male"))
IMAGENET = Classification(tuple(map(str, range(1000))))

FAMILIES = {  # one model of each family, and an image size that keeps the tests quick
    "alexnet": 63,
    "vgg11": 32,
    "vgg11_bn": 32,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "wide_resnet50_2": 64,
    "densenet121": 64,
    "squeezenet1_0": 64,
    "squeezenet1_1": 64,
    "vit_b_32": 224,
    "convnext_tiny": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
}
PREFIXES = re.compile("(alexnet|convnext|densenet|efficientnet|mobilenet|res|squeezenet|vgg|vit_|wide_res)")


def build(name: str) -> TorchvisionModel:
    """Every weight and bias is random, also those initialised to zeros (such as ViT's head) or ones, so that
    each part affects the outputs. Tiled from a few numbers, since drawing a hundred million is slow."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = TorchvisionModel(DIGITS, name)
    model.to_empty(device="cpu")
    pattern = torch.randn(65_537)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                tensor.zero_()
                continue
            flat = tensor.view(-1)
            for start in range(0, len(flat), len(pattern)):
                part = flat[start : start + len(pattern)]
                part.copy_(pattern[: len(part)])
            scale = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.1
            tensor.mul_(scale)
            if key.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return model.eval()


# --- SmallCNN


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (28, 45)])
def test_small_cnn_is_its_head_applied_to_its_embedding(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = SmallCNN(DIGITS).eval()
    x = torch.rand(5, 3, *size)
    z = model.embed(x)
    assert z.shape == (5, model.embedding_size)
    assert torch.equal(model.head(z), model(x))
    assert model(x).shape == (5, 10)


def test_small_cnn_embeddings_depend_on_positions() -> None:
    """Two images with the same pixels in another order differ: maps are not pooled to one value."""
    torch.manual_seed(0)
    model = SmallCNN(DIGITS).eval()
    left = torch.zeros(1, 3, 32, 32)
    left[..., :16] = 1
    assert (model.embed(left) - model.embed(left.flip(-1))).abs().max() > 1e-3


def test_small_cnn_refuses_small_images_and_no_channels() -> None:
    with pytest.raises(ValueError, match="at least 8×8 pixels, not 7×9"):
        SmallCNN(DIGITS)(torch.zeros(1, 3, 7, 9))
    with pytest.raises(ValueError, match="positive widths"):
        SmallCNN(DIGITS, channels=())


# --- torchvision


def test_names_are_torchvisions_own() -> None:
    registered = torchvision.models.list_models(module=torchvision.models)
    assert sorted(NAMES) == [name for name in sorted(registered) if PREFIXES.match(name)]


def test_the_names_are_listed_without_importing_torch() -> None:
    code = "import sys; from weakspot.models.names import NAMES; print(len(NAMES), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(NAMES)), "False"]


@pytest.mark.parametrize("name", FAMILIES)
def test_torchvision_split_is_exact(name: str) -> None:
    model = build(name)
    with torch.device("meta"):
        plain = get_model(name, weights=None, num_classes=10).eval()
    plain.load_state_dict(model.net.state_dict(), assign=True)
    x = torch.rand(2, 3, FAMILIES[name], FAMILIES[name])
    with torch.inference_mode():
        expected = plain(x)
        z = model.embed(x)
        assert z.shape == (2, model.embedding_size)
        assert torch.equal(model.head(z), expected)
        assert torch.equal(model(x), expected)
    assert expected.std() > 0
    assert any(module is model.cam_layer for module in model.modules())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_torchvision_model_can_be_split(name: str) -> None:
    """Only shapes are compared, on the device `meta`, which allocates nothing."""
    with torch.device("meta"):
        model = TorchvisionModel(DIGITS, name).eval()
        side = max(model.smallest_image, 64)
        z = model.embed(torch.empty(2, 3, side, side))
        assert z.shape == (2, model.embedding_size)
        assert model.head(z).shape == (2, 10)
        plain = get_model(name, weights=None, num_classes=10)
    assert {name: t.shape for name, t in model.net.state_dict().items()} == {
        name: t.shape for name, t in plain.state_dict().items()
    }


@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "mobilenet_v3_small",
        "resnet18",
        "squeezenet1_1",
    ],
)
def test_torchvision_trains_as_the_plain_network_does(name: str) -> None:
    """Same dropout, same batch statistics, same gradient of every parameter."""
    torch.manual_seed(0)
    model = TorchvisionModel(DIGITS, name)
    plain = get_model(name, weights=None, num_classes=10)
    plain.load_state_dict(model.net.state_dict())
    x, y = torch.rand(4, 3, 64, 64), torch.tensor([0, 3, 6, 9])
    for network in (model, plain):
        torch.manual_seed(1)
        nn.functional.cross_entropy(network(x), y).backward()
    for own, other in zip(model.net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-5, atol=1e-7)
    for own, other in zip(model.net.buffers(), plain.buffers(), strict=True):
        assert torch.equal(own, other)


def test_averaged_maps_do_not_determine_squeezenets_outputs() -> None:
    """This is why its embedding includes the outputs: the convolution of the mean is not the mean of its ReLU."""
    torch.manual_seed(0)
    model = TorchvisionModel(DIGITS, "squeezenet1_1").eval()
    x = torch.rand(2, 3, 64, 64)
    pooled = model.embed(x)[:, :512]
    last = model.net.get_submodule("classifier.1")
    assert (last(pooled[..., None, None]).flatten(1).relu() - model(x)).abs().max() > 1e-4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.head(model.embed(x)), model.net(x))


def test_a_file_of_weights_with_the_same_classes_keeps_its_head(tmp_path: Path) -> None:
    source = get_model("squeezenet1_1", weights=None, num_classes=2)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    model = TorchvisionModel(FACES, "squeezenet1_1", weights=tmp_path / "weights.pt")
    assert all(torch.equal(t, source.state_dict()[name]) for name, t in model.net.state_dict().items())


def test_a_file_of_weights_with_other_classes_gets_a_new_head(tmp_path: Path) -> None:
    source = get_model("mobilenet_v3_small", weights=None)
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, tmp_path / "weights.pt"
    )
    model = TorchvisionModel(FACES, "mobilenet_v3_small", weights=tmp_path / "weights.pt")
    assert "its head of 1000 classes is replaced by a new one of 2" in (model.new_head or "")
    assert model.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 2)
    weights = source.state_dict()
    for name, tensor in model.net.state_dict().items():
        if not name.startswith("classifier.3."):
            assert torch.equal(tensor, weights[name])


def test_published_weights_come_from_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source = get_model("squeezenet1_1", weights=None)
    cached = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    cached.parent.mkdir(parents=True)
    torch.save(source.state_dict(), cached)
    for weights in ("DEFAULT", "IMAGENET1K_V1"):
        model = TorchvisionModel(IMAGENET, "squeezenet1_1", weights=weights)
        assert all(torch.equal(t, source.state_dict()[name]) for name, t in model.net.state_dict().items())


def test_a_download_that_fails_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the discard port: nobody answers
    with pytest.raises(
        FileNotFoundError, match=r"could not download https://.*squeezenet1_1-.*fetch that file by hand"
    ):
        TorchvisionModel(FACES, "squeezenet1_1", weights="DEFAULT", download=True)
    with pytest.raises(FileNotFoundError, match=r"not at .*squeezenet1_1-.*model.download=true"):
        TorchvisionModel(FACES, "squeezenet1_1", weights="DEFAULT")


@pytest.mark.parametrize("name", ["densenet121", "vit_b_32"])
def test_published_files_with_old_names_load(name: str, tmp_path: Path) -> None:
    """The files torchvision publishes for these have layer names from before a renaming."""
    torch.manual_seed(0)
    source = get_model(name, weights=None, num_classes=2)
    old = {}
    for key, tensor in source.state_dict().items():
        for new in ("norm", "relu", "conv"):
            key = key.replace(f".{new}1.", f".{new}.1.").replace(f".{new}2.", f".{new}.2.")
        old[key.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2.")] = tensor
    assert old.keys() != source.state_dict().keys()
    torch.save(old, tmp_path / "weights.pth")
    model = TorchvisionModel(FACES, name, weights=tmp_path / "weights.pth")
    assert all(torch.equal(t, source.state_dict()[key]) for key, t in model.net.state_dict().items())


def test_vit_takes_the_image_size_of_its_weights(tmp_path: Path) -> None:
    source = get_model("vit_b_32", weights=None, num_classes=2, image_size=96).eval()
    nn.init.normal_(source.heads.head.weight)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    model = TorchvisionModel(FACES, "vit_b_32", weights=tmp_path / "weights.pt").eval()
    x = torch.rand(1, 3, 96, 96)
    assert torch.equal(model(x), source(x))
    with pytest.raises(ValueError, match="exactly 96×96 pixels, not 224×224"):
        model(torch.rand(1, 3, 224, 224))


def test_torchvision_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown torchvision model 'resnet35'; nearest: .*resnet34"):
        TorchvisionModel(FACES, "resnet35")
    with pytest.raises(
        FileNotFoundError, match=r"no weights 'IMAGENET'.*published sets are IMAGENET1K_V1, DEFAULT"
    ):
        TorchvisionModel(FACES, "alexnet", weights="IMAGENET")
    with pytest.raises(ValueError, match="alexnet takes images of at least 63×63 pixels, not 32×32"):
        TorchvisionModel(FACES, "alexnet")(torch.zeros(1, 3, 32, 32))
    torch.save(SmallCNN(FACES).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights\.pt does not fit SqueezeNet: missing"):
        TorchvisionModel(FACES, "squeezenet1_1", weights=tmp_path / "weights.pt")


# --- a user's own module

OWN = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self, num_classes, width=5, after=None):
            super().__init__()
            self.conv = nn.Conv2d(3, width, 3)
            layers = nn.Linear(width, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, num_classes)
            self.classifier = nn.Sequential(*layers)
            self.after = after

        def forward(self, x):
            y = self.classifier(self.conv(x).relu().mean(dim=(2, 3)))
            if self.after == "softmax":
                return y.softmax(dim=1)
            if self.after == "softmax in evaluation" and not self.training:
                return y.softmax(dim=1)
            if self.after == "squeeze":
                return y.squeeze(1)
            return {"logits": y} if self.after == "dict" else y.view(len(x), -1)


    class Maps(nn.Module):
        def __init__(self, n_outputs):
            super().__init__()
            self.fc = nn.Linear(4, n_outputs)

        def forward(self, x):
            return self.fc(x[..., :4]).mean(dim=(1, 2))


    def make(width=5):
        return Net(3, width)


    def passes_on(**options):
        return Net(**options)


    def passes_on_outputs(*sizes, **options):
        return Maps(**options)


    def passes_nothing_on(**options):
        return make(**options)


    def nothing():
        return "a model"


    ready = make()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current folder, with a name of its own in every test, importable for that test only."""
    module = f"own_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(OWN))
    (tmp_path / f"broken_{module}.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return module


@pytest.mark.parametrize("head", ["classifier.3", "classifier"])
@pytest.mark.parametrize("training", [True, False])
def test_own_module_split_is_exact(own: str, head: str, training: bool) -> None:
    torch.manual_seed(0)
    model = UserModel(DIGITS, path=f"{own}:Net", head=head, cam_layer="conv", kwargs={"width": 6}).train(
        training
    )
    x = torch.rand(4, 3, 9, 9)
    assert model.embedding_size == {"classifier.3": 7, "classifier": 6}[head]
    torch.manual_seed(1)
    z = model.embed(x)
    assert z.shape == (4, model.embedding_size)
    torch.manual_seed(1)
    plain = model.net(x)
    if head == "classifier.3" or not training:  # otherwise the head draws new dropout
        assert torch.equal(model.head(z), plain)
    with torch.inference_mode():
        assert model(x).shape == (4, 10)
    assert model.cam_layer is model.net.get_submodule("conv")
    model(x).sum().backward()
    assert model.net.get_submodule("conv").weight.grad.abs().sum() > 0
    assert not model.net.get_submodule(head)._forward_hooks


def test_own_module_weights_load_under_their_own_names(own: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = UserModel(DIGITS, path=f"{own}:Net", head="classifier.3")
    torch.save(source.net.state_dict(), tmp_path / "plain.pt")
    torch.save(
        {"state_dict": {f"model.{k}": v for k, v in source.state_dict().items()}}, tmp_path / "ours.pt"
    )
    for name in ("plain.pt", "ours.pt"):
        model = UserModel(DIGITS, path=f"{own}:Net", head="classifier.3")
        load_weights(model, tmp_path / name)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), source.parameters(), strict=True))


def test_an_own_factory_and_torchvisions_are_called(own: str) -> None:
    three = Classification(("a", "b", "c"))
    model: Model = UserModel(three, path=f"{own}:make", head="classifier.3")
    assert model(torch.rand(2, 3, 9, 9)).shape == (2, 3)
    model = UserModel(three, path="torchvision.models:resnet18", head="fc", kwargs={"num_classes": 3})
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("own:passes_on", "classifier.3"),
        ("own:passes_on_outputs", "fc"),
        ("own:passes_nothing_on", "classifier.3"),
        ("torchvision.models:resnet18", "fc"),
    ],
)
def test_a_factory_that_passes_arguments_on_gets_the_number_of_classes(
    own: str, path: str, head: str
) -> None:
    three = Classification(("a", "b", "c"))
    model = UserModel(three, path=path.replace("own:", f"{own}:"), head=head)
    assert model.net.get_submodule(head).out_features == 3


def test_an_unknown_argument_that_a_factory_passes_on_is_refused(own: str) -> None:
    with pytest.raises(
        ValueError, match=r"cannot be called with model.kwargs={'depth': 3}: .*argument 'depth'"
    ):
        UserModel(DIGITS, path=f"{own}:passes_on", head="classifier.3", kwargs={"depth": 3})


@pytest.mark.parametrize("after", [None, "squeeze"])
def test_one_logit_for_two_classes_is_that_of_the_second(own: str, after: str | None) -> None:
    torch.manual_seed(0)
    model: Model = UserModel(
        Classification(("no", "yes")),
        path=f"{own}:Net",
        head="classifier.3",
        kwargs={"num_classes": 1, "after": after},
    ).eval()
    x = torch.rand(4, 3, 9, 9)
    outputs = model(x)
    torch.testing.assert_close(outputs[:, 0], torch.zeros(4))
    torch.testing.assert_close(outputs[:, 1], model.net(x).reshape(4))
    torch.testing.assert_close(model.head(model.embed(x)), outputs)


@pytest.mark.parametrize("after", ["softmax", "softmax in evaluation"])
def test_own_module_that_changes_its_outputs_is_refused(own: str, after: str) -> None:
    model = UserModel(DIGITS, path=f"{own}:Net", head="classifier.3", kwargs={"after": after})
    x = torch.rand(2, 3, 9, 9)
    if after == "softmax in evaluation":
        model(x)
        model.eval()
    with pytest.raises(
        ValueError, match=r"changes the output of its head 'classifier\.3' .*\(a softmax, say\)"
    ):
        model(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "{own}.Net"}, r"written package\.module:Name, not"),
        ({"path": "no_such_module:Net"}, r"no module 'no_such_module' for the model 'no_such_"),
        ({"path": "{own}.inner:Net"}, r"no module '.*\.inner' for the model"),
        ({"path": "{own}:Nett"}, r"has no 'Nett'; nearest: Net"),
        ({"path": "{own}:ready"}, r"is a Net, not a class or function that makes a module"),
        ({"path": "{own}:nothing"}, r"makes a str, not a torch\.nn\.Module"),
        ({"path": "{own}:Net", "kwargs": {"widht": 3}}, r"cannot be called with kwargs=.*widht"),
        ({"path": "{own}:Net", "head": "fc"}, r"has no module 'fc' to be its head; it has .*classifier\.3"),
        ({"path": "{own}:Net", "head": "conv"}, r"head 'conv' of .* holds no linear layer"),
        ({"path": "{own}:Net", "head": "classifier.3", "cam_layer": "conv2"}, r"no module 'conv2' to be"),
    ],
)  # fmt: skip
def test_own_module_refusals(own: str, arguments: dict[str, object], message: str) -> None:
    arguments["path"] = str(arguments["path"]).format(own=own)
    with pytest.raises(ValueError, match=message):
        UserModel(DIGITS, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "{own}:make", "head": "classifier.3"}, r"gives \(2, 3\), but the task has 10 classes"),
        ({"path": "{own}:Net", "head": "classifier.0"}, r"gives \(2, 7\), but the task has 10 classes"),
        ({"path": "{own}:Net", "head": "classifier.3", "kwargs": {"after": "dict"}}, "returns a dict, not"),
        ({"path": "{own}:Maps"}, r"receives \(2, 3, 9, 4\), not a vector of 4 per image"),
    ],
)  # fmt: skip
def test_own_module_refusals_on_first_use(own: str, arguments: dict[str, object], message: str) -> None:
    arguments["path"] = str(arguments["path"]).format(own=own)
    model = UserModel(DIGITS, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        model(torch.rand(2, 3, 9, 9))


def test_an_import_error_inside_an_own_module_is_shown(own: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        UserModel(DIGITS, path=f"broken_{own}:Net")
