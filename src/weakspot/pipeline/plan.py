"""Pull: what a discovery needs and the stores lack is made first, and said before it starts."""

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

from weakspot.identity import digest
from weakspot.models.base import Model
from weakspot.models.checkpoint import load_weights
from weakspot.pipeline.checkpoint_files import CHECKPOINT, is_interrupted, is_trained
from weakspot.pipeline.embedding import InEncoder, InLayer
from weakspot.pipeline.locks import maker_of, sole_maker
from weakspot.pipeline.part import Part, missing_parts, spans
from weakspot.pipeline.ranks import agree, is_main
from weakspot.pipeline.subject import Subject
from weakspot.predictions import Predictions
from weakspot.predictions.atomic_files import writing
from weakspot.predictions.reading import DamagedError
from weakspot.predictions.shards import finished_rows
from weakspot.predictions.store import is_complete, read
from weakspot.tracking.lineage import log_input_artifact, log_output_artifact

if TYPE_CHECKING:
    from weakspot.tracking.loggers import RunLogger

# Lightning takes seconds to import, so that is done where something is to be made: mostly, all is there already.

log = logging.getLogger(__name__)

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
        log_input_artifact(logger, "checkpoint", subject.given_checkpoint())
        return subject.given_checkpoint()
    folder = subject.checkpoint_folder()
    if agree("kept_checkpoint", lambda: is_trained(folder)):
        log_input_artifact(logger, "checkpoint", folder)
        return folder / CHECKPOINT  # without a lock: it may lie on a read-only disk
    with sole_maker(folder, "checkpoints_dir") as waited:
        state = "cached" if is_trained(folder) else "interrupted" if is_interrupted(folder) else "missing"
        if agree("train", lambda: state) == "cached":
            if waited:
                _say("train: another job has made it meanwhile")
            log_input_artifact(logger, "checkpoint", folder)
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
        checkpoint = train(
            model, data, subject.training, subject.make_trainer, folder, logger, made_from, callbacks
        )
        log_output_artifact(logger, "checkpoint", folder)
        return checkpoint


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
        log_input_artifact(logger, "predictions", folder)
        return found
    with sole_maker(folder, "predictions_dir"):
        found = _kept_predictions(folder, upstream) if is_main() else None
        if agree("infer", lambda: found is not None):
            log_input_artifact(logger, "predictions", folder)
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
        inferred = infer(model, data, subject.split, subject.make_trainer, folder, manifest)
        log_output_artifact(logger, "predictions", folder)
        return inferred


def pull_part(
    subject: Subject, part: Part, upstream: Upstream = "pull", logger: RunLogger | None = None
) -> str | None:
    """Infer one part of the subject's split, its checkpoint made first where it is missing; the rest of the record is
    other jobs'. In words, how far all of them are; None on ranks above 0.
    """
    checkpoint = pull_checkpoint(subject, upstream, logger)
    folder = subject.predictions_folder(weights_of(subject, checkpoint))
    if not agree("kept_predictions", lambda: is_complete(folder)):
        with maker_of(part, folder, "predictions_dir"):
            if not agree("infer", lambda: is_complete(folder)):  # unless another job has joined it meanwhile
                from weakspot.pipeline.infer import infer_rows

                _say("infer shard %s → %s", part, folder)
                _seed_loading(subject.seed)
                model = embedded(model_with_weights(subject, checkpoint), subject)
                data, within = (
                    subject.module(subject.inference_batch_size),
                    part.rows(len(subject.data(subject.split))),
                )
                infer_rows(model, data, subject.split, subject.make_trainer, folder, within)
    return _told_of_parts(subject, part, folder) if is_main() else None


def _told_of_parts(subject: Subject, part: Part, folder: Path) -> str:
    if is_complete(folder):
        return f"the predictions are complete → {folder}"
    missing = missing_parts(folder, len(subject.data(subject.split)), part.of)
    if missing and is_complete(folder):  # joined while they were counted
        return f"the predictions are complete → {folder}"
    if not missing:
        return f"all {part.of} shards are inferred: `{subject.commands['infer']}` joins them"
    return (
        f"{part.of - len(missing)} of {part.of} shards are inferred, missing: {spans(missing)}; "
        f"`{subject.commands['infer']}` joins what is there and infers what is missing"
    )


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
    return model_with_weights(subject, _pulled_checkpoint(subject))


def pulled_predictions(subject: Subject) -> Predictions:
    """The record that `pull_predictions` has made, in any process; on ranks above 0, after it."""
    return read(subject.predictions_folder(weights_of(subject, _pulled_checkpoint(subject))))


def _pulled_checkpoint(subject: Subject) -> Path | None:
    match subject.checkpoint:
        case "pretrained":
            return None
        case "auto":
            return subject.checkpoint_folder() / CHECKPOINT
        case _:
            return subject.given_checkpoint()


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
    if subject.encoder is not None:
        return InEncoder(model, subject.build_encoder(subject.seed))
    return model


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
    subject: Subject,
    last: Literal["train", "infer", "discover"],
    upstream: Upstream = "pull",
    part: Part | None = None,
) -> str:
    """One line: what is there, what will be made. `train: cached · infer: missing → will run · discover`."""
    line = _describe(subject, last, part)
    return line if upstream == "pull" else re.sub(" → will (run|resume)", "", line)


def _describe(subject: Subject, last: str, part: Part | None) -> str:
    train_step, weights = _plan_train(subject)
    if last == "train":
        return f"train: {train_step}"
    infer_step = "missing → will run" if weights is None else _plan_infer(subject, weights, part)
    infers = "infer" if part is None else f"infer shard {part}"
    line = f"train: {train_step} · {infers}: {infer_step}"
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


def _plan_infer(subject: Subject, weights: str, part: Part | None) -> str:
    folder = subject.predictions_folder(weights)
    if is_complete(folder):
        return "cached"
    n = len(subject.data(subject.split))
    rows = range(n) if part is None else part.rows(n)
    done = len(finished_rows(folder, n, None if part is None else rows))
    if part is not None and done == len(rows):
        return "cached"
    return f"interrupted at {done} of {len(rows)} → will resume" if done else "missing → will run"


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
