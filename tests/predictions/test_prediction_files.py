"""A user's own predictions, from each kind of file: equal to the arrays that went in, or clearly refused."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from weakspot.predictions import Predictions
from weakspot.predictions.user_files import read_file
from weakspot.tasks import Regression

N, D, C = 30, 6, 3


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "embeddings": rng.normal(size=(N, D)).astype(np.float32),
        "losses": rng.exponential(size=N).astype(np.float32),
        "labels": rng.integers(C, size=N),
        "predictions": rng.integers(C, size=N),
        "outputs": rng.normal(size=(N, C)).astype(np.float32),
        "counts": rng.integers(1, 4, size=N).astype(np.float32),
        "ids": np.array([f"{row:03d}" for row in range(N)]),
        "colour": rng.choice(["red", "green"], size=N),
        "age": rng.integers(90, size=N),
    }


def reference(arrays: dict[str, np.ndarray]) -> Predictions:
    """The arrays as `from_arrays` reads them."""
    fields = {name: array for name, array in arrays.items() if name not in ("colour", "age")}
    return Predictions.from_arrays(**fields, attributes={name: arrays[name] for name in ("colour", "age")})


def assert_equal(read: Predictions, expected: Predictions) -> None:
    for name in ("ids", "embeddings", "losses", "labels", "predictions", "outputs", "counts", "correct"):
        np.testing.assert_array_equal(getattr(read, name), getattr(expected, name), err_msg=name)
    assert sorted(read.attributes.column_names) == sorted(expected.attributes.column_names)
    for name in expected.attributes.column_names:
        assert read.attributes[name].to_pylist() == expected.attributes[name].to_pylist()
    assert read.task == expected.task


def rows_of(array: np.ndarray) -> Any:
    return pa.array(list(array))


def test_npz_is_read_as_it_was_written(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "p.npz", **arrays)
    read = Predictions.load(tmp_path / "p.npz")
    assert_equal(read, reference(arrays))
    assert read.manifest["source"] == str(tmp_path / "p.npz")


def test_npz_needs_only_embeddings(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "p.npz", embedding=arrays["embeddings"], loss=arrays["losses"])
    read = read_file(tmp_path / "p.npz")
    np.testing.assert_array_equal(read.losses, arrays["losses"])
    assert read.labels is None
    assert read.attributes.column_names == []


@pytest.mark.parametrize("form", ["list", "fixed", "numbered", "beside"])
def test_parquet_in_every_form(tmp_path: Path, arrays: dict[str, np.ndarray], form: str) -> None:
    table = {name: arrays[name] for name in ("colour", "age")}
    table |= {
        "id": arrays["ids"],
        "label": arrays["labels"],
        "prediction": arrays["predictions"],
        "loss": arrays["losses"],
        "count": arrays["counts"],
    }
    long = {"embedding": arrays["embeddings"], "output": arrays["outputs"]}
    if form == "list":
        table |= {name: rows_of(array) for name, array in long.items()}
    elif form == "fixed":
        table |= {
            name: pa.FixedSizeListArray.from_arrays(array.ravel(), array.shape[1])
            for name, array in long.items()
        }
    elif form == "numbered":
        for name, array in long.items():  # written out of order: the number counts, not the place
            table |= {f"{name}_{k}": array[:, k] for k in reversed(range(array.shape[1]))}
    else:
        save_file(long, tmp_path / "p.safetensors")
    pq.write_table(pa.table(table), tmp_path / "p.parquet", row_group_size=7)
    assert_equal(read_file(tmp_path / "p.parquet"), reference(arrays))


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_safetensors_with_a_table_beside(tmp_path: Path, arrays: dict[str, np.ndarray], ending: str) -> None:
    save_file({name: arrays[name] for name in ("embeddings", "outputs")}, tmp_path / "p.safetensors")
    names = {"ids": "id", "labels": "label", "predictions": "prediction", "losses": "loss", "counts": "count"}
    table = pa.table(
        {name: arrays[field] for field, name in names.items()} | {k: arrays[k] for k in ("colour", "age")}
    )
    if ending == ".csv":
        pyarrow.csv.write_csv(table, tmp_path / "p.csv")
    else:
        pq.write_table(table, tmp_path / "p.parquet")
    read = read_file(tmp_path / "p.safetensors")
    np.testing.assert_allclose(read.losses, arrays["losses"], rtol=1e-6)  # CSV has them as decimal text
    expected = reference(arrays | {"losses": read.losses})
    assert_equal(read, expected)
    assert read.ids[7] == "007"


@pytest.mark.parametrize("given", ["p.safetensors", "p.csv"])
@pytest.mark.parametrize("column", ["loss", "age"])
def test_two_files_of_different_lengths_are_both_named(tmp_path: Path, given: str, column: str) -> None:
    save_file({"embeddings": np.ones((N, D), np.float32)}, tmp_path / "p.safetensors")
    lines = [f"id,{column}", *(f"a{row},{row}" for row in range(N - 1))]
    (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match="same order") as caught:
        read_file(tmp_path / given)
    assert str(caught.value) == (
        f"{tmp_path / 'p.csv'} has 29 rows, but {tmp_path / 'p.safetensors'} has 30 (embeddings); give both the same "
        "examples, in the same order"
    )


@pytest.mark.parametrize("beside", [False, True])
def test_csv_with_plain_column_names_is_read(
    tmp_path: Path, arrays: dict[str, np.ndarray], beside: bool
) -> None:
    names = {"ids": "id", "labels": "label", "predictions": "prediction", "losses": "loss", "counts": "count"}
    table = {name: arrays[field] for field, name in names.items()} | {k: arrays[k] for k in ("colour", "age")}
    long = {"embedding": arrays["embeddings"], "output": arrays["outputs"]}
    if beside:
        save_file(long, tmp_path / "p.safetensors")
    else:
        for name, array in long.items():
            table |= {f"{name}_{k}": array[:, k] for k in range(array.shape[1])}
    pyarrow.csv.write_csv(pa.table(table), tmp_path / "p.csv")
    read = read_file(tmp_path / "p.csv")
    written = {"losses": read.losses, "embeddings": read.embeddings, "outputs": read.outputs}
    for name, values in written.items():  # decimal text
        np.testing.assert_allclose(values, arrays[name], rtol=1e-6)
    assert_equal(read, reference(arrays | written))
    assert read.ids[7] == "007"


def test_safetensors_alone_stays_on_disk(tmp_path: Path) -> None:
    """30 MB of embeddings are opened and not copied: private memory grows by far less than their size."""
    save_file(
        {"embeddings": np.ones((60_000, 128), np.float32), "losses": np.ones(60_000)},
        tmp_path / "p.safetensors",
    )
    read_file(tmp_path / "p.safetensors")  # all imports on the way are done now

    def private() -> int:
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    before = private()
    read = read_file(tmp_path / "p.safetensors")
    assert private() - before < 20_000
    assert read.embeddings.sum() == 60_000 * 128


def test_half_precision_becomes_single(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    half = torch.from_numpy(arrays["embeddings"]).bfloat16()
    save_tensors(
        {"embeddings": half, "labels": torch.from_numpy(arrays["labels"])}, tmp_path / "p.safetensors"
    )
    read = read_file(tmp_path / "p.safetensors")
    assert read.embeddings.dtype == np.float32
    np.testing.assert_array_equal(read.embeddings, half.float().numpy())


def test_names_and_categories(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Labels by name, dictionary-encoded as pandas writes categories; multilabel as lists."""
    names = np.array(["cat", "dog", "eel"])
    table = pa.table(
        {
            "embedding": rows_of(arrays["embeddings"]),
            "label": pa.array(names[arrays["labels"]]).dictionary_encode(),
            "prediction": pa.array(names[arrays["predictions"]]),
            "colour": pa.array(arrays["colour"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "p.parquet")
    read = read_file(tmp_path / "p.parquet")
    assert read.classes() == ("cat", "dog", "eel")
    np.testing.assert_array_equal(read.labels, arrays["labels"])
    np.testing.assert_array_equal(read.correct, arrays["labels"] == arrays["predictions"])
    assert read.attributes["colour"].to_pylist() == arrays["colour"].tolist()

    several = np.eye(C, dtype=np.int64)[arrays["labels"]]
    pq.write_table(
        pa.table({"embedding": rows_of(arrays["embeddings"]), "label": rows_of(several)}),
        tmp_path / "m.parquet",
    )
    many = read_file(tmp_path / "m.parquet")
    assert many.task is not None
    assert many.task.kind == "multilabel"
    np.testing.assert_array_equal(many.labels, several)


def refused(path: Path, *words: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind) as caught:
        read_file(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_an_ordered_categorical_numbers_the_classes(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    n = len(arrays["embeddings"])
    sizes = pa.DictionaryArray.from_arrays(np.arange(n) % 2, pa.array(["small", "large"]), ordered=True)
    columns = {"embedding": arrays["embeddings"].tolist(), "label": sizes, "prediction": ["small"] * n}
    pq.write_table(pa.table(columns), tmp_path / "my.parquet")
    p = Predictions.load(tmp_path / "my.parquet")
    assert p.classes() == ("small", "large")
    np.testing.assert_array_equal(p.labels, np.arange(n) % 2)
    np.testing.assert_array_equal(p.predictions, 0)


@pytest.mark.parametrize("name", ["probabilities", "probs"])
def test_probabilities_are_recognised_by_their_name(
    tmp_path: Path, arrays: dict[str, np.ndarray], name: str
) -> None:
    p = np.exp(arrays["outputs"]) / np.exp(arrays["outputs"]).sum(axis=1, keepdims=True)
    given = {"embeddings": arrays["embeddings"], "labels": arrays["labels"]}
    expected = Predictions.from_arrays(**given, outputs=p, outputs_are="probabilities")
    np.savez(tmp_path / "my.npz", **given, **{name: p})
    assert_equal(read_file(tmp_path / "my.npz"), expected)
    columns = {"label": given["labels"]}
    columns |= {f"embedding_{i}": column for i, column in enumerate(given["embeddings"].T)}
    columns |= {f"{name}_{i}": column for i, column in enumerate(p.T)}
    pq.write_table(pa.table(columns), tmp_path / "my.parquet")
    assert_equal(read_file(tmp_path / "my.parquet"), expected)
    with pytest.raises(ValueError, match=rf"my\.npz: '{name}' are not logits: leave out outputs_are=logits"):
        read_file(tmp_path / "my.npz", "logits")
    np.savez(tmp_path / "both.npz", **given, **{name: p}, logits=arrays["outputs"])
    with pytest.raises(ValueError, match=rf"both\.npz: '{name}' and 'logits' both hold outputs; keep one"):
        read_file(tmp_path / "both.npz")


def test_one_column_of_probabilities_is_not_taken_for_those_of_the_predictions(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    labels, sure = np.arange(N) % 2, np.linspace(0.5, 1, N)
    given = {"embeddings": arrays["embeddings"], "labels": labels, "probs": sure}
    np.savez(tmp_path / "second.npz", **given)
    second = read_file(tmp_path / "second.npz")
    np.testing.assert_allclose(
        second.losses, -np.log(np.where(labels, sure, 1 - sure).clip(1e-38)), rtol=1e-4
    )
    np.savez(tmp_path / "own.npz", **given, predictions=labels)
    with pytest.raises(
        ValueError, match=r"own\.npz: 'probs' has one column, which is read as the probability of"
    ):
        read_file(tmp_path / "own.npz")


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
@pytest.mark.parametrize(
    "beside", [{"correct": np.arange(N) % 2 == 0}, {"losses": np.ones(N)}, {"labels": np.arange(N) % 3}]
)
def test_one_column_of_probabilities_beside_what_it_may_contradict_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], shape: tuple[int, ...], beside: dict[str, np.ndarray]
) -> None:
    given = {"embeddings": arrays["embeddings"], "labels": np.arange(N) % 2, "probs": np.full(shape, 0.7)}
    np.savez(tmp_path / "my.npz", **given | beside)
    with pytest.raises(ValueError, match=r"my\.npz: 'probs' has one column, which is read as"):
        read_file(tmp_path / "my.npz")


def test_outputs_in_columns_named_after_classes_are_not_taken_for_attributes(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    given = {
        "embeddings": arrays["embeddings"],
        "labels": arrays["labels"],
        "predictions": arrays["predictions"],
    }
    np.savez(tmp_path / "my.npz", **given, prob_cat=arrays["losses"], prob_dog=arrays["losses"])
    with pytest.raises(
        ValueError, match=r"'prob_cat', 'prob_dog' … look like a model's outputs: name them prob"
    ):
        read_file(tmp_path / "my.npz")
    np.savez(
        tmp_path / "both.npz",
        **given,
        outputs=arrays["outputs"],
        prob_cat=arrays["losses"],
        prob_dog=arrays["losses"],
    )
    assert read_file(tmp_path / "both.npz").attributes.column_names == ["prob_cat", "prob_dog"]
    np.savez(tmp_path / "matrix.npz", **given, softmax=arrays["outputs"])
    with pytest.raises(
        ValueError, match=r"'softmax' has shape .*; if these are a model's outputs, name them"
    ):
        read_file(tmp_path / "matrix.npz")


def test_errors_of_probabilities_name_their_column(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    given = {"embeddings": arrays["embeddings"], "labels": arrays["labels"]}
    np.savez(tmp_path / "my.npz", **given, probs=arrays["outputs"])
    with pytest.raises(
        ValueError, match=r"my\.npz: probs: row .* but probabilities lie between 0 and 1 and sum to 1"
    ):
        read_file(tmp_path / "my.npz")


def test_numbered_columns_of_one_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("embedding_1,embedding_01,loss\n1,2,3\n")
    with pytest.raises(ValueError, match="'embedding_01' is the second column of number 1; keep one of them"):
        read_file(tmp_path / "my.csv")


def test_a_column_without_a_name_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "my.csv").write_text(",embedding_0,loss\n0,1,3\n1,2,3\n")
    assert read_file(tmp_path / "my.csv").attributes.column_names == []
    assert "my.csv: a column without a name is left out" in caplog.text


def test_whole_numbers_are_quantities_if_the_task_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prices = np.arange(200) * 3
    np.savez(tmp_path / "my.npz", embeddings=np.eye(200), labels=prices, predictions=prices + 2)
    assert read_file(tmp_path / "my.npz").task.kind == "classification"
    assert (
        "have 200 values in 200 rows and are taken for classes; if they are quantities, add task="
        in caplog.text
    )
    p = read_file(tmp_path / "my.npz", task=Regression())
    np.testing.assert_allclose(p.losses, 4)
    np.savez(tmp_path / "my.npz", embeddings=np.eye(200), labels=prices - 100, predictions=prices)
    with pytest.raises(
        ValueError, match=r"is -100, outside .*; if these are quantities, add task=regression"
    ):
        read_file(tmp_path / "my.npz")


def test_columns_that_contradict_each_other_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=100)
    outputs = np.eye(3)[labels] * 5
    x = rng.normal(size=(100, 4))
    Predictions.from_arrays(x, labels=labels, outputs=outputs, predictions=labels, correct=np.ones(100, bool))
    assert not caplog.records
    Predictions.from_arrays(x, labels=labels, outputs=outputs, predictions=np.roll(labels, 1))
    assert "predictions are not the class of the largest output in 62 %" in caplog.text
    Predictions.from_arrays(x, labels=labels, predictions=labels, correct=np.zeros(100, bool))
    assert "correct says the opposite of labels and predictions in 100 % of the rows" in caplog.text
    Predictions.from_arrays(x, losses=-rng.exponential(size=100))
    assert "all losses are 0 or negative" in caplog.text


def test_a_probability_of_something_else_is_an_attribute(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    rain = np.linspace(0, 1, N)
    np.savez(
        tmp_path / "my.npz",
        embeddings=arrays["embeddings"],
        losses=arrays["losses"],
        probability=rain,
        prob=rain,
    )
    assert read_file(tmp_path / "my.npz").attributes.column_names == ["probability", "prob"]


def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("0.1 0.2")
    refused(tmp_path / "p.txt", ".npz, .safetensors, .csv, .parquet, .jsonl, .pkl, .pickle")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "p.npz", "no predictions", kind=FileNotFoundError)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embeddings": None, "embedings": (N, D)}, ["embedings", "did you mean 'embeddings'"]),
        ({"losses": None, "lossses": (N,)}, ["lossses", "did you mean 'losses'"]),
        ({"labels": None, "lable": (N,)}, ["lable", "did you mean 'label'"]),
        ({"embeddings": None}, ["there are no 'embeddings'", "colour"]),
        ({"loss": (N,)}, ["both hold losses"]),
        ({"losses": (N - 1,)}, ["losses", f"{N - 1} rows"]),
        ({"age": (N - 1,)}, ["'age'", f"({N - 1},)"]),
        ({"centres": (2, D)}, ["'centres'", f"(2, {D})"]),
        ({"embeddings": (N,)}, ["embeddings", "2 dimensions"]),
        ({"embeddings": ()}, ["embeddings", "2 dimensions"]),
        ({"id": (N,)}, ["both hold ids"]),
    ],
)
def test_invalid_npz_files_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], change: dict[str, tuple[int, ...] | None], words: list[str]
) -> None:
    for name, shape in change.items():
        if shape is None:
            del arrays[name]
        else:
            arrays[name] = np.zeros(shape, np.float32)
    if "embeddings" in change and change["embeddings"] == ():
        arrays = {"embeddings": arrays["embeddings"]}
    np.savez(tmp_path / "p.npz", **arrays)
    refused(tmp_path / "p.npz", *words)


