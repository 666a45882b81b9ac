"""The exported table of examples: its contents, that it is streamed, and that other viewers can read it."""

from __future__ import annotations

import gc
import io
import json
import shlex
import shutil
import subprocess
import zipfile
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.sparse import csr_array

from weakspot import UDIS, Findings, Predictions, Scan, Spotlight
from weakspot.explain.projection import projection
from weakspot.findings import Media, export
from weakspot.findings.export import ExampleTable
from weakspot.pipeline.export import export_examples
from weakspot.slices import Memberships, Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification, Multilabel, QuestionAnswering, Regression

N = 600


def failing(**extra):
    """A classifier that fails on about 15 % of the examples, which lie apart from the others."""
    rng = np.random.default_rng(0)
    apart = rng.random(N) < 0.15
    x = rng.normal(size=(N, 6))
    x[apart, :3] += 5
    labels = rng.integers(0, 2, N)
    right = rng.random(N) < np.where(apart, 0.2, 0.95)
    return Predictions.from_arrays(
        x,
        losses=np.where(right, 0.1, 2) + rng.exponential(0.1, N),
        labels=labels,
        predictions=np.where(right, labels, 1 - labels),
        ids=[f"e{i}" for i in range(N)],
        task=Classification(("cat", "dog")),
        **{"attributes": {"weather": np.where(apart, "fog", "sun")}} | extra,
    )


def picture(row, size=(24, 16)):
    return Image.new("RGB", size, (row % 256, 40, 200))


def table_of(p, slices, media=None, texts=None):
    made = ExampleTable(Findings.build(p, slices), slices, p, media, texts)
    return pa.Table.from_batches(list(made.blocks()), made.schema)


def column(table, name):
    return table[name].to_pylist()


@pytest.mark.parametrize("method", [Scan(), Spotlight(n_slices=2, starts=2), UDIS()], ids=lambda m: m.word)
def test_each_row_matches_the_record_the_slices_and_the_findings(method):
    p = failing()
    slices = method.fit(p).slices_
    findings = Findings.build(p, slices)
    made = ExampleTable(findings, slices, p)
    table = pa.Table.from_batches(list(made.blocks()), made.schema)
    assert len(table) == len(made) == N
    assert column(table, "id") == p.ids.tolist()
    np.testing.assert_array_equal(np.c_[column(table, "x"), column(table, "y")], projection(p.embeddings))
    assert column(table, "label") == [("cat", "dog")[label] for label in p.labels]
    assert column(table, "prediction") == [("cat", "dog")[said] for said in p.predictions]
    assert column(table, "correct") == p.correct.tolist()
    assert column(table, "loss") == p.losses.tolist()
    assert column(table, "weather") == p.attributes["weather"].to_pylist()
    assert isinstance(slices.weights, Memberships) == (method.word == "udis")
    for j, weights in enumerate(slices.weights):
        np.testing.assert_allclose(column(table, f"slice_{j + 1}"), weights, rtol=1e-6)

    weight = np.zeros((len(findings.findings), N))
    for one in findings.memberships.to_pylist():
        if one["group"] == "finding":
            weight[one["number"] - 1, one["row"]] = one["weight"]
    assert findings.findings
    np.testing.assert_allclose(column(table, "finding_weight"), weight.max(axis=0), rtol=1e-6)
    for row, (name, verdict) in enumerate(
        zip(column(table, "finding"), column(table, "verdict"), strict=True)
    ):
        if not weight[:, row].any():
            assert (name, verdict) == (None, None)
        else:
            one = findings.findings[weight[:, row].argmax()]
            assert (name, verdict) == (f"{one.number}: {one.subject}", one.verdict)


