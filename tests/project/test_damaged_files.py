"""Damaged or crafted files are either read correctly or refused with an error that names them."""

from __future__ import annotations

import errno
import io
import tarfile
import time
import warnings
import zipfile
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from starlette.datastructures import Headers

from damaged_data import DATA, an_image, encoded, read_image
from hostile_inputs import FILES
from hostile_requests import RequestCases
from hostile_words import WordCases
from mutations import FORMATS, FileCases, Format, attempt, mutated, outcomes, reduced, steps_of
from samples import a_record, some_slices, unsealed
from weakspot import Findings, Predictions, Slices
from weakspot.app.guard import Guard
from weakspot.datasets.readers.tars import read_samples
from weakspot.image_formats import decoding
from weakspot.models.torch_files import read_torch
from weakspot.predictions.reading import read_parquet


@pytest.mark.parametrize("many", [12, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILES)
def test_a_mutated_file_is_read_or_refused(name, many, tmp_path):
    found = dict(outcomes(FileCases(FILES[name], tmp_path), range(many)))
    assert {number: what for number, what in found.items() if what not in ("fine", "refused")} == {}
    assert "refused" in found.values()


@pytest.mark.slow
@pytest.mark.parametrize(("cases", "many"), [(RequestCases, 200), (WordCases, 20)])
def test_hostile_requests_and_words_are_refused(cases, many, tmp_path):
    found = dict(outcomes(cases(tmp_path), range(many)))
    assert {number: what for number, what in found.items() if what not in ("fine", "refused")} == {}
    assert "refused" in found.values()


def test_faults_are_distinguished_from_refusals_and_reduced_to_their_cause(tmp_path):
    """A reader that fails if a byte is 255, one that warns, one that hangs and one whose error names no file."""
    path = tmp_path / "whole.bin"
    path.write_bytes(bytes(40))

    def read(file):
        if 255 in file.read_bytes():
            raise KeyError("x")

    cases = FileCases(Format(lambda folder: path, read, lambda found: None), tmp_path)
    number, what = next(
        (n, what) for n, what in outcomes(cases, range(100)) if what != "fine" and len(steps_of([0, n])) > 1
    )
    assert what.startswith("KeyError at test_damaged_files.py:")
    (step,) = reduced(cases, [0, number], what)
    assert 255 in mutated(bytes(40), [step])
    assert attempt(lambda: warnings.warn("old", stacklevel=1), None).startswith("UserWarning at ")
    assert attempt(lambda: int("x"), None, "x.csv").startswith("no name in ValueError at ")
    assert attempt(lambda: b"\xff".decode(), None).startswith("UnicodeDecodeError at ")
    assert attempt(lambda: time.sleep(60), None, seconds=0.05).startswith("HangError at ")
    assert attempt(lambda: 1, lambda found: {}[found]).startswith("use: KeyError at ")


def with_header(folder, **fields):
    unsealed(folder / "slices.json", **fields)


def a_node(children):
    return {"id": 0, "size": 1, "wrong": 0, "accuracy": 1, "children": children}


def with_column(folder, file, name, values):
    table = pq.read_table(folder / file)
    at = table.column_names.index(name)
    pq.write_table(table.set_column(at, name, pa.array(values)), folder / file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda f: with_header(f, histories=2**31),
            "slices.json: key 'histories' cannot be read: it is 2147483648",
        ),
        (
            lambda f: with_header(f, histories=True),
            "slices.json: key 'histories' cannot be read: it is of the wrong",
        ),
        (lambda f: with_header(f, statistics=[1, 2]), "slices.json: key 'statistics' cannot be read"),
        (lambda f: with_header(f, slices=1, statistics=[{}]), "slices.json: key 'histories' cannot be read"),
        (
            lambda f: with_header(f, slices=3, statistics=[{}] * 3, histories=0),
            "weights.parquet cannot be read",
        ),
        (lambda f: with_header(f, provenance={"a": "\ud800"}), "slices.json cannot be read"),
        (
            lambda f: with_header(f, tree=[a_node([1, 2]), a_node([2]), a_node([])]),
            "slices.json: key 'tree' cannot be read: node 2 has 2 parents",
        ),
        (
            lambda f: with_header(f, tree=[a_node([]), a_node([])]),
            "node 1 has 0 parents instead of one",
        ),
        (
            lambda f: with_column(f, "parameters.parquet", "dtype", ["S100000000"] * 2),
            "parameters.parquet: key 'centers' cannot be read: it must hold numbers, not S100000000",
        ),
        (
            lambda f: with_column(f, "parameters.parquet", "shape", [[-2, -4], [2, 4, 4]]),
            "parameters.parquet: key 'centers' cannot be read: it has 8 values, not those of shape (-2, -4)",
        ),
        (
            lambda f: with_column(f, "parameters.parquet", "group", [0, 1]),
            "parameters.parquet: key 'precisions' cannot be read: group 1",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "slice_2", [0.0] * 3 + [1.5] + [0.0] * 36),
            "weights.parquet: key 'slice_2' cannot be read: row 3 (id example-3) is 1.5, outside 0…1",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "slice_1", [None] + [0.0] * 39),
            "weights.parquet: key 'slice_1' cannot be read: row 0 (id example-0) is nan",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "id", ["a", None] * 20),
            "weights.parquet: key 'id' cannot be read: row 1 is empty",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "id", [str(i % 39) for i in range(40)]),
            "weights.parquet: key 'id' cannot be read: an id occurs in two rows",
        ),
        (
            lambda f: with_column(f, "weights.parquet", "id", [*map(str, range(39)), "x" * 10_000_000]),
            "weights.parquet: key 'id' cannot be read: row 39 is a text of 10000000 characters",
        ),
    ],
)
def test_invalid_slices_are_refused(tmp_path, change, words):
    folder = some_slices().save(tmp_path / "slices")
    unsealed(folder / "slices.json")
    change(folder)
    with pytest.raises(ValueError) as caught:
        Slices.load(folder)
    assert str(folder) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "name", ["slices.json", "weights.parquet", "histories.parquet", "parameters.parquet"]
)
def test_a_missing_file_of_slices_is_reported_with_what_to_do(tmp_path, name):
    folder = some_slices().save(tmp_path / "slices")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}.*; run discover\.py"):
        Slices.load(folder)


