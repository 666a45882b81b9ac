"""Pull: what a discovery needs and the stores lack is made first, and said before it starts."""

from __future__ import annotations

import hashlib
import itertools
import logging
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from filelock import FileLock, Timeout

from weakspot.datasets.base import Dataset
from weakspot.identity import contents, digest
from weakspot.models.base import Model
from weakspot.models.checkpoint import load_weights
from weakspot.pipeline.embedding import InEncoder, InLayer
from weakspot.pipeline.keys import identity, key
from weakspot.pipeline.ranks import agree, is_main
from weakspot.pipeline.reweight import Reweight
from weakspot.pipeline.trained import CHECKPOINT, is_interrupted, is_trained
from weakspot.pipeline.training import Training
from weakspot.predictions import Predictions
from weakspot.predictions.folders import writing
from weakspot.predictions.reading import DamagedError
from weakspot.predictions.shards import finished_rows
from weakspot.predictions.store import is_complete, read
from weakspot.tasks import Task

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from weakspot.datasets.datamodule import DataModule
    from weakspot.tracking.loggers import RunLogger

# Lightning takes seconds to import, so that is done where something is to be made: mostly, all is there already.

log = logging.getLogger(__name__)

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
    num_workers: int = 0
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

    def build_encoder(self, seed: int | None = None) -> Model | None:
        """The network whose embeddings are taken instead of the model's own, if there is one."""
        if self.encoder is None:
            return None
        _seed(self.seed if seed is None else seed)
        encoder: Model = self.encoder.make(self.task)
        return encoder

    def checkpoint_made_from(self) -> dict[str, Any]:
        return {
            "data": {split: self.fingerprint(split) for split in ("train", "val")},
            **self._identities(),
            "training": vars(self.training),
            "trainer": contents(self.numerics),
            "seed": self.seed,
            **({} if self.reweight is None else {"reweight": self.reweight.identity()}),
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
            **({} if self.embed_layer is None else {"embed_layer": self.embed_layer}),
            **self._identity_of_encoder(),
        }

    def _identity_of_encoder(self) -> dict[str, Any]:
        if self.encoder is None:
            return {}
        told = {"name": self.encoder.name, **identity(self.encoder.make, self.encoder.settings, Model)}
        return {"encoder": told}

    def predictions_folder(self, weights: str) -> Path:
        words = self.dataset.name, self.split, self.model.name
        return self.predictions_dir / key(*words, made_from=self.predictions_made_from(weights))


Upstream = Literal["pull", "require"]


def pull_checkpoint(
    subject: Subject, upstream: Upstream = "pull", logger: RunLogger | None = None
) -> Path | None:
    """The checkpoint file, trained first where it is missing; None for a model that comes with its weights.

    Raises FileNotFoundError, with the command to run, if it is missing and `upstream` is "require".
    """
    if subject.checkpoint == "pretrained":
        return None
    if subject.checkpoint != "auto":
        return subject.given_checkpoint()
    folder = subject.checkpoint_folder()
    if agree("kept_checkpoint", lambda: is_trained(folder)):
        return folder / CHECKPOINT  # without a lock: it may lie on a read-only disk
    with _lock(folder, "checkpoints_dir") as waited:
        state = "cached" if is_trained(folder) else "interrupted" if is_interrupted(folder) else "missing"
        if agree("train", lambda: state) == "cached":
            if waited:
                _say("train: another job has made it meanwhile")
            return folder / CHECKPOINT
        if upstream == "require":
            raise missing(subject, "train")
        from weakspot.pipeline.train import train

        _say("train → %s", folder)
        made_from = {"made_from": subject.checkpoint_made_from()}
        callbacks = [] if subject.reweight is None else [subject.reweight.callback(subject)]
        _seed_loading(subject.seed)
        model = subject.build_model()
        data = subject.module(subject.training.batch_size)
        return train(
            model, data, subject.training, subject.make_trainer, folder, logger, made_from, callbacks
        )


