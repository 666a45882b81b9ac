"""Run a model over a split, once, into the store of predictions: on any number of devices, in flat memory."""

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
from weakspot.pipeline.learner import Learner
from weakspot.pipeline.progress import progress
from weakspot.pipeline.properties import describe, measure
from weakspot.pipeline.quiet import quiet
from weakspot.pipeline.ranks import agree, heed_signals, is_main
from weakspot.pipeline.training import Training
from weakspot.pipeline.watch import Watch, wants_bar
from weakspot.predictions import Predictions
from weakspot.predictions.shards import finished_rows, gather_column, set_aside_damaged, write_shard
from weakspot.predictions.store import join
from weakspot.predictions.validation import NotFiniteError, check_finite

log = logging.getLogger(__name__)

_SHARD_BYTES = 32 << 20
_SHARD_SECONDS = 60.0
_ALONE: Mapping[str, Any] = {"devices": 1, "num_nodes": 1, "strategy": "auto"}


class ShardWriter(BasePredictionWriter):
    """Collects batches into shards: what is lost by a kill is one shard of each process, or a minute of its work.

    SIGTERM and Ctrl+C lose nothing.
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
        self._since = time.monotonic()
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
        held = sum(array.nbytes for arrays in self._batches for array in arrays.values())
        if held >= self.shard_bytes or time.monotonic() - self._since >= self.shard_seconds:
            self._flush(trainer.global_rank)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._flush(trainer.global_rank)
        self._written()
        self._thread.shutdown()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        try:
            if signals.interruption():
                self._flush(trainer.global_rank)
            self._written()
        except OSError as error:
            if error is not exception:
                log.warning("%s", error)  # what ends the run is the other one
        finally:
            self._thread.shutdown()

    def _flush(self, rank: int) -> None:
        """Write what is held, beside the next batches."""
        if self._batches:
            self._written()
            self._writing = self._thread.submit(_write, self.folder, rank, self._batches)
            self._batches = []
        self._since = time.monotonic()

    def _written(self) -> None:
        """Wait for the last shard; a disk that refused it is heard of here."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None


def _write(folder: Path, rank: int, batches: list[dict[str, np.ndarray]]) -> None:
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
    """Predict every row of `split` that `folder` lacks, and join the record; None on ranks above 0.

    Where the dataset shows images, the record's attributes also say what each of them looks like.

    Raises ValueError naming the first example whose embedding or loss is not a number; nothing is left behind.
    """
    try:
        infer_rows(model, data, split, make_trainer, folder, shard_bytes=shard_bytes)
    except NotFiniteError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not is_main():
        return None
    dataset = data.dataset(split)
    ids = _ids(dataset)
    attributes, measured = dataset.examples.drop_columns(["id"]), gather_column(folder, "measured", len(ids))
    if measured is not None:
        attributes = describe(attributes, measured)
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
    """Predict the rows of `split`, all or those `within`, that `folder` lacks, and leave them there as shards.

    Raises ValueError naming the first example whose embedding or loss is not a number.
    """
    dataset = data.dataset(split)
    n = len(dataset)
    sharing = agree("sharing", lambda: _sharing(folder, n, within, make_trainer))
    if sharing == "all" or (sharing == "one" and is_main()):
        # the same on every rank: no shard is written before all of them have come to predict
        rows = _missing(folder, n, within)
        if not len(rows):  # another job, of overlapping rows, has inferred them meanwhile
            return
        learner = Learner(model, dataset.task, Training())
        shows_images = isinstance(dataset.preview(int(rows[0])), Image.Image)
        with quiet(), progress("inferring: starting", wants_bar(make_trainer)) as tell:
            writer = ShardWriter(folder, _ids(dataset), dataset, shard_bytes)
            alone = {} if sharing == "all" else _ALONE
            trainer = make_trainer(**_plain(folder), **alone, callbacks=[writer, Watch(tell)])
            heed_signals(trainer)
            loader = data.loader(
                split,
                None if len(rows) == n else rows,
                measure if shows_images else None,
                trainer.num_devices,
            )
            trainer.predict(learner, dataloaders=loader, return_predictions=False)
        trainer.strategy.barrier()


def _ids(dataset: Dataset) -> np.ndarray:
    return np.asarray(dataset.examples["id"].to_pylist(), dtype=str)


def _missing(folder: Path, n: int, within: range | None) -> np.ndarray:
    return np.setdiff1d(
        np.arange(n) if within is None else np.array(within), finished_rows(folder, n, within)
    )


def _sharing(
    folder: Path, n: int, within: range | None, make_trainer: Callable[..., Trainer]
) -> Literal["none", "one", "all"]:
    """Which processes infer the rows that the folder lacks: fewer rows than processes cannot be shared out."""
    set_aside_damaged(folder, n, within)
    missing = len(_missing(folder, n, within))
    if not missing:
        return "none"
    with quiet():
        return "all" if missing >= make_trainer(**_plain(folder)).world_size else "one"


def _plain(folder: Path) -> dict[str, Any]:
    """Settings of a trainer that only predicts."""
    return {"logger": False, "default_root_dir": folder, "enable_progress_bar": False}
