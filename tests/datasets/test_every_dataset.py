"""Each published dataset, from small files in its exact layout: the contract, and the one command that audits it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from layouts import LAYOUTS, Layout
from shell import Shell
from weakspot import Predictions
from weakspot.config.build import build, dataset_own_settings
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register
from weakspot.datasets.base import Dataset
from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.testing import check_dataset


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.dataset)
def layout(request: pytest.FixtureRequest) -> Layout:
    chosen: Layout = request.param
    return chosen


def maker(layout: Layout, data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dataset]:
    """Builds a split as the entry points build it."""
    monkeypatch.setenv("DATA_DIR", str(data))
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("discover", layout.overrides(data))
    return build(dataset_own_settings(cfg.dataset), "dataset", {"split"})


def test_contract(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.write(tmp_path)
    make = maker(layout, tmp_path, monkeypatch)
    check_dataset(lambda split: make(split=split))
    dataset = make(split="test")
    assert len(dataset.examples.column_names) > 1, "a published dataset has attributes"
    if isinstance(dataset, ImageFiles):  # a published data set is read as the published code reads it
        assert dataset.pixels == ("as_shown" if layout.dataset == "csv" else "as_stored")


LIKE_ANOTHER = {"coco", "fairface", "imagenet", "iwildcam", "waterbirds"}
"""Data sets of image files, as CelebA's are: their one line is optional; their own tests read their layouts."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(each, marks=[pytest.mark.optional] if each.dataset in LIKE_ANOTHER else [])
        for each in LAYOUTS
    ],
    ids=lambda each: each.dataset,
)
def test_one_command_audits_it(layout: Layout, tmp_path: Path) -> None:
    """Train, infer and discover with both methods through the entry point, then check the files they wrote."""
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
    assert predictions.attributes.column_names
    assert any(name in page for page in pages for name in predictions.attributes.column_names)