def pull_predictions(
    subject: Subject, upstream: Upstream = "pull", logger: RunLogger | None = None
) -> Predictions | None:
    """The record of the subject's split, made first (checkpoint and all) where it is missing; None on ranks
    above 0, which have nothing left to do.
    """
    checkpoint = pull_checkpoint(subject, upstream, logger)
    weights = weights_of(subject, checkpoint)
    folder = subject.predictions_folder(weights)
    found = _kept_predictions(folder, upstream) if is_main() else None
    if agree("kept_predictions", lambda: found is not None):
        return found
    with _lock(folder, "predictions_dir"):
        found = _kept_predictions(folder, upstream) if is_main() else None
        if agree("infer", lambda: found is not None):
            return found
        if upstream == "require":
            raise missing(subject, "infer")
        from weakspot.pipeline.infer import infer

        _say("infer → %s", folder)
        _seed_loading(subject.seed)
        model = embedded(model_with_weights(subject, checkpoint), subject)
        manifest = {
            "dataset": subject.dataset.name,
            "model": subject.model.name,
            "split": subject.split,
            "group": subject.data(subject.split).group,
            "restating": list(subject.data(subject.split).restating),
            "checkpoint": str(checkpoint) if checkpoint else "pretrained",
            **({} if subject.embedding is None else {"embedding": subject.embedding}),
            "made_from": subject.predictions_made_from(weights),
        }
        data = subject.module(subject.inference_batch_size)
        return infer(model, data, subject.split, subject.make_trainer, folder, manifest)


