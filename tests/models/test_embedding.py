"""Embeddings from an earlier layer or another network: their values, and that the outputs stay the model's."""

import functools

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.models import resnet18

from cpu_trainer import CPU
from tiny_models import write_model
from weakspot.datasets.digits import Digits
from weakspot.models.base import Model
from weakspot.models.small_cnn import SmallCNN
from weakspot.models.text_classifier import TextClassifier
from weakspot.models.torchvision import TorchvisionModel
from weakspot.pipeline.audit_target import AuditTarget, Component
from weakspot.pipeline.embedding_sources import (
    EncoderEmbedding,
    LayerEmbedding,
    _gives_outputs,
    have_equal_embeddings,
)
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.predictions import Predictions
from weakspot.tasks import Classification

TASK = Classification(("a", "b"))


class Tokens(Model):
    """A minimal model whose layer `tokens` gives the tokens of a text or of an image."""

    embedding_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.output = nn.Identity(), nn.Linear(3, 2)

    @property
    def cam_layer(self) -> None:
        return None

    def embed(self, x):
        return self.tokens(x["tokens"] if isinstance(x, dict) else x[:, :, :2, :2].mean((2, 3))).flatten(1)[
            :, :3
        ]

    def head(self, z):
        return self.output(z)


def test_maps_are_pooled_to_a_grid_and_small_ones_kept_whole():
    torch.manual_seed(0)
    model = SmallCNN(TASK, channels=(4, 64)).eval()
    x = torch.rand(3, 3, 12, 10)
    with torch.no_grad():
        maps = model.features(x)
        z, outputs = LayerEmbedding(model, "features").read(x)
        assert_array_equal(outputs, model(x))
        assert maps.shape == (3, 64, 6, 5)
        assert_array_equal(z, maps.flatten(1))  # 64 maps of 6 x 5 are fewer numbers than 4096
        wide = SmallCNN(TASK, channels=(1024,)).eval()
        z = LayerEmbedding(wide, "features").read(x)[0]
        assert_allclose(z, adaptive_avg_pool2d(wide.features(x), (2, 2)).flatten(1))


def test_the_tokens_of_a_text_are_averaged_without_padding():
    model = Tokens().eval()
    tokens, mask = torch.rand(2, 4, 3), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    with torch.no_grad():
        batch = {"tokens": tokens, "attention_mask": mask}
        z = LayerEmbedding(model, "tokens").read(batch)[0]
    assert_allclose(z[0], tokens[0, :2].mean(0), rtol=1e-6)
    assert_allclose(z[1], tokens[1].mean(0), rtol=1e-6)


def test_an_encoder_gives_the_embedding_and_the_model_the_outputs():
    torch.manual_seed(0)
    model, encoder = SmallCNN(TASK).eval(), SmallCNN(TASK, embedding=7).eval()
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        z, outputs = EncoderEmbedding(model, encoder).read(x)
        assert_array_equal(z, encoder.embed(x))
        assert_array_equal(outputs, model(x))
    assert have_equal_embeddings(encoder, encoder, x)
    assert not have_equal_embeddings(encoder, SmallCNN(TASK, embedding=7), x)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (TorchvisionModel, {"name": "resnet18", "weights": "DEFAULT"}),
        (TextClassifier, {"name": "nowhere"}),
    ],
)
def test_errors_about_missing_files_name_the_setting_of_the_model_or_encoder(
    make, settings, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    net = Component("net", settings, functools.partial(make, **settings))
    target = AuditTarget(Component("digits", {}, Digits), net, TrainingSettings(), CPU, encoder=net)
    with pytest.raises(FileNotFoundError, match=r"encoder\.download=true") as refused:
        target.build_encoder(0)
    assert "model." not in str(refused.value)
    with pytest.raises(FileNotFoundError, match=r"model\.download=true"):
        target.build_model()


def test_a_layer_that_cannot_be_read_is_named():
    model, x = SmallCNN(TASK), torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="no module 'featurs' to be its embed_layer; it has features"):
        LayerEmbedding(model, "featurs")
    again = SmallCNN(TASK, channels=(3, 3))
    again.features[3] = again.features[0]
    with pytest.raises(ValueError, match="called 2 times in a forward pass, not once"):
        LayerEmbedding(again, "features.0").read(x)
    for wrapped, head in ((model, "output"), (TorchvisionModel(TASK, "resnet18"), "fc")):
        with pytest.raises(
            ValueError,
            match=rf"embed_layer={head} gives the model's outputs, .*: name an earlier layer, .*embed_layer=cam_layer",
        ):
            LayerEmbedding(wrapped.eval(), head).read(torch.rand(2, 3, 32, 32))
    model = Tokens()
    model.tokens = nn.Unflatten(1, (1, 1, 1, -1))
    with pytest.raises(ValueError, match=r"model.embed_layer=tokens gives shape \(1, 1, 1, 1, 3\)"):
        LayerEmbedding(model, "tokens").read(x)


def test_a_layer_of_zeros_beside_an_output_of_zeros_is_not_the_output():
    """As with a narrow layer whose units are dead and a head whose first logit is always 0."""
    outputs = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    assert not _gives_outputs(torch.zeros(2, 1), outputs)
    assert not _gives_outputs(torch.zeros(2, 0), outputs)
    assert _gives_outputs(outputs.flip(1), outputs)
    assert _gives_outputs(outputs[:, 1:], outputs)