def test_there_must_be_one_history_per_slice_or_none(tmp_path):
    with pytest.raises(ValueError, match="there are 1 histories of 2 slices"):
        replace(some_slices(), histories=[{}]).save(tmp_path / "slices")
    assert not (tmp_path / "slices").exists()


def test_a_table_that_announces_too_many_values_is_refused(tmp_path, monkeypatch):
    path, many = tmp_path / "a.parquet", 2_000_000
    pq.write_table(pa.table({"a": pa.nulls(many, pa.float64())}), path, max_rows_per_page=many)
    size = path.stat().st_size
    assert size < many / 1000
    assert len(read_parquet(path)) == many  # however small the file, as the values fit
    monkeypatch.setattr("weakspot.predictions.reading._CELLS", many - 1)
    with pytest.raises(
        ValueError, match=rf"a\.parquet cannot be read: it announces {many} values in {size} bytes"
    ):
        read_parquet(path)


def test_a_table_whose_texts_expand_too_much_is_refused(tmp_path):
    """A text of a megabyte, a hundred thousand times, in a file of less than a megabyte."""
    path = tmp_path / "a.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"a": texts}), path, store_schema=False)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(
        ValueError, match=r"a\.parquet cannot be read: column 'a' announces texts of 100000000000 bytes"
    ):
        read_parquet(path)


def test_texts_of_every_type_are_read_unchanged(tmp_path):
    path = tmp_path / "a.parquet"
    words = ["red", None, "green", "", "red"] * 20
    ordered = pa.DictionaryArray.from_arrays(
        pa.array([1, 0] * 50, pa.int8()), pa.array(["low", "high"]), ordered=True
    )
    table = pa.table(
        {
            "text": words,
            "large": pa.array(words, pa.large_string()),
            "bytes": pa.array(words, pa.binary()),
            "view": pa.array(words, pa.string_view()),
            "coded": pa.array(words).dictionary_encode(),
            "ordered": ordered,
            "lists": [words[:3]] * 100,
            "number": range(100),
            "coded numbers": pa.array([7, 8] * 50).dictionary_encode(),
        }
    )
    pq.write_table(table, path, row_group_size=30)
    found = read_parquet(path)
    assert found.equals(pq.ParquetFile(path).read())
    assert found.to_pylist() == table.to_pylist()


