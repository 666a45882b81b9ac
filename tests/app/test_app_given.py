"""Runs on given predictions in the explorer: they show the images and texts of their own file only."""

from __future__ import annotations

import io
import re
import shutil
import threading
from contextlib import closing
from functools import partial
from http.client import HTTPConnection

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf
from PIL import Image

from explorer import asked, read, serving
from shell import Shell
from weakspot.app.loaded_runs import LoadedRuns
from weakspot.app.run_index import RunIndex
from weakspot.app.selections import SelectionTest, save_selection
from weakspot.commands.browse import open_server
from weakspot.commands.component_builders import run_previews
from weakspot.config.schemas import BrowseConfig
from weakspot.evaluation.held_out_split import MIN_EXAMPLES
from weakspot.findings import Media

N = 120


def columns(**more):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(N, 4)).astype(np.float32)
    labels = rng.integers(0, 2, N)
    right = rng.random(N) < np.where(embeddings[:, 0] > 0.5, 0.2, 0.95)
    return {
        "id": [f"row {i}" for i in range(N)],
        "embedding": list(embeddings),
        "label": labels,
        "prediction": np.where(right, labels, 1 - labels),
        "loss": np.where(right, 0.1, 2.0) + rng.random(N) / 10,
    } | more


def run_of(folder, table):
    """A run of `discover.py predictions=…` on a table, with all files below one folder."""
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(table), folder / "mine.parquet")
    shell = Shell(folder)
    shell("discover", "predictions=mine.parquet", "method.n_slices=1", "logger=none", "hydra.run.dir=run")
    (run,) = RunIndex([folder]).all()
    return run


def image_in(server, path):
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        content = answer.read()
    assert answer.status == 200, content
    return Image.open(io.BytesIO(content))


