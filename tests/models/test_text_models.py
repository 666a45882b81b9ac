"""Hugging Face's text models: split at the searched embedding, read offline, refused in one sentence."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from layouts import amazon as layout
from processes import quiet_environment
from shell import Shell
from tiny_models import write_model
from weakspot.models import QAModel, TextClassifier, TextEncoder, load_weights
from weakspot.models.hub import folder_digest
from weakspot.tasks import Classification, QuestionAnswering, Regression

TEXTS = ["a good book", "bad", "what a very long and winding review of a film that was not good at all"]
SENTIMENT = Classification(("negative", "positive"))
THREE = Classification(("a", "b", "c"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test may even look up a host, including attempts whose errors a library catches."""
    tried = []

    def refuse(*call: object, **_: object) -> None:
        tried.append(call)
        raise OSError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not tried


def batch(folder: Path, *texts: str) -> dict[str, Tensor]:
    return dict(
        AutoTokenizer.from_pretrained(folder)(list(texts) or TEXTS, padding=True, return_tensors="pt")
    )


def own_logits(net: torch.nn.Module, x: dict[str, Tensor]) -> Tensor:
    """The outputs of transformers itself for these tokens."""
    takes = {name: x[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        logits: Tensor = net(**takes).logits
    return logits


# --- classifiers


@pytest.mark.parametrize("family", ["DistilBert", "Bert", "Roberta", "Electra", "GPT2"])
def test_classifier_is_its_head_applied_to_its_embedding(family: str, tmp_path: Path) -> None:
    net = write_model(tmp_path, TEXTS, family=family, num_labels=3)
    model = TextClassifier(THREE, tmp_path).eval()
    x = batch(tmp_path)
    if family == "GPT2":  # its own tokenizer gives no token types, though the network would take them
        del x["token_type_ids"]
    with torch.no_grad():
        z = model.embed(x)
        assert z.shape == (3, model.embedding_size)
        assert torch.equal(model.head(z), model(x))
        # token types that the tokenizer gives are left out if the network has none
        torch.testing.assert_close(model(x), own_logits(net, x), rtol=1e-5, atol=1e-6)
        lengths = x["attention_mask"].sum(dim=1)
        rows = range(len(TEXTS))
        alone = torch.cat(
            [model({k: v[row : row + 1, : lengths[row]] for k, v in x.items()}) for row in rows]
        )
    torch.testing.assert_close(model(x), alone, rtol=1e-4, atol=1e-5)
    assert model.head_is_trained


def test_distilbert_is_read_after_its_pre_classifier(tmp_path: Path) -> None:
    net = write_model(tmp_path, TEXTS, num_labels=2, id2label={0: "NEGATIVE", 1: "POSITIVE"})
    model, x = TextClassifier(SENTIMENT, tmp_path).eval(), batch(tmp_path)
    with torch.no_grad():
        states = net.distilbert(x["input_ids"], x["attention_mask"]).last_hidden_state[:, 0]
        torch.testing.assert_close(model.embed(x), net.pre_classifier(states).relu())


def test_outputs_are_put_in_the_order_of_the_classes(tmp_path: Path) -> None:
    net = write_model(tmp_path, TEXTS, num_labels=2, id2label={0: "Positive", 1: "NEGATIVE"})
    model, x = TextClassifier(SENTIMENT, tmp_path).eval(), batch(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(model(x), own_logits(net, x)[:, [1, 0]])
    assert model.head_is_trained
    # a checkpoint in transformers' own names keeps transformers' own order
    assert set(model.net.state_dict()) == set(load_file(tmp_path / "model.safetensors"))
    again = TextClassifier(SENTIMENT, tmp_path).eval()
    load_weights(again, tmp_path / "model.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


@pytest.mark.parametrize("labels", [("red", "blue"), ("one", "two", "three")])
def test_other_labels_mean_a_new_head(labels: tuple[str, ...], tmp_path: Path) -> None:
    net = write_model(tmp_path, TEXTS, num_labels=len(labels), id2label=dict(enumerate(labels)))
    model = TextClassifier(SENTIMENT, tmp_path)
    assert not model.head_is_trained
    assert model.new_head is not None
    assert ", ".join(labels) in model.new_head
    assert "model.labels" in model.new_head
    ours, theirs = model.net.state_dict(), net.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if not name.startswith("classifier"))
    assert ours["classifier.weight"].shape == (2, 32)
    if len(labels) == 2:
        assert not torch.equal(ours["classifier.weight"], theirs["classifier.weight"])


def test_a_regression_has_one_output(tmp_path: Path) -> None:
    net = write_model(tmp_path / "one", TEXTS, num_labels=1)
    model, x = TextClassifier(Regression(), tmp_path / "one").eval(), batch(tmp_path / "one")
    assert model.head_is_trained
    with torch.no_grad():
        torch.testing.assert_close(model(x), own_logits(net, x))
    write_model(tmp_path / "three", TEXTS, num_labels=3)
    other = TextClassifier(Regression(), tmp_path / "three").eval()
    assert not other.head_is_trained
    assert other(batch(tmp_path / "three")).shape == (len(TEXTS), 1)


def test_the_order_of_labels_can_be_given(tmp_path: Path) -> None:
    net = write_model(tmp_path, TEXTS, num_labels=2, id2label={0: "gut", 1: "schlecht"})
    model, x = TextClassifier(SENTIMENT, tmp_path, labels=["positive", "negative"]).eval(), batch(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(model(x), own_logits(net, x)[:, [1, 0]])
    with pytest.raises(ValueError, match="names 1 outputs, but the model has 2"):
        TextClassifier(SENTIMENT, tmp_path, labels=["positive"])


def test_a_model_without_a_classifier_gets_a_new_head(tmp_path: Path) -> None:
    write_model(tmp_path, TEXTS, head="ForMaskedLM")
    model = TextClassifier(SENTIMENT, tmp_path)
    assert not model.head_is_trained
    assert model(batch(tmp_path)).shape == (3, 2)


def test_half_precision_is_read_as_single(tmp_path: Path) -> None:
    net = write_model(tmp_path, TEXTS, num_labels=3)
    net.half().save_pretrained(tmp_path)
    assert {p.dtype for p in TextClassifier(THREE, tmp_path).parameters()} == {torch.float32}


def test_more_tokens_than_positions_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, TEXTS, max_position_embeddings=8)
    for model in (TextClassifier(SENTIMENT, tmp_path), TextEncoder(SENTIMENT, tmp_path)):
        with pytest.raises(ValueError, match=r"reads 8 tokens at most, not \d+; set dataset\.max_length=8"):
            model(batch(tmp_path))


# --- encoders


@pytest.mark.parametrize("family", ["DistilBert", "Bert"])
def test_encoder_averages_the_tokens_without_padding(family: str, tmp_path: Path) -> None:
    net = write_model(tmp_path, TEXTS, head="Model", family=family)
    model, x = TextEncoder(SENTIMENT, tmp_path), batch(tmp_path)
    states = net(x["input_ids"], x["attention_mask"]).last_hidden_state.detach()
    rows = zip(states, x["attention_mask"].sum(dim=1), strict=True)
    expected = torch.stack([tokens[:length].mean(dim=0) for tokens, length in rows])
    model.train()  # dropout must stay off
    torch.testing.assert_close(model.embed(x), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(model.head(model.embed(x)), model(x))
    assert not model.head_is_trained


def test_a_frozen_encoder_has_no_gradients(tmp_path: Path) -> None:
    write_model(tmp_path, TEXTS, head="Model")
    frozen, free = TextEncoder(SENTIMENT, tmp_path), TextEncoder(SENTIMENT, tmp_path, frozen=False)
    assert not frozen.embed(batch(tmp_path)).requires_grad
    assert [name for name, p in frozen.named_parameters() if p.requires_grad] == [
        "output.weight",
        "output.bias",
    ]
    frozen(batch(tmp_path)).sum().backward()
    assert frozen.output.weight.grad is not None
    free(batch(tmp_path)).sum().backward()
    assert all(p.grad is not None for p in free.parameters())


# --- question answering


def test_qa_reads_cls_and_logits_in_one_pass(tmp_path: Path) -> None:
    net = write_model(tmp_path, TEXTS, head="ForQuestionAnswering")
    model = QAModel(QuestionAnswering(length=40), tmp_path).eval()
    x = batch(tmp_path)
    t = x["input_ids"].shape[1]
    answerable = x["attention_mask"].bool()
    answerable[:, 1:3] = False
    calls = []
    model.net.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        z, outputs = model.read({**x, "answerable": answerable})
        own = net(x["input_ids"], x["attention_mask"], output_hidden_states=True)
    assert len(calls) == 1
    torch.testing.assert_close(z, own.hidden_states[-1][:, 0])
    nowhere = QuestionAnswering.NOWHERE
    for ours, theirs in ((outputs[:, :40], own.start_logits), (outputs[:, 40:], own.end_logits)):
        torch.testing.assert_close(ours[:, :t][answerable], theirs[answerable])
        assert (ours[:, :t][~answerable] == nowhere).all()
        assert (ours[:, t:] == nowhere).all()
    with pytest.raises(TypeError, match="do not follow"):
        model.head(z)


def test_qa_requires_its_own_task_and_enough_positions(tmp_path: Path) -> None:
    write_model(tmp_path, TEXTS, head="ForQuestionAnswering", max_position_embeddings=64)
    with pytest.raises(ValueError, match="the task is classification"):
        QAModel(SENTIMENT, tmp_path)
    with pytest.raises(ValueError, match="reads 64 tokens at most, not 384"):
        QAModel(QuestionAnswering(), tmp_path)


# --- checkpoints load back, and unreadable folders are named


@pytest.mark.parametrize("kind", [TextClassifier, TextEncoder])
def test_a_checkpoint_loads_back(kind: type[TextClassifier | TextEncoder], tmp_path: Path) -> None:
    write_model(tmp_path, TEXTS, num_labels=2)
    model, x = kind(SENTIMENT, tmp_path).eval(), batch(tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
        torch.save(
            {"state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "m.ckpt"
        )
        fresh = kind(SENTIMENT, tmp_path).eval()
        assert not torch.equal(fresh(x), model(x))
        load_weights(fresh, tmp_path / "m.ckpt")
        assert torch.equal(fresh(x), model(x))


def test_the_digest_of_a_folder_is_that_of_its_weights(tmp_path: Path) -> None:
    write_model(tmp_path / "a", TEXTS)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert folder_digest(tmp_path / "a") == folder_digest(tmp_path / "b")
    weights = load_file(tmp_path / "b" / "model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, tmp_path / "b" / "model.safetensors", metadata={"format": "pt"})
    assert folder_digest(tmp_path / "a") != folder_digest(tmp_path / "b")


def damage(folder: Path, how: str) -> None:
    weights, config = folder / "model.safetensors", folder / "config.json"
    match how:
        case "no config":
            config.unlink()
        case "no weights":
            weights.unlink()
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:5000])
        case "no JSON":
            config.write_text("{")
        case "unknown architecture":
            config.write_text(json.dumps({"model_type": "perpetuum-mobile"}))
        case "another body":
            config.write_text(json.dumps({**json.loads(config.read_text()), "dim": 64}))
        case "a pickle":
            weights.unlink()
            torch.save({"classifier.weight": Path("x")}, folder / "pytorch_model.bin")


@pytest.mark.parametrize("kind", [TextClassifier, TextEncoder, QAModel])
@pytest.mark.parametrize(
    "how",
    ["no config", "no weights", "cut weights", "no JSON", "unknown architecture", "another body", "a pickle"],
)
def test_a_folder_that_cannot_be_read_is_named(kind: type, how: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_model(folder, TEXTS, num_labels=2)
    damage(folder, how)
    task = QuestionAnswering(length=40) if kind is QAModel else SENTIMENT
    with pytest.raises(ValueError, match=re.escape(str(folder))) as error:
        kind(task, folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [TextClassifier, TextEncoder, QAModel])
def test_a_name_that_is_not_in_the_cache_says_how_to_fetch_it(
    kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    task = QuestionAnswering() if kind is QAModel else SENTIMENT
    with pytest.raises(FileNotFoundError, match=r"nobody/nothing.*model\.download=true"):
        kind(task, "nobody/nothing")


_BY_NAME = """
import socket
tried = []
def refuse(*call, **_):
    tried.append(call)
    raise OSError("a network call")
socket.socket.connect = socket.getaddrinfo = refuse

from weakspot.datasets.inputs.texts import load_tokenizer
from weakspot.models import TextClassifier
from weakspot.tasks import Classification

for name in ("some/model", "nobody/nothing"):
    for load in (load_tokenizer, lambda name: TextClassifier(Classification(("a", "b")), name)):
        try:
            load(name)
            print("loaded", name)
        except FileNotFoundError:
            print("no", name)
print("tried", tried)
"""


@pytest.mark.slow
def test_a_model_by_name_comes_from_the_cache_without_a_network_call(tmp_path: Path) -> None:
    """In a fresh process with a fresh cache: the hub's library asks once, then remembers."""
    write_model(tmp_path / "hub" / "models--some--model" / "snapshots" / "0", TEXTS)
    (tmp_path / "hub" / "models--some--model" / "refs").mkdir()
    (tmp_path / "hub" / "models--some--model" / "refs" / "main").write_text("0")
    kept = {name: value for name, value in quiet_environment().items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", _BY_NAME],
        env=kept | {"HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    expected = ["loaded some/model"] * 2 + ["no nobody/nothing"] * 2 + ["tried []"]
    assert done.stdout.splitlines() == expected, done.stderr


# --- through the entry points


@pytest.mark.slow
def test_a_checkpoint_depends_on_the_content_of_the_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    layout.write(data)
    words = ["dataset=amazon", "dataset.first=40", "model=text_encoder", f"model.name={data / 'tiny_sst2'}"]
    words += ["logger=none", "trainer=cpu"]

    def train() -> str:
        return Shell(tmp_path)("train", *words, DATA_DIR=str(data), HF_HUB_OFFLINE="1")

    assert "train → outputs" in train()
    moved = tmp_path / "elsewhere"
    shutil.move(data / "tiny_sst2", moved)
    words[3] = f"model.name={moved}"
    assert "train: cached" in train()
    weights = load_file(moved / "model.safetensors")
    weights["distilbert.embeddings.word_embeddings.weight"] += 1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    assert "train → outputs" in train()


@pytest.mark.slow
def test_an_unreadable_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    layout.write(data)
    (data / "tiny_sst2" / "model.safetensors").write_bytes(b"nothing")
    words = [
        "dataset=amazon",
        "dataset.first=40",
        f"model.name={data / 'tiny_sst2'}",
        "logger=none",
        "trainer=cpu",
    ]
    said = Shell(tmp_path)("infer", *words, fails=True, DATA_DIR=str(data))
    assert f"{data / 'tiny_sst2'} holds no model that can be read" in said
    assert "Traceback" not in said
    words[2] = "model=distilbert_sst2"
    said = Shell(tmp_path)("infer", *words, fails=True, DATA_DIR=str(data), HF_HOME=str(tmp_path))
    assert "model.download=true" in said
    assert "Traceback" not in said
