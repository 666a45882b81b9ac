"""Runs a model over a split once and stores the predictions, on any number of devices and in constant memory."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor

from weakspot import signals
from weakspot.datasets.base import Dataset
from weakspot.datasets.datamodule import DataModule
from weakspot.models.base import Model
from weakspot.pipeline.image_attributes import add_image_properties, measure_image
from weakspot.pipeline.learner import Learner
from weakspot.pipeline.lightning_messages import silence_lightning
from weakspot.pipeline.processes import broadcast_decision, is_main_process, keep_sigterm_handler
from weakspot.pipeline.progress import progress
from weakspot.pipeline.progress_callback import ProgressCallback, shows_progress_bar
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.predictions import Predictions
from weakspot.predictions.shards import finished_rows, gather_column, set_aside_damaged, write_shard
from weakspot.predictions.store import join
from weakspot.predictions.validation import NotFiniteError, check_finite

log = logging.getLogger(__name__)

_SHARD_BYTES = 32 << 20
_SHARD_SECONDS = 60.0
_SINGLE_PROCESS: Mapping[str, Any] = {"devices": 1, "num_nodes": 1, "strategy": "auto"}


class ShardWriter(BasePredictionWriter):
    """Collects batches into shards, so that a kill loses at most one shard of each process, or a minute of its work.

    SIGTERM and Ctrl+C lose nothing.

    Args:
        folder: The folder of the record.
        ids: (n,) ids of all examples.
        dataset: The dataset that is inferred.
        shard_bytes: The size at which a shard is written.
        shard_seconds: The time after which a shard is written.
    """

    def __init__(
        self,
        folder: Path,
        ids: np.ndarray,
        dataset: Dataset,
        shard_bytes: int = _SHARD_BYTES,
        shard_seconds: float = _SHARD_SECONDS,
    ) -> None:
        super().__init__("batch")
        self.folder = folder
        self.ids = ids
        self.dataset = dataset
        self.shard_bytes = shard_bytes
        self.shard_seconds = shard_seconds
        self._last_flush = time.monotonic()
        self._batches: list[dict[str, np.ndarray]] = []
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Mapping[str, Tensor],
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        arrays = {name: tensor.cpu().numpy() for name, tensor in prediction.items()}
        for name in ("embeddings", "losses"):
            check_finite(name, arrays[name], self.ids[arrays["index"]])
        arrays |= self.dataset.judge(arrays["index"], arrays["predictions"])
        if "measured" in batch:
            arrays["measured"] = batch["measured"]
        self._batches.append(arrays)
        held_bytes = sum(array.nbytes for arrays in self._batches for array in arrays.values())
        if held_bytes >= self.shard_bytes or time.monotonic() - self._last_flush >= self.shard_seconds:
            self._flush(trainer.global_rank)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._flush(trainer.global_rank)
        self._wait_for_writing()
        self._thread.shutdown()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        try:
            if signals.interruption():
                self._flush(trainer.global_rank)
            self._wait_for_writing()
        except OSError as error:
            if error is not exception:
                log.warning("%s", error)  # the other error ends the run
        finally:
            self._thread.shutdown()

    def _flush(self, rank: int) -> None:
        """Write the batches that are held, while the next ones are computed."""
        if self._batches:
            self._wait_for_writing()
            self._writing = self._thread.submit(_write_batches, self.folder, rank, self._batches)
            self._batches = []
        self._last_flush = time.monotonic()

    def _wait_for_writing(self) -> None:
        """Wait for the last shard to be written; a disk error is raised here."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None


def _write_batches(folder: Path, rank: int, batches: list[dict[str, np.ndarray]]) -> None:
    write_shard(folder, rank, {name: np.concatenate([b[name] for b in batches]) for name in batches[0]})