def test_cam_layer_stands_for_the_last_maps():
    torch.manual_seed(0)
    model, x = SmallCNN(TASK).eval(), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        z = LayerEmbedding(model, "cam_layer").read(x)[0]
        assert_array_equal(z, LayerEmbedding(model, "features").read(x)[0])
    with pytest.raises(
        ValueError, match=r"Tokens has no layer of maps .*model.embed_layer=cam_layer.*name a module"
    ):
        LayerEmbedding(Tokens(), "cam_layer")


def record(shell, *words):
    said = shell("infer", "logger=none", "training.epochs=1", *words)
    folder = said.split("predictions → ")[1].split()[0]
    return said, Predictions.load(shell.folder / folder)


def test_the_tokens_of_an_image_become_maps_of_its_patches():
    model = Tokens().eval()
    x, tokens = torch.rand(2, 3, 8, 8), torch.rand(2, 5, 3)  # a class token, then 2 x 2 patches
    model.tokens.register_forward_hook(lambda *_: tokens)
    with torch.no_grad():
        z = LayerEmbedding(model, "tokens").read(x)[0]
    assert_array_equal(z, tokens[:, 1:].transpose(1, 2).flatten(1))


@pytest.mark.slow
@pytest.mark.optional  # the fast tests of this file cover the layer and the encoder
def test_searching_an_earlier_layer_or_an_encoder_does_not_train_the_model_again(digits):
    said, own = record(digits)
    assert "train: cached · infer: cached" in said
    said, earlier = record(digits, "model.embed_layer=features")
    assert "train: cached · infer: missing" in said
    torch.manual_seed(3)
    torch.save(resnet18(num_classes=5).state_dict(), digits.folder / "encoder.pt")
    said, other = record(digits, "encoder=resnet18", "encoder.weights=encoder.pt")
    assert "train: cached · infer: missing" in said
    assert [p.embeddings.shape[1] for p in (own, earlier, other)] == [64, 64 * 8 * 8, 512]
    for p in (earlier, other):
        assert_allclose(p.outputs, own.outputs, rtol=1e-5, atol=1e-6)
        assert_array_equal(p.ids, own.ids)
    report = digits(
        "discover",
        "logger=none",
        "training.epochs=1",
        "cam=none",
        "model.embed_layer=features",
    )
    assert "infer: cached" in report
    page = digits.folder / report.split("report → ")[1].split()[0]
    assert "Embeddings are those of the layer features." in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_unsuitable_encoders_are_refused_before_anything_runs(digits):
    common = ("logger=none", "training.epochs=1")
    assert "encoder=resnet18 has random weights" in digits("discover", *common, "encoder=resnet18", fails=2)
    said = digits("discover", *common, "encoder=small_cnn", fails=2)
    assert "take a model that is built with trained ones" in said
    said = digits("discover", *common, "encoder=resnet18", "encoder.embed_layer=layer1", fails=2)
    assert "encoder.embed_layer=layer1: an encoder's embedding is what its last layer receives" in said
    assert "There is no encoder=resnet8. Did you mean encoder=resnet18" in digits(
        "discover", *common, "encoder=resnet8", fails=True
    )
    assert "leave out one of them" in digits(
        "discover", *common, "encoder=resnet18", "model.embed_layer=features", fails=True
    )
    assert "has no module 'featurs'" in digits("infer", *common, "model.embed_layer=featurs", fails=True)


@pytest.mark.slow
def test_texts_are_searched_in_an_encoder_that_reads_the_same_tokens(shell):
    texts = [f"{'fine' if i % 3 else 'poor'} thing number {i}" for i in range(90)]
    rows = {"sentence": texts, "verdict": ["good" if i % 3 else "bad" for i in range(90)]}
    pa.csv.write_csv(pa.table(rows), shell.folder / "my.csv")
    for name in ("classifier", "encoder"):
        write_model(shell.folder / name, texts, num_labels=2)
    words = (
        "dataset=csv", "dataset.file=my.csv", "dataset.text=sentence", "dataset.label=verdict",
        "model=text_classifier", "model.name=classifier",
    )  # fmt: skip
    asked = ("encoder=text_encoder", "encoder.name=encoder")
    refused = shell("infer", "logger=none", *words, *asked, fails=2)
    assert "its name (encoder) and dataset.tokenizer=classifier must be the same" in refused
    _, block = record(shell, *words, "model.embed_layer=distilbert.transformer.layer.0")
    _, other = record(shell, *words, *asked, "dataset.tokenizer=encoder")
    assert block.embeddings.shape == other.embeddings.shape == (len(block), 32)
    assert len(np.unique(other.embeddings.round(4), axis=0)) > len(other) / 2
    assert_allclose(other.outputs, block.outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.optional  # each half of it runs in CI: an earlier layer, and slices carried over
def test_slices_found_in_an_earlier_layer_are_carried_over_in_that_layer(digits):
    common = ("logger=none", "training.epochs=1", "cam=none")
    there = ("model.embed_layer=features",)
    digits("discover", *common, *there, "hydra.run.dir=found")
    refused = digits("discover", *common, "slices=found", "split=val", fails=2)
    assert "searched the embedding of the layer features" in refused
    carried = digits("discover", *common, *there, "slices=found", "split=val")
    assert "Embeddings are those of the layer features." in carried
    again = digits("discover", *common, *there, "fail_if.new_against=found", "hydra.run.dir=again")
    assert "compare.html" in again
    first = digits("train", *common, "reweight=found")
    second = digits("train", *common, *there, "reweight=found")
    made = [said.split("checkpoint → ")[1].split()[0] for said in (first, second)]
    assert made[0] == made[1], "a run is mended in the embedding that it searched"