def test_runs_without_slices_or_with_losses_only_are_exported_too():
    p = Predictions.from_arrays(np.random.default_rng(0).normal(size=(80, 3)), losses=np.ones(80))
    slices = UDIS(min_cluster_size=5).fit(failing()).slices_
    assert table_of(failing(), slices).num_rows == N
    slices = Spotlight(n_slices=1, starts=1).fit(p).slices_
    table = table_of(p, slices)
    assert table.column_names == ["id", "x", "y", "loss", "finding", "finding_weight", "verdict", "slice_1"]
    assert not table.schema.metadata


@pytest.mark.parametrize(("size", "kind"), [((24, 16), "PNG"), ((200, 100), "JPEG"), ((1000, 500), "JPEG")])
def test_each_image_is_stored_in_its_row_as_hugging_face_does(size, kind):
    p, rows = failing(), (0, 299, N - 1)
    slices = Scan().fit(p).slices_
    table = table_of(p, slices, Media(lambda row: picture(row, size) if row in rows else None))
    assert table.schema.field("image").type == pa.struct({"bytes": pa.binary(), "path": pa.string()})
    told = json.loads(table.schema.metadata[b"huggingface"])
    assert told["info"]["features"]["image"] == {"_type": "Image"}
    for row in rows:
        held = table["image"][row].as_py()
        with Image.open(io.BytesIO(held["bytes"])) as file:
            assert file.format == kind
            assert file.size == tuple(round(side * min(1, 256 / size[0])) for side in size)
            assert file.convert("RGB").getpixel((3, 3)) == pytest.approx((row % 256, 40, 200), abs=3)
        assert held["path"] == f"{row}.{'png' if kind == 'PNG' else 'jpg'}"


def test_transparent_images_stay_transparent_and_absent_ones_are_null():
    p = failing()
    clear = Image.new("RGBA", (100, 100), (9, 9, 9, 0))
    table = table_of(p, Scan().fit(p).slices_, Media(lambda row: None if row == 3 else clear))
    assert table["image"][3].as_py() is None
    with Image.open(io.BytesIO(table["image"][4].as_py()["bytes"])) as file:
        assert file.getpixel((0, 0)) == (9, 9, 9, 0)


def test_images_are_streamed_and_not_kept_in_memory(monkeypatch, tmp_path):
    """However many images there are, at most two are decoded and one block of them is encoded at a time."""
    monkeypatch.setattr(export, "_ROWS_WITH_IMAGES", 50)
    alive = []
    p = failing()
    slices = Scan().fit(p).slices_

    class Counted(Image.Image):
        living = 0

        def __init__(self):
            super().__init__()
            made = picture(0)
            self._im, self._mode, self._size = made.im, made.mode, made.size
            Counted.living += 1

        def __del__(self):
            Counted.living -= 1

    def preview(row):
        made = Counted()
        alive.append(Counted.living)
        return made

    media = Media(preview)
    findings = Findings.build(p, slices)
    gc.collect()
    file = export_examples(findings, slices, p, tmp_path, media)
    assert len(alive) == N + 1
    assert max(alive) <= 2
    assert pq.ParquetFile(file).metadata.num_row_groups == N / 50
    assert [path.name for path in tmp_path.iterdir()] == ["examples.parquet"]


