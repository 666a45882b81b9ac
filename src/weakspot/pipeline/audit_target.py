"""The target of an audit: a model on a split of a dataset."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weakspot.datasets.base import Dataset
from weakspot.models.base import Model, use_setting_prefix
from weakspot.pipeline.reweight import Reweight
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.seeds import check_seed
from weakspot.tasks import Task

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from weakspot.datasets.datamodule import DataModule


@dataclass(frozen=True)
class Component:
    """A dataset, model or encoder to build.

    Attributes:
        name: Its name on the command line.
        settings: All arguments that `make` has been given, as plain values; its products are keyed by them.
        make: A class or function, or a `functools.partial` of one.
    """

    name: str
    settings: Mapping[str, Any]
    make: Callable[..., Any]


@dataclass(frozen=True)
class AuditTarget:
    """The target of an audit: a model on a split of a dataset, and the stores of its checkpoint and predictions.

    Attributes:
        dataset: The dataset, which is built with a split.
        model: The model, which is built with a task.
        training: The settings of training.
        make_trainer: Builds a trainer.
        numeric_settings: The trainer's settings that change a result (precision, limits), but not where it runs.
        checkpoint: "auto": trained here if the store lacks it; "pretrained": the weights that the model is built
            with; otherwise a file.
        split: The split that is audited.
        seed: The seed of the model's weights and of training.
        inference_batch_size: The batch size of inference.
        num_workers: How many processes load data; None lets the data decide.
        checkpoints_dir: The store of checkpoints.
        predictions_dir: The store of predictions.
        model_dir: Another folder in which given checkpoints are searched for.
        commands: The commands that run the upstream steps alone, by step.
        reweight: How training weights its examples; None: all alike.
        embed_layer: The module of the model whose output is the embedding, or "cam_layer", the one that Grad-CAM reads;
            None: the input of its last layer.
        encoder: Another model whose embedding is used instead, with the weights that it is built with.
    """

    dataset: Component
    model: Component
    training: TrainingSettings
    make_trainer: Callable[..., Trainer]
    numeric_settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = "auto"
    split: str = "test"
    seed: int = 0
    inference_batch_size: int = 256
    num_workers: int | None = None
    checkpoints_dir: Path = Path("outputs/checkpoints")
    predictions_dir: Path = Path("outputs/predictions")
    model_dir: Path = Path("models")
    commands: Mapping[str, str] = field(default_factory=lambda: {"train": "train.py", "infer": "infer.py"})
    reweight: Reweight | None = None
    embed_layer: str | None = None
    encoder: Component | None = None
    _splits: dict[str, Dataset] = field(default_factory=dict, repr=False)
    _fingerprints: dict[str, str] = field(default_factory=dict, repr=False)

    def split_dataset(self, split: str) -> Dataset:
        """Return the dataset of a split; it is built and checked once.

        Raises:
            ValueError: If its classes differ from those of another split.
        """
        if split not in self._splits:
            dataset: Dataset = self.dataset.make(split=split)
            dataset.check()
            for other, known in self._splits.items():
                if known.task != dataset.task:
                    raise ValueError(
                        f"the splits {other} and {split} of dataset={self.dataset.name} do not have the same classes: "
                        f"{len(known.task.classes)} and {len(dataset.task.classes)}; one model cannot serve both"
                    )
            self._splits[split] = dataset
        return self._splits[split]

    def data_module(self, batch_size: int) -> DataModule:
        """Return the data of all splits for Lightning, in batches of a size."""
        from weakspot.datasets.datamodule import DataModule

        return DataModule(
            lambda split: self.split_dataset(split),
            batch_size=batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
        )

    def fingerprint(self, split: str) -> str:
        """Return the fingerprint of a split's data."""
        if split not in self._fingerprints:
            self._fingerprints[split] = self.split_dataset(split).fingerprint()
        return self._fingerprints[split]

    @property
    def task(self) -> Task:
        """The task of the audited split, which names what can be predicted; every split has the same."""
        return self.split_dataset(self.split).task

    def build_model(self) -> Model:
        """Return the model with fresh weights, the same for the same seed."""
        _seed_generators(self.seed)
        model: Model = self.model.make(self.task)
        return model

    @property
    def embedding_source(self) -> str | None:
        """Where embeddings come from, in words; None if they are the input of the model's last layer."""
        if self.embed_layer is not None:
            layer = (
                self.model.settings.get("cam_layer") if self.embed_layer == "cam_layer" else self.embed_layer
            )
            return f"layer {layer or 'that Grad-CAM reads'}"
        return None if self.encoder is None else f"encoder {self.encoder.name}"

    def build_encoder(self, seed: int) -> Model:
        """Return the network whose embeddings are used instead of the model's own; its head is not used."""
        assert self.encoder is not None
        _seed_generators(seed)
        with use_setting_prefix("encoder"):
            encoder: Model = self.encoder.make(self.task)
        return encoder

    def given_checkpoint(self) -> Path:
        """Return the file that `checkpoint` names, searched for as given and in `model_dir`.

        Raises:
            FileNotFoundError: If it is in neither.
        """
        candidates = [Path(self.checkpoint).expanduser(), self.model_dir / self.checkpoint]
        for path in candidates:
            if path.is_file():
                return path
        places = " or ".join(str(path.absolute()) for path in candidates)
        raise FileNotFoundError(
            f"checkpoint {self.checkpoint!r} was not found as {places}; give a file, checkpoint=auto to train "
            "one, or checkpoint=pretrained for the weights the model is built with"
        )


def _seed_generators(seed: int) -> None:
    """Seed every generator that a model's weights may be drawn from."""
    check_seed("seed", seed)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
