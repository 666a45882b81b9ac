"""What can be known to fail is refused before anything is trained, and before a logger opens a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from weakspot.datasets.inputs.batches import check_batches
from weakspot.datasets.inputs.texts import Texts
from weakspot.explain.image_properties import PREFIX, PROPERTIES
from weakspot.models.base import Model
from weakspot.pipeline.embedding import embeds_alike
from weakspot.pipeline.plan import (
    Upstream,
    audited_model,
    embedded,
    missing,
    will_infer,
    will_train,
)
from weakspot.pipeline.properties import measure
from weakspot.pipeline.quiet import quiet
from weakspot.pipeline.subject import Subject
from weakspot.predictions import Predictions

_FEW = 2  # examples that a model is tried on


def check(subject: Subject, last: Literal["train", "infer"], upstream: Upstream = "pull") -> None:
    """Try what the steps up to `last` need, where they are not made yet: data, model, trainer, places to write to.

    Raises:
        ValueError: For data, a checkpoint, a model or a trainer that cannot be used, or do not fit together.
        FileNotFoundError: For those that are not there; or, with the command that makes it, for a step that is
            missing and that `upstream` says to require.
        PermissionError: For a store that cannot be written to.
    """
    check_batches(subject.inference_batch_size, subject.num_workers)
    check_batches(subject.training.batch_size, subject.num_workers)
    if subject.reweight is not None:
        subject.reweight.check(subject)
    trains = will_train(subject)
    infers = last == "infer" and (trains or will_infer(subject))
    if not (trains or infers):
        return
    if upstream == "require":
        raise missing(subject, "train" if trains else "infer")
    if trains:
        _check_writable("checkpoints_dir", subject.checkpoints_dir)
    if infers:
        _check_writable("predictions_dir", subject.predictions_dir)
    with quiet():
        subject.make_trainer(logger=False, enable_checkpointing=False)
    model = subject.build_model() if trains else audited_model(subject)
    if infers:
        _check_encoder(subject)
        model = embedded(model, subject)
    _read(model, subject)


def _check_encoder(subject: Subject) -> None:
    """An encoder's weights are those that it is built with, and are not random ones."""
    if subject.encoder is None:
        return
    tokenizer, name = subject.dataset.settings.get("tokenizer"), subject.encoder.settings.get("name")
    if isinstance(subject.data(subject.split), Texts) and str(tokenizer) != str(name):
        raise ValueError(
            f"encoder={subject.encoder.name} reads the tokens that the dataset gives: its name ({name}) and "
            f"dataset.tokenizer={tokenizer} must be the same"
        )
    encoder, again = subject.build_encoder(subject.seed), subject.build_encoder(subject.seed + 1)
    if not embeds_alike(encoder, again, _few_inputs(subject)):
        raise ValueError(
            f"encoder={subject.encoder.name} has random weights, and its embeddings mean nothing: give it trained ones "
            "(encoder.weights=FILE, or encoder.weights=DEFAULT)"
        )


def _few_inputs(subject: Subject) -> Any:
    data = subject.data(subject.split)
    return data.collate([data[row] for row in range(min(_FEW, len(data)))])["input"]


def _read(model: Model, subject: Subject) -> None:
    """Have the model read a few examples, so that what it cannot read is known now."""
    try:
        with torch.no_grad():
            model.eval().read(_few_inputs(subject))
    except (RuntimeError, TypeError, NotImplementedError):
        return  # it may need the device or the precision that it is to run with; then it says so itself


def few_predictions(subject: Subject) -> Predictions | None:
    """What a model yet to be trained says of a few examples: of the same form as what it will say.

    None where they cannot be read here: the model may need the device or the precision that it is to run with.
    """
    data = subject.data(subject.split)
    rows = np.arange(min(_FEW, len(data)))
    try:
        with torch.no_grad():
            model = embedded(subject.build_model(), subject).eval()
            embeddings, outputs = model.read(_few_inputs(subject))
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    attributes = data.examples.drop_columns(["id"]).take(pa.array(rows))
    looks = np.stack([measure(data.preview(int(row))) for row in rows])
    for name, values in zip(PROPERTIES, looks.T, strict=True):
        if PREFIX + name not in attributes.column_names:
            attributes = attributes.append_column(PREFIX + name, pa.array(values))
    return Predictions.from_arrays(
        embeddings.float().numpy(),
        outputs=outputs.float().numpy(),
        labels=data.targets[rows],
        attributes=attributes,
        task=data.task,
        outputs_are="logits",
    )


def _check_writable(name: str, folder: Path) -> None:
    """A folder that is there, or can be made, and takes files."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{place} is a file, so {name}={folder} cannot be a folder; choose another")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"{place} cannot be written to; choose another folder: {name}=…")
