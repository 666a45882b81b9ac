"""Checks before a run starts: what is known to fail is refused before anything is trained or a logger opens a run."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch

from weakspot.datasets.inputs.batches import check_batches
from weakspot.datasets.inputs.texts import Texts
from weakspot.explain.image_properties import PREFIX, PROPERTIES
from weakspot.models.base import Model
from weakspot.pipeline.audit_target import AuditTarget
from weakspot.pipeline.embedding_sources import have_equal_embeddings
from weakspot.pipeline.image_attributes import measure_image
from weakspot.pipeline.lightning_messages import silence_lightning
from weakspot.pipeline.processes import is_main_process
from weakspot.pipeline.upstream import (
    Upstream,
    load_audited_model,
    missing_step_error,
    use_embedding_source,
    will_infer,
    will_train,
)
from weakspot.predictions import Predictions

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

log = logging.getLogger(__name__)

_EXAMPLES_TRIED = 2  # how many examples a model is tried on


def check_steps(
    target: AuditTarget, last_step: Literal["train", "infer"], upstream: Upstream = "pull"
) -> None:
    """Try out what the steps up to `last_step` that are yet to run need: data, model, trainer, folders.

    Args:
        target: The audit target.
        last_step: The last step that is to run.
        upstream: "require" to raise an error if a step is missing.

    Raises:
        ValueError: If data, a checkpoint, a model or a trainer cannot be used, or they do not fit together.
        FileNotFoundError: If one of them is missing, or if a step is missing and `upstream` is "require"; then the
            message names the command that runs it.
        OSError: If a store cannot be written to.
    """
    check_batches(target.inference_batch_size, target.num_workers)
    check_batches(target.training.batch_size, target.num_workers)
    if target.reweight is not None:
        target.reweight.check(target)
    trains = will_train(target)
    # a reweighted training ends with an inference, which measures its effect
    infers = (last_step == "infer" or target.reweight is not None) and (trains or will_infer(target))
    if not (trains or infers):
        return
    if upstream == "require":
        raise missing_step_error(target, "train" if trains else "infer")
    if trains:
        _check_writable("checkpoints_dir", target.checkpoints_dir)
    if infers:
        _check_writable("predictions_dir", target.predictions_dir)
    with silence_lightning():
        trainer = target.make_trainer(logger=False, enable_checkpointing=False)
    processes = describe_processes(trainer)
    if processes and is_main_process():
        log.info("trainer: %s", processes)
    model = target.build_model() if trains else load_audited_model(target)
    if infers:
        _check_encoder(target)
        model = use_embedding_source(model, target)
    _check_model_reads(model, target)


def describe_processes(trainer: Trainer) -> str | None:
    """Return how many processes a trainer runs in, and on which devices; None if several were not requested.

    On a machine without GPUs, a trainer of one process per GPU runs a single process, which would go unnoticed.
    """
    from pytorch_lightning.strategies import ParallelStrategy

    if not isinstance(trainer.strategy, ParallelStrategy):
        return None
    n, machines = trainer.world_size, trainer.num_nodes
    processes = "1 process" if n == 1 else f"{n} processes"
    if trainer.strategy.root_device.type != "cpu":
        device = "on one GPU" if n == 1 else "with a GPU each"
    elif n == 1:
        why = "" if torch.cuda.is_available() else ", because torch finds no GPU here"
        device = f"on the CPU{why}; trainer.devices=N starts N"
    else:
        device = "on the CPU"
    return f"{processes} {device}" if machines == 1 else f"{processes} {device}, on {machines} machines"


def _check_encoder(target: AuditTarget) -> None:
    """Check that the encoder reads the dataset's tokens, and that its weights are not random."""
    if target.encoder is None:
        return
    tokenizer, name = target.dataset.settings.get("tokenizer"), target.encoder.settings.get("name")
    if isinstance(target.split_dataset(target.split), Texts) and str(tokenizer) != str(name):
        raise ValueError(
            f"encoder={target.encoder.name} reads the tokens that the dataset gives: its name ({name}) and "
            f"dataset.tokenizer={tokenizer} must be the same"
        )
    encoder, rebuilt = target.build_encoder(target.seed), target.build_encoder(target.seed + 1)
    if not have_equal_embeddings(encoder, rebuilt, _few_inputs(target)):
        remedy = (
            "give it trained ones (encoder.weights=FILE, or encoder.weights=DEFAULT)"
            if "weights" in target.encoder.settings
            else "take a model that is built with trained ones (encoder=resnet18 encoder.weights=DEFAULT, say)"
        )
        raise ValueError(
            f"encoder={target.encoder.name} has random weights, so its embeddings mean nothing: {remedy}"
        )


def _few_inputs(target: AuditTarget) -> Any:
    data = target.split_dataset(target.split)
    return data.collate([data[row] for row in range(min(_EXAMPLES_TRIED, len(data)))])["input"]


def _check_model_reads(model: Model, target: AuditTarget) -> None:
    """Let the model read a few examples, so that an error surfaces now."""
    try:
        with torch.no_grad():
            model.eval().read(_few_inputs(target))
    except (RuntimeError, TypeError, NotImplementedError):
        return  # it may need the device or the precision of the actual run, which reports its own errors


def predict_few_examples(target: AuditTarget) -> Predictions | None:
    """Return what a model that is yet to be trained predicts for a few examples, in the form that all predictions will
    have.

    Returns:
        None if they cannot be computed here: the model may need the device or the precision of the actual run.
    """
    data = target.split_dataset(target.split)
    rows = np.arange(min(_EXAMPLES_TRIED, len(data)))
    try:
        with torch.no_grad():
            model = use_embedding_source(target.build_model(), target).eval()
            embeddings, outputs = model.read(_few_inputs(target))
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    attributes = data.examples.drop_columns(["id"]).take(pa.array(rows))
    properties = np.stack([measure_image(data.preview(int(row))) for row in rows])
    for name, values in zip(PROPERTIES, properties.T, strict=True):
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
    """Check that a folder can be made and written to, by briefly making one of the same name in a scratch folder."""
    whole = Path(os.path.abspath(folder))  # without `..`, which would lead out of the scratch folder
    parent = whole
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        what = "a link to nowhere" if parent.is_symlink() else "a file"
        raise NotADirectoryError(f"{parent} is {what}, so {name}={folder} cannot be a folder; choose another")
    try:
        with tempfile.TemporaryDirectory(dir=parent) as scratch:
            Path(scratch, whole.relative_to(parent)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{name}={folder} cannot be written to: {parent} refuses it ({error.strerror}); choose another folder"
        ) from error
