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

MIN_INFORMATIVE_SIZE = 5
"""Slices of fewer examples are too small to say much."""

Callback = Callable[[str, int, int], None]
"""Called from time to time with (stage, steps done, total steps), to report progress."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Report nothing: the default callback."""


@dataclass(frozen=True, eq=False)
class AuditedRows:
    """The examples that a method judges, and the record that it judges them by.

    Attributes:
        rows: (n,) whether the method judges each example of the record.
        record: All n examples as the method judges them: if it audits one category, the labels and predictions
            state whether an example has that category.
    """

    rows: Bool[np.ndarray, " n"]
    record: Predictions

    @property
    def correct(self) -> Bool[np.ndarray, " n"] | None:
        """Return which examples are right (n,); None if the record does not hold it."""
        return None if self.record.correct is None else np.asarray(self.record.correct)

    @property
    def losses(self) -> Float[np.ndarray, " n"] | None:
        """Return the loss of every example (n,); None if the record holds no losses."""
        return None if self.record.losses is None else np.asarray(self.record.losses)


@dataclass(frozen=True)
class NearMiss:
    """Describes a group that is not a slice, but came close to being one.

    Attributes:
        node: The group's id in the cluster tree.
        size: Its number of examples.
        measure: The measure that decides whether a group is a slice.
        score: The group's value of the measure, from 0 to 1.
        threshold: The value below which it would have been a slice.
        above: How far the score lies above the threshold.
    """

    node: int
    size: float
    measure: Literal["accuracy", "f1"]
    score: float
    threshold: float
    above: float


class Method(BaseEstimator, ABC):
    """Finds slices in predictions, following scikit-learn's conventions for estimators.

    The constructor only assigns; `fit` validates, and raises a one-sentence ValueError for input that it cannot use;
    fitted attributes end in an underscore; `clone` and `repr` work. A method reads embeddings, losses, correctness,
    counts, labels and outputs, but never attributes, except `rules`, whose slices are conditions on attributes.

    A new method consists of a module in this package that is named after its word and defines a subclass, a file
    `configs/method/<word>.yaml` with its schema, and a row in tests/methods/test_methods_contract.py.

    Attributes:
        word: The method's name on the command line and in `Slices.method`.
        noun: What reports call one of its slices.
        size_parameter: The constructor's parameter for the smallest size of a slice, if it has one.
        in_embeddings: Whether slices are searched for in embedding space.
        reads_attributes: Whether `fit` or `membership` reads attributes; otherwise they only describe the slices.
        testable: Whether its slices can be tested on other examples. They cannot if an example is in a slice because
            of its own error.
        slices_: The slices, after `fit`.
    """

    word: ClassVar[str]
    noun: ClassVar[str] = "Slice"
    size_parameter: ClassVar[str | None] = None
    in_embeddings: ClassVar[bool] = True
    reads_attributes: ClassVar[bool] = False
    testable: ClassVar[bool] = True
    slices_: Slices

    @classmethod
    def why_untestable(cls) -> str:
        """Return why slices of a method that is not `testable` cannot be tested, as part of a sentence."""
        return f"slices of method={cls.word} hold examples because of their errors, so they cannot be tested on others"

    @abstractmethod
    def fit(self, p: Predictions, callback: Callback | None = None) -> Self:
        """Find the slices of `p`."""

    def check(self, n: float, task: Task | None) -> None:
        """Check the settings before a model is trained or run, so that a mistake is found early.

        Args:
            n: The number of examples.
            task: Their task, if it is known.

        Raises:
            ValueError: If `fit` would reject these settings for any such examples.
        """

    def check_attributes(self, names: Sequence[str]) -> None:
        """Raise ValueError if `fit` would reject examples with these attributes; called together with `check`."""

    def check_record(self, p: Predictions) -> None:
        """Raise ValueError if `fit` would reject predictions that hold what `p` holds, and lack what it lacks.

        It is called before anything is written, with as little as one example.
        """

    @abstractmethod
    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return how much each example of other predictions belongs to each slice, (n, k) in [0, 1].

        It depends only on `slices_` and the constructor's parameters, never on whether an example is right.
        `self._fitted(p)` returns `slices_` after checking them against the task of `p`.

        Raises:
            ValueError: If the method is not fitted, or `p` has another task or embedding than the searched predictions.
        """

    def weights(self, p: Predictions) -> Weights:
        """Return `membership` by slice (k, n), as in `Slices.weights`; sparse if a method has hundreds of slices."""
        return self.membership(p).T

    @property
    def seeks(self) -> Literal["worse", "better"]:
        """Return whether the method looks for slices that do worse than the rest, or better."""
        return "worse"

    def audited(self, p: Predictions) -> AuditedRows:
        """Return the examples that the method judges, and the record that it judges them by: by default all of `p`."""
        return AuditedRows(np.ones(len(p), dtype=bool), p)

    @classmethod
    def of(cls, slices: Slices) -> Self:
        """Rebuild the fitted method from saved slices, with its parameters and `slices_` only."""
        saved = slices.provenance.get("settings")
        settings = saved if isinstance(saved, Mapping) else {}
        known = {name: settings[name] for name in cls._get_param_names() if name in settings}
        method = cls(**known)
        method.slices_ = slices
        return method

    @classmethod
    def apply(cls, slices: Slices, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return `membership` (n, k) for slices of this method, fitted or loaded."""
        return cls.of(slices).membership(p)

    @classmethod
    def advice(cls, slices: Slices) -> list[str]:
        """Return what a reader of these slices should know before relying on them, in full sentences."""
        if all(statistics.size >= MIN_INFORMATIVE_SIZE for statistics in slices.statistics):
            return []
        larger = f"; raise method.{cls.size_parameter} to get larger ones" if cls.size_parameter else ""
        return [f"{cls.noun}s of fewer than {MIN_INFORMATIVE_SIZE} examples say little{larger}."]

    @classmethod
    def slice_names(cls, slices: Slices) -> list[str]:
        """Return a description of each slice in words, if the method defines its slices so; by default none."""
        return []

    @classmethod
    def near_misses(cls, slices: Slices) -> list[NearMiss]:
        """Return the groups that came closest to being a slice if the method found none, closest first."""
        return []

    @classmethod
    def p_searched(cls, slices: Slices) -> list[float | None]:
        """Return, for each slice, the share of searches in which chance alone would find one as extreme.

        It is None if the method does not compute it. It refers to the examples that were searched, so it confirms
        nothing: that takes held-out examples.
        """
        return [None] * len(slices)

    def _fitted(self, p: Predictions) -> Slices:
        """Return the slices, to apply them to `p`.

        Raises:
            ValueError: If the method is not fitted, or its slices were found in predictions of another task or classes.
        """
        if not hasattr(self, "slices_"):
            raise ValueError(f"this {type(self).__name__} is not fitted; call fit first")
        searched = self.slices_.provenance.get("predictions")
        recorded = searched.get("task") if isinstance(searched, Mapping) else None
        if isinstance(recorded, Mapping) and p.task is not None:
            kind, classes = recorded.get("kind"), tuple(map(str, recorded.get("classes") or ()))
            # Labels are compared by index: if names differ, the same index means another class.
            if kind != p.task.kind or not _classes_match(classes, p.task.classes):
                raise ValueError(
                    f"these slices were found in another task ({_describe_task(kind, classes)}) than that of the "
                    f"examples ({_describe_task(p.task.kind, p.task.classes)}); give predictions of the same model, "
                    "with its classes in the same order (in Python: task=Classification((…)) with their names)"
                )
        return self.slices_


