"""What is audited: a model on a split of a dataset, and what names the products of both in the stores."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weakspot.datasets.base import Dataset
from weakspot.identity import content_identity
from weakspot.models.base import Model
from weakspot.pipeline.keys import identity, key
from weakspot.pipeline.reweight import Reweight
from weakspot.pipeline.training import Training
from weakspot.tasks import Task

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from weakspot.datasets.datamodule import DataModule

_LARGEST_SEED = 2**32 - 1  # that NumPy takes


@dataclass(frozen=True)
class Named:
    """Something to build: its word on the command line, what it is built with, and what builds it.

    Attributes:
        settings: All arguments that `make` has been given, as plain values; its products are keyed by them.
        make: A class or function, or a `functools.partial` of one.
    """

    name: str
    settings: Mapping[str, Any]
    make: Callable[..., Any]


@dataclass(frozen=True)
class Subject:
    """What is audited: a model on a split of a dataset, and where its checkpoint and predictions are kept.

    numerics     the trainer's settings that change a result (precision, limits); where it runs does not
    checkpoint   "auto": trained here if the store lacks it; "pretrained": the weights the model is built with;
                 otherwise a file.
    reweight     by what training weighs its examples; None: all alike
    embed_layer  the module of the model whose output is the embedding; None: what its last layer receives
    encoder      another model whose embedding is taken instead, with the weights that it is built with
    """

    dataset: Named
    model: Named
    training: Training
    make_trainer: Callable[..., Trainer]
    numerics: Mapping[str, Any] = field(default_factory=dict)
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
    encoder: Named | None = None
    _splits: dict[str, Dataset] = field(default_factory=dict, repr=False)
    _fingerprints: dict[str, str] = field(default_factory=dict, repr=False)

    def data(self, split: str) -> Dataset:
        if split not in self._splits:
            dataset: Dataset = self.dataset.make(split=split)
            dataset.check()
            for other, known in self._splits.items():
                if known.task != dataset.task:
                    raise ValueError(
                        f"the splits {other} and {split} of dataset={self.dataset.name} have not the same classes: "
                        f"{len(known.task.classes)} and {len(dataset.task.classes)}; one model cannot serve both"
                    )
            self._splits[split] = dataset
        return self._splits[split]

    def module(self, batch_size: int) -> DataModule:
        from weakspot.datasets.datamodule import DataModule

        return DataModule(
            lambda split: self.data(split),
            batch_size=batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
        )

    def fingerprint(self, split: str) -> str:
        if split not in self._fingerprints:
            self._fingerprints[split] = self.data(split).fingerprint()
        return self._fingerprints[split]

    @property
    def task(self) -> Task:
        """The task of the audited split, which names what can be predicted; that of every split."""
        return self.data(self.split).task

    def build_model(self) -> Model:
        """The model with fresh weights, the same for the same seed."""
        _seed(self.seed)
        model: Model = self.model.make(self.task)
        return model

    @property
    def embedding(self) -> str | None:
        """Where embeddings come from, in words; None where they are what the model's last layer receives."""
        if self.embed_layer is not None:
            return f"layer {self.embed_layer}"
        return None if self.encoder is None else f"encoder {self.encoder.name}"

    def build_encoder(self, seed: int) -> Model:
        """The network whose embeddings are taken instead of the model's own; its head has random weights."""
        assert self.encoder is not None
        _seed(seed)
        encoder: Model = self.encoder.make(self.task)
        return encoder

    def checkpoint_made_from(self) -> dict[str, Any]:
        return {
            "data": {split: self.fingerprint(split) for split in ("train", "val")},
            **self._identities(),
            "training": vars(self.training),
            "trainer": content_identity(self.numerics),
            "seed": self.seed,
            # what weighs more is told apart in an embedding
            **({} if self.reweight is None else {"reweight": self.reweight.identity(), **self._elsewhere()}),
        }

    def checkpoint_folder(self) -> Path:
        words = self.dataset.name, self.model.name
        return self.checkpoints_dir / key(*words, made_from=self.checkpoint_made_from())

    def _identities(self) -> dict[str, Any]:
        """What is audited, but for the data and the weights: the same for training and inference."""
        built = type(self.data(self.split))
        return {
            "dataset": {
                "name": self.dataset.name,
                **identity(self.dataset.make, self.dataset.settings, built),
            },
            "task": self.task.to_dict(),
            "model": {"name": self.model.name, **identity(self.model.make, self.model.settings, Model)},
        }

    def given_checkpoint(self) -> Path:
        """The file that `checkpoint` names, looked for as given and in the folder of models."""
        candidates = [Path(self.checkpoint).expanduser(), self.model_dir / self.checkpoint]
        for path in candidates:
            if path.is_file():
                return path
        places = " or ".join(str(path.absolute()) for path in candidates)
        raise FileNotFoundError(
            f"checkpoint {self.checkpoint!r} was not found as {places}; give a file, checkpoint=auto to train "
            "one, or checkpoint=pretrained for the weights the model is built with"
        )

    def predictions_made_from(self, weights: str) -> dict[str, Any]:
        return {
            **self._identities(),
            "data": self.fingerprint(self.split),
            "weights": weights,
            "trainer": {"precision": self.numerics.get("precision")},
            "split": self.split,
            **self._elsewhere(),
        }

    def _elsewhere(self) -> dict[str, Any]:
        """Where embeddings come from; empty where they are what the model's last layer receives."""
        if self.encoder is not None:
            told = {"name": self.encoder.name, **identity(self.encoder.make, self.encoder.settings, Model)}
            return {"encoder": told}
        return {} if self.embed_layer is None else {"embed_layer": self.embed_layer}

    def predictions_folder(self, weights: str) -> Path:
        words = self.dataset.name, self.split, self.model.name
        return self.predictions_dir / key(*words, made_from=self.predictions_made_from(weights))


def _seed(seed: int) -> None:
    """Start every generator that a model's weights may be drawn from."""
    if not 0 <= seed <= _LARGEST_SEED:
        raise ValueError(f"seed={seed} must lie between 0 and {_LARGEST_SEED}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
