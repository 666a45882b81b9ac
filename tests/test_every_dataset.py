"""Each published dataset, from small files in its exact layout: the contract, and the one line that audits it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from conftest import Shell
from layouts import LAYOUTS, Layout
from weakspot import Predictions
from weakspot.config import CONFIGS, build, dataset_own_settings, register
from weakspot.datasets.base import Dataset
from weakspot.datasets.inputs.image_files import ImageFiles

SPLITS = ("train", "val", "test")


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.dataset)
def layout(request: pytest.FixtureRequest) -> Layout:
    chosen: Layout = request.param
    return chosen


def datasets(layout: Layout, data: Path, monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """All splits, built as the entry points build them."""
    monkeypatch.setenv("DATA_DIR", str(data))
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("discover", layout.overrides(data))
    make = build(dataset_own_settings(cfg.dataset), "dataset", {"split"})
    return [make(split=split) for split in SPLITS]


def test_contract(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.write(tmp_path)
    found = datasets(layout, tmp_path, monkeypatch)
    for dataset in found:
        dataset.check()
        assert len(dataset.examples.column_names) > 1, "a published dataset has attributes"
        items = [dataset[row] for row in range(min(3, len(dataset)))]
        batch = dataset.collate(items)
        assert batch["index"].tolist() == list(range(len(items)))
        assert len(batch["target"]) == len(items)
        outputs = np.random.default_rng(0).normal(size=(len(items), dataset.task.n_outputs))
        import torch

        losses = dataset.task.losses(torch.from_numpy(outputs), batch["target"])
        assert losses.shape == (len(items),)
        assert torch.isfinite(losses).all()
        assert dataset.preview(0) is not None
        if isinstance(dataset, ImageFiles):  # a published data set is read as the published code reads it
            assert dataset.pixels == ("as_shown" if layout.dataset == "csv" else "as_stored")
        with pytest.raises(IndexError):
            dataset[len(dataset)]
    ids = [set(dataset.examples["id"].to_pylist()) for dataset in found]
    assert len(set().union(*ids)) == sum(map(len, found)), "an example is in two splits"
    assert len({dataset.task for dataset in found}) == 1
    again = datasets(layout, tmp_path, monkeypatch)
    assert [dataset.fingerprint() for dataset in again] == [dataset.fingerprint() for dataset in found]
    assert [dataset.examples for dataset in again] == [dataset.examples for dataset in found]
    assert len({dataset.fingerprint() for dataset in found}) == 3


@pytest.mark.slow
def test_one_line_audits_it(layout: Layout, tmp_path: Path) -> None:
    """Train, infer and discover by both methods, through the entry point, then whatever they left behind."""
    data = tmp_path / "data"
    data.mkdir()
    layout.write(data)
    words = ["-m", *layout.overrides(data), "method=spotlight,udis", "logger=none", "training.epochs=1"]
    if not any(word.startswith("trainer=") for word in layout.words):
        words.append("trainer=cpu")
    Shell(tmp_path)("discover", *words, DATA_DIR=str(data), HF_HUB_OFFLINE="1")
    (folder,) = (tmp_path / "outputs" / "predictions").glob(f"{layout.dataset}-*")
    predictions = Predictions.load(folder)
    assert np.isfinite(predictions.losses).all()
    assert predictions.correct is not None
    methods = {
        json.loads(path.read_text())["method"] for path in tmp_path.glob("multirun/**/slices/slices.json")
    }
    pages = [page.read_text() for page in tmp_path.glob("multirun/**/report.html")]
    assert methods == {"spotlight", "udis"}
    assert len(pages) == 2
    assert all(str(name) in pages[0] for name in predictions.attributes.column_names[:1])
