"""The data module: the right rows in the right order, in worker processes too, and clear refusals."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer

from numbered_rows import Numbers, rows
from weakspot.datasets.base import Dataset
from weakspot.datasets.datamodule import DataModule
from weakspot.datasets.image_folder import ImageFolder
from weakspot.pipeline.group_metrics import groups_of
from weakspot.tasks import Multilabel


class Listener(LightningModule):
    """Records the rows that it receives, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.heard: list[list[int]] = []

    def training_step(self, batch: dict[str, Any]) -> torch.Tensor:
        self.heard.append(batch["index"].tolist())
        return (self.weight * batch["input"]).mean()

    def validation_step(self, batch: dict[str, Any]) -> None:
        """Validation runs between two training epochs and must not change their order."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_row_is_served_once_and_in_order(num_workers: int) -> None:
    data = DataModule(Numbers, batch_size=4, num_workers=num_workers)
    for loader in (data.val_dataloader(), data.test_dataloader(), data.loader("train")):
        assert rows(loader) == list(range(21))
    for batch in data.loader("test"):
        torch.testing.assert_close(batch["input"][:, 0], batch["index"].float())
        torch.testing.assert_close(batch["target"], batch["index"] % 2)


@pytest.mark.parametrize("chosen", [[7, 3, 20], np.array([1]), np.arange(20, -1, -1)])
def test_chosen_rows_keep_their_index(chosen: Any) -> None:
    loader = DataModule(Numbers, batch_size=2).loader("test", rows=chosen)
    assert rows(loader) == list(chosen)
    assert all((batch["input"][:, 0] == batch["index"]).all() for batch in loader)


def test_training_order_follows_from_the_seed() -> None:
    def orders(seed: int, num_workers: int = 0) -> list[list[int]]:
        loader = DataModule(Numbers, batch_size=4, num_workers=num_workers, seed=seed).train_dataloader()
        return [rows(loader) for _ in range(3)]

    torch.manual_seed(1)
    first = orders(seed=5)
    torch.manual_seed(2)
    assert orders(seed=5) == orders(seed=5, num_workers=1) == first
    assert orders(seed=6) != first
    assert len(set(map(tuple, first))) == 3  # a different order each epoch
    assert all(len(set(order)) == 20 for order in first)  # 21 rows: the single leftover row is dropped
    assert set().union(*first) == set(range(21))


def test_only_a_single_leftover_row_is_dropped() -> None:
    for n, kept in ((20, 20), (21, 20), (22, 22), (1, 1)):
        assert len(rows(DataModule(partial(Numbers, n=n), batch_size=4).train_dataloader())) == kept


@pytest.mark.parametrize(
    ("n", "processes", "dropped"),
    [
        (10, 2, True),
        (9, 2, True),
        (13, 2, False),
        (8, 2, False),
        (2, 2, False),
        (13, 3, True),
        (11, 3, False),
    ],
)
def test_leftover_rows_are_counted_for_each_process(n: int, processes: int, dropped: bool) -> None:
    """Each process gets the same number of rows; some are repeated if they do not divide evenly."""
    data = DataModule(partial(Numbers, n=n), batch_size=4)
    data.trainer = SimpleNamespace(world_size=processes)  # type: ignore[assignment]
    assert data.train_dataloader().drop_last is dropped


def test_splits_are_built_once_and_only_when_asked_for() -> None:
    built = []

    def make(split: str) -> Dataset:
        built.append(split)
        return Numbers(split)

    data = DataModule(make)
    assert built == []
    assert data.dataset("val") is data.dataset("val")
    data.val_dataloader()
    assert built == ["val"]


def test_a_multilabel_target_is_a_vector() -> None:
    class Several(Numbers):
        def __init__(self, split: str) -> None:
            super().__init__(split)
            self.task = Multilabel(("a", "b", "c"))
            self.targets = np.eye(3, dtype=np.int64)[np.arange(21) % 3]

    batch = next(iter(DataModule(Several, batch_size=21).loader("test")))
    torch.testing.assert_close(batch["target"], torch.eye(3, dtype=torch.int64).repeat(7, 1))


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6 on torch 2.15
def test_a_resumed_run_sees_the_batches_it_would_have_seen(tmp_path: Path) -> None:
    class SaveHalfway(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    def fit(checkpoint: Path | None = None) -> list[list[int]]:
        model = Listener()
        trainer = Trainer(
            max_epochs=4,
            accelerator="cpu",
            callbacks=[SaveHalfway()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, DataModule(Numbers, batch_size=4, seed=3), ckpt_path=checkpoint, weights_only=True)
        return model.heard

    whole = fit()
    assert len(whole) == 4 * 5
    assert fit(tmp_path / "half.ckpt") == whole[2 * 5 :]


@pytest.mark.slow
def test_workers_start_inside_joblib() -> None:
    def count() -> int:
        return len(rows(DataModule(Numbers, batch_size=4, num_workers=1).loader("test")))

    assert joblib.Parallel(n_jobs=2)(joblib.delayed(count)() for _ in range(2)) == [21, 21]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_truncated_image_is_named(tmp_path: Path, num_workers: int) -> None:
    for k in range(6):
        path = tmp_path / "test" / "cat" / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 50).save(path)
    path = tmp_path / "test" / "cat" / "4.jpg"
    path.write_bytes(path.read_bytes()[:-500])
    data = DataModule(partial(ImageFolder, root=tmp_path, size=32), batch_size=2, num_workers=num_workers)
    with pytest.raises(ValueError, match=f"row 4 of test: {path} cannot be read as an image .*truncated"):
        rows(data.loader("test"))


def test_too_few_rows_for_the_processes_are_refused() -> None:
    data = DataModule(Numbers, batch_size=4)
    data.trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False
    )
    assert len(data.loader("test", rows=[0, 1])) == 1
    with pytest.raises(ValueError, match="1 rows cannot be shared among 2 processes; use at most 1 devices"):
        data.loader("test", rows=[3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "is empty"),
        ({"examples": pa.table({"id": list("abc")})}, "3 examples but 21 targets"),
        ({"examples": pa.table({"name": ["a"] * 21})}, "first column of examples must be 'id'"),
        ({"examples": pa.table({"id": ["a"] * 21})}, "the id 'a' is in rows 0 and 1"),
        ({"examples": pa.table({"id": [str(k) for k in range(21)], "label": range(21)})}, "called 'label'"),
    ],
)
def test_a_split_that_breaks_the_contract_is_refused(change: dict[str, Any], message: str) -> None:
    def make(split: str) -> Dataset:
        dataset = Numbers(split, n=change.get("n", 21))
        dataset.examples = change.get("examples", dataset.examples)
        return dataset

    with pytest.raises(ValueError, match=rf"Numbers \(test\).*{message}"):
        DataModule(make).loader("test")


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        DataModule(Numbers, batch_size=0)
    with pytest.raises(ValueError, match="num_workers must be 0"):
        DataModule(Numbers, num_workers=-1)
    with pytest.raises(ValueError, match="row 21 is outside split 'test', which has 21 rows"):
        DataModule(Numbers).loader("test", rows=[3, 21])
    with pytest.raises(ValueError, match="no split 'dev'; it has: train, val, test"):
        DataModule(Numbers).loader("dev")


def test_attributes_of_any_type_are_served_in_plain_form(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Numbers):
        """With columns of a list, a struct, a view, half floats, an ordered dictionary and bytes."""

        def __init__(self, split: str) -> None:
            super().__init__(split)
            grades = pa.DictionaryArray.from_arrays(
                pa.array([2, 0, None] * 7), pa.array(list("abc")), ordered=True
            )
            self.examples = pa.table(
                {
                    "id": self.examples["id"],
                    "tags": [["x", "y"]] * 21,
                    "camera": [{"lens": "wide"}] * 21,
                    "view": pa.array([" b "] * 21, pa.string_view()),
                    "half": pa.array(np.arange(21, dtype=np.float16)),
                    "grade": grades,
                    "thumb": [b"\xff\xd8"] * 21,
                }
            )

    examples = DataModule(Odd).dataset("val").examples
    assert examples.column_names == ["id", "tags", "camera.lens", "view", "half", "grade"]
    assert examples.slice(1, 1).to_pylist() == [
        {"id": "val-1", "tags": "x, y", "camera.lens": "wide", "view": "b", "half": 1, "grade": "a"}
    ]
    assert "Odd (val): attribute 'thumb' is left out: it holds bytes" in caplog.text
    assert groups_of(examples)["grade"].codes.tolist() == [0, 1, 2] * 7
