"""The contract of `weakspot.methods.base`, checked for every method: a new one adds a row to `METHODS`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib import import_module
from inspect import signature
from subprocess import run
from sys import executable
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.testing import assert_allclose, assert_array_equal

from paths import ROOT
from quick_methods import METHODS, every, made
from weakspot import Predictions, Slices
from weakspot.methods import Method, apply, audit_of, find, method_of, words
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification
from weakspot.testing import METHOD_CHECKS, MethodCase, example_predictions
from weakspot.testing.methods import (
    check_degenerate_data,
    check_inputs_unchanged,
    check_slices_or_error,
    degenerate_predictions,
)

SEARCH_AN_OPTIMUM = ("domino", "george", "gmm", "kmeans", "planespot", "scan", "spotlight")
WITHIN_LABELS = ("barlow", "confusion", "domino", "george", "multiaccuracy", "scan")
"""Methods whose membership depends on the label, never on whether the prediction was right."""

BLIND = {
    "confusion": "a cell of the confusion matrix is all over the embedding",
    "random": "what is drawn is no place",
    "top_loss": "high losses are wherever they are",
}
"""Methods that ignore where examples lie and so find no region of the embedding, and why."""

UNTESTABLE = {"confusion", "top_loss"}
"""Methods whose slices are defined by losses or errors. They do not read embeddings."""

OF_ATTRIBUTES = {"rules": ["Rule 1 is: group = 0."]}
"""Methods whose slices are conditions on attributes, and how they report these. They do not read embeddings."""

CONFIGS = ROOT / "configs" / "method"


@pytest.fixture(scope="module")
def cases() -> dict[str, MethodCase]:
    """Every method, fitted once on the same data."""
    return {
        word: MethodCase(
            partial(made, word),
            searches_an_optimum=word in SEARCH_AN_OPTIMUM,
            uses_labels=word in WITHIN_LABELS,
            reads_attributes=word in OF_ATTRIBUTES,
            finds_a_region=word not in BLIND,
            reads_embeddings=word not in UNTESTABLE and word not in OF_ATTRIBUTES,
            carries_over=word != "top_loss",
        )
        for word in METHODS
    }


@pytest.fixture
def fitted(cases) -> dict[str, Method]:
    """Every method, fitted on the same data; tests must not fit it again."""
    return {word: case.fitted for word, case in cases.items()}


@pytest.mark.parametrize(
    "check",
    [check for check in METHOD_CHECKS if check not in (check_degenerate_data, check_inputs_unchanged)],
)
@every
def test_contract(word, check, cases):
    """User-defined methods must pass the same checks; two of them follow below with settings of their own."""
    check(cases[word])


@every
def test_inputs_and_process_are_left_unchanged(word, cases, two_threads):
    check_inputs_unchanged(cases[word])


def test_every_method_is_tested_here_and_has_a_configuration():
    assert tuple(METHODS) == words()
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(words())


@every
def test_the_word_finds_the_configured_class(word):
    method = find(word)
    config = yaml.safe_load((CONFIGS / f"{word}.yaml").read_text())
    package, name = config["_target_"].rsplit(".", 1)
    assert getattr(import_module(package), name) is method
    assert method.word == word
    assert method.noun[0].isupper()
    assert method.size_parameter is None or method.size_parameter in signature(method).parameters
    assert method().seeks in ("worse", "better")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("settings", ["quick", "smallest", pytest.param("defaults", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", degenerate_predictions())
@every
def test_degenerate_data_give_a_result_or_a_clear_error(word, name, settings):
    size = find(word).size_parameter
    smallest = {size: 1} if size else {}
    method = find(word)(
        **{"quick": METHODS[word], "smallest": METHODS[word] | smallest, "defaults": {}}[settings]
    )
    check_slices_or_error(method, degenerate_predictions()[name], name)


@every
def test_advice_warns_about_small_slices_in_the_methods_terms(word, fitted):
    method, slices = fitted[word], fitted[word].slices_
    large = [replace(statistics, size=5.0) for statistics in slices.statistics]
    assert method.testable == (word not in UNTESTABLE)
    always = OF_ATTRIBUTES.get(word, [])
    assert method.advice(replace(slices, statistics=large)) == always
    small = replace(slices, statistics=[replace(large[0], size=4.9), *large[1:]])
    larger = f"; raise method.{method.size_parameter} to get larger ones" if method.size_parameter else ""
    assert method.advice(small) == [*always, f"{method.noun}s of fewer than 5 examples say little{larger}."]


def test_a_flipped_spotlight_seeks_better_slices(tmp_path):
    slices = made("spotlight", flip=True, n_slices=1).fit(example_predictions()).slices_
    assert method_of(slices).seeks == "better"
    assert method_of(Slices.load(slices.save(tmp_path / "slices"))).seeks == "better"


def test_a_user_defined_method_is_found_once_it_is_imported():
    class Halves(Method):
        word = "halves"

        def fit(self, p: Predictions, callback: Any = None) -> Halves:
            weights = np.zeros((1, len(p)))
            weights[0, p.embeddings[:, 0] > 0] = 1
            self.slices_ = Slices("halves", p.ids, weights, describe(weights, p))
            return self

        def membership(self, p: Predictions) -> np.ndarray:
            self._fitted(p)
            return (p.embeddings[:, :1] > 0).astype(np.float64)

    p = example_predictions()
    slices = Halves().fit(p).slices_
    assert find("halves") is Halves
    assert_array_equal(apply(slices, p).T, slices.weights)
    assert Halves.advice(replace(slices, statistics=[replace(slices.statistics[0], size=1.0)])) == [
        "Slices of fewer than 5 examples say little."
    ]


@pytest.mark.parametrize("word", ["scams", "base", "registry", "../udis", "", "udis.cut"])
def test_an_unknown_method_is_described_but_not_applied(word):
    p = example_predictions()
    weights = np.zeros((1, len(p)))
    slices = Slices(word, p.ids, weights, describe(weights, p))
    method = method_of(slices)
    assert (method.noun, method.seeks) == ("Slice", "worse")
    assert audit_of(slices, p).rows.all()
    with pytest.raises(ValueError, match=f"slices of {word!r}, a method that is not known here"):
        apply(slices, p)
    with pytest.raises(ValueError, match=f"the word {word!r}; known: {', '.join(METHODS)}; "):
        find(word)


def test_finding_a_method_imports_no_other():
    code = (
        "import sys; from weakspot import methods; methods.words(); "
        "assert not {'torch', 'numba', 'weakspot.methods.spotlight', 'weakspot.methods.udis'} & set(sys.modules); "
        "methods.find('udis'); assert 'weakspot.methods.spotlight' not in sys.modules"
    )
    done = run([executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@every
def test_check_refuses_what_fit_would_refuse(word: str) -> None:
    p = example_predictions()
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
def test_memory_mapped_half_precision_gives_the_same_slices(word, tmp_path):
    p = example_predictions()
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


def test_slices_apply_only_to_the_task_they_were_found_in():
    """Manifests are ignored, bare indices match any class names, and a malformed provenance does no harm."""
    p = example_predictions()
    names = Classification(("ape", "bee", "cow"))
    renamed = replace(p, task=names, manifest=p.manifest | {"task": p.task.to_dict()})
    slices = find("scan")().fit(renamed).slices_
    expected = apply(slices, renamed)
    assert_array_equal(apply(slices, replace(p, task=Classification(("0", "1", "2")))), expected)
    for other in (p.task, Classification(("bee", "ape", "cow")), Classification(("0", "1"))):
        with pytest.raises(ValueError, match=r"found in another task \(classification: ape, bee, cow\)"):
            apply(slices, replace(p, task=other))
    for odd in ("my.npz", ["my.npz"], {"task": "x"}, {"task": {"kind": "classification", "classes": None}}):
        assert_array_equal(apply(replace(slices, provenance={"predictions": odd}), renamed), expected)


@pytest.mark.parametrize("word", ["scan", "spotlight", "udis"])
def test_a_plain_array_is_refused(word):
    with pytest.raises(
        TypeError, match=r"fit takes Predictions, not ndarray; make them with Predictions\.from_arrays"
    ):
        find(word)().fit(np.zeros((40, 3)))