def npz(path, **members):
    """Write an archive of the given members, each an array or a header and bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            content = io.BytesIO()
            if isinstance(member, np.ndarray):
                np.save(content, member)
            else:
                header, data = member
                np.lib.format.write_array_header_1_0(content, header)
                content.write(data)
            archive.writestr(f"{name}.npy", content.getvalue())
    return path


def header(kind, *shape):
    return {"descr": kind, "fortran_order": False, "shape": shape}


X = np.eye(3)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {"embeddings": (header("<f8", 10**9, 10**6), b"\0" * 24)},
            "it announces float64 of shape (1000000000, 1000000)",
        ),
        ({"embeddings": (header("<f8", -3, -1), b"\0" * 24)}, "key 'embeddings' cannot be read"),
        (
            {"embeddings": X, "labels": (header("<U0", 10**12), b"")},
            "key 'labels' cannot be read: it holds neither",
        ),
        (
            {"embeddings": X, "labels": (header("|O", 3), b"\0" * 24)},
            "key 'labels' cannot be read: it holds Python objects",
        ),
        (
            {"embeddings": X, "labels": (header([("a", "<i8")], 3), b"\0" * 24)},
            "key 'labels' cannot be read: it holds neither numbers nor texts",
        ),
        (
            {"embeddings": X, "ids": (header("<U1", 3), b"\xff\xff\xff\x7f" * 3)},
            "key 'ids' cannot be read: it holds invalid characters",
        ),
        ({"embeddings": X, "ids": np.array([b"\xff", b"a", b"b"])}, "key 'ids' cannot be read: 'utf-8'"),
        (
            {"embeddings": X, "labels": np.array(["2024-01-01"] * 3, "M8[D]")},
            "labels must be class indices or names",
        ),
        ({"embeddings": X.astype(complex)}, "key 'embeddings' cannot be read: it holds neither"),
    ],
)
def test_archives_with_invalid_members_are_refused(tmp_path, members, words):
    path = npz(tmp_path / "a.npz", **members)
    with pytest.raises(ValueError) as caught:
        Predictions.load(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_an_archive_that_expands_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, embeddings=np.zeros((4000, 1000)))
    assert len(Predictions.load(path)) == 4000  # 32 MB are read, however small the file
    monkeypatch.setattr("weakspot.predictions.npz._MOST_EXPANDED", 1 << 20)
    with pytest.raises(
        ValueError, match=r"a\.npz cannot be read: its \d+ bytes announce 32000128; .*numpy\.savez"
    ):
        Predictions.load(path)


def test_archives_with_another_byte_order_are_read(tmp_path):
    path = npz(
        tmp_path / "a.npz",
        embeddings=X.astype(">f8"),
        ids=np.array(["a", "b", "c"], ">U1"),
        age=X[0].astype(">i4"),
    )
    p = Predictions.load(path)
    np.testing.assert_array_equal(p.embeddings, X)
    assert p.ids.tolist() == ["a", "b", "c"]
    assert p.attributes["age"].to_pylist() == [1, 0, 0]


def with_manifest(folder, **fields):
    unsealed(folder / "manifest.json", **fields)


def recorded(folder, **columns):
    """Replace columns in the table of a record, as anyone who knows the format could."""
    with_manifest(folder)
    for name, values in columns.items():
        with_column(folder, "records.parquet", name, values)


CLASSES = {"kind": "classification", "classes": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: recorded(f, label=[7] * 40), "labels: row 0 (id example-0) is 7, outside 0…2"),
        (lambda f: recorded(f, prediction=[-1] * 40), "predictions: row 0 (id example-0) is -1, outside 0…2"),
        (lambda f: recorded(f, label=[date(2024, 1, 1)] * 40), "labels must be class indices or names"),
        (lambda f: recorded(f, loss=[date(2024, 1, 1)] * 40), "losses must be numbers, not datetime64"),
        (
            lambda f: recorded(f, loss=[float("inf")] * 40),
            "losses: row 0 (id example-0) holds NaN or infinity",
        ),
        (
            lambda f: recorded(f, loss=[None] + [0.0] * 39),
            "records.parquet: key 'loss' cannot be read: row 0 is empty",
        ),
        (lambda f: recorded(f, correct=["yes"] * 40), "correct"),
        (lambda f: recorded(f, count=[0] * 40), "counts: row 0 (id example-0) is 0; counts must be positive"),
        (lambda f: recorded(f, id=["a"] * 40), "ids must be unique: 'a' occurs in rows 0 and 1"),
        (
            lambda f: recorded(f, id=list(range(40))),
            "records.parquet: key 'id' cannot be read: it must be text",
        ),
        (lambda f: with_manifest(f, n=41), "it has 40 rows, but manifest.json says 41"),
        (
            lambda f: with_manifest(f, n=True),
            "manifest.json: key 'n' cannot be read: it is of the wrong type, bool",
        ),
        (
            lambda f: with_manifest(f, task=CLASSES | {"classes": "abc"}),
            "manifest.json: key 'task' cannot be read",
        ),
        (
            lambda f: with_manifest(f, task=CLASSES | {"classes": [1, 2, 3]}),
            "its classes must be a list of names",
        ),
        (
            lambda f: with_manifest(f, task=CLASSES | {"kind": ["a"]}),
            "manifest.json: key 'task' cannot be read",
        ),
        (
            lambda f: with_manifest(f, task={"kind": "question_answering", "classes": [], "length": "384"}),
            "manifest.json: key 'task' cannot be read: its length is '384'",
        ),
        (
            lambda f: with_manifest(f, task={"kind": "question_answering", "classes": [], "longest": 0}),
            "manifest.json: key 'task' cannot be read: its longest is 0",
        ),
        (
            lambda f: with_manifest(f, checksums={}),
            "manifest.json: key 'checksums' cannot be read: 'arrays.safetensors'",
        ),
    ],
)
def test_invalid_records_are_refused(tmp_path, change, words):
    folder = a_record().save(tmp_path / "record")
    change(folder)
    with pytest.raises(ValueError) as caught:
        Predictions.load(folder)
    assert str(folder) in str(caught.value)
    assert words in str(caught.value)


def test_records_without_checksums_are_read(tmp_path):
    """As earlier versions wrote them."""
    folder = a_record().save(tmp_path / "record")
    with_manifest(folder)
    np.testing.assert_array_equal(Predictions.load(folder).embeddings, a_record().embeddings)


def test_outputs_of_a_record_are_read_as_logits_whatever_they_look_like(tmp_path):
    p = Predictions.from_arrays(X, labels=[0, 1, 2], outputs=np.full((3, 3), 1 / 3), outputs_are="logits")
    np.testing.assert_array_equal(Predictions.load(p.save(tmp_path / "record")).outputs, p.outputs)


def test_a_missing_table_of_findings_is_reported_with_what_to_do(tmp_path):
    folder = FORMATS["findings"].make(tmp_path)
    (folder / "memberships.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"memberships\.parquet is missing; run discover\.py again"):
        Findings.load(folder)


def test_a_map_with_a_nan_loss_is_refused(tmp_path):
    folder = FORMATS["findings without checksums"].make(tmp_path)
    with_column(folder, "map.parquet", "loss", pa.array([float("nan")] + [0.0] * 39, pa.float32()))
    with pytest.raises(ValueError, match=r"map\.parquet cannot be read: column 'loss' holds NaN or infinity"):
        Findings.load(folder)


def test_a_line_break_in_the_name_of_a_tar_member_is_escaped(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a\nb.cls"))
    with pytest.raises(ValueError, match=r"a\.tar: a\\nb has no image beside it"):
        read_samples(tmp_path / "a.tar")


def test_weights_with_an_impossible_class_name_are_refused(tmp_path):
    """torch reports the class's name, but no placeholder class can be given this one."""
    path = DATA["old torch weights"].make(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"PosixPath", b"Posix\0ath"))
    with pytest.raises(ValueError, match=r"w\.pt is not a file of weights that torch can read: type name"):
        DATA["old torch weights"].read(path)


