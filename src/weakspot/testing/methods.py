"""Checks of the contract that every method must fulfil."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from sklearn.base import clone

from weakspot.methods import AuditedRows, Method, apply, audit_of, method_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification


def example_predictions(n: int = 160, seed: int = 0) -> Predictions:
    """Return predictions of six separate groups, (n, 5), with nearly everything wrong in the first.

    Args:
        n: How many examples.
        seed: The seed of the random draws; the positions of the groups are always the same.
    """
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


@dataclass
class MethodCase:
    """A method under test, and what kind of method it is.

    Attributes:
        make: Makes the unfitted method, with settings that are fast on `example_predictions()`; a class is enough.
        searches_an_optimum: It starts from random positions, so repeated rows give only nearly the same slices.
        uses_labels: Its memberships depend on an example's label (never on whether the prediction is right).
        reads_attributes: It reads attributes, and its class declares this; other methods must not read them.
        finds_a_region: It looks for a region in which the model fails, so its first slice is the failing group of
            `example_predictions()`.
        reads_embeddings: Its memberships depend on the embedding.
        carries_over: Its slices can contain examples other than those that it was fitted on.
    """

    make: Callable[[], Method]
    searches_an_optimum: bool = False
    uses_labels: bool = False
    reads_attributes: bool = False
    finds_a_region: bool = True
    reads_embeddings: bool = True
    carries_over: bool = True

    @cached_property
    def fitted(self) -> Method:
        """The method fitted on `example_predictions()`, once for all checks, which do not change it."""
        return self.make().fit(example_predictions())


def check_parameters(case: MethodCase) -> None:
    """The constructor assigns and does nothing else, so that scikit-learn's `clone` and `get_params` work."""
    method, names = case.make(), signature(type(case.make())).parameters
    assert set(method.get_params()) == set(names), "the constructor's arguments are not its parameters"
    copy = clone(case.fitted)
    assert copy.get_params() == method.get_params(), "a clone has other parameters"
    assert not hasattr(copy, "slices_"), "a clone is already fitted"
    assert method.fit(example_predictions(seed=1)) is method, "fit does not return the method"


def check_slices(case: MethodCase) -> None:
    """There is at least one slice; slices have memberships from 0 to 1, statistics, and the examples' provenance."""
    p, slices = example_predictions(), case.fitted.slices_
    assert slices.method == case.fitted.word, "the slices name another method"
    assert_array_equal(slices.ids, p.ids)
    assert len(slices) >= 1, "nothing was found in predictions of which a sixth is wrong"
    assert slices.weights.shape == (len(slices), len(p))
    assert ((slices.weights >= 0) & (slices.weights <= 1)).all(), "a membership is below 0 or above 1"
    for found, expected in zip(slices.statistics, describe(slices.weights, p), strict=True):
        assert replace(found, cluster=None) == expected, "statistics do not match the memberships"
    assert slices.provenance["predictions"] == p.provenance
    assert set(slices.provenance["settings"]) == set(case.fitted.get_params())


def check_failing_group(case: MethodCase) -> None:
    """The first slice lies in the group in which nearly everything is wrong, by more than 90 % of its weight."""
    if not case.finds_a_region:
        return
    p, first = example_predictions(), case.fitted.slices_.weights[0]
    assert p.correct is not None
    inside = np.array(p.attributes["group"].to_pylist()) == "0"
    share = first @ inside / first.sum() if first.any() else 0.0
    assert share > 0.9, (
        f"the failing group was not found: in example_predictions(), {inside.sum()} of {len(p)} examples lie together "
        f'(attributes["group"] is "0") and {(~p.correct[inside]).sum()} of them are wrong; the first slice has a '
        f"weight of {first.sum():.3g}, of which {100 * share:.0f} % is in that group, but more than 90 % must be; "
        "give the case settings with which the method finds it, MethodCase(lambda: Mine(…)), or, if the method does "
        "not look for regions in which the model fails, MethodCase(…, finds_a_region=False)"
    )


def check_progress(case: MethodCase) -> None:
    """`fit` calls back with a stage, the amount done, and the total."""
    calls: list[tuple[str, int, int]] = []
    case.make().fit(example_predictions(), callback=lambda *call: calls.append(call))
    assert calls, "fit never calls back"
    for stage, done, total in calls:
        assert isinstance(stage, str)
        assert 0 <= done <= total, f"{stage}: {done} of {total}"


def check_order_of_rows(case: MethodCase) -> None:
    """The same examples in another order give the same slices, to the last bit."""
    p = example_predictions()
    order = np.random.default_rng(3).permutation(len(p))
    again = case.make().fit(p.take(order))
    assert_array_equal(again.slices_.weights, case.fitted.slices_.weights[:, order])


