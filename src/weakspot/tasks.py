"""Tasks, which define the loss, the prediction and the correctness of each example.

A dataset declares its task and the model receives it, so that no configuration holds the number of classes. torch is
imported inside the methods, so that a task can be described without it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Num

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric


@dataclass(frozen=True)
class Task(ABC):
    """Base of the tasks: a kind of prediction, with the names of the classes that can be predicted.

    Attributes:
        kind: The name of the task in files.
        by_accuracy: Whether quality is stated as the share of correct predictions. If not (ratings, regression), it is
            stated by `measure`, an error that should be low.
        classes: The names of the classes, in the order of their indices.
    """

    kind: ClassVar[str]
    by_accuracy: ClassVar[bool] = True
    classes: tuple[str, ...]

    @property
    def measure(self) -> str:
        """The name of the quantity that `metric` measures."""
        return "accuracy"

    @property
    def squares_errors(self) -> bool:
        """Whether `unit_errors` are squared distances, and the measure is the root of their mean."""
        return False

    @property
    def n_outputs(self) -> int:
        """The width C of the model's outputs."""
        return len(self.classes)

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of every example, (n,), from the head's outputs (n, C), which are logits."""

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Return predictions in the format of the targets, from outputs (n, C)."""

    @abstractmethod
    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor | None:
        """Return whether each prediction is correct, (n,) bool; None if predictions can only be near or far."""

    @abstractmethod
    def confidence(self, outputs: Tensor) -> Tensor | None:
        """Return the probability that the model gives its own prediction, (n,) in [0, 1]; None if it has none."""

    @abstractmethod
    def metric(self) -> Metric:
        """Return the metric of a model's quality, which accumulates (estimates, targets)."""

    def estimate(self, outputs: Tensor) -> Tensor:
        """Return the values that the metric compares with the targets: by default the predictions."""
        return self.predict(outputs)

    def unit_errors(
        self,
        outputs: Float[np.ndarray, "n C"] | None,
        predictions: Num[np.ndarray, "n ..."] | None,
        labels: Num[np.ndarray, "n ..."],
    ) -> Float[np.ndarray, " n"]:
        """Return each example's error, (n,); `aggregate` turns their weighted mean over a group into its measure.

        For ratings and regression these are squared or absolute errors, and `aggregate` gives RMSE or MAE. For all
        other tasks they are 1 where the prediction is wrong and 0 where it is right: their mean is the error rate.

        Args:
            outputs: Logits, or for regression the predicted numbers; None if they are unknown.
            predictions: In the format of the labels; None if they are unknown, and then computed from the outputs.
            labels: The correct predictions.

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
        guesses = self._known_predictions(outputs, predictions)
        wrong: np.ndarray = np.not_equal(labels, guesses).reshape(len(labels), -1)
        return np.asarray(wrong.any(axis=1), dtype=np.float64)

    def signed_errors(
        self,
        outputs: Float[np.ndarray, "n C"] | None,
        predictions: Num[np.ndarray, "n ..."] | None,
        labels: Num[np.ndarray, "n ..."],
    ) -> Float[np.ndarray, " n"] | None:
        """Return by how much each prediction is too high, (n,); None for tasks that do not predict quantities."""
        return None

    def aggregate(self, mean_error: float) -> float:
        """Return the measure of a group from its weighted mean of `unit_errors`."""
        return math.sqrt(mean_error) if self.squares_errors else mean_error

    def _known_predictions(self, outputs: np.ndarray | None, predictions: np.ndarray | None) -> np.ndarray:
        """Return the predictions; if they are unknown, compute them from the outputs."""
        if predictions is not None:
            return predictions
        if outputs is None:
            raise ValueError("errors need outputs or predictions in addition to the labels; neither is given")
        import torch

        return np.asarray(self.predict(torch.tensor(outputs)))

    def to_dict(self) -> dict[str, Any]:
        """Return the task as plain values, for files."""
        return {"kind": self.kind, **asdict(self), "classes": list(self.classes)}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Task:
        """Return the task that `to_dict` wrote."""
        kinds = {
            kind.kind: kind for kind in (Classification, Multilabel, QuestionAnswering, Rating, Regression)
        }
        kind, settings = fields.get("kind"), dict(fields)
        if kind not in kinds:
            raise ValueError(f"unknown task kind {kind!r}; known: {', '.join(kinds)}")
        del settings["kind"]
        return kinds[kind](**settings | {"classes": tuple(str(name) for name in fields["classes"])})


class Classification(Task):
    """Predicts exactly one class per example; targets and predictions are class indices (n,)."""

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
    """Predicts any number of classes per example; targets and predictions are (n, C) in {0, 1}."""

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
    """Predicts one of several ratings, each of them a class; quality is the RMSE of the *expected* rating.

    Classes are numbers one apart, from low to high, so that differences of class indices are differences of ratings.
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

    @property
    def squares_errors(self) -> bool:
        return True

    def estimate(self, outputs: Tensor) -> Tensor:
        """Return the expected class index, (n,) float."""
        import torch

        p = outputs.float().softmax(dim=1)
        return p @ torch.arange(self.n_outputs, dtype=p.dtype, device=p.device)

    def metric(self) -> Metric:
        from torchmetrics import MeanSquaredError

        return MeanSquaredError(squared=False)

    def unit_errors(
        self,
        outputs: Float[np.ndarray, "n C"] | None,
        predictions: Num[np.ndarray, "n ..."] | None,
        labels: Num[np.ndarray, "n ..."],
    ) -> Float[np.ndarray, " n"]:
        """Return squared distances between the label and the expected rating, or without outputs the predicted one."""
        squared: np.ndarray = np.square(self.signed_errors(outputs, predictions, labels))
        return squared

    def signed_errors(
        self,
        outputs: Float[np.ndarray, "n C"] | None,
        predictions: Num[np.ndarray, "n ..."] | None,
        labels: Num[np.ndarray, "n ..."],
    ) -> Float[np.ndarray, " n"]:
        """Return the expected rating minus the label, or without outputs the predicted rating minus the label."""
        if outputs is None:
            expected = self._known_predictions(None, predictions)
        else:
            import torch

            expected = np.asarray(self.estimate(torch.tensor(outputs)))
        difference: np.ndarray = expected - labels.astype(np.float64)
        return difference


