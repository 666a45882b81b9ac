"""Where findings come from, and the words of caution that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from weakspot.findings.example_sets import ExampleSets
from weakspot.findings.finding import Finding
from weakspot.findings.numbers import count
from weakspot.methods import Method
from weakspot.methods.base import UnknownMethod
from weakspot.predictions import Predictions
from weakspot.predictions.other_examples import held_out_copies
from weakspot.slices import Slices, as_weights
from weakspot.slices.statistics import describe

_OTHER_EMBEDDINGS = (
    "Only the model's last layer was searched, where examples that the model confuses lie together. An earlier layer "
    "(model.embed_layer=cam_layer, the one that Grad-CAM reads, or a layer's name) or another model's embedding "
    "(encoder=MODEL) may separate them."
)
_FEW_COPIES = 0.01  # share of the held-out examples below which copies are not mentioned
_ROUNDING = 1e-6  # relative, of means of losses that may be float32
_OWN_FIELDS = ("cut_scores", "notes")  # parts of a provenance that have a field of their own in findings


def cautionary_notes(
    predictions: Predictions, slices: Slices, method: Method, findings: Sequence[Finding], sets: ExampleSets
) -> tuple[str, ...]:
    """Return words of caution: on the embedding, the tested examples, where else to look, and the method's own."""
    tested = sets.has_test
    return (
        *_embedding_note(predictions),
        *_copies_note(predictions, slices, tested),
        *_training_split_note(sets),
        *_other_answers_note(predictions, slices, method),
        *(
            ()
            if "found_in" in slices.provenance
            else _other_embeddings_note(predictions, method, findings, tested)
        ),
        *(slices.provenance.get("notes") or ()),
        *method.advice(slices),
    )


def provenance_record(slices: Slices, predictions: Predictions) -> dict[str, Any]:
    """Return the method's settings and the provenance of the predictions, as plain values."""
    settings = {name: value for name, value in slices.provenance.items() if name not in _OWN_FIELDS}
    plain: dict[str, Any] = to_jsonable_python(
        {"method": slices.method, **settings, "predictions": predictions.provenance},
        fallback=str,
        inf_nan_mode="null",
    )
    return plain


def manifest_name(value: Any) -> str:
    """Return the name in an entry of a manifest, which is a word or a mapping that holds one."""
    if isinstance(value, Mapping):
        value = value.get("name")
    return "" if value is None else str(value)


def _embedding_note(predictions: Predictions) -> tuple[str, ...]:
    """Say which embedding was searched, unless it is what the model's last layer receives."""
    where = predictions.manifest.get("embedding")
    return () if where is None else (f"Embeddings are those of the {where}.",)


def _copies_note(predictions: Predictions, slices: Slices, tested: bool) -> tuple[str, ...]:
    """Return a note if some held-out examples are copies of searched ones, which would confirm anything found."""
    searched = slices.searched_mask
    if not tested or searched.all() or not searched.any():
        return ()
    copies, held_out = held_out_copies(predictions, searched), int((~searched).sum())
    if copies < _FEW_COPIES * held_out:
        return ()
    return (
        f"{count(copies)} of the {count(held_out)} examples held out have the embedding and the loss of one that was "
        "searched. If they are copies, they do not test what was found: remove them, or keep copies on one side "
        "(dataset.group=…).",
    )


def _training_split_note(sets: ExampleSets) -> tuple[str, ...]:
    """Return a note if slices were tested on training examples, which the model may have memorised."""
    if not sets.tests_others or manifest_name(sets.tested.record.manifest.get("split")) != "train":
        return ()
    return (
        "The test examples come from the split train. If the model was trained on them, it may have memorised them, "
        "and a failure that it would repeat on new examples may not show there.",
    )


def _other_answers_note(predictions: Predictions, slices: Slices, method: Method) -> tuple[str, ...]:
    """Return a note if mean losses or accuracies recorded with the slices differ from those measured here.

    Rows without ids are numbered, so equal ids do not prove that these are the examples that were searched. For a
    method that is not installed, it is unknown which examples it judges.
    """
    if isinstance(method, UnknownMethod):
        return ()
    audited = method.audited(predictions)
    here = describe(as_weights(slices.weights), audited.record, audited.rows)
    pairs = [
        (getattr(given, name), getattr(own, name))
        for given, own in zip(slices.statistics, here, strict=True)
        for name in ("loss_inside", "loss_outside", "accuracy_inside", "accuracy_outside")
    ]
    if all(None in pair or np.isclose(*pair, rtol=_ROUNDING) for pair in pairs):
        return ()
    return (
        "The slices were found with other losses or answers than these predictions have. If they were found in other "
        "examples, nothing here tests them: give the predictions that were searched first, and others as confirm=.",
    )


def _other_embeddings_note(
    predictions: Predictions, method: Method, findings: Sequence[Finding], tested: bool
) -> tuple[str, ...]:
    """Say where else to look if nothing was confirmed in the last layer (docs/benchmark.md finds more there)."""
    manifest = predictions.manifest
    last_layer = method.in_embeddings and "checkpoint" in manifest and "embedding" not in manifest
    found = any(finding.confirmed for finding in findings)
    return (_OTHER_EMBEDDINGS,) if last_layer and tested and not found else ()