def test_many_slices_make_shorter_blocks_of_the_same_table(monkeypatch):
    p = failing()
    weights = np.random.default_rng(0).random((7, N)).astype(np.float32)
    weights[weights < 0.8] = 0
    dense = Slices("spotlight", p.ids, weights, describe(weights, p))
    whole = table_of(p, dense)
    monkeypatch.setattr(export, "_WEIGHTS", 7 * 100 + 6)
    for kept in (weights, Memberships(csr_array(weights))):
        slices = Slices("spotlight", p.ids, kept, dense.statistics)
        blocks = list(ExampleTable(Findings.build(p, slices), slices, p).blocks())
        assert [len(block) for block in blocks] == [100] * (N // 100)
        assert pa.Table.from_batches(blocks, whole.schema).equals(whole)


def test_texts_and_records_become_text():
    p = failing()
    slices = Scan().fit(p).slices_
    said = [f"text <{row}>" for row in range(N)]
    assert column(table_of(p, slices, Media(said.__getitem__)), "text") == said
    assert column(table_of(p, slices, texts=said), "text") == said
    record = Media(lambda row: {"movie": f"Up {row}", "year": 2009})
    assert column(table_of(p, slices, record, said), "text")[7] == "movie: Up 7\nyear: 2009"


def test_answer_spans_are_exported_as_the_words_of_their_passage():
    n, context = 200, "It was cold in Lima that year."
    rng = np.random.default_rng(0)
    spans = np.tile([15, 19], (n, 1))
    said = np.where(rng.random((n, 1)) < 0.5, spans, [0, 0])
    p = Predictions.from_arrays(
        rng.normal(size=(n, 3)),
        losses=rng.random(n),
        labels=spans,
        predictions=said,
        task=QuestionAnswering(length=64),
    )
    media = Media(lambda row: {"question": "Where?", "context": context})
    table = table_of(p, Scan().fit(p).slices_, media)
    assert set(column(table, "label")) == {"Lima"}
    assert column(table, "prediction") == ["Lima" if end else "no answer" for _, end in said]


def test_auditing_a_category_judges_only_examples_predicted_to_have_it():
    rng = np.random.default_rng(0)
    labels = (rng.random((N, 3)) < 0.5).astype(int)
    logits = np.where(labels == 1, 3.0, -3.0) + 3 * rng.normal(size=(N, 3))
    p = Predictions.from_arrays(
        rng.normal(size=(N, 4)), outputs=logits, labels=labels, task=Multilabel(("bed", "person", "dog"))
    )
    table = table_of(p, UDIS(category="bed", accuracy_threshold=1).fit(p).slices_)
    assert column(table, "correct") == [
        bool(has[0]) if said > 0 else None for has, said in zip(labels, logits[:, 0], strict=True)
    ]
    assert [loss is None for loss in column(table, "loss")] == (logits[:, 0] <= 0).tolist()
    assert column(table, "label")[5] == p.name_of(labels, 5)


def test_numbers_stay_numbers():
    rng = np.random.default_rng(0)
    p = Predictions.from_arrays(
        rng.normal(size=(N, 4)), labels=rng.normal(size=N), predictions=rng.normal(size=N), task=Regression()
    )
    table = table_of(p, Spotlight(n_slices=1, starts=1).fit(p).slices_)
    assert column(table, "label") == p.labels.tolist()
    assert column(table, "prediction") == p.predictions.tolist()
    assert "correct" not in table.column_names


def test_attributes_keep_their_values_in_types_that_all_viewers_support():
    given = {
        "X": np.arange(N) / 7,
        "Label ": ["a", None] * (N // 2),
        "day": [date(2020, 1, 1 + row % 28) for row in range(N)],
        "moment": [datetime(2020, 1, 1, row % 24) for row in range(N)],
        "clock": [time(row % 24, 5) for row in range(N)],
        "took": pa.array([None, *(timedelta(seconds=row / 4) for row in range(1, N))]),
        "price": [Decimal("1.25")] * N,
        "seen": [True, None] * (N // 2),
        "size": pa.DictionaryArray.from_arrays(np.arange(N) % 2, ["small", "large"], ordered=True),
        "nothing": pa.nulls(N),
        "finding": np.arange(N),
    }
    p = failing(attributes=given)
    table = table_of(p, Scan().fit(p).slices_)
    names = table.column_names
    assert len({name.lower() for name in names}) == len(names)
    simple = {"string", "double", "float", "bool", "int64", "timestamp[us]", "null"}
    assert {str(kind) for kind in table.schema.types} <= simple
    assert column(table, "attribute_X") == pytest.approx(given["X"])
    assert column(table, "Label ") == given["Label "]
    assert column(table, "day")[30] == datetime(2020, 1, 3)
    assert column(table, "moment") == given["moment"]
    assert column(table, "clock")[3] == "03:05:00.000000"
    assert column(table, "took (s)")[:3] == [None, 0.25, 0.5]
    assert column(table, "size")[:3] == ["small", "large", "small"]
    assert column(table, "seen") == given["seen"]
    assert column(table, "attribute_finding") == given["finding"].tolist()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A command-line run on a file of predictions."""
    from shell import Shell

    shell = Shell(tmp_path_factory.mktemp("exported"))
    p = failing()
    np.savez(
        shell.folder / "mine.npz",
        id=p.ids,
        embeddings=p.embeddings,
        labels=p.labels,
        predictions=p.predictions,
        losses=p.losses,
        weather=np.array(p.attributes["weather"].to_pylist()),
    )
    return shell, shell(
        "discover", "predictions=mine.npz", "logger=none", "export=parquet", "hydra.run.dir=a run"
    )


def test_the_embedding_atlas_command_is_printed_with_the_file(exported):
    shell, text = exported
    (line,) = (line.strip() for line in text.splitlines() if line.strip().startswith("embedding-atlas "))
    _, file, *options = shlex.split(line)
    assert options == ["--x", "x", "--y", "y"]
    table = pq.read_table(shell.folder / file)
    assert len(table) == N
    assert set(column(table, "weather")) == {"fog", "sun"}


def test_slices_carried_over_are_exported_too(exported):
    shell, _ = exported
    p = failing()
    np.savez(
        shell.folder / "new.npz",
        id=np.char.add("new", p.ids),
        embeddings=p.embeddings + 0.01,  # different examples: copies would be left out
        labels=p.labels,
        predictions=p.predictions,
        losses=p.losses,
    )
    words = ("slices=a run", "predictions=new.npz", "logger=none", "export=parquet", "hydra.run.dir=carried")
    shell("discover", *words)
    assert column(pq.read_table(shell.folder / "carried" / "examples.parquet"), "id")[0] == "newe0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("predictions=mine.npz", "export=csv"), "export='csv' is unknown; there is export=parquet"),
        (("tree=fc_treeData.json", "export=parquet"), "export=parquet has no effect on a tree by itself"),
        (("compare=[a,b]", "export=parquet"), "export=parquet has no effect on two runs by themselves"),
    ],
)
def test_unsupported_exports_are_refused_before_anything_is_done(exported, words, said):
    shell, _ = exported
    text = shell("discover", *words, "logger=none", "hydra.run.dir=refused", fails=2)
    assert said in text
    assert not (shell.folder / "refused").exists()


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    p = failing()
    slices = Scan().fit(p).slices_
    return export_examples(
        Findings.build(p, slices), slices, p, tmp_path_factory.mktemp("pictured"), Media(picture)
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("embedding-atlas") is None, reason="embedding-atlas is not installed")
def test_embedding_atlas_reads_the_file(pictured, tmp_path):
    """The embedding-atlas command, with the printed options, builds an application from the file."""
    options = ["--x", "x", "--y", "y", "--image", "image", "--export-application", "made.zip"]
    subprocess.run(["embedding-atlas", str(pictured), *options], cwd=tmp_path, check=True, timeout=300)
    with zipfile.ZipFile(tmp_path / "made.zip") as made:
        props = json.loads(made.read("data/metadata.json"))["props"]["data"]
        assert props["projection"] == {"x": "x", "y": "y"}
        assert props["image"] == "image"
        table = pq.read_table(io.BytesIO(made.read("data/dataset.parquet")))
    before = pq.read_table(pictured)
    assert table.select(before.column_names).to_pylist() == before.to_pylist()


@pytest.mark.optional
def test_hugging_face_datasets_read_images(pictured, tmp_path):
    datasets = pytest.importorskip("datasets")
    read = datasets.load_dataset("parquet", data_files=str(pictured), split="train", cache_dir=tmp_path)
    assert isinstance(read.features["image"], datasets.Image)
    assert read[5]["image"].getpixel((0, 0)) == (5, 40, 200)
