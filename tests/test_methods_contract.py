"""The contract of `weakspot.methods.base`, for every method there is: a new one adds a row to `METHODS`."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from subprocess import run
from sys import executable
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from weakspot import Predictions, Slices
from weakspot.methods import AuditedRows, Method, apply, audit_of, find, method_of, words
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification

METHODS: dict[str, dict[str, Any]] = {
    "barlow": {"n_slices": 2, "min_size": 5},
    "confusion": {"n_slices": 2},
    "domino": {"n_mixture": 8, "n_slices": 2},
    "george": {"n_slices": 2, "n_components": 5, "min_size": 5},
    "gmm": {"n_components": 6, "n_slices": 2, "min_size": 5},
    "kmeans": {"n_clusters": 6, "n_slices": 2, "min_size": 5},
    "multiaccuracy": {"n_slices": 2},
    "planespot": {"n_slices": 2, "max_components": 6},
    "random": {"n_slices": 2, "share": 0.1},
    "rules": {"n_slices": 2, "min_size": 5, "attributes": ["group"]},
    "scan": {"sizes": [8, 16], "n_slices": 2, "draws": 19},
    "spotlight": {"n_slices": 2, "min_size": 0.08, "starts": 2},
    "top_loss": {"share": 0.1},
    "udis": {"min_cluster_size": 4, "max_cluster_size": 40},
}
"""Settings by word with which a method is quick on `data`."""

SEARCH_AN_OPTIMUM = ("domino", "george", "gmm", "kmeans", "planespot", "scan", "spotlight")
WITHIN_LABELS = ("barlow", "confusion", "domino", "george", "multiaccuracy", "scan")
"""Methods whose membership depends on the label, never on whether it was met."""

BLIND = {
    "confusion": "a cell of the confusion matrix is all over the embedding",
    "random": "what is drawn is no place",
    "top_loss": "high losses are wherever they are",
}
"""Methods that do not look where examples lie, so that no place is found by them, and why."""

NOT_CARRIED = {
    "confusion": "A cell of the confusion matrix holds examples because they are wrong: it cannot be carried to other "
    "examples without asking whether those are wrong, and so it cannot be confirmed.",
    "top_loss": "The examples of the highest losses are a slice by nothing but their losses: it cannot be carried to "
    "other examples, and so it cannot be confirmed.",
}
"""Methods whose slices are losses or errors themselves: what they say of that. They read no embedding."""

OF_ATTRIBUTES = {"rules": ["Rule 1 is: group = 0."]}
"""Methods whose slices are conditions on attributes, and how these are told. They read no embedding."""

CONFIGS = Path(__file__).parents[1] / "configs" / "method"
every = pytest.mark.parametrize("word", METHODS)


def data(n: int = 160, seed: int = 0) -> Predictions:
    """Six groups apart, in the first of which nearly everything is wrong."""
    rng = np.random.default_rng(seed)
    group = rng.integers(6, size=n)
    centres = 6 * np.random.default_rng(9).normal(size=(6, 5))
    x = centres[group] + rng.normal(size=(n, 5))
    labels = rng.integers(3, size=n)
    right = rng.random(n) < np.where(group == 0, 0.1, 0.95)
    outputs = rng.normal(size=(n, 3))
    outputs[np.arange(n), np.where(right, labels, (labels + 1) % 3)] += 5
    return Predictions.from_arrays(
        x.astype(np.float32),
        labels=labels,
        outputs=outputs.astype(np.float32),
        attributes={"group": group.astype(str), "age": rng.normal(40, 9, n)},
        task=Classification(("cat", "dog", "owl")),
        manifest={"dataset": "groups"},
    )


def made(word: str, **more: Any) -> Method:
    return find(word)(**METHODS[word] | more)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Method]:
    """Every method on the same data; not to be fitted again."""
    return {word: made(word).fit(data()) for word in METHODS}


def test_every_method_is_tested_here_and_has_a_configuration():
    assert tuple(METHODS) == words()
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(words())


@every
def test_the_word_finds_the_class_of_the_configuration(word):
    method = find(word)
    config = yaml.safe_load((CONFIGS / f"{word}.yaml").read_text())
    package, name = config["_target_"].rsplit(".", 1)
    assert getattr(import_module(package), name) is method
    assert method.word == word
    assert method.noun[0].isupper()
    assert method.size_parameter is None or method.size_parameter in signature(method).parameters
    assert method().seeks in ("worse", "better")


@every
def test_scikit_learn_habits(word, fitted):
    method = made(word)
    assert all(getattr(method, name) is value for name, value in METHODS[word].items())
    assert method.get_params() == {
        name: METHODS[word].get(name, parameter.default)
        for name, parameter in signature(type(method)).parameters.items()
    }
    assert repr(type(method)()) == f"{type(method).__name__}()"
    copy = clone(fitted[word])
    assert copy.get_params() == method.get_params()
    assert not hasattr(copy, "slices_")
    assert method.fit(data(seed=1)) is method


@every
def test_what_is_found(word, fitted):
    p, slices = data(), fitted[word].slices_
    assert slices.method == word
    assert_array_equal(slices.ids, p.ids)
    assert slices.weights.shape == (len(slices), len(p))
    assert len(slices) >= 1
    assert ((slices.weights >= 0) & (slices.weights <= 1)).all()
    assert len(slices.statistics) == len(slices)
    for found, expected in zip(slices.statistics, describe(slices.weights, p), strict=True):
        assert replace(found, cluster=None) == expected
    assert slices.provenance["predictions"] == p.manifest
    assert set(slices.provenance["settings"]) == set(fitted[word].get_params())
    if word in BLIND:
        return
    in_group = np.array(p.attributes["group"].to_pylist()) == "0"
    assert slices.weights[0] @ in_group > 0.9 * slices.weights[0].sum()


@every
def test_progress_is_told(word):
    told: list[tuple[str, int, int]] = []
    made(word).fit(data(), callback=lambda *news: told.append(news))
    assert told
    for stage, done, total in told:
        assert isinstance(stage, str)
        assert 0 <= done <= total


@every
def test_the_order_of_rows_changes_nothing(word, fitted):
    p = data()
    order = np.random.default_rng(3).permutation(len(p))
    again = made(word).fit(p.take(order))
    assert_array_equal(again.slices_.weights, fitted[word].slices_.weights[:, order])


@every
def test_counts_are_repeated_rows(word):
    """To the last bit; a search for an optimum has other starts where rows are repeated, and ends as high."""
    p = data()
    counts = np.random.default_rng(5).integers(1, 4, len(p))
    rows = np.repeat(np.arange(len(p)), counts)
    once = made(word).fit(replace(p, counts=counts))
    many = made(word).fit(replace(p.take(rows), ids=np.arange(len(rows)).astype(str)))
    assert len(once.slices_) == len(many.slices_)
    weight, loss = (1e-2, 1e-4) if word in SEARCH_AN_OPTIMUM else (0, 1e-12)
    assert_allclose(once.slices_.weights[:, rows], many.slices_.weights, rtol=0, atol=weight)
    for a, b in zip(once.slices_.statistics, many.slices_.statistics, strict=True):
        assert a.size == pytest.approx(b.size, rel=1e-6)
        assert a.loss_inside == pytest.approx(b.loss_inside, rel=loss)


@every
def test_saved_slices_are_applied_as_fitted_ones_are(word, fitted, tmp_path):
    method, new = fitted[word], data(seed=7)
    loaded = Slices.load(method.slices_.save(tmp_path / "slices"))
    assert loaded.equals(method.slices_)
    expected = method.membership(new)
    assert expected.shape == (len(new), len(method.slices_))
    assert ((expected >= 0) & (expected <= 1)).all()
    assert expected.max() > 0 or word == "top_loss"  # to which no other example belongs
    assert_array_equal(apply(loaded, new), expected)
    assert_array_equal(type(method).apply(loaded, new), expected)
    back = method_of(loaded)
    assert type(back) is type(method)
    assert back.seeks == method.seeks
    assert {name: back.get_params()[name] for name in METHODS[word]} == METHODS[word]


@every
def test_membership_never_uses_what_was_right(word, fitted):
    new = data(seed=7)
    labels = new.labels if word in WITHIN_LABELS else None
    blind = replace(new, losses=None, labels=labels, correct=None, outputs=None, counts=None)
    assert_array_equal(fitted[word].membership(blind), fitted[word].membership(new))


@every
def test_the_embeddings_of_another_model_are_refused(word, fitted):
    if word in NOT_CARRIED or word in OF_ATTRIBUTES:
        pytest.skip("its memberships read no embedding")
    p = Predictions.from_arrays(np.zeros((4, 3)))
    with pytest.raises(
        ValueError, match=r"embeddings have shape \(4, 3\), but the .* were found in 5 dimensions; take"
    ):
        apply(fitted[word].slices_, p)


@every
def test_slices_without_parameters_and_methods_not_fitted_say_so(word, fitted):
    with pytest.raises(ValueError, match="not fitted; call fit first"):
        made(word).membership(data())
    if word == "top_loss":
        pytest.skip("it has no parameters: no other example belongs to it")
    bare = replace(fitted[word].slices_, parameters={})
    with pytest.raises(ValueError, match=f"these {word} slices hold no .*cannot be applied"):
        apply(bare, data())


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@every
def test_inputs_and_the_world_are_left_as_they_were(word, two_threads):
    """Arrays may be memory-mapped: a method that writes to one fails here."""
    p = data()
    before = {name: value.copy() for name, value in vars(p).items() if isinstance(value, np.ndarray)}
    for name in before:
        getattr(p, name).setflags(write=False)
    random, threads = (np.random.get_state()[1].copy(), torch.get_rng_state()), torch.get_num_threads()
    method = made(word).fit(p)
    method.membership(p)
    for name, value in before.items():
        assert_array_equal(getattr(p, name), value)
    assert_array_equal(np.random.get_state()[1], random[0])
    assert torch.equal(torch.get_rng_state(), random[1])
    assert torch.get_num_threads() == threads


@every
def test_the_same_seed_gives_the_same_slices(word, fitted):
    assert made(word).fit(data()).slices_.equals(fitted[word].slices_)


@every
def test_attributes_are_no_input(word, fitted):
    import pyarrow as pa

    if word in OF_ATTRIBUTES:
        pytest.skip("its slices are conditions on them")
    p = data()
    others = replace(p, attributes=pa.table({"group": np.random.default_rng(0).permutation(p.losses)}))
    assert_array_equal(made(word).fit(others).slices_.weights, fitted[word].slices_.weights)


def degenerate() -> dict[str, Predictions]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.exponential(size=40)
    right = rng.random(40) < 0.7

    def record(rows: slice, **change: Any) -> Predictions:
        fields = {"embeddings": x[rows], "losses": y[rows], "correct": right[rows]} | change
        return Predictions.from_arrays(**fields)

    return {
        "one example": record(slice(1)),
        "two examples": record(slice(2)),
        "three examples": record(slice(3)),
        "two equal examples": record(slice(2), embeddings=np.ones((2, 3))),
        "all rows equal": record(slice(40), embeddings=np.ones((40, 3))),
        "two places": record(slice(40), embeddings=np.repeat(x[:2], 20, axis=0)),
        "constant losses": record(slice(40), losses=np.ones(40)),
        "no losses": record(slice(40), losses=None),
        "losses of zero": record(slice(40), losses=np.zeros(40)),
        "nothing known": record(slice(40), losses=None, correct=None),
        "all right": record(slice(40), correct=np.ones(40, dtype=bool)),
        "all wrong": record(slice(40), correct=np.zeros(40, dtype=bool)),
        "one dimension": record(slice(40), embeddings=x[:, :1]),
        "a constant column": record(slice(40), embeddings=np.c_[x, np.ones(40)]),
        "an outlier": record(slice(40), embeddings=np.r_[x[:39], [[1e6] * 3]]),
        "far from the origin": record(slice(40), embeddings=x + 1e6),
        "tiny": record(slice(40), embeddings=x * 1e-30),
        "heavy": record(slice(40), counts=np.r_[np.ones(39), 1e6]),
        "more dimensions than examples": record(slice(3), embeddings=rng.normal(size=(3, 50))),
    }


@pytest.mark.parametrize("settings", ["quick", "smallest", pytest.param("defaults", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", degenerate())
@every
def test_degenerate_data_give_a_result_or_a_sentence(word, name, settings):
    p, size = degenerate()[name], find(word).size_parameter
    smallest = {size: 1} if size else {}
    method = find(word)(
        **{"quick": METHODS[word], "smallest": METHODS[word] | smallest, "defaults": {}}[settings]
    )
    refused = ""
    try:
        method.fit(p)
    except ValueError as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
        assert len(refused) > 20
        return
    assert np.isfinite(method.slices_.weights).all()
    found = method.membership(p)
    assert found.shape == (len(p), len(method.slices_))
    assert np.isfinite(found).all()
    assert all(advice.endswith(".") for advice in method.advice(method.slices_))


@every
def test_everything_is_judged_as_it_is_recorded(word, fitted):
    p = data(seed=2)
    for audit in (fitted[word].audited(p), audit_of(fitted[word].slices_, p)):
        assert isinstance(audit, AuditedRows)
        assert audit.rows.all()
        assert_array_equal(audit.correct, p.correct)
        assert_array_equal(audit.losses, p.losses)
    bare = audit_of(fitted[word].slices_, Predictions.from_arrays(p.embeddings))
    assert bare.correct is None
    assert bare.losses is None


@every
def test_small_slices_are_cautioned_against_in_the_methods_own_words(word, fitted):
    method, slices = fitted[word], fitted[word].slices_
    large = [replace(statistics, size=5.0) for statistics in slices.statistics]
    always = [NOT_CARRIED[word]] if word in NOT_CARRIED else OF_ATTRIBUTES.get(word, [])
    assert method.advice(replace(slices, statistics=large)) == always
    small = replace(slices, statistics=[replace(large[0], size=4.9), *large[1:]])
    larger = f"; method.{method.size_parameter} asks for larger ones" if method.size_parameter else ""
    assert method.advice(small) == [*always, f"{method.noun}s of fewer than 5 examples say little{larger}."]


def test_a_spotlight_with_flip_seeks_what_does_better(tmp_path):
    slices = made("spotlight", flip=True, n_slices=1).fit(data()).slices_
    assert method_of(slices).seeks == "better"
    assert method_of(Slices.load(slices.save(tmp_path / "slices"))).seeks == "better"


def test_a_method_of_ones_own_is_found_once_it_is_imported():
    class Halves(Method):
        word = "halves"

        def fit(self, p: Predictions, callback: Any = None) -> Halves:
            weights = np.zeros((1, len(p)))
            weights[0, p.embeddings[:, 0] > 0] = 1
            self.slices_ = Slices("halves", p.ids, weights, describe(weights, p))
            return self

        def membership(self, p: Predictions) -> np.ndarray:
            self._fitted()
            return (p.embeddings[:, :1] > 0).astype(np.float64)

    p = data()
    slices = Halves().fit(p).slices_
    assert find("halves") is Halves
    assert_array_equal(apply(slices, p).T, slices.weights)
    assert Halves.advice(replace(slices, statistics=[replace(slices.statistics[0], size=1.0)])) == [
        "Slices of fewer than 5 examples say little."
    ]


@pytest.mark.parametrize("word", ["scams", "base", "registry", "../udis", "", "udis.cut"])
def test_an_unknown_method_is_described_but_not_applied(word):
    p = data()
    weights = np.zeros((1, len(p)))
    slices = Slices(word, p.ids, weights, describe(weights, p))
    method = method_of(slices)
    assert (method.noun, method.seeks) == ("Slice", "worse")
    assert audit_of(slices, p).rows.all()
    with pytest.raises(ValueError, match=f"slices of {word!r}, a method that is not known here"):
        apply(slices, p)
    with pytest.raises(ValueError, match=f"the word {word!r}; known: {', '.join(METHODS)}; "):
        find(word)


def test_a_method_is_imported_when_its_slices_are_and_no_other():
    code = (
        "import sys; from weakspot import methods; methods.words(); "
        "assert not {'torch', 'numba', 'weakspot.methods.spotlight', 'weakspot.methods.udis'} & set(sys.modules); "
        "methods.find('udis'); assert 'weakspot.methods.spotlight' not in sys.modules"
    )
    done = run([executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@every
def test_what_fit_would_refuse_is_known_before(word: str) -> None:
    p = data()
    made(word).check(len(p), p.task)
    wrong: dict[str, dict[str, Any]] = {
        "barlow": {"min_size": len(p) + 1, "max_depth": 0},
        "confusion": {"n_slices": 0, "min_size": 0},
        "domino": {"n_mixture": len(p) + 1, "n_components": 0},
        "george": {"max_clusters": 1, "n_components": 0},
        "gmm": {"n_components": len(p) + 1, "max_iter": 0},
        "kmeans": {"n_clusters": len(p) + 1, "n_init": 0},
        "multiaccuracy": {"share": 1.0, "alpha": -1.0},
        "planespot": {"max_components": 1, "max_iter": 0},
        "random": {"share": 0.0, "n_slices": 0},
        "rules": {"alpha": 0.0, "max_conditions": 0},
        "scan": {"sizes": [1], "draws": -1},
        "spotlight": {"min_size": len(p) + 1, "precision": "round"},
        "top_loss": {"share": 1.5},
        "udis": {"category": "cow", "cut": len(p) + 1, "metric": "recall"},
    }
    for name, value in wrong[word].items():
        method = made(word, **{name: value})
        with pytest.raises(ValueError, match=f"{name}=") as early:
            method.check(len(p), p.task)
        with pytest.raises(ValueError, match=f"{name}=") as late:
            method.fit(p)
        assert str(early.value) == str(late.value)


@every
def test_half_precision_mapped_from_a_file_is_searched_where_it_is(word, tmp_path):
    p = data()
    half = p.embeddings.astype(np.float16)
    np.save(tmp_path / "half.npy", half)
    mapped = Predictions.from_arrays(
        np.load(tmp_path / "half.npy", mmap_mode="r"),
        labels=p.labels,
        outputs=p.outputs,
        task=p.task,
        attributes=p.attributes,
    )
    assert isinstance(mapped.embeddings.base, np.memmap)
    one, two = made(word).fit(mapped), made(word).fit(replace(p, embeddings=half.astype(np.float32)))
    assert_allclose(one.slices_.weights, two.slices_.weights, atol=1e-3)
    assert_allclose(one.membership(mapped), two.membership(mapped), atol=1e-3)
