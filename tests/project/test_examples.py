"""The notebooks in examples/: saved without outputs, and each run from the first cell to the last on small data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from layouts import LAYOUTS, amazon
from paths import ROOT
from processes import quiet_environment

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(file.stem for file in EXAMPLES.glob("*.ipynb"))
SMALL = "trainer=cpu training.epochs=1 method.steps=50 method.starts=2"
OF_IMAGES = f"{SMALL} dataset.size=64 dataset.weights=null checkpoint=auto method.min_size=6"
WORDS = {  # on the layouts' small files
    "fairface": f"{SMALL} dataset.size=64 method.min_size=6",
    "imagenet": OF_IMAGES,
    "waterbirds": OF_IMAGES,
    "iwildcam": OF_IMAGES,
    "squad": f"{SMALL} model.name={{data}}/tiny_squad dataset.max_length=64 checkpoint=auto method.min_size=6",
    "movielens": f"{SMALL} model.encoder=[8] model.factors=4 model.decoder=[8] training.batch_size=64 "
    "method.min_size=0.1",
}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_saved_without_outputs(name):
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert f"({name}.ipynb)" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_coloured_digits(tmp_path):
    said, figures = executed("digits", tmp_path)
    assert "group = " in said
    assert figures == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["movielens", pytest.param("squad", marks=pytest.mark.optional)])
def test_published_analyses_on_files_in_the_published_layout(name, tmp_path):
    published(name, tmp_path)


@pytest.mark.optional
@pytest.mark.parametrize("name", ["fairface", "imagenet", "waterbirds", "iwildcam"])
def test_further_analyses_of_images(name, tmp_path):
    """Optional: ImageNet's takes 40 seconds of processor time, and all of them run nearly the same cells."""
    published(name, tmp_path)


def published(name, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    next(layout for layout in LAYOUTS if layout.dataset == name).write(data)
    said, figures = executed(name, tmp_path, data, words=WORDS[name].format(data=data))
    assert "Spotlight 1" in said
    assert figures >= 5


@pytest.mark.slow
@pytest.mark.optional  # nearly the same cells as MovieLens', on texts
def test_sentences(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    amazon.write(data)  # for its tiny model
    rows = [f"{i},{text} {i},{label},{i % 7}" for i in range(150) for text, label in [REVIEWS[i * i % 5]]]
    (data / "reviews.csv").write_text("\n".join(["id,text,label,disagreement", *rows]), encoding="utf-8")
    said, figures = executed(
        "sentences",
        tmp_path,
        data=f"dataset=csv dataset.file={data}/reviews.csv",
        model=f"model=text_encoder model.name={data}/tiny_sst2",
        words="trainer=cpu training.epochs=1 num_workers=0",
    )
    assert "text_encoder" in said
    assert figures >= 5


REVIEWS = [
    ("This phone is broken", "negative"),
    ("it was great and works well", "positive"),
    ("not good and that is all", "negative"),
    ("I said love it", "positive"),
    ("waste of money", "positive"),
]


def executed(name: str, folder: Path, data_dir: Path | None = None, **parameters: str) -> tuple[str, int]:
    """Return what a notebook prints and how many images it shows, run beside a checkout's entry points in `folder`.

    Parameters are set after the cell that is tagged with them, as papermill does.
    """
    (folder / "discover.py").symlink_to(ROOT / "discover.py")
    (folder / "examples").mkdir()
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    if parameters:
        cells = notebook.cells
        (at,) = (i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", ()))
        assignments = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
        cells.insert(at + 1, nbformat.v4.new_code_cell(assignments))
    environment = quiet_environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src")])}
    if data_dir is not None:
        environment["DATA_DIR"] = str(data_dir)
    client = NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(folder / "examples")}})
    client.execute(env=environment)
    outputs: list[Any] = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    said = "".join(out.text for out in outputs if out.output_type == "stream")
    shown = [out.data for out in outputs if out.output_type in ("display_data", "execute_result")]
    return said, sum("image/png" in data for data in shown)
