"""Builds the table of all examples with their findings that `export=parquet` writes for other viewers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int, Num
from PIL import Image

from weakspot.explain.projection import projection
from weakspot.findings.media import Media
from weakspot.findings.record import Findings
from weakspot.images import viewable
from weakspot.methods import method_of
from weakspot.methods.base import AuditedRows
from weakspot.predictions import Predictions
from weakspot.slices import Memberships, Slices
from weakspot.tasks import QuestionAnswering

_ROWS = 65_536  # at most, in a block, and so in a row group of a file
_WEIGHTS = 2**25  # at most, in a block, over all slices: 128 MiB
_ROWS_WITH_IMAGES = 512  # at most, in a block

_SIDE = 256  # at most, pixels of an image's longer side
_PIXEL_ART = 64  # pixels of the longer side up to which an image is stored losslessly

_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_HUGGING_FACE_FEATURES = {
    "info": {"features": {"image": {"_type": "Image"}}}
}  # tells `datasets` that a column holds images


@dataclass(frozen=True)
class Columns:
    """Some columns of the table.

    Attributes:
        fields: Their names and types.
        values: Returns the values of each column, given the first row and the row after the last.
    """

    fields: list[pa.Field]
    values: Callable[[int, int], Sequence[Any]]

    @classmethod
    def one(cls, name: str, kind: pa.DataType, values: Callable[[int, int], Any]) -> Columns:
        return cls([pa.field(name, kind)], lambda start, stop: [values(start, stop)])


class ExampleTable:
    """Makes a table with a row for each example: its id, its place on the map, labels, predictions and memberships.

    It is made block by block, so that images and texts are never held all at once.

    Args:
        findings: What was found.
        slices: The slices, with a weight for every example.
        predictions: The examples.
        media: Previews of the examples.
        texts: The text of each example.

    Attributes:
        schema: Names and types of the columns; its metadata tell Hugging Face's `datasets` that `image` holds images.
    """

    def __init__(
        self,
        findings: Findings,
        slices: Slices,
        predictions: Predictions,
        media: Media | None = None,
        texts: Sequence[str] | None = None,
    ) -> None:
        self._n = len(predictions)
        self._rows_of_weights = max(1, _WEIGHTS // max(len(slices), 1))
        media = media or Media()
        self._columns = [
            *_positions(predictions),
            *_previews(media, texts),
            *_labels_and_predictions(predictions, media),
            *_correctness(method_of(slices).audited(predictions)),
            _finding_columns(findings, self._n),
            _weight_columns(slices),
        ]
        taken = [field.name for columns in self._columns for field in columns.fields]
        self._columns.append(_attribute_columns(predictions, taken))
        metadata = {"huggingface": json.dumps(_HUGGING_FACE_FEATURES)} if "image" in taken else None
        self.schema = pa.schema([field for columns in self._columns for field in columns.fields], metadata)

    def __len__(self) -> int:
        return self._n

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Yield the table, some rows at a time."""
        most = _ROWS_WITH_IMAGES if "image" in self.schema.names else _ROWS
        step = min(most, self._rows_of_weights)
        for start in range(0, self._n, step):
            stop = min(start + step, self._n)
            blocks = [values for columns in self._columns for values in columns.values(start, stop)]
            arrays = [_array(values, kind) for values, kind in zip(blocks, self.schema.types, strict=True)]
            yield pa.record_batch(arrays, schema=self.schema)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)


def _positions(p: Predictions) -> Iterator[Columns]:
    place = projection(p.embeddings)
    yield Columns.one("id", pa.string(), lambda start, stop: p.ids[start:stop])
    yield Columns.one("x", pa.float32(), lambda start, stop: place[start:stop, 0])
    yield Columns.one("y", pa.float32(), lambda start, stop: place[start:stop, 1])


def _previews(media: Media, texts: Sequence[str] | None) -> Iterator[Columns]:
    """Yield a column of images if the first example is one, or of texts if it is a text or a mapping."""
    first = media.preview_once(0)
    if isinstance(first, Image.Image):
        yield Columns.one("image", _IMAGE, lambda start, stop: [_image(media, i) for i in range(start, stop)])
    if isinstance(first, str | Mapping):
        yield Columns.one(
            "text",
            pa.string(),
            lambda start, stop: [_text(media.preview_once(i)) for i in range(start, stop)],
        )
    elif texts is not None:
        yield Columns.one("text", pa.string(), lambda start, stop: texts[start:stop])


def _image(media: Media, row: int) -> dict[str, Any] | None:
    shown = media.preview_once(row, _SIDE)
    if not isinstance(shown, Image.Image):
        return None
    image = viewable(shown)
    buffer = io.BytesIO()
    if max(image.size) <= _PIXEL_ART or image.mode == "RGBA":
        image.save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": f"{row}.png"}
    image.save(buffer, "JPEG", quality=85)
    return {"bytes": buffer.getvalue(), "path": f"{row}.jpg"}


def _text(shown: Any) -> str | None:
    if isinstance(shown, Mapping):
        return "\n".join(f"{name}: {value}" for name, value in shown.items())
    return shown if isinstance(shown, str) else None


def _labels_and_predictions(p: Predictions, media: Media) -> Iterator[Columns]:
    """Yield labels and predictions: classes by name, numbers as numbers, answers in the words of their passage."""
    for name, values in (("label", p.labels), ("prediction", p.predictions)):
        if values is not None:
            yield _named_values(name, values, p, media)


