"""The LightningModule that trains a model on a task and computes its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchmetrics import MeanMetric, Metric

from weakspot.models.base import Model
from weakspot.pipeline.group_metrics import Groups, GroupScores
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.tasks import Task


class Learner(LightningModule):
    """Trains `model` on `task`, and logs validation loss, the task's metric, and loss and accuracy of every group.

    Args:
        model: The model.
        task: The task.
        training: The settings of training.
        groups: The groups of the validation rows, by attribute; batches carry their rows in "index". A group's
            accuracy is logged if predictions are right or wrong, so not in a regression.

    Attributes:
        weights: The weights of a split's rows, of mean 1, in the loss that is minimised (train) and in the one that
            selects epochs (val); a split without an entry weights all rows equally. The training loss that is logged
            is unweighted.
    """

    def __init__(
        self, model: Model, task: Task, training: TrainingSettings, groups: Mapping[str, Groups] | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.training_settings = training
        self.weights: dict[str, Tensor] = {}
        self.groups = dict(groups or {})
        self.codes = {name: torch.from_numpy(of.codes) for name, of in self.groups.items()}
        # in Python containers, not as modules: a trainer of half precision (16-true) would round their sums
        self.measures: dict[str, tuple[MeanMetric, Metric]] = {
            split: (MeanMetric(nan_strategy="disable"), task.metric()) for split in ("train", "val")
        }
        self.group_scores = [GroupScores(len(of.values)) for of in self.groups.values()]

    def on_fit_start(self) -> None:
        for metric in chain(*self.measures.values(), self.group_scores):
            metric.to(self.device)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        outputs, targets = self.model(batch["input"]), self._targets(batch)
        losses = self.task.losses(outputs, targets)
        self._update_measures("train", losses.detach(), outputs.detach(), targets)
        objective = self._weighted("train", losses, batch).mean()
        for weight, auxiliary_outputs in self.model.auxiliary():
            losses = self.task.losses(auxiliary_outputs, targets)
            objective = objective + weight * self._weighted("train", losses, batch).mean()
        return objective

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        outputs, targets = self.model(batch["input"]), self._targets(batch)
        losses = self.task.losses(outputs, targets)
        self._update_measures("val", self._weighted("val", losses, batch), outputs, targets)
        correct = self.task.correct(self.task.predict(outputs), targets)
        rows = batch["index"].cpu()
        for codes, metric in zip(self.codes.values(), self.group_scores, strict=True):
            metric.update(losses, correct, codes[rows].to(losses.device))

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val")
        metrics: dict[str, Tensor] = {}
        for (attribute, groups), metric in zip(self.groups.items(), self.group_scores, strict=True):
            accuracies, losses = metric.compute()
            for value, accuracy, loss in zip(groups.values, accuracies, losses, strict=True):
                group = f"val/{attribute}={value}"
                metrics |= {f"{group}/accuracy": accuracy, f"{group}/loss": loss}
            known_accuracies = accuracies[~accuracies.isnan()]
            if len(known_accuracies):
                metrics[f"val/worst_{attribute}"] = known_accuracies.min()
            metric.reset()
        self.log_dict({name: value for name, value in metrics.items() if not value.isnan()}, sync_dist=True)

    def predict_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        """Return everything that a record of predictions holds for these rows, in one forward pass."""
        x = batch["input"]
        if self.model.channels_last and isinstance(x, Tensor) and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        embeddings, outputs = self.model.read(x)
        predictions, targets = self.task.predict(outputs), self._targets(batch)
        correct = self.task.correct(predictions, targets)
        return {
            "index": batch["index"],
            "embeddings": embeddings.float(),
            "outputs": outputs.float(),
            "labels": targets,
            "predictions": predictions,
            "losses": self.task.losses(outputs, targets),
            **({} if correct is None else {"correct": correct}),
        }

    def configure_optimizers(self) -> Any:
        settings = self.training_settings
        rate, decay = settings.learning_rate, settings.weight_decay
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        optimizer: torch.optim.Optimizer
        match settings.optimizer:
            case "adam":
                optimizer = torch.optim.Adam(weights, lr=rate, weight_decay=decay)
            case "adamw":
                optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
            case "sgd":
                optimizer = torch.optim.SGD(weights, lr=rate, weight_decay=decay, momentum=settings.momentum)
        if settings.schedule == "constant":
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": CosineAnnealingLR(optimizer, settings.epochs)}

    def _targets(self, batch: dict[str, Any]) -> Tensor:
        """Return the targets on the device; real numbers come as an array, so that no trainer rounds them."""
        return torch.as_tensor(batch["target"], device=self.device)

    def _weighted(self, split: str, losses: Tensor, batch: dict[str, Tensor]) -> Tensor:
        if split not in self.weights:
            return losses
        return losses * self.weights[split].to(losses)[batch["index"].to(losses.device)]

    def _update_measures(self, split: str, losses: Tensor, outputs: Tensor, targets: Tensor) -> None:
        loss, metric = self.measures[split]
        loss.update(losses)
        metric.update(self.task.estimate(outputs), targets)

    def _log_epoch(self, split: str) -> None:
        loss, metric = self.measures[split]
        self.log(f"{split}/loss", loss.compute(), prog_bar=split == "val", sync_dist=True)
        self.log(f"{split}/{self.task.measure}", metric.compute(), prog_bar=split == "val", sync_dist=True)
        loss.reset()
        metric.reset()