def _seed(seed: int) -> None:
    """Start every generator that a model's weights may be drawn from."""
    if not 0 <= seed <= _LARGEST_SEED:
        raise ValueError(f"seed={seed} must lie between 0 and {_LARGEST_SEED}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _seed_loading(seed: int) -> None:
    """Have Lightning start the generators of processes that load data, too."""
    from pytorch_lightning import seed_everything

    seed_everything(seed, workers=True, verbose=False)


def _kept_predictions(folder: Path, upstream: Upstream) -> Predictions | None:
    """The complete record in `folder`, or None. One that cannot be read is set aside, to be inferred again.

    It needs no lock: what is complete may lie on a read-only disk.
    """
    if not is_complete(folder):
        return None
    try:
        return read(folder)
    except (DamagedError, FileNotFoundError) as error:
        if upstream == "require":
            raise
        aside = _free_name(folder.with_name(f"{folder.name}.damaged"))
        with writing(folder.parent, "predictions_dir"), suppress(FileNotFoundError):  # another job was faster
            folder.rename(aside)
        log.warning("%s; the record is set aside as %s and inferred again", error, aside)
        return None


def _free_name(path: Path) -> Path:
    """The path, or where it is taken the first with a number behind it that is not."""
    names = itertools.chain([path], (path.with_name(f"{path.name}{i}") for i in itertools.count(2)))
    return next(name for name in names if not name.exists())


def audited_model(subject: Subject) -> Model:
    """The model as it was when it made the predictions; for one process alone, after `pull_predictions`."""
    match subject.checkpoint:
        case "pretrained":
            return model_with_weights(subject, None)
        case "auto":
            return model_with_weights(subject, subject.checkpoint_folder() / CHECKPOINT)
        case _:
            return model_with_weights(subject, subject.given_checkpoint())


def model_with_weights(subject: Subject, checkpoint: Path | None) -> Model:
    """The model with the weights of a file, or with those that it is built with.

    Raises ValueError where they do not fit, or where those that it is built with are random.
    """
    model = subject.build_model()
    if checkpoint is not None:
        load_weights(model, checkpoint)
    elif not _comes_trained(subject, model):
        raise ValueError(
            f"checkpoint=pretrained, but the last layer of model={subject.model.name} is random: give it weights "
            f"for the {subject.task.n_outputs} classes of dataset={subject.dataset.name}, or have it trained "
            "(checkpoint=auto)"
        )
    return model


def embedded(model: Model, subject: Subject) -> Model:
    """The audited model, read where the subject asks for embeddings: in an earlier layer, or another network."""
    if subject.embed_layer is not None:
        return InLayer(model, subject.embed_layer)
    encoder = subject.build_encoder()
    return model if encoder is None else InEncoder(model, encoder)


def _comes_trained(subject: Subject, model: Model) -> bool:
    """Whether the model says so; one that does not know is built again, under another seed: random weights differ."""
    if model.head_is_trained is not None:
        return model.head_is_trained
    again = replace(subject, seed=subject.seed + 1).build_model()
    return _state_digest(again) == _state_digest(model)


def will_train(subject: Subject) -> bool:
    """Whether the audited model is yet to be trained."""
    return subject.checkpoint == "auto" and not is_trained(subject.checkpoint_folder())


def will_infer(subject: Subject) -> bool:
    """Whether predictions of a model that there is are yet to be made."""
    weights = _plan_train(subject)[1]
    return weights is None or not is_complete(subject.predictions_folder(weights))


def missing(subject: Subject, step: Literal["train", "infer"]) -> FileNotFoundError:
    """What is said where a step is to be made and `upstream` is "require": what lacks, and the line that makes it."""
    lacking = "checkpoint" if step == "train" else "predictions"
    return FileNotFoundError(
        f"there is no {lacking} of this yet: run `{subject.commands[step]}`, or leave out upstream=require"
    )


def describe_plan(
    subject: Subject, last: Literal["train", "infer", "discover"], upstream: Upstream = "pull"
) -> str:
    """One line: what is there, what will be made. `train: cached · infer: missing → will run · discover`."""
    line = _describe(subject, last)
    return line if upstream == "pull" else re.sub(" → will (run|resume)", "", line)


def _describe(subject: Subject, last: str) -> str:
    train_step, weights = _plan_train(subject)
    if last == "train":
        return f"train: {train_step}"
    infer_step = "missing → will run" if weights is None else _plan_infer(subject, weights)
    line = f"train: {train_step} · infer: {infer_step}"
    return f"{line} · discover" if last == "discover" else line


def _plan_train(subject: Subject) -> tuple[str, str | None]:
    if subject.checkpoint == "pretrained":
        return "pretrained", weights_of(subject, None)
    if subject.checkpoint != "auto":
        return f"given ({subject.checkpoint})", digest(subject.given_checkpoint())
    folder = subject.checkpoint_folder()
    if is_trained(folder):
        return "cached", digest(folder / CHECKPOINT)
    return ("interrupted → will resume" if is_interrupted(folder) else "missing → will run"), None


def _plan_infer(subject: Subject, weights: str) -> str:
    folder = subject.predictions_folder(weights)
    if is_complete(folder):
        return "cached"
    n = len(subject.data(subject.split))
    done = len(finished_rows(folder, n))
    return f"interrupted at {done} of {n} → will resume" if done else "missing → will run"


def _say(line: str, *values: object) -> None:
    if is_main():
        log.info(line, *values)


def weights_of(subject: Subject, checkpoint: Path | None) -> str:
    return _state_digest(subject.build_model()) if checkpoint is None else digest(checkpoint)


def _state_digest(model: Model) -> str:
    """Of a model that comes with its weights: the digest of what they are, wherever they came from."""
    sha = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()[:12]


@contextmanager
def _lock(folder: Path, setting: str) -> Iterator[bool]:
    """One maker per folder, across jobs; says if another has it. Ranks above 0 follow the one that holds it.

    Raises OSError where the disk is full or refuses, naming the `setting` for another folder.
    """
    if not is_main():
        yield False
        return
    locks = folder.parent / ".locks"
    lock = FileLock(locks / folder.name)
    waited = False
    with writing(folder.parent, setting):
        locks.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("waiting for another job that is making %s", folder)
            waited = True
            lock.acquire()
    try:
        yield waited
    finally:
        lock.release()
