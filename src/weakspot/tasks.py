"""What a model is asked to do: the loss, prediction and correctness of each single example.

A dataset declares its task and the model receives it, so the number of classes never stands in a
configuration. torch is imported inside the methods: describing a task costs nothing.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Num

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.IGNORECASE)


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The classes among the labels, in the order in which they are numbered wherever nobody gives one.

    Names are sorted; if all of them are numbers, they are sorted by value, so that "2.0" comes before "10.0" and
    class indices written as text stay what they are.

    Example:
        >>> class_names(["10", "2", "2"])
        ('2', '10')
    """
    names = set(labels)
    if all(is_number(name) for name in names):
        return tuple(sorted(names, key=lambda name: (Decimal(name), name)))  # 1 and 01 are two classes
    return tuple(sorted(names))


def is_number(text: str) -> bool:
    """Whether a text is a finite number in decimal notation."""
    return _NUMBER.fullmatch(text) is not None


@dataclass(frozen=True)
class Task(ABC):
    """One kind of prediction, with the names of what can be predicted.

    by_accuracy   whether people state the quality of such predictions as the share that is right. Where they do
                  not (ratings, regression), it is stated by `measure`: an error, of which lower is better.
    """

    kind: ClassVar[str]
    by_accuracy: ClassVar[bool] = True
    classes: tuple[str, ...]

    @property
    def measure(self) -> str:
        """The word for what `metric` measures."""
        return "accuracy"

    @property
    def n_outputs(self) -> int:
        """Width C of the model's outputs."""
        return len(self.classes)

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of every example, (n,), from outputs (n, C) as the head gives them (logits)."""

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Predictions in the form of the targets, from outputs (n, C)."""

    @abstractmethod
    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor | None:
        """Whether each example is right, (n,) bool; None where predictions are near or far, not right or wrong."""

    @abstractmethod
    def confidence(self, outputs: Tensor) -> Tensor | None:
        """Probability the model gives its own prediction, (n,) in [0, 1]; None where it gives none."""

    @abstractmethod
    def metric(self) -> Metric:
        """The task's headline number, accumulated from (estimates, targets)."""

    def estimate(self, outputs: Tensor) -> Tensor:
        """What the metric compares with the targets: the predictions, unless a task knows better."""
        return self.predict(outputs)

    def unit_errors(
        self,
        outputs: Float[np.ndarray, "n C"] | None,
        predictions: Num[np.ndarray, "n ..."] | None,
        labels: Num[np.ndarray, "n ..."],
    ) -> Float[np.ndarray, " n"]:
        """The error of each example on the scale whose weighted mean, over any group, `aggregate` turns into the
        measure of that group.

        For ratings and regression these are squared or absolute errors, and `aggregate` gives RMSE or MAE. For all
        other tasks they are 1 where the prediction is wrong and 0 where it is right: their mean is the error rate.

        Args:
            outputs: Logits, or for regression the predicted numbers; None where they are unknown.
            predictions: In the form of the labels; None where they are unknown. They follow from outputs.
            labels: What would have been right.

        Returns:
            Errors in float64, none of them negative.

        Raises:
            ValueError: There are neither outputs nor predictions.

        Example:
            >>> task = Regression()
            >>> errors = task.unit_errors(None, np.array([1.0, 5.0]), np.array([1.0, 2.0]))
            >>> task.aggregate(float(np.average(errors, weights=[1, 3])))
            2.598076211353316
        """
        wrong: np.ndarray = np.not_equal(labels, self._guesses(outputs, predictions)).reshape(len(labels), -1)
        return np.asarray(wrong.any(axis=1), dtype=np.float64)

    def aggregate(self, mean_error: float) -> float:
        """The measure of a group whose weighted mean of `unit_errors` this is."""
        return mean_error

    def _guesses(self, outputs: np.ndarray | None, predictions: np.ndarray | None) -> np.ndarray:
        """The predictions, or where they are unknown what follows from the outputs."""
        if predictions is not None:
            return predictions
        if outputs is None:
            raise ValueError("errors need outputs or predictions beside the labels; there are neither")
        import torch

        return np.asarray(self.predict(torch.tensor(outputs)))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "classes": list(self.classes)}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Task:
        kinds = {
            kind.kind: kind for kind in (Classification, Multilabel, QuestionAnswering, Rating, Regression)
        }
        kind, settings = fields.get("kind"), dict(fields)
        if kind not in kinds:
            raise ValueError(f"unknown task kind {kind!r}; known: {', '.join(kinds)}")
        del settings["kind"]
        return kinds[kind](**settings | {"classes": tuple(str(name) for name in fields["classes"])})


