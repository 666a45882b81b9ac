"""The upstream steps of a discovery: a missing checkpoint or missing predictions are made first."""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from weakspot import signals
from weakspot.identity import digest
from weakspot.models.base import Model
from weakspot.models.checkpoint import load_weights
from weakspot.pipeline.audit_target import AuditTarget
from weakspot.pipeline.checkpoint_files import CHECKPOINT, is_interrupted, is_trained
from weakspot.pipeline.embedding_sources import EncoderEmbedding, LayerEmbedding
from weakspot.pipeline.job_shard import JobShard, format_ranges, missing_shards
from weakspot.pipeline.locks import folder_lock, shard_lock
from weakspot.pipeline.processes import broadcast_decision, is_main_process
from weakspot.pipeline.store_folders import (
    checkpoint_folder,
    checkpoint_made_from,
    predictions_folder,
    predictions_made_from,
)
from weakspot.predictions import Predictions
from weakspot.predictions.atomic_files import writing
from weakspot.predictions.reading import DamagedError
from weakspot.predictions.shards import finished_rows, has_shards
from weakspot.predictions.store import is_complete, read
from weakspot.tracking.lineage import log_input_artifact, log_output_artifact

if TYPE_CHECKING:
    from weakspot.tracking.loggers import RunLogger

# Importing Lightning takes seconds, so it is imported only if something is made; mostly, everything exists already.

log = logging.getLogger(__name__)

Upstream = Literal["pull", "require"]


def pull_checkpoint(
    target: AuditTarget, upstream: Upstream = "pull", logger: RunLogger | None = None
) -> Path | None:
    """Return the checkpoint file; train the model first if it is missing.

    Args:
        target: The audit target.
        upstream: "require" to raise an error if it is missing.
        logger: The run's logger.

    Returns:
        The file; None for a model that comes with its weights.

    Raises:
        FileNotFoundError: If it is missing and `upstream` is "require"; the message names the command to run.
    """
    if target.checkpoint == "pretrained":
        return None
    if target.checkpoint != "auto":
        log_input_artifact(logger, "checkpoint", target.given_checkpoint())
        return target.given_checkpoint()
    folder = checkpoint_folder(target)
    signals.register_saved_work(lambda: is_trained(folder) or is_interrupted(folder))
    if broadcast_decision("has_checkpoint", lambda: is_trained(folder)):
        log_input_artifact(logger, "checkpoint", folder)
        return folder / CHECKPOINT  # no lock is needed, and it may lie on a read-only disk
    with folder_lock(folder, "checkpoints_dir") as waited:
        state = "cached" if is_trained(folder) else "interrupted" if is_interrupted(folder) else "missing"
        if broadcast_decision("train", lambda: state) == "cached":
            if waited:
                _log_on_main("train: another job has trained the model meanwhile")
            log_input_artifact(logger, "checkpoint", folder)
            return folder / CHECKPOINT
        if upstream == "require":
            raise missing_step_error(target, "train")
        from weakspot.pipeline.train import train

        _log_on_main("train → %s", folder)
        made_from = {"made_from": checkpoint_made_from(target)}
        callbacks = [] if target.reweight is None else [target.reweight.build_callback(target)]
        _seed_loading(target.seed)
        model = target.build_model()
        data = target.data_module(target.training.batch_size)
        checkpoint = train(
            model, data, target.training, target.make_trainer, folder, logger, made_from, callbacks
        )
        log_output_artifact(logger, "checkpoint", folder)
        return checkpoint


def pull_predictions(
    target: AuditTarget, upstream: Upstream = "pull", logger: RunLogger | None = None
) -> Predictions | None:
    """Return the predictions of the target's split; if they are missing, make them first, and the checkpoint too.

    Args:
        target: The audit target.
        upstream: "require" to raise an error if a step is missing.
        logger: The run's logger.

    Returns:
        The predictions; None on ranks above 0, which have nothing left to do.

    Raises:
        FileNotFoundError: If a step is missing and `upstream` is "require"; the message names the command to run.
    """
    checkpoint = pull_checkpoint(target, upstream, logger)
    weights = weights_digest(target, checkpoint)
    folder = predictions_folder(target, weights)
    signals.register_saved_work(lambda: is_complete(folder) or has_shards(folder))
    predictions = _read_complete_predictions(folder, upstream) if is_main_process() else None
    if broadcast_decision("has_predictions", lambda: predictions is not None):
        log_input_artifact(logger, "predictions", folder)
        return predictions
    with folder_lock(folder, "predictions_dir"):
        predictions = _read_complete_predictions(folder, upstream) if is_main_process() else None
        if broadcast_decision("infer", lambda: predictions is not None):
            log_input_artifact(logger, "predictions", folder)
            return predictions
        if upstream == "require":
            raise missing_step_error(target, "infer")
        from weakspot.pipeline.infer import infer

        _log_on_main("infer → %s", folder)
        _seed_loading(target.seed)
        model = use_embedding_source(load_model(target, checkpoint), target)
        manifest = {
            "dataset": target.dataset.name,
            "model": target.model.name,
            "split": target.split,
            "group": target.split_dataset(target.split).group,
            "restating": list(target.split_dataset(target.split).restating),
            "checkpoint": str(checkpoint) if checkpoint else "pretrained",
            **({} if target.embedding_source is None else {"embedding": target.embedding_source}),
            "made_from": predictions_made_from(target, weights),
        }
        data = target.data_module(target.inference_batch_size)
        inferred = infer(model, data, target.split, target.make_trainer, folder, manifest)
        log_output_artifact(logger, "predictions", folder)
        return inferred


