"""Where findings come from: names and provenance, and words of caution that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from weakspot.findings.record import Finding
from weakspot.methods import Method
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_LOOK_ELSEWHERE = (
    "Only the model's last layer was searched, in which what the model mistakes for the same lies together. An earlier "
    "layer (model.embed_layer=NAME) or another model's embedding (encoder=MODEL) may tell it apart."
)
_ELSEWHERE = ("cut_scores", "notes")  # parts of a provenance that have a field of their own


def notes_of(
    predictions: Predictions, slices: Slices, method: Method, findings: Sequence[Finding], tested: bool
) -> tuple[str, ...]:
    """Words of caution: on the embedding, on where else to look, and the method's own."""
    return (
        *_on_embedding(predictions),
        *_where_else(predictions, method, findings, tested),
        *(slices.provenance.get("notes") or ()),
        *method.advice(slices),
    )


def provenance_of(slices: Slices, predictions: Predictions) -> dict[str, Any]:
    told = {name: value for name, value in slices.provenance.items() if name not in _ELSEWHERE}
    plain: dict[str, Any] = to_jsonable_python(
        {"method": slices.method, **told, "predictions": dict(predictions.manifest)},
        fallback=str,
        inf_nan_mode="null",
    )
    return plain


def word_of(value: Any) -> str:
    """The name in a manifest entry, which is a word or a mapping that holds one."""
    if isinstance(value, Mapping):
        value = value.get("name")
    return "" if value is None else str(value)


def _on_embedding(predictions: Predictions) -> tuple[str, ...]:
    """In what embedding slices were sought, where that is not what the model's last layer receives."""
    where = predictions.manifest.get("embedding")
    return () if where is None else (f"Embeddings are those of the {where}.",)


def _where_else(
    predictions: Predictions, method: Method, findings: Sequence[Finding], tested: bool
) -> tuple[str, ...]:
    """Where else to look, where nothing was confirmed in the last layer (docs/benchmark.md: more is found there)."""
    manifest = predictions.manifest
    last_layer = method.in_embeddings and "checkpoint" in manifest and "embedding" not in manifest
    found = any(finding.confirmed for finding in findings)
    return (_LOOK_ELSEWHERE,) if last_layer and tested and not found else ()