@pytest.fixture
def at(tmp_path, monkeypatch):
    """The user's working folder, in which discover.py was run and browse.py is started."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_examples_without_images_and_texts_are_listed_by_their_attributes(at):
    run = run_of(at, columns(camera=["front", "rear", None] * (N // 3), hour=list(range(N))))
    with serving(at) as server:
        page = read(asked(server, f"/run/{run.digest}?rows=all&search=row%207")[2])
    assert " Loss Attributes " in page
    assert re.search(r" row 7 \S+ \S+ \S+ camera: rear · hour: 7 ", page)
    assert re.search(r" row 71 \S+ \S+ \S+ hour: 71 ", page)


def test_a_page_of_empty_texts_still_has_a_text_column(at):
    run = run_of(at, columns(text=[None if i < N - 1 else "late" for i in range(N)], hour=list(range(N))))
    with serving(at) as server:
        page = read(asked(server, f"/run/{run.digest}?rows=all&search=row%207")[2])
    assert " Loss Text " in page
    assert "hour: 7" not in page


def test_images_are_shown_with_their_boxes_and_grad_cam_is_refused(at):
    Image.new("RGB", (80, 40), "red").save(at / "a.png")
    boxes = [[5, 5, 10, 20] if i == 3 else None for i in range(N)]
    run = run_of(at, columns(image=["a.png"] * N, box=pa.array(boxes, pa.list_(pa.float64()))))
    with serving(at) as server:
        page = asked(server, f"/run/{run.digest}?rows=all")[2]
        assert f" · {run.place} · " in read(page)
        assert 'class="gallery"' in page
        assert "given its predictions" not in page
        assert image_in(server, f"/run/{run.digest}/image/0?side=512").size == (80, 40)
        assert image_in(server, f"/run/{run.digest}/image/3?side=512").height > 100  # the crop, magnified
        text = read(asked(server, f"/run/{run.digest}/example/3")[2])
        assert "Layer" not in text
        assert "Where the model looks" not in text
        status, _, refusal = asked(server, f"/run/{run.digest}/cam/3")
        assert (status, "no model to compute Grad-CAM with" in refusal) == (400, True)


def test_a_run_that_left_examples_out_and_a_selection_of_it_show_the_right_images(at):
    images = []
    for row in range(N):
        Image.new("RGB", (4, 4), (row, 0, 0)).save(file := io.BytesIO(), "PNG")
        images.append(file.getvalue())
    run_of(at, columns(image=images))
    Shell(at)("discover", "slices=run", "predictions=mine.parquet", "logger=none", "hydra.run.dir=again")
    runs = RunIndex([at])
    loaded = LoadedRuns(runs).load(next(run for run in runs.all() if run.folder.name == "again"))
    assert MIN_EXAMPLES <= len(loaded) < N
    weights = np.arange(len(loaded)) % 2.0
    save_selection(loaded, weights, "every other", at / "selected", SelectionTest(1), Media(), None)
    shutil.copy(at / "again" / "config.yaml", at / "selected")
    with serving(at) as server:
        for run in (run for run in RunIndex([at]).all() if run.folder.name != "run"):
            assert asked(server, f"/run/{run.digest}")[0] == 200
            for row, id in enumerate(loaded.predictions.ids[:5]):
                image = image_in(server, f"/run/{run.digest}/image/{row}").convert("RGB")
                assert image.getpixel((0, 0)) == (int(id.removeprefix("row ")), 0, 0)


def test_texts_are_shown_and_searched(at):
    run = run_of(at, columns(text=[f"a <b>refund</b> {i}" if i < 3 else f"a day {i}" for i in range(N)]))
    with serving(at) as server:
        assert "a <b>refund</b> 1" in read(asked(server, f"/run/{run.digest}/example/1")[2])
        ids = asked(server, f"/run/{run.digest}/ids.csv?rows=all&search=REFUND")[2]
        found = {line.partition(",")[0] for line in ids.splitlines()[1:]}
        assert found == {"row 0", "row 1", "row 2"}


def test_images_elsewhere_are_read_only_below_the_named_folder(at, tmp_path):
    elsewhere = tmp_path / "pictures"
    elsewhere.mkdir()
    Image.new("RGB", (80, 40), "red").save(elsewhere / "a.png")
    Image.new("RGB", (80, 40), "red").save(at / "a.png")
    run = run_of(at, columns(image=["a.png"] * N))
    (at / "a.png").unlink()
    with serving(at) as server:
        text = read(asked(server, f"/run/{run.digest}")[2])
        assert "there is no image" in text
        assert "browse.py root=FOLDER" in text
        assert asked(server, f"/run/{run.digest}/image/0")[0] == 404
    with serving(at, previews_of=partial(run_previews, root=str(elsewhere))) as server:
        assert image_in(server, f"/run/{run.digest}/image/0").size == (80, 40)
    (elsewhere / "a.png").unlink()
    (elsewhere / "a.png").symlink_to(tmp_path / "secret.png")
    Image.new("RGB", (80, 40), "red").save(tmp_path / "secret.png")
    with serving(at, previews_of=partial(run_previews, root=str(elsewhere))) as server:
        assert asked(server, f"/run/{run.digest}/image/0")[0] == 404
        assert "is not below" in read(asked(server, f"/run/{run.digest}")[2])


def test_predictions_beside_a_run_are_read_only_from_data_folders_and_the_working_directory(at):
    run = run_of(at, columns(text=["a day"] * N))
    with serving(at / "run") as server:
        status, _, text = asked(server, f"/run/{run.digest}")
        assert status == 400
        assert "name their folder too (browse.py root=" in read(text)
    with serving(at / "run", data_folders=[at]) as server:
        assert asked(server, f"/run/{run.digest}")[0] == 200
    config = OmegaConf.structured(BrowseConfig(folders=["run"], port=0))
    with open_server(config) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        assert asked(server, f"/run/{run.digest}")[0] == 200
        server.shutdown()
        thread.join(timeout=10)


def test_a_selection_of_a_run_on_given_predictions_has_images(at):
    Image.new("RGB", (80, 40), "red").save(at / "a.png")
    run = run_of(at, columns(image=["a.png"] * N, colour=["red" if i % 2 else "blue" for i in range(N)]))
    with serving(at) as server:
        body = "attribute=colour&value=red"
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": f"http://localhost:{server.port}",
        }
        status, sent, _ = asked(server, f"/run/{run.digest}/slices", method="POST", body=body, **headers)
        assert status == 303, _
        page = asked(server, dict(sent)["location"])[2]
        assert "data:image/webp" in page