class Classification(Task):
    """Exactly one class per example; targets and predictions are class indices (n,)."""

    kind = "classification"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs.float(), targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(dim=1)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return predictions == targets

    def confidence(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(dim=1).amax(dim=1)

    def metric(self) -> Metric:
        from torchmetrics.classification import MulticlassAccuracy

        return MulticlassAccuracy(num_classes=max(self.n_outputs, 2), average="micro")


class Multilabel(Task):
    """Any number of classes per example; targets and predictions are (n, C) in {0, 1}."""

    kind = "multilabel"

    @property
    def measure(self) -> str:
        return "f1"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs.float(), targets.float(), reduction="none").mean(
            dim=1
        )

    def predict(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).long()

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions == targets).all(dim=1)

    def confidence(self, outputs: Tensor) -> Tensor:
        probability = outputs.float().sigmoid()
        return probability.maximum(1 - probability).mean(dim=1)

    def metric(self) -> Metric:
        from torchmetrics.classification import MultilabelF1Score

        return MultilabelF1Score(num_labels=self.n_outputs, average="macro")


class Rating(Classification):
    """One of several ratings, a class each; what counts is how far the *expected* rating is off (RMSE).

    Classes are numbers one apart, from low to high, so that a difference of class indices is one of ratings.
    """

    kind = "rating"
    by_accuracy = False

    def __post_init__(self) -> None:
        steps = [float(high) - float(low) for low, high in pairwise(self.classes)]
        if any(step != 1 for step in steps):
            raise ValueError(f"ratings must be numbers one apart, from low to high, not {self.classes}")

    @property
    def measure(self) -> str:
        return "rmse"

    def estimate(self, outputs: Tensor) -> Tensor:
        """The expected class index, (n,) float."""
        import torch

        shares = outputs.float().softmax(dim=1)
        return shares @ torch.arange(self.n_outputs, dtype=shares.dtype, device=shares.device)

    def metric(self) -> Metric:
        from torchmetrics import MeanSquaredError

        return MeanSquaredError(squared=False)

    def unit_errors(
        self,
        outputs: Float[np.ndarray, "n C"] | None,
        predictions: Num[np.ndarray, "n ..."] | None,
        labels: Num[np.ndarray, "n ..."],
    ) -> Float[np.ndarray, " n"]:
        """Squared distances of the expected rating, or without outputs of the predicted one, from the label."""
        if outputs is None:
            expected = self._guesses(None, predictions)
        else:
            import torch

            expected = np.asarray(self.estimate(torch.tensor(outputs)))
        squared: np.ndarray = np.square(labels.astype(np.float64) - expected)
        return squared

    def aggregate(self, mean_error: float) -> float:
        return math.sqrt(mean_error)