@dataclass(frozen=True)
class Regression(Task):
    """Predicts a real number per example; targets and predictions are floats (n,), outputs those numbers as (n, 1).

    No prediction is right or wrong, only near or far: there is no accuracy, and `correct` is None.

    Attributes:
        loss: "squared", the squared error, measured by RMSE; "absolute", the absolute error, measured by MAE; or
            "pinball", the loss of a model that predicts a quantile, measured by MAE as well.
        quantile: The quantile of the pinball loss, in (0, 1): at 0.9 a prediction that is too low costs nine times one
            that is too high.
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
        return "rmse" if self.squares_errors else "mae"

    @property
    def squares_errors(self) -> bool:
        return self.loss == "squared"

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        short = targets - self.predict(outputs)  # positive if the prediction is too low
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

        return MeanSquaredError(squared=False) if self.squares_errors else MeanAbsoluteError()

    def unit_errors(
        self,
        outputs: Float[np.ndarray, "n C"] | None,
        predictions: Num[np.ndarray, "n ..."] | None,
        labels: Num[np.ndarray, "n ..."],
    ) -> Float[np.ndarray, " n"]:
        """Return the distances between predictions and labels: squared if the measure is RMSE, absolute for MAE."""
        distance: np.ndarray = np.abs(self.signed_errors(outputs, predictions, labels))
        return np.square(distance) if self.squares_errors else distance

    def signed_errors(
        self,
        outputs: Float[np.ndarray, "n C"] | None,
        predictions: Num[np.ndarray, "n ..."] | None,
        labels: Num[np.ndarray, "n ..."],
    ) -> Float[np.ndarray, " n"]:
        """Return predictions minus labels."""
        difference: np.ndarray = self._known_predictions(outputs, predictions) - labels.astype(np.float64)
        return difference


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """Predicts the span of a text that answers a question; targets and predictions are first and last token, (n, 2).

    Outputs are the logits of each of `length` tokens as the first, then of each as the last; tokens that cannot be in
    an answer (padding, the question) have `NOWHERE`. "No answer" is token 0 to 0, the model's [CLS].

    Attributes:
        length: How many tokens the model reads.
        longest: The most tokens in an answer.
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
        """Return the span with the largest sum of logits among those that are neither reversed nor too long."""
        import torch

        first, last = self._ends(outputs)
        ahead = first.new_full((len(first), self.longest - 1), -torch.inf)
        ends = torch.cat([last, ahead], dim=1).unfold(1, self.longest, 1)  # (n, length, longest)
        best, extra = ends.max(dim=2)
        best[:, 0], extra[:, 0] = last[:, 0], 0  # "no answer" is token 0 alone
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