def check_counts(case: MethodCase) -> None:
    """An example that counts twice equals two equal examples: exactly, or nearly if the method searches an optimum."""
    p = example_predictions()
    counts = np.random.default_rng(5).integers(1, 4, len(p))
    rows = np.repeat(np.arange(len(p)), counts)
    once = case.make().fit(replace(p, counts=counts)).slices_
    many = case.make().fit(replace(p.take(rows), ids=np.arange(len(rows)).astype(str))).slices_
    assert len(once) == len(many), "counts give other slices than repeated rows; does fit use p.counts?"
    weight, loss = (1e-2, 1e-4) if case.searches_an_optimum else (0, 1e-12)
    allowed = "MethodCase(…, searches_an_optimum=True) allows rounding"
    hint = "" if case.searches_an_optimum else f" (if it does: {allowed})"
    said = f"counts of 1 to 3 give other slices than rows repeated as often; does fit use p.counts?{hint}"
    assert_allclose(once.weights[:, rows], many.weights, rtol=0, atol=weight, err_msg=said)
    for a, b in zip(once.statistics, many.statistics, strict=True):
        assert_allclose(a.size, b.size, rtol=1e-6)
        assert a.loss_inside is not None
        assert b.loss_inside is not None
        assert_allclose(a.loss_inside, b.loss_inside, rtol=loss)


def check_saved_slices(case: MethodCase) -> None:
    """Saved and loaded slices give other examples the same memberships as the fitted method does."""
    method, new = case.fitted, example_predictions(seed=7)
    with tempfile.TemporaryDirectory() as folder:
        loaded = Slices.load(method.slices_.save(Path(folder) / "slices"))
        assert loaded.equals(method.slices_)
        expected = method.membership(new)
        assert expected.shape == (len(new), len(method.slices_))
        assert ((expected >= 0) & (expected <= 1)).all(), "a membership is below 0 or above 1"
        assert expected.max() > 0 or not case.carries_over, (
            "no other example belongs to any slice; if that is intended, use MethodCase(…, carries_over=False) and set "
            "testable = False in the class"
        )
        assert case.carries_over or not method.testable, (
            "slices cannot contain other examples, but the method is declared testable"
        )
        assert_array_equal(apply(loaded, new), expected)
        assert_array_equal(type(method).apply(loaded, new), expected)
        back = method_of(loaded)
    assert type(back) is type(method), "the slices' word leads to another class"
    assert back.seeks == method.seeks
    defaults, settings = type(method)().get_params(), method.get_params()
    given = {name for name, value in settings.items() if value != defaults[name]}
    assert {name: back.get_params()[name] for name in given} == {name: settings[name] for name in given}


def check_membership_is_blind(case: MethodCase) -> None:
    """Memberships never use correctness, and labels only if the case says so; else a slice could confirm itself."""
    new = example_predictions(seed=7)
    labels = new.labels if case.uses_labels else None
    blind = replace(new, losses=None, labels=labels, correct=None, outputs=None, counts=None)
    hint = "" if case.uses_labels else "; if they depend only on labels, use MethodCase(…, uses_labels=True)"
    said = f"memberships change if labels, outputs, losses and counts are unknown{hint}"
    assert_array_equal(case.fitted.membership(blind), case.fitted.membership(new), said)


def check_other_embeddings(case: MethodCase) -> None:
    """Embeddings of another width come from another model and are refused."""
    if not case.reads_embeddings:
        return
    said = error_message_of(lambda: apply(case.fitted.slices_, Predictions.from_arrays(np.zeros((4, 3)))))
    assert "3 wide" in said, said
    assert "5 dimensions" in said, said


def check_other_classes(case: MethodCase) -> None:
    """Examples whose classes have other names or another order belong to another task and are refused."""
    p = example_predictions()
    swapped = replace(p, task=Classification(("dog", "cat", "owl")))
    said = error_message_of(lambda: case.fitted.membership(swapped))
    assert "another task (classification: cat, dog, owl)" in said, said


def check_not_fitted(case: MethodCase) -> None:
    """An unfitted method raises an error that says so, and slices without parameters do too."""
    assert "not fitted; call fit first" in error_message_of(
        lambda: case.make().membership(example_predictions())
    )
    if case.carries_over:
        bare = replace(case.fitted.slices_, parameters={})
        assert "cannot be applied" in error_message_of(lambda: apply(bare, example_predictions()))


def check_inputs_unchanged(case: MethodCase) -> None:
    """A method writes to no array, since arrays may be memory-mapped; random states and threads do not change."""
    p = example_predictions()
    before = {name: value.copy() for name, value in vars(p).items() if isinstance(value, np.ndarray)}
    for name in before:
        getattr(p, name).setflags(write=False)
    random, threads = (np.random.get_state(legacy=False), torch.get_rng_state()), torch.get_num_threads()
    method = case.make().fit(p)
    method.membership(p)
    for name, value in before.items():
        assert_array_equal(getattr(p, name), value)
    assert_equal(np.random.get_state(legacy=False), random[0], "NumPy's random state has changed")
    assert torch.equal(torch.get_rng_state(), random[1]), "torch's random state has changed"
    assert torch.get_num_threads() == threads, "the number of torch's threads has changed"


def check_same_seed(case: MethodCase) -> None:
    """The same settings on the same predictions give the same slices."""
    assert case.make().fit(example_predictions()).slices_.equals(case.fitted.slices_)