def infer(
    model: Model,
    data: DataModule,
    split: str,
    make_trainer: Callable[..., Trainer],
    folder: Path,
    manifest: Mapping[str, Any],
    shard_bytes: int = _SHARD_BYTES,
) -> Predictions | None:
    """Predict every row of `split` that `folder` lacks, and join the record.

    If the dataset shows images, the record's attributes also hold the properties of each image.

    Args:
        model: The model.
        data: The data.
        split: The split to infer.
        make_trainer: Builds a trainer.
        folder: The folder of the record.
        manifest: The content of the record's manifest.
        shard_bytes: The size of a shard.

    Returns:
        The record; None on ranks above 0.

    Raises:
        ValueError: If an embedding or a loss is not a number; the message names the first example, and the folder
            is removed.
    """
    try:
        infer_rows(model, data, split, make_trainer, folder, shard_bytes=shard_bytes)
    except NotFiniteError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not is_main_process():
        return None
    dataset = data.dataset(split)
    ids = _example_ids(dataset)
    attributes, measured = dataset.examples.drop_columns(["id"]), gather_column(folder, "measured", len(ids))
    if measured is not None:
        attributes = add_image_properties(attributes, measured)
    return join(folder, ids, attributes, dataset.task, manifest)


def infer_rows(
    model: Model,
    data: DataModule,
    split: str,
    make_trainer: Callable[..., Trainer],
    folder: Path,
    within: range | None = None,
    shard_bytes: int = _SHARD_BYTES,
) -> None:
    """Predict the rows of `split` that `folder` lacks, and write them there as shards.

    Args:
        model: The model.
        data: The data.
        split: The split to infer.
        make_trainer: Builds a trainer.
        folder: The folder of the record.
        within: The rows to infer; all by default.
        shard_bytes: The size of a shard.

    Raises:
        ValueError: If an embedding or a loss is not a number; the message names the first example.
    """
    dataset = data.dataset(split)
    n = len(dataset)
    processes = broadcast_decision("processes", lambda: _processes_needed(folder, n, within, make_trainer))
    if processes == "all" or (processes == "one" and is_main_process()):
        # the same on every rank: no shard is written before all of them predict
        rows = _missing_rows(folder, n, within)
        if not len(rows):  # another job has inferred overlapping rows meanwhile
            return
        learner = Learner(model, dataset.task, TrainingSettings())
        shows_images = isinstance(dataset.preview(int(rows[0])), Image.Image)
        with (
            silence_lightning(),
            progress("inferring: starting", shows_progress_bar(make_trainer)) as report_progress,
        ):
            writer = ShardWriter(folder, _example_ids(dataset), dataset, shard_bytes)
            single_process = {} if processes == "all" else _SINGLE_PROCESS
            trainer = make_trainer(
                **_prediction_settings(folder),
                **single_process,
                callbacks=[writer, ProgressCallback(report_progress)],
            )
            keep_sigterm_handler(trainer)
            loader = data.loader(
                split,
                None if len(rows) == n else rows,
                measure_image if shows_images else None,
                trainer.num_devices,
            )
            trainer.predict(learner, dataloaders=loader, return_predictions=False)
        trainer.strategy.barrier()


def _example_ids(dataset: Dataset) -> np.ndarray:
    return np.asarray(dataset.examples["id"].to_pylist(), dtype=str)


def _missing_rows(folder: Path, n: int, within: range | None) -> np.ndarray:
    return np.setdiff1d(
        np.arange(n) if within is None else np.array(within), finished_rows(folder, n, within)
    )


def _processes_needed(
    folder: Path, n: int, within: range | None, make_trainer: Callable[..., Trainer]
) -> Literal["none", "one", "all"]:
    """Return which processes infer the rows that the folder lacks: fewer rows than processes cannot be divided."""
    set_aside_damaged(folder, n, within)
    missing = len(_missing_rows(folder, n, within))
    if not missing:
        return "none"
    with silence_lightning():
        return "all" if missing >= make_trainer(**_prediction_settings(folder)).world_size else "one"


def _prediction_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a trainer that only predicts."""
    return {"logger": False, "default_root_dir": folder, "enable_progress_bar": False}