def _named_values(name: str, values: Num[np.ndarray, "n ..."], p: Predictions, media: Media) -> Columns:
    if isinstance(p.task, QuestionAnswering):
        return Columns.one(
            name, pa.string(), lambda start, stop: [_answer(values, i, p, media) for i in range(start, stop)]
        )
    if values.ndim == 2:
        return Columns.one(
            name, pa.string(), lambda start, stop: [p.name_of(values, i) for i in range(start, stop)]
        )
    if not p.classes():
        return Columns.one(name, pa.from_numpy_dtype(values.dtype), lambda start, stop: values[start:stop])
    names = pa.array(p.classes(), pa.string())
    return Columns.one(name, pa.string(), lambda start, stop: names.take(pa.array(values[start:stop])))


def _answer(spans: Num[np.ndarray, "n 2"], row: int, p: Predictions, media: Media) -> str | None:
    shown = media.preview_once(row)
    start, end = map(int, spans[row])
    if end > start and isinstance(shown, Mapping) and "context" in shown:
        return str(shown["context"])[start:end]
    return p.name_of(spans, row)


def _correctness(audited: AuditedRows) -> Iterator[Columns]:
    """Yield correctness and loss as the method audits them, empty for examples that it leaves out, and counts."""
    p, rows = audited.record, audited.rows
    for name, kind, values in (("correct", pa.bool_(), p.correct), ("loss", pa.float64(), p.losses)):
        if values is not None:
            yield _audited_values(name, kind, values, rows)
    counts = p.counts
    if counts is not None:
        yield Columns.one("count", pa.float64(), lambda start, stop: counts[start:stop].astype(np.float64))


def _audited_values(name: str, kind: pa.DataType, values: np.ndarray, rows: np.ndarray) -> Columns:
    return Columns.one(
        name, kind, lambda start, stop: pa.array(np.asarray(values[start:stop]), mask=~rows[start:stop])
    )


def _finding_columns(findings: Findings, n: int) -> Columns:
    """Return columns for the finding that an example belongs to most, its weight there, and the verdict."""
    place, weight = _finding_of_each(findings, n)
    names = pa.array([f"{one.number}: {one.subject}" for one in findings.findings], pa.string())
    verdicts = pa.array([one.verdict for one in findings.findings], pa.string())

    def values(start: int, stop: int) -> Sequence[Any]:
        of = pa.array(place[start:stop], mask=place[start:stop] < 0)
        return [names.take(of), weight[start:stop], verdicts.take(of)]

    fields = {"finding": pa.string(), "finding_weight": pa.float32(), "verdict": pa.string()}
    return Columns([pa.field(name, kind) for name, kind in fields.items()], values)


def _finding_of_each(findings: Findings, n: int) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the position (n,) of each example's finding, -1 if it lies in none, and its weight (n,) there."""
    place, most = np.full(n, -1), np.zeros(n, dtype=np.float32)
    table = findings.memberships.filter(pc.equal(findings.memberships["group"], "finding"))
    numbers, rows, weights = (table[name].to_numpy() for name in ("number", "row", "weight"))
    for position, one in enumerate(findings.findings):
        inside = numbers == one.number
        members, mass = rows[inside], weights[inside].astype(np.float32)
        more = mass > most[members]
        place[members[more]], most[members[more]] = position, mass[more]
    return place, most


def _weight_columns(slices: Slices) -> Columns:
    """Return columns of how much an example belongs to each slice."""
    weights = slices.weights
    by_example = weights.csr.tocsc() if isinstance(weights, Memberships) else None

    def values(start: int, stop: int) -> Sequence[np.ndarray]:
        if by_example is None:
            return list(np.asarray(weights[:, start:stop], dtype=np.float32))
        return list(by_example[:, start:stop].astype(np.float32).toarray())

    return Columns([pa.field(f"slice_{j + 1}", pa.float32()) for j in range(len(slices))], values)


def _attribute_columns(p: Predictions, taken: Collection[str]) -> Columns:
    """Return columns of all attributes, in types that all viewers know; a name already in use gets a prefix."""
    fields: list[pa.Field] = []
    names = {name.lower() for name in taken}  # DuckDB, in which embedding-atlas holds them, ignores case
    for field in p.attributes.schema:
        name = f"{field.name} (s)" if pa.types.is_duration(field.type) else field.name
        while name.lower() in names:
            name = f"attribute_{name}"
        names.add(name.lower())
        fields.append(pa.field(name, _common_type(field.type)))
    return Columns(
        fields,
        lambda start, stop: [_to_common_type(c) for c in p.attributes.slice(start, stop - start).columns],
    )


def _common_type(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_dictionary(kind) or types.is_time(kind) or types.is_large_string(kind):
        return pa.string()
    if types.is_date(kind):
        return pa.timestamp("us")
    return pa.float64() if types.is_duration(kind) else kind


def _to_common_type(column: pa.ChunkedArray) -> Any:
    """Return a column that casts to its type by `_common_type`: the values of a dictionary, durations in seconds."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if pa.types.is_duration(column.type):
        return pa.array(column.cast(pa.int64()).to_numpy() / 1e6, mask=column.is_null().to_numpy())
    return column