def test_names_that_resemble_ids_and_counts_are_attributes(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "p.npz", embeddings=arrays["embeddings"], country=arrays["colour"], sid=arrays["age"])
    assert read_file(tmp_path / "p.npz").attributes.column_names == ["country", "sid"]


def test_nan_values_are_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    arrays["losses"][4] = np.nan
    np.savez(tmp_path / "p.npz", **arrays)
    refused(tmp_path / "p.npz", "losses", "row 4", "004")


def test_pickles_are_never_opened(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "p.npz", embeddings=arrays["embeddings"], ids=np.array([Trap()] * N, dtype=object))
    refused(tmp_path / "p.npz", "'ids'", "Python objects")
    (tmp_path / "q.npz").write_bytes(pickle.dumps(Trap()))
    refused(tmp_path / "q.npz", "not a .npz archive")
    assert not (tmp_path / "sprung").exists()


def test_damaged_files_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "p.npz", **arrays)
    whole = (tmp_path / "p.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "p.npz") as archive:
        at = archive.getinfo("losses.npy").header_offset + 200
    (tmp_path / "p.npz").write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
    refused(tmp_path / "p.npz", "'losses'")
    for name in ("q.parquet", "r.safetensors"):
        (tmp_path / name).write_bytes(b"\0" * 100)
        refused(tmp_path / name, "cannot be read")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"loss": [0.1, None, 0.3]}, ["'loss'", "row 1"]),
        ({"embedding": [[1.0, 2.0], [1.0, 2.0], [1.0]]}, ["'embedding'", "1 values in row 2", "2 in row 0"]),
        ({"embedding": [[1.0, 2.0], None, [1.0, 2.0]]}, ["'embedding'", "row 1"]),
        ({"embedding": [[1.0, 2.0], [1.0, None], [1.0, 2.0]]}, ["embeddings", "row 1", "NaN"]),
        ({"embedding_0": [1.0, 2.0, 3.0]}, ["two columns 'embedding'"]),
        ({"output_0": [1.0, 2.0, 3.0], "output_2": [1.0, 2.0, 3.0]}, ["'output_1' is missing"]),
    ],
)
def test_invalid_parquet_files_are_refused(tmp_path: Path, column: dict[str, Any], words: list[str]) -> None:
    table = {"embedding": [[1.0, 2.0]] * 3, "race": ["a", "b", "c"]} | column
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    refused(tmp_path / "p.parquet", *words)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"embedding": pa.array([], pa.list_(pa.float32()))}), tmp_path / "p.parquet")
    refused(tmp_path / "p.parquet", "no rows")


def test_two_tables_beside_a_file_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    save_file({"embeddings": arrays["embeddings"]}, tmp_path / "p.safetensors")
    pyarrow.csv.write_csv(pa.table({"age": arrays["age"]}), tmp_path / "p.csv")
    pq.write_table(pa.table({"age": arrays["age"]}), tmp_path / "p.parquet")
    refused(tmp_path / "p.safetensors", "p.csv", "p.parquet")