def pull_shard(
    target: AuditTarget, shard: JobShard, upstream: Upstream = "pull", logger: RunLogger | None = None
) -> str | None:
    """Infer one shard of the target's split, and make its checkpoint first if it is missing; other jobs infer the rest.

    Args:
        target: The audit target.
        shard: The shard.
        upstream: "require" to raise an error if the checkpoint is missing.
        logger: The run's logger.

    Returns:
        The progress of all jobs, in words; None on ranks above 0.
    """
    checkpoint = pull_checkpoint(target, upstream, logger)
    folder = predictions_folder(target, weights_digest(target, checkpoint))
    signals.register_saved_work(lambda: is_complete(folder) or has_shards(folder))
    if not broadcast_decision("has_predictions", lambda: is_complete(folder)):
        with shard_lock(shard, folder, "predictions_dir"):
            # another job may have joined it meanwhile
            if not broadcast_decision("infer", lambda: is_complete(folder)):
                from weakspot.pipeline.infer import infer_rows

                _log_on_main("infer shard %s → %s", shard, folder)
                _seed_loading(target.seed)
                model = use_embedding_source(load_model(target, checkpoint), target)
                data, within = (
                    target.data_module(target.inference_batch_size),
                    shard.rows(len(target.split_dataset(target.split))),
                )
                infer_rows(model, data, target.split, target.make_trainer, folder, within)
    return _describe_shards(target, shard, folder) if is_main_process() else None


def _describe_shards(target: AuditTarget, shard: JobShard, folder: Path) -> str:
    if is_complete(folder):
        return f"the predictions are complete → {folder}"
    missing = missing_shards(folder, len(target.split_dataset(target.split)), shard.count)
    if missing and is_complete(folder):  # it was joined while shards were counted
        return f"the predictions are complete → {folder}"
    if not missing:
        return f"all {shard.count} shards are inferred: `{target.commands['infer']}` joins them"
    return (
        f"{shard.count - len(missing)} of {shard.count} shards are inferred, missing: {format_ranges(missing)}; "
        f"`{target.commands['infer']}` joins what is there and infers what is missing"
    )


def _seed_loading(seed: int) -> None:
    """Seed all generators, including those of the processes that load data, with Lightning's function."""
    from pytorch_lightning import seed_everything

    seed_everything(seed, workers=True, verbose=False)


def _read_complete_predictions(folder: Path, upstream: Upstream) -> Predictions | None:
    """Return the complete record in `folder`, or None. A record that cannot be read is set aside, to be inferred again.

    No lock is needed: what is complete may lie on a read-only disk.
    """
    if not is_complete(folder):
        return None
    try:
        return read(folder)
    except (DamagedError, FileNotFoundError) as error:
        if upstream == "require":
            raise
        set_aside = _unused_path(folder.with_name(f"{folder.name}.damaged"))
        # another job may have renamed it
        with writing(folder.parent, "predictions_dir"), suppress(FileNotFoundError):
            folder.rename(set_aside)
        log.warning("%s; the record is set aside as %s and inferred again", error, set_aside)
        return None


def _unused_path(path: Path) -> Path:
    """Return the path or, if it exists already, the first unused one with a number appended."""
    names = itertools.chain([path], (path.with_name(f"{path.name}{i}") for i in itertools.count(2)))
    return next(name for name in names if not name.exists())


def load_audited_model(target: AuditTarget) -> Model:
    """Return the model with the weights that made the predictions; only one process may call this, after
    `pull_predictions`.
    """
    return load_model(target, _checkpoint_path(target))


def read_pulled_predictions(target: AuditTarget) -> Predictions:
    """Return the record that `pull_predictions` has made, in any process; ranks above 0 must wait until it exists."""
    return read(predictions_folder(target, weights_digest(target, _checkpoint_path(target))))


def _checkpoint_path(target: AuditTarget) -> Path | None:
    match target.checkpoint:
        case "pretrained":
            return None
        case "auto":
            return checkpoint_folder(target) / CHECKPOINT
        case _:
            return target.given_checkpoint()


