"""The LightningModule that trains a model on a task and reads it out."""

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
from weakspot.pipeline.groups import Groups, GroupScores
from weakspot.pipeline.training import Training
from weakspot.tasks import Task


class Learner(LightningModule):
    """Trains `model` on `task`, watching validation loss, the task's metric, and both loss and accuracy of every group.

    `groups` are those of the validation rows, by attribute; batches carry their row in "index". A group's accuracy is
    watched where predictions are right or wrong, so not in a regression.

    `weights` are those of a split's rows, of mean 1, in the loss that is minimised (train) and in the one that epochs
    are judged by (val); a split without any weighs all alike. The training loss that is logged is the plain one.
    """

    def __init__(
        self, model: Model, task: Task, training: Training, groups: Mapping[str, Groups] | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.training_settings = training
        self.weights: dict[str, Tensor] = {}
        self.groups = dict(groups or {})
        self.codes = {name: torch.from_numpy(of.codes) for name, of in self.groups.items()}
        # in containers of Python, not among the modules: a trainer of half precision (16-true) would round their sums
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
        self._update("train", losses.detach(), outputs.detach(), targets)
        objective = self._weighed("train", losses, batch).mean()
        for weight, further in self.model.auxiliary():
            losses = self.task.losses(further, targets)
            objective = objective + weight * self._weighed("train", losses, batch).mean()
        return objective

    def on_train_epoch_end(self) -> None:
        self._report("train")

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        outputs, targets = self.model(batch["input"]), self._targets(batch)
        losses = self.task.losses(outputs, targets)
        self._update("val", self._weighed("val", losses, batch), outputs, targets)
        correct = self.task.correct(self.task.predict(outputs), targets)
        rows = batch["index"].cpu()
        for codes, metric in zip(self.codes.values(), self.group_scores, strict=True):
            metric.update(losses, correct, codes[rows].to(losses.device))

    def on_validation_epoch_end(self) -> None:
        self._report("val")
        found: dict[str, Tensor] = {}
        for (attribute, groups), metric in zip(self.groups.items(), self.group_scores, strict=True):
            accuracies, losses = metric.compute()
            for value, accuracy, loss in zip(groups.values, accuracies, losses, strict=True):
                group = f"val/{attribute}={value}"
                found |= {f"{group}/accuracy": accuracy, f"{group}/loss": loss}
            known = accuracies[~accuracies.isnan()]
            if len(known):
                found[f"val/worst_{attribute}"] = known.min()
            metric.reset()
        self.log_dict({name: value for name, value in found.items() if not value.isnan()}, sync_dist=True)

    def predict_step(self, batch: dict[str, Tensor], batch_index: int) -> dict[str, Tensor]:
        """One forward pass: everything a record of predictions holds for these rows."""
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
        """Real numbers come as an array, which no trainer rounds to its precision."""
        return torch.as_tensor(batch["target"], device=self.device)

    def _weighed(self, split: str, losses: Tensor, batch: dict[str, Tensor]) -> Tensor:
        if split not in self.weights:
            return losses
        return losses * self.weights[split].to(losses)[batch["index"].to(losses.device)]

    def _update(self, split: str, losses: Tensor, outputs: Tensor, targets: Tensor) -> None:
        loss, metric = self.measures[split]
        loss.update(losses)
        metric.update(self.task.estimate(outputs), targets)

    def _report(self, split: str) -> None:
        loss, metric = self.measures[split]
        self.log(f"{split}/loss", loss.compute(), prog_bar=split == "val", sync_dist=True)
        self.log(f"{split}/{self.task.measure}", metric.compute(), prog_bar=split == "val", sync_dist=True)
        loss.reset()
        metric.reset()
