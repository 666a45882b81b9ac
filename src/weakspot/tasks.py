"""What a model is asked to do: the loss, prediction and correctness of each single example.

A dataset declares its task and the model receives it, so the number of classes never stands in a
configuration. torch is imported inside the methods: describing a task costs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric


@dataclass(frozen=True)
class Task(ABC):
    """One kind of prediction, with the names of what can be predicted."""

    kind: ClassVar[str]
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
        """The task's headline number, accumulated from (outputs, targets); higher is better."""

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "classes": list(self.classes)}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Task:
        kinds: dict[str, type[Task]] = {"classification": Classification, "multilabel": Multilabel}
        kind = fields.get("kind")
        if kind not in kinds:
            raise ValueError(f"unknown task kind {kind!r}; known: {', '.join(kinds)}")
        return kinds[kind](tuple(str(name) for name in fields["classes"]))


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
