"""What a model is asked to do: the loss, prediction and correctness of each single example.

A dataset declares its task and the model receives it, so the number of classes never stands in a
configuration. torch is imported inside the methods: describing a task costs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric


@dataclass(frozen=True)
class Task(ABC):
    """One kind of prediction, with the names of what can be predicted.

    measure   the word for what `metric` measures
    """

    kind: ClassVar[str]
    measure: ClassVar[str] = "accuracy"
    classes: tuple[str, ...]

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
    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Whether each example is right, (n,) bool."""

    @abstractmethod
    def confidence(self, outputs: Tensor) -> Tensor:
        """Probability the model gives its own prediction, (n,) in [0, 1]."""

    @abstractmethod
    def metric(self) -> Metric:
        """The task's headline number, accumulated from (estimates, targets)."""

    def estimate(self, outputs: Tensor) -> Tensor:
        """What the metric compares with the targets: the predictions, unless a task knows better."""
        return self.predict(outputs)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "classes": list(self.classes)}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Task:
        kinds = {kind.kind: kind for kind in (Classification, Multilabel, QuestionAnswering, Rating)}
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
    measure = "f1"

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
    measure = "rmse"

    def __post_init__(self) -> None:
        steps = [float(high) - float(low) for low, high in pairwise(self.classes)]
        if any(step != 1 for step in steps):
            raise ValueError(f"ratings must be numbers one apart, from low to high, not {self.classes}")

    def estimate(self, outputs: Tensor) -> Tensor:
        """The expected class index, (n,) float."""
        import torch

        shares = outputs.float().softmax(dim=1)
        return shares @ torch.arange(self.n_outputs, dtype=shares.dtype, device=shares.device)

    def metric(self) -> Metric:
        from torchmetrics import MeanSquaredError

        return MeanSquaredError(squared=False)


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """The span of a text that answers a question; targets and predictions are its first and last token, (n, 2).

    Outputs are the logits of `length` tokens to be the first, then of as many to be the last; tokens that
    cannot be (padding, the question) carry `NOWHERE`. "No answer" is token 0 to 0, where the model's [CLS] is.

    longest   tokens in an answer, at most
    """

    kind = "question_answering"
    measure = "exact_match"
    NOWHERE: ClassVar[float] = -1e4

    classes: tuple[str, ...] = ()
    length: int = 384
    longest: int = 30

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