def load_model(target: AuditTarget, checkpoint: Path | None) -> Model:
    """Return the model with the weights of a file, or with those that it is built with.

    Raises:
        ValueError: If the weights do not fit, or those that the model is built with are random.
    """
    model = target.build_model()
    if checkpoint is not None:
        load_weights(model, checkpoint)
    elif not _has_trained_head(target, model):
        why = "" if model.new_head is None else f"; {model.new_head}"
        raise ValueError(
            f"checkpoint=pretrained, but the last layer of model={target.model.name} is random: give it weights "
            f"for the {target.task.n_outputs} classes of dataset={target.dataset.name}, or have it trained "
            f"(checkpoint=auto){why}"
        )
    return model


def use_embedding_source(model: Model, target: AuditTarget) -> Model:
    """Return the audited model with the embeddings that the target asks for: of an earlier layer or another network."""
    if target.embed_layer is not None:
        return LayerEmbedding(model, target.embed_layer)
    if target.encoder is not None:
        return EncoderEmbedding(model, target.build_encoder(target.seed))
    return model


def _has_trained_head(target: AuditTarget, model: Model) -> bool:
    """Return whether the model's last layer is trained; if the model does not know, it is built again with another
    seed: random weights differ.
    """
    if model.head_is_trained is not None:
        return model.head_is_trained
    rebuilt = replace(target, seed=target.seed + 1).build_model()
    return _state_digest(rebuilt) == _state_digest(model)


def will_train(target: AuditTarget) -> bool:
    """Return whether the audited model is yet to be trained."""
    return target.checkpoint == "auto" and not is_trained(checkpoint_folder(target))


def will_infer(target: AuditTarget) -> bool:
    """Return whether the predictions of the audited model are yet to be made."""
    weights = _describe_train(target)[1]
    return weights is None or not is_complete(predictions_folder(target, weights))


def missing_step_error(target: AuditTarget, step: Literal["train", "infer"]) -> FileNotFoundError:
    """Return the error for a missing step if `upstream` is "require"; it names the command that runs the step."""
    missing_product = "checkpoint" if step == "train" else "predictions"
    return FileNotFoundError(
        f"there is no {missing_product} of this yet: run `{target.commands[step]}`, or leave out upstream=require"
    )


def describe_plan(
    target: AuditTarget,
    last_step: Literal["train", "infer", "discover"],
    upstream: Upstream = "pull",
    shard: JobShard | None = None,
) -> str:
    """Return one line that says what exists and what will run: `train: cached · infer: missing → will run · discover`.

    Args:
        target: The audit target.
        last_step: The last step that is to run.
        upstream: "require" if missing steps are not run.
        shard: The shard to infer; None for all rows.
    """
    line = _describe_steps(target, last_step, shard)
    return line if upstream == "pull" else re.sub(" → will (run|resume)", "", line)


def _describe_steps(target: AuditTarget, last_step: str, shard: JobShard | None) -> str:
    train_step, weights = _describe_train(target)
    if last_step == "train":
        return f"train: {train_step}"
    infer_step = "missing → will run" if weights is None else _describe_infer(target, weights, shard)
    infer_name = "infer" if shard is None else f"infer shard {shard}"
    line = f"train: {train_step} · {infer_name}: {infer_step}"
    return f"{line} · discover" if last_step == "discover" else line


def _describe_train(target: AuditTarget) -> tuple[str, str | None]:
    if target.checkpoint == "pretrained":
        return "pretrained", weights_digest(target, None)
    if target.checkpoint != "auto":
        return f"given ({target.checkpoint})", digest(target.given_checkpoint())
    folder = checkpoint_folder(target)
    if is_trained(folder):
        return "cached", digest(folder / CHECKPOINT)
    return ("interrupted → will resume" if is_interrupted(folder) else "missing → will run"), None


def _describe_infer(target: AuditTarget, weights: str, shard: JobShard | None) -> str:
    folder = predictions_folder(target, weights)
    if is_complete(folder):
        return "cached"
    n = len(target.split_dataset(target.split))
    rows = range(n) if shard is None else shard.rows(n)
    done = len(finished_rows(folder, n, None if shard is None else rows))
    if shard is not None and done == len(rows):
        return "cached"
    return f"interrupted at {done} of {len(rows)} → will resume" if done else "missing → will run"


def _log_on_main(line: str, *values: object) -> None:
    if is_main_process():
        log.info(line, *values)


def weights_digest(target: AuditTarget, checkpoint: Path | None) -> str:
    """Return the digest of the model's weights: of the checkpoint file, or of the weights that it is built with."""
    return _state_digest(target.build_model()) if checkpoint is None else digest(checkpoint)


def _state_digest(model: Model) -> str:
    """Return the digest of the weights that a model comes with, wherever they came from."""
    sha = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()[:12]