def test_weights_of_an_old_protocol_are_read_without_a_warning(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(2)}, path, pickle_protocol=3, _use_new_zipfile_serialization=False)
    assert list(read_torch(path)[0]) == ["a"]


def test_an_image_with_damaged_exif_data_is_read_without_a_warning(tmp_path):
    (tmp_path / "a.jpg").write_bytes(
        encoded("JPEG").replace(b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0MM\0*\xff\xff\xff\xff")
    )
    assert read_image(tmp_path / "a.jpg").size == (10, 12)


def test_a_file_of_an_unsupported_format_is_not_opened_as_an_image(tmp_path):
    """PIL would pass PostScript to an external program, whatever the file is called."""
    an_image().save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image \(cannot identify image file"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("a"), "'a'"),
        (MemoryError(), "more than fits in memory"),
        (IndexError(), "IndexError"),
        (EOFError("a\nb"), "a b"),
    ],
)
def test_any_error_while_decoding_an_image_becomes_a_value_error(error, words):
    with pytest.raises(ValueError, match=words), decoding():
        raise error


def test_a_content_length_in_unusual_digits_does_not_crash_the_server():
    """`²` is a digit, but not a number."""
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"content-length", b"\xb2")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    assert Guard(None, "127.0.0.1", None, {})._refusal(scope, Headers(scope=scope)) is None


def test_a_file_without_read_permission_is_named(tmp_path, monkeypatch):
    folder = a_record().save(tmp_path / "record")

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pq, "ParquetFile", denied)
    with pytest.raises(PermissionError, match=r"records\.parquet cannot be read: Permission denied"):
        Predictions.load(folder)