def check_ignores_attributes(case: MethodCase) -> None:
    """Attributes describe what was found; a method that reads them needs labelled groups, and declares this."""
    assert case.fitted.reads_attributes == case.reads_attributes, (
        "reads_attributes differs between the class and its case"
    )
    if case.reads_attributes:
        return
    p = example_predictions()
    others = replace(p, attributes=pa.table({"group": np.random.default_rng(0).random(len(p))}))
    assert_array_equal(case.make().fit(others).slices_.weights, case.fitted.slices_.weights)


def check_audited(case: MethodCase) -> None:
    """A method and its saved slices judge examples alike, and give no judgement if nothing is known."""
    p = example_predictions(seed=2)
    for audit in (case.fitted.audited(p), audit_of(case.fitted.slices_, p)):
        assert isinstance(audit, AuditedRows)
        assert audit.rows.all()
        assert_array_equal(audit.correct, p.correct)
        assert_array_equal(audit.losses, p.losses)
    bare = audit_of(case.fitted.slices_, Predictions.from_arrays(p.embeddings))
    assert bare.correct is None
    assert bare.losses is None


def check_degenerate_data(case: MethodCase) -> None:
    """Too few, too many, equal, enormous or unknown values give finite slices or a one-sentence error."""
    for name, p in degenerate_predictions().items():
        check_slices_or_error(case.make(), p, name)


def check_slices_or_error(method: Method, p: Predictions, name: str) -> None:
    """Check that fitting a method gives finite memberships or raises ValueError with one sentence.

    Args:
        method: The method, not fitted.
        p: What it is fitted on.
        name: What is special about these predictions, for the message.
    """
    said = ""
    try:
        method.fit(p)
    except ValueError as error:
        said = str(error)
    if said:
        assert "\n" not in said, f"{name}: the error is not one sentence: {said}"
        assert len(said) > 20, f"{name}: the error says too little: {said}"
        return
    assert np.isfinite(method.slices_.weights).all(), f"{name}: a membership is not finite"
    found = method.membership(p)
    assert found.shape == (len(p), len(method.slices_)), f"{name}: memberships have another shape"
    assert np.isfinite(found).all(), f"{name}: a membership of the same examples is not finite"
    assert all(advice.endswith(".") for advice in method.advice(method.slices_)), (
        f"{name}: advice is not a sentence"
    )


def degenerate_predictions() -> dict[str, Predictions]:
    """Return predictions that are hard for a method, named after what is special about them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.exponential(size=40)
    right = rng.random(40) < 0.7

    def record(n: int = 40, **change: Any) -> Predictions:
        fields: dict[str, Any] = {"embeddings": x[:n], "losses": y[:n], "correct": right[:n]}
        return Predictions.from_arrays(**fields | change)

    return {
        "one example": record(1),
        "two examples": record(2),
        "three examples": record(3),
        "two equal examples": record(2, embeddings=np.ones((2, 3))),
        "all rows equal": record(embeddings=np.ones((40, 3))),
        "two places": record(embeddings=np.repeat(x[:2], 20, axis=0)),
        "constant losses": record(losses=np.ones(40)),
        "no losses": record(losses=None),
        "losses of zero": record(losses=np.zeros(40)),
        "nothing known": record(losses=None, correct=None),
        "all right": record(correct=np.ones(40, dtype=bool)),
        "all wrong": record(correct=np.zeros(40, dtype=bool)),
        "one dimension": record(embeddings=x[:, :1]),
        "a constant column": record(embeddings=np.c_[x, np.ones(40)]),
        "an outlier": record(embeddings=np.r_[x[:39], [[1e6] * 3]]),
        "far from the origin": record(embeddings=x + 1e6),
        "tiny": record(embeddings=x * 1e-30),
        "heavy": record(counts=np.r_[np.ones(39), 1e6]),
        "more dimensions than examples": record(3, embeddings=rng.normal(size=(3, 50))),
    }


def error_message_of(call: Callable[[], object]) -> str:
    """Return the message of the ValueError that a call raises; raise AssertionError if it raises none."""
    try:
        call()
    except ValueError as error:
        return str(error)
    raise AssertionError("it raised no ValueError")


METHOD_CHECKS: tuple[Callable[[MethodCase], None], ...] = (
    check_parameters,
    check_slices,
    check_failing_group,
    check_progress,
    check_order_of_rows,
    check_counts,
    check_saved_slices,
    check_membership_is_blind,
    check_other_embeddings,
    check_other_classes,
    check_not_fitted,
    check_inputs_unchanged,
    check_same_seed,
    check_ignores_attributes,
    check_audited,
    check_degenerate_data,
)
"""Every check, for `pytest.mark.parametrize`."""


def check_method(case: MethodCase) -> None:
    """Check a method against the whole contract of `weakspot.methods.Method`, by all of `METHOD_CHECKS`.

    Nearly all of them fit the method on `example_predictions()`, in which it must find at least one slice, and first
    the group in which the model fails. What only some kinds of methods must fulfil is an attribute of the case.

    Args:
        case: The method, and what kind of method it is.

    Raises:
        AssertionError: A check failed; the traceback ends in it, and its docstring says what must hold.
    """
    for check in METHOD_CHECKS:
        check(case)