@dataclass(frozen=True)
class Regression(Task):
    """A real number per example; targets and predictions are floats (n,), outputs those numbers as (n, 1).

    Nothing is right or wrong, only near or far: there is no accuracy, and `correct` is None.

    loss      "squared": the squared error, measured by RMSE. "absolute": the absolute one, measured by MAE.
              "pinball": the loss of a model that predicts a quantile, measured by MAE as well
    quantile  which one, in (0, 1): at 0.9 a prediction that is too low costs nine times one that is too high
    """

    kind = "regression"
    by_accuracy = False

    classes: tuple[str, ...] = ()
    loss: str = "squared"
    quantile: float = 0.5

    def __post_init__(self) -> None:
        if self.loss not in ("squared", "absolute", "pinball"):
            raise ValueError(f"loss={self.loss!r} is unknown; choose squared, absolute or pinball")
        if not 0 < self.quantile < 1:
            raise ValueError(f"quantile={self.quantile!r} must lie between 0 and 1")
        if self.classes:
            raise ValueError(
                f"regression predicts a number, so it has no classes, but {self.classes} were given"
            )

    @property
    def n_outputs(self) -> int:
        return 1

    @property
    def measure(self) -> str:
        return "rmse" if self.loss == "squared" else "mae"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        short = targets - self.predict(outputs)  # positive where the prediction is too low
        match self.loss:
            case "squared":
                return short.square()
            case "absolute":
                return short.abs()
        return (self.quantile * short).maximum((self.quantile - 1) * short)

    def predict(self, outputs: Tensor) -> Tensor:
        numbers = outputs[:, 0]
        return numbers if numbers.dtype.itemsize >= 4 else numbers.float()

    def correct(self, predictions: Tensor, targets: Tensor) -> None:
        return None

    def confidence(self, outputs: Tensor) -> None:
        return None

    def metric(self) -> Metric:
        from torchmetrics import MeanAbsoluteError, MeanSquaredError

        return MeanSquaredError(squared=False) if self.measure == "rmse" else MeanAbsoluteError()

    def unit_errors(
        self,
        outputs: Float[np.ndarray, "n C"] | None,
        predictions: Num[np.ndarray, "n ..."] | None,
        labels: Num[np.ndarray, "n ..."],
    ) -> Float[np.ndarray, " n"]:
        """Squared distances of predictions from labels where the measure is RMSE, absolute ones where it is MAE."""
        distance: np.ndarray = np.abs(labels.astype(np.float64) - self._guesses(outputs, predictions))
        return np.square(distance) if self.measure == "rmse" else distance

    def aggregate(self, mean_error: float) -> float:
        return math.sqrt(mean_error) if self.measure == "rmse" else mean_error


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """The span of a text that answers a question; targets and predictions are its first and last token, (n, 2).

    Outputs are the logits of `length` tokens to be the first, then of as many to be the last; tokens that
    cannot be (padding, the question) carry `NOWHERE`. "No answer" is token 0 to 0, where the model's [CLS] is.

    longest   tokens in an answer, at most
    """

    kind = "question_answering"
    NOWHERE: ClassVar[float] = -1e4

    classes: tuple[str, ...] = ()
    length: int = 384
    longest: int = 30

    @property
    def measure(self) -> str:
        return "exact_match"

    @property
    def n_outputs(self) -> int:
        return 2 * self.length

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        from torch.nn.functional import cross_entropy

        first, last = self._ends(outputs)
        return (
            cross_entropy(first, targets[:, 0], reduction="none")
            + cross_entropy(last, targets[:, 1], reduction="none")
        ) / 2

    def predict(self, outputs: Tensor) -> Tensor:
        """The span of the largest sum of logits among those that are neither reversed nor too long."""
        import torch

        first, last = self._ends(outputs)
        ahead = first.new_full((len(first), self.longest - 1), -torch.inf)
        ends = torch.cat([last, ahead], dim=1).unfold(1, self.longest, 1)  # (n, length, longest)
        best, extra = ends.max(dim=2)
        best[:, 0], extra[:, 0] = last[:, 0], 0  # "no answer" goes on into none
        start = (first + best).argmax(dim=1)
        return torch.stack([start, start + extra.gather(1, start[:, None])[:, 0]], dim=1)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions == targets).all(dim=1)

    def confidence(self, outputs: Tensor) -> Tensor:
        span = self.predict(outputs)
        first, last = (logits.softmax(dim=1) for logits in self._ends(outputs))
        return first.gather(1, span[:, :1])[:, 0] * last.gather(1, span[:, 1:])[:, 0]

    def metric(self) -> Metric:
        from torchmetrics.classification import MulticlassExactMatch

        return MulticlassExactMatch(num_classes=self.length)

    def _ends(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        return outputs[:, : self.length].float(), outputs[:, self.length :].float()