def _classes_match(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two lists of classes agree up to the shorter one; bare indices match any names."""
    indices = [str(index) for index in range(len(one))]
    if len(one) == len(other) and indices in (list(one), list(other)):
        return True
    shared = min(len(one), len(other))
    return tuple(one[:shared]) == tuple(other[:shared])


def _describe_task(kind: str | None, classes: Sequence[str]) -> str:
    return f"{kind}: {', '.join(classes[:6])}{', …' if len(classes) > 6 else ''}"


def check_predictions(p: object) -> None:
    """Raise TypeError for anything but Predictions: users of scikit-learn may pass arrays."""
    if not isinstance(p, Predictions):
        raise TypeError(
            f"fit takes Predictions, not {type(p).__name__}; make them with Predictions.from_arrays(embeddings, losses)"
        )


def parameters_of(slices: Slices, *names: str) -> list[np.ndarray]:
    """Return the named parameters of slices, which are needed to apply them to other examples.

    Raises:
        ValueError: If one is missing; published results may lack a centre.
    """
    missing = [name for name in names if name not in slices.parameters]
    if missing:
        raise ValueError(
            f"these {slices.method} slices hold no {missing[0]}, so they cannot be applied to other examples; "
            "fit the method again to get slices that do"
        )
    return [slices.parameters[name] for name in names]


def embeddings_for(embeddings: Any, width: int, what: str) -> Num[np.ndarray, "n d"]:
    """Return embeddings as an array (n, d).

    Args:
        embeddings: The embeddings of the examples that slices are applied to.
        width: The number of dimensions in which the slices were found.
        what: What the error message calls the slices.

    Raises:
        ValueError: If their width differs.
    """
    x = np.asarray(embeddings)
    if x.ndim != 2 or x.shape[1] != width:
        given = f"are {x.shape[1]} wide" if x.ndim == 2 else f"have shape {x.shape}"
        raise ValueError(
            f"embeddings {given}, but {what} were found in {width} dimensions; take the embeddings of the same model"
        )
    return x


class UnknownMethod(Method):
    """A placeholder for a method that is not installed: its slices can be described, but not applied."""

    in_embeddings = False
    reads_attributes = True  # unknown, so nothing may claim that it read none

    def fit(self, p: Predictions, callback: Callback | None = None) -> Self:
        raise ValueError("a method that is not installed cannot be fitted")

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        raise ValueError(
            f"these are slices of {self._fitted(p).method!r}, a method that is not known here, so they cannot be "
            "applied; import the module that defines the method first"
        )
