"""Pickles of the published tool: read completely, and never trusted."""

from __future__ import annotations

import dataclasses
import io
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paths import FIXTURES
from weakspot import Predictions, Slices
from weakspot.interop.spotlight_results import read_spotlights
from weakspot.methods import apply
from weakspot.methods.spotlight import membership
from weakspot.predictions.spotlight_inference import read_fields, read_inference

SEED = FIXTURES / "published_spotlight_fairface.pkl"


@dataclasses.dataclass
class InferenceResults:
    embeddings: Any
    losses: Any
    outputs: Any = None
    labels: Any = None
    aux: Any = None


@dataclasses.dataclass
class SpotlightResults:
    weights: Any
    unnormalized_weights: Any
    spotlight_mean: Any
    spotlight_precision: Any
    training_history: Any = None


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published tool's module under the name that pickles use, only for writing them."""
    module = types.ModuleType("torch_spotlight.utils")
    for kind in (InferenceResults, SpotlightResults):
        monkeypatch.setattr(kind, "__module__", module.__name__)
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "torch_spotlight", types.ModuleType("torch_spotlight"))
    monkeypatch.setitem(sys.modules, module.__name__, module)


def save(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def test_a_result_published_with_the_paper_is_read(tmp_path: Path) -> None:
    slices = read_spotlights(SEED)
    assert slices.weights.shape == (1, 10_954)
    assert slices.statistics[0].size == pytest.approx(slices.weights.sum())
    assert {name: len(values) for name, values in slices.histories[0].items()} == {
        "objective": 5000,
        "size": 5000,
        "learning_rate": 5000,
    }
    # Histories are recorded before a run's last update, weights after it.
    assert slices.histories[0]["size"][-1] == pytest.approx(slices.weights.sum(), rel=0.01)
    assert slices.parameters["centers"].shape == (1, 512)
    assert slices.parameters["precisions"].shape == (1,)
    assert Slices.load(slices.save(tmp_path / "slices")).equals(slices)
    near = membership(slices, slices.parameters["centers"].astype(np.float32))
    assert near[0, 0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("tensors", [False, True])
def test_inference_results_of_any_protocol_are_read(
    tmp_path: Path, tool: None, protocol: int, tensors: bool
) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "embeddings": rng.normal(size=(6, 3)).astype(np.float32),
        "losses": rng.random((6, 1)),
        "outputs": rng.normal(size=(6, 4)).astype(np.float32),
        "labels": rng.integers(0, 4, (6, 1)),
    }
    given = {name: torch.from_numpy(array) for name, array in arrays.items()} if tensors else arrays
    result = InferenceResults(**given, aux={"note": "a", "list": [1, 2.5, None]})
    path = save(tmp_path / "inference.pkl", result, protocol)
    predictions = read_inference(path)
    np.testing.assert_array_equal(predictions.embeddings, arrays["embeddings"])
    np.testing.assert_allclose(predictions.losses, arrays["losses"][:, 0])
    np.testing.assert_array_equal(predictions.outputs, arrays["outputs"])
    np.testing.assert_array_equal(predictions.labels, arrays["labels"][:, 0])
    np.testing.assert_array_equal(predictions.predictions, arrays["outputs"].argmax(axis=1))
    assert read_fields(path)["aux"] == {"note": "a", "list": [1, 2.5, None]}


def test_outputs_may_be_probabilities(tmp_path: Path) -> None:
    p = np.array([0.9, 0.2, 0.6], dtype=np.float32)
    both = np.stack([1 - p, p], axis=1)
    base = {"embeddings": np.eye(3, dtype=np.float32), "losses": np.ones(3), "labels": np.array([1, 0, 0])}
    for outputs in (p, both):
        predictions = read_inference(save(tmp_path / "p.pkl", base | {"outputs": outputs}))
        assert predictions.outputs is not None
        shares = torch.from_numpy(predictions.outputs).softmax(dim=1).numpy()
        np.testing.assert_allclose(shares, both, atol=1e-6)
        np.testing.assert_array_equal(predictions.correct, [True, True, False])
    unlabelled = read_inference(save(tmp_path / "p.pkl", base | {"outputs": p, "labels": None}))
    assert unlabelled.outputs is None
    assert unlabelled.attributes.column_names == ["output"]


@pytest.mark.parametrize("ending", [".pkl", ".pickle"])
def test_published_predictions_load_like_any_other(tmp_path: Path, tool: None, ending: str) -> None:
    rng = np.random.default_rng(0)
    result = InferenceResults(
        rng.normal(size=(6, 3)), rng.random(6), rng.normal(size=(6, 4)), np.arange(6) % 4
    )
    path = save(tmp_path / f"inference{ending}", result)
    p, same = Predictions.load(path), read_inference(path)
    np.testing.assert_array_equal(p.embeddings, same.embeddings)
    np.testing.assert_array_equal(p.labels, result.labels)
    classes = {"kind": "classification", "classes": ["0", "1", "2", "3"]}
    assert p.manifest == {"source": str(path), "format": "published inference results", "task": classes}
    again = Predictions.load(p.save(tmp_path / "record"))
    np.testing.assert_array_equal(again.losses, p.losses)


def test_a_spotlight_is_not_read_as_predictions(tmp_path: Path) -> None:
    path = save(tmp_path / "spotlight.pkl", {"unnormalized_weights": np.array([0, 0.5, 0, 0.5])})
    with pytest.raises(
        ValueError,
        match=r"no embeddings, so it is not an inference result.* it is a spotlight: give it as slices=",
    ):
        Predictions.load(path)


def test_tensor_views_parameters_and_old_dictionaries_are_read(tmp_path: Path, tool: None) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    w = torch.tensor([0.0, 0.5, 1.0, 0.25])
    result = SpotlightResults(w / w.sum(), w, torch.nn.Parameter(whole[1, ::2]), torch.eye(3) * 0.5)
    slices = read_spotlights([save(tmp_path / "a.pkl", result)])
    np.testing.assert_array_equal(slices.parameters["centers"], whole[1:2, ::2])
    np.testing.assert_array_equal(slices.parameters["precisions"], [0.5])
    old = {"weights": w.numpy(), "weights_unnorm": w.numpy(), "loss_history": [1.0, np.float64(2.0)]}
    slices = read_spotlights([save(tmp_path / "b.pkl", old), tmp_path / "a.pkl"])
    np.testing.assert_array_equal(slices.weights, [w.numpy()] * 2)
    np.testing.assert_array_equal(slices.histories[0]["objective"], [1.0, 2.0])
    assert slices.parameters == {}


def test_results_without_a_centre_cannot_be_applied(tmp_path: Path, tool: None) -> None:
    result = {"unnormalized_weights": np.array([0, 0.5, 1.0])}
    slices = read_spotlights(save(tmp_path / "a.pkl", result))
    assert slices.parameters == {}
    other = Predictions.from_arrays(np.zeros((3, 2)))
    with pytest.raises(
        ValueError, match="spotlight slices hold no centers, so they cannot be applied to other"
    ):
        apply(slices, other)
    with pytest.raises(ValueError, match="spotlight slices hold no centers"):
        membership(slices, other.embeddings)


def test_statistics_need_the_predictions(tmp_path: Path) -> None:
    p = Predictions.from_arrays(np.eye(4), [1.0, 2.0, 3.0, 4.0], ids=list("abcd"))
    path = save(tmp_path / "a.pkl", {"weights_unnorm": np.array([0, 0.5, 0, 0.5])})
    slices = read_spotlights(path, p)
    assert slices.ids.tolist() == list("abcd")
    assert slices.statistics[0].loss_inside == pytest.approx(3)
    with pytest.raises(ValueError, match="there are 3"):
        read_spotlights(path, p.take([0, 1, 2]))


class Attack:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.parts = call, arguments

    def __reduce__(self) -> Any:
        return self.parts


def test_nothing_named_by_a_pickle_is_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    attacks = [
        Attack(open, str(witness), "w"),
        Attack(eval, f"open({str(witness)!r}, 'w')"),
        Attack(witness.touch),
    ]
    for attack in attacks:
        for value in (attack, {"embeddings": np.eye(2), "losses": attack}, {"weights_unnorm": [attack]}):
            path = save(tmp_path / "attack.pkl", value)
            for read in (read_inference, read_spotlights):
                with pytest.raises(ValueError, match=r"names .* can run any code"):
                    read(path)
    assert not witness.exists()


def test_nothing_inside_a_tensor_is_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    inner = io.BytesIO()
    torch.save(Attack(open, str(witness), "w"), inner, _use_new_zipfile_serialization=False)
    path = save(
        tmp_path / "attack.pkl", {"embeddings": Attack(torch.storage._load_from_bytes, inner.getvalue())}
    )
    with pytest.raises(ValueError, match=r"names .*open in a tensor; it was not loaded"):
        read_inference(path)
    assert not witness.exists()


def test_a_pickle_cannot_alter_the_names_it_uses(tmp_path: Path, tool: None) -> None:
    """A BUILD that sets attributes on an admitted name must not reach the next file."""
    alter = b"cnumpy\nndarray\n(N}Varray\nI7\nstb."
    (tmp_path / "alter.pkl").write_bytes(alter)
    with pytest.raises(ValueError, match=r"not a published result|no published result"):
        read_fields(tmp_path / "alter.pkl")
    good = save(tmp_path / "good.pkl", {"weights_unnorm": np.array([0, 1.0])})
    np.testing.assert_array_equal(read_fields(good)["weights_unnorm"], [0, 1])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"losses": np.ones(2)}, "no embeddings"),
        ({"embeddings": np.eye(2)}, "no losses"),
        ([1, 2], "holds a list"),
        ({}, "holds a dict"),
        ({"embeddings": np.array([None, {}]), "losses": np.ones(2)}, "values of type object"),
        ({"embeddings": np.eye(2), "losses": np.ones(3)}, "3 rows"),
    ],
)
def test_anything_but_a_result_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_inference(save(tmp_path / "x.pkl", value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training_history": [1, 2]}, None),
        (
            {"training_history": {"loss": [[1.0], [2.0]]}},
            r"key 'objective' cannot be read: .* shape \(2, 1\)",
        ),
        ({"training_history": {"lr": ["a"]}}, r"key 'lr' cannot be read: it must be numbers"),
        ({"spotlight_mean": np.zeros(2)}, r"a centre of shape \(2,\) and a precision of shape \(3, 3\)"),
        ({"spotlight_precision": np.full((3, 3), np.inf)}, "finite numbers"),
        ({"spotlight_mean": np.zeros(0), "spotlight_precision": np.zeros((0, 0))}, "spotlights have"),
        ({"unnormalized_weights": np.zeros(0)}, "weights outside 0…1, or none"),
        ({"unnormalized_weights": [[0.0], [0.0, 1.0]]}, "key 'unnormalized_weights' cannot be read"),
    ],
)
def test_fields_of_a_spotlight_are_checked(
    tmp_path: Path, change: dict[str, Any], message: str | None
) -> None:
    good = {
        "unnormalized_weights": np.array([0, 0.5, 1.0]),
        "spotlight_mean": np.ones(3),
        "spotlight_precision": np.eye(3),
    }
    path = save(tmp_path / "a.pkl", good | change)
    if message is None:
        assert read_spotlights(path).histories == [{}]
        return
    with pytest.raises(ValueError, match=rf"a\.pkl.*{message}"):
        read_spotlights(path)


@pytest.mark.parametrize("name", ["embeddings", "losses", "outputs", "labels"])
@pytest.mark.parametrize(
    "value", [[[1.0], [1.0, 2.0]], "text", {"a": 1}, 3.0, np.zeros(0), np.zeros((2, 2, 2, 2)), b""]
)
def test_fields_of_inference_results_are_checked(tmp_path: Path, name: str, value: Any) -> None:
    good = {"embeddings": np.eye(3), "losses": np.ones(3), "outputs": np.eye(3), "labels": np.arange(3)}
    path = save(tmp_path / "a.pkl", good | {name: value})
    with pytest.raises(ValueError, match=r"a\.pkl"):
        read_inference(path)


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    whole = SEED.read_bytes()
    (tmp_path / "half.pkl").write_bytes(whole[:5000])
    with pytest.raises(ValueError, match="damaged"):
        read_spotlights(tmp_path / "half.pkl")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_spotlights(tmp_path / "none.pkl")
    with pytest.raises(ValueError, match="no files"):
        read_spotlights([])
    with pytest.raises(ValueError, match="no unnormalized_weights"):
        read_spotlights(save(tmp_path / "x.pkl", {"losses": np.ones(2)}))
