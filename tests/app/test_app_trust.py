"""Runs of a user's own dataset and network in the explorer: built only if their modules are trusted."""

from __future__ import annotations

import io
import sys
from contextlib import closing
from functools import partial
from http.client import HTTPConnection

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from explorer import asked, read, serving
from paths import ROOT
from shell import Shell
from weakspot.app.run_components import encode_webp
from weakspot.app.run_index import RunIndex
from weakspot.commands.component_builders import check_trusted_modules, component_builders, run_previews
from weakspot.models.checkpoint import load_weights
from weakspot.pipeline.grad_cams import GradCams

MINE = """
import os
from subprocess import Popen

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import nn

from weakspot.datasets.base import Dataset, digest
from weakspot.tasks import Classification


class Stripes(Dataset):
    def __init__(self, split, root=None, n=120):
        super().__init__(split, root)
        draw = np.random.default_rng(self.splits.index(split))
        self.task = Classification(("level", "upright"))
        self.targets = draw.integers(2, size=n)
        self.pixels = draw.integers(0, 99, size=(n, 16, 16)).astype(np.uint8)
        for row in range(n):
            wave = self.pixels[row] if self.targets[row] else self.pixels[row].T
            wave[:, ::4] += 120
        self.examples = pa.table({"id": [f"{split}-{row}" for row in range(n)]})

    def input(self, row):
        return torch.from_numpy(self.pixels[row]).expand(3, -1, -1) / 255

    def preview(self, row):
        return Image.fromarray(self.pixels[row])

    def fingerprint(self):
        return digest(self.examples, self.targets, self.pixels)


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.fc(self.body(x).amax(dim=(2, 3)))


def touched(**anything):
    raise AssertionError("a function was called as if it were a dataset")
"""
CHOICE = """# @package _global_
defaults: [/schema/dataset/base@dataset, override /model: small_cnn, _self_]
dataset: {_target_: mine.Stripes, n: 120}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    shell = Shell(tmp_path_factory.mktemp("mine"))
    (shell.folder / "mine.py").write_text(MINE)
    choice = shell.folder / "conf" / "dataset" / "stripes.yaml"
    choice.parent.mkdir(parents=True)
    choice.write_text(CHOICE)
    words = ("model=module", "model.path=mine:Net", "model.head=fc", "model.cam_layer=body")
    quick = ("method=scan", "training.epochs=1", "logger=none", "cam=none", "trainer=cpu")
    path = f"{shell.folder}:{ROOT / 'src'}"
    shell("discover", "--config-dir", "conf", "dataset=stripes", *words, *quick, PYTHONPATH=path)
    return shell


@pytest.fixture(scope="module")
def run(shell):
    (run,) = RunIndex([shell.folder / "outputs"]).all()
    return run


@pytest.fixture
def at_home(shell, monkeypatch):
    """This process, as if started in the user's folder and without any of the user's modules imported."""
    monkeypatch.chdir(shell.folder)
    monkeypatch.syspath_prepend(str(shell.folder))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    yield shell.folder / "outputs"
    sys.modules.pop("mine", None)


def picture(server, path):
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        content = answer.read()
    assert answer.status == 200, content
    return np.asarray(Image.open(io.BytesIO(content)))


def seen(image):
    return np.asarray(Image.open(io.BytesIO(encode_webp(image))))


def test_images_and_grad_cam_come_from_the_trusted_dataset_and_network(at_home, run):
    with serving(at_home, previews_of=partial(run_previews, trust=("mine",))) as server:
        assert 'class="gallery"' in asked(server, f"/run/{run.digest}")[2]
        text = asked(server, f"/run/{run.digest}/example/7")[2]
        assert "Grad-CAM of net.body for" in read(text)
        image = picture(server, f"/run/{run.digest}/image/7?side=512")
        cam = picture(server, f"/run/{run.digest}/cam/7?class=upright")
    builders = component_builders(run.folder, trust=("mine",))
    data = builders.dataset("test")
    model = builders.model(data.task)
    (weights,) = at_home.glob("checkpoints/*/model.ckpt")
    load_weights(model, weights)
    assert np.array_equal(image, seen(data.preview(7)))
    (expected,) = GradCams(model, data, "upright", device="cpu")([7])
    assert np.array_equal(cam, seen(expected))


def test_untrusted_modules_are_not_imported(at_home, run):
    for trust in ((), ("min",), ("mine.deeper",), ("conf",)):
        with serving(at_home, previews_of=partial(run_previews, trust=trust)) as server:
            status, _, text = asked(server, f"/run/{run.digest}")
            assert status == 200
            assert "If it is your own, start browse.py trust=[mine]." in read(text)
            assert asked(server, f"/run/{run.digest}/image/7")[0] == 404
            assert asked(server, f"/run/{run.digest}/cam/7")[0] == 404
        assert "mine" not in sys.modules


HOSTILE = {
    "what a trusted module imported": ("dataset", {"_target_": "mine.os.mkdir", "path": "owned"}),
    "a class that it imported": ("dataset", {"_target_": "mine.Popen", "args": ["touch", "owned"]}),
    "a function": ("dataset", {"_target_": "mine.touched"}),
    "a network": ("dataset", {"_target_": "mine.Net"}),
    "a name behind a colon": ("dataset", {"_target_": "mine:touched"}),
    "a module below": ("dataset", {"_target_": "mine:os.mkdir", "path": "owned"}),
    "no module": ("dataset", {"_target_": "Stripes"}),
    "another module": ("dataset", {"_target_": "os.mkdir", "path": "owned"}),
    "a network that it imported": ("model", {"path": "mine:os.mkdir"}),
    "a process as a network": ("model", {"path": "mine:Popen", "kwargs": {"args": ["touch", "owned"]}}),
    "a network of another module": ("model", {"path": "os:mkdir", "kwargs": {"path": "owned"}}),
    "a path of two colons": ("model", {"path": "mine:os:mkdir"}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_only_datasets_and_networks_defined_in_a_trusted_module_are_called(at_home, run, tmp_path, kind):
    key, changed = HOSTILE[kind]
    config = OmegaConf.to_container(OmegaConf.load(run.folder / "config.yaml"))
    config[key] = changed if key == "dataset" else config[key] | changed
    OmegaConf.save(OmegaConf.create(config), tmp_path / "config.yaml")

    def build():
        builders = component_builders(tmp_path, trust=("mine",))
        builders.model(builders.dataset("test").task)

    with pytest.raises(ValueError, match="so it is not built"):
        build()
    assert not (at_home.parent / "owned").exists()


def test_a_configuration_that_would_expand_too_far_is_refused(tmp_path):
    file = tmp_path / "config.yaml"
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
    for text in (
        "\n".join(lines),
        "{" + ", ".join(line.replace("a", '"a', 1).replace(": ", '":', 1) for line in lines) + "}",
        "dataset: [" + "1, " * 100_000 + "1]",
    ):
        file.write_text(text)  # expanded, it would fill the memory or take minutes
        with pytest.raises(ValueError, match=r"config\.yaml cannot be read"):
            component_builders(tmp_path)
    file.write_text("model: {}\ndataset: {_target_: weakspot.no.One, root: 'R & D, a=1&b=2'}\n")
    with pytest.raises(ValueError, match="does not come with weakspot"):
        component_builders(tmp_path)


def test_only_modules_of_ones_own_can_be_trusted():
    check_trusted_modules(["mine", "my_package.nets", "über"])
    for module, reason in (
        ("os", "comes with Python"),
        ("torch.nn; os", "is not a module"),
        ("importlib.util", "comes with Python"),
        ("weakspot", "comes with Python or weakspot"),
        ("", "is not a module"),
        (".mine", "is not a module"),
    ):
        with pytest.raises(ValueError, match=reason):
            check_trusted_modules([module])


# Data that were moved


def test_moved_data_are_read_from_the_new_root(run, tmp_path):
    config = OmegaConf.to_container(OmegaConf.load(run.folder / "config.yaml"))
    place = tmp_path / "run"
    place.mkdir()
    for folder in ("new/stripes", "alone"):
        (tmp_path / folder).mkdir(parents=True)

    def found(before, root):
        target = "weakspot.datasets.image_folder.ImageFolder"
        config["dataset"] = {"_target_": target, "root": before}
        OmegaConf.save(OmegaConf.create(config), place / "config.yaml")
        with pytest.raises((ValueError, OSError)) as error:
            component_builders(place, root=root).dataset("test")
        return str(error.value)

    assert "/old/data/stripes" in found("/old/data/stripes", None)
    assert f"{tmp_path}/new/stripes" in found("/old/data/stripes", str(tmp_path / "new"))
    assert f"{tmp_path}/alone" in found("/old/data/stripes", str(tmp_path / "alone"))
    assert f"{tmp_path}/alone" in found("/old/data/..", str(tmp_path / "alone"))
