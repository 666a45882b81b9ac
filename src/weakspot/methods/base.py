"""The contract of a discovery method: what its estimator, its saved slices and its author can rely on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Bool, Float, Num
from sklearn.base import BaseEstimator

from weakspot.predictions import Predictions
from weakspot.slices import Slices, Weights
from weakspot.tasks import Task

FEW = 5
"""Examples, below which a slice says little."""

Callback = Callable[[str, int, int], None]
"""Called now and then with (what is going on, steps done, steps in all)."""


@dataclass(frozen=True, eq=False)
class Audited:
    """What a method judges: which examples, and by what.

    rows     (n,) which examples of the record are judged
    record   all n examples as the method judges them: where it looks at one category, the labels and
             predictions say whether an example has it
    """

    rows: Bool[np.ndarray, " n"]
    record: Predictions

    @property
    def correct(self) -> Bool[np.ndarray, " n"] | None:
        """Which examples are right; None where the record cannot tell."""
        return None if self.record.correct is None else np.asarray(self.record.correct)

    @property
    def losses(self) -> Float[np.ndarray, " n"] | None:
        """The loss of every example; None where the record cannot tell."""
        return None if self.record.losses is None else np.asarray(self.record.losses)


@dataclass(frozen=True)
class NearMiss:
    """A group that a method looked at and that is no slice, but came nearest to being one.

    Attributes:
        node: Its id in the cluster tree.
        size: In examples.
        measure: What it was judged by.
        score: That measure of it, from 0 to 1.
        threshold: Below which it would have been a slice.
        above: By how much it missed that.
    """

    node: int
    size: float
    measure: Literal["accuracy", "f1"]
    score: float
    threshold: float
    above: float


class Method(BaseEstimator, ABC):
    """A discovery method: scikit-learn's habits, predictions in, slices out.

    A constructor only assigns, `fit` validates and says in one sentence (ValueError) what it cannot use,
    fitted names end in an underscore, `clone` and `repr` work. A method reads embeddings, losses,
    correctness, counts, labels and outputs, never attributes; only the slices of `rules` are conditions on these.

    A new method is a module of its word in this package with a subclass in it, `configs/method/<word>.yaml`
    with its schema, and a row of tests/test_methods_contract.py.

    word             its name on the command line and in `Slices.method`
    noun             what a report calls one of its slices
    size_parameter   the constructor's parameter for the least size of a slice, if it has one
    in_embeddings    whether slices are sought among embeddings
    slices_          after `fit`
    """

    word: ClassVar[str]
    noun: ClassVar[str] = "Slice"
    size_parameter: ClassVar[str | None] = None
    in_embeddings: ClassVar[bool] = True
    slices_: Slices

    @abstractmethod
    def fit(self, p: Predictions, callback: Callback | None = None) -> Self:
        """Find the slices of `p`."""

    def check(self, n: float, task: Task | None) -> None:
        """Raise ValueError for parameters with which `fit` would refuse any `n` examples of a task, if it is known.

        It is asked before a model is trained and read, so that a slip costs nothing.
        """

    def check_attributes(self, names: Sequence[str]) -> None:
        """Raise ValueError where `fit` would refuse examples of such attributes; asked when `check` is."""

    @abstractmethod
    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """How much other predictions' examples belong to each slice, in [0, 1].

        It follows from `slices_` and the constructor's parameters alone, and never from whether an example
        is right.
        """

    def weights(self, p: Predictions) -> Weights:
        """`membership` by slice (k, n), as `Slices.weights`; a method of hundreds of slices makes it sparse."""
        return self.membership(p).T

    @property
    def seeks(self) -> Literal["worse", "better"]:
        """Whether slices are sought that do worse than the rest, or better."""
        return "worse"

    def audited(self, p: Predictions) -> Audited:
        """The examples of `p` that are judged, and by what: all of them, as they are recorded."""
        return Audited(np.ones(len(p), dtype=bool), p)

    @classmethod
    def of(cls, slices: Slices) -> Self:
        """The fitted method, as far as saved slices hold it: with its parameters and `slices_`."""
        told = slices.provenance.get("settings")
        settings = told if isinstance(told, Mapping) else {}
        known = {name: settings[name] for name in cls._get_param_names() if name in settings}
        method = cls(**known)
        method.slices_ = slices
        return method

    @classmethod
    def apply(cls, slices: Slices, p: Predictions) -> Float[np.ndarray, "n k"]:
        """`membership` for slices of this method, fitted or loaded."""
        return cls.of(slices).membership(p)

    @classmethod
    def advice(cls, slices: Slices) -> list[str]:
        """What a reader of these slices should know before relying on them, in full sentences."""
        if all(statistics.size >= FEW for statistics in slices.statistics):
            return []
        larger = f"; method.{cls.size_parameter} asks for larger ones" if cls.size_parameter else ""
        return [f"{cls.noun}s of fewer than {FEW} examples say little{larger}."]

    @classmethod
    def near_misses(cls, slices: Slices) -> list[NearMiss]:
        """Where the method found no slice, what came nearest to being one, the nearest first."""
        return []

    @classmethod
    def p_searched(cls, slices: Slices) -> list[float | None]:
        """Of every slice, in how many of all searches chance alone would find one as extreme in the same examples.

        None where the method does not say. It describes the search and confirms nothing: that is for held-out examples.
        """
        return [None] * len(slices)

    def _fitted(self) -> Slices:
        if not hasattr(self, "slices_"):
            raise ValueError(f"this {type(self).__name__} is not fitted; call fit first")
        return self.slices_


def parameters_of(slices: Slices, *names: str) -> list[np.ndarray]:
    """The parameters of slices by which they are applied to other examples.

    Raises ValueError where they have none: published results may lack a centre.
    """
    lacking = [name for name in names if name not in slices.parameters]
    if lacking:
        raise ValueError(
            f"these {slices.method} slices hold no {lacking[0]}, so they cannot be applied to other examples; "
            "fit the method again to get some that do"
        )
    return [slices.parameters[name] for name in names]


def embeddings_for(embeddings: Any, width: int, what: str) -> Num[np.ndarray, "n d"]:
    """The embeddings as an array; ValueError unless they are of the width that `what` was found in."""
    x = np.asarray(embeddings)
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(
            f"embeddings have shape {x.shape}, but {what} were found in {width} dimensions; "
            "take the embeddings of the same model"
        )
    return x


class Unknown(Method):
    """Stands for a method that this installation lacks: its slices can be described, but not applied."""

    in_embeddings = False

    def fit(self, p: Predictions, callback: Callback | None = None) -> Self:
        raise ValueError("a method that is not installed cannot be fitted")

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        raise ValueError(
            f"these are slices of {self._fitted().method!r}, a method that is not known here, so they cannot be "
            "applied; import the module that defines the method first"
        )
