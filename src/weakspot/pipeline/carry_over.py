"""Carries saved slices over to examples that were not searched for them, so that they can be tested on all of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from weakspot.evaluation.held_out_split import MIN_EXAMPLES
from weakspot.findings.runs_to_compare import LAST_LAYER
from weakspot.methods import apply, audit_of, method_of, weights_of
from weakspot.pipeline.saved_runs import SavedRun, subset_of
from weakspot.predictions import Predictions
from weakspot.predictions.other_examples import shared_examples
from weakspot.slices import Slices


@dataclass(frozen=True, eq=False)
class CarriedOver:
    """Slices of an earlier run in examples that the run did not search.

    Attributes:
        slices: The slices, with a weight for each of the predictions.
        predictions: The examples that the run did not search.
        rows: (m,) their rows among all examples that were given.
        searched: How many examples the run searched.
        left_out: How many of the given examples the run searched, or are copies of examples that it searched.
        notes: Cautions for the reader.
    """

    slices: Slices
    predictions: Predictions
    rows: Int[np.ndarray, " m"]
    searched: int
    left_out: int
    notes: tuple[str, ...]


def carry_over(run: SavedRun, p: Predictions, searched: Predictions | None = None) -> CarriedOver:
    """Apply a run's slices to the examples of `p` that it did not search.

    Args:
        run: The run.
        p: Predictions of the same model.
        searched: The examples that the run searched, so that copies under other ids are recognised
            (`shared_examples`); None if they are not available.

    Returns:
        The slices over these examples.

    Raises:
        ValueError: If the slices do not fit (`check_fits`), or the run searched nearly all of the examples.
    """
    check_testable(run)
    rows = rows_not_searched(run, p.ids, None if searched is None else shared_examples(p, searched))
    check_fits(run, p)
    not_searched = subset_of(p, rows)
    audit = audit_of(run.slices, not_searched)
    if int(audit.rows.sum()) < MIN_EXAMPLES:
        raise ValueError(
            f"the slices of {run.folder} apply to {int(audit.rows.sum())} of these examples, and a test needs "
            f"{MIN_EXAMPLES}"
        )
    elsewhere = np.full(len(run.slices.ids), -1)
    carried = run.slices.carry_over(weights_of(run.slices, not_searched), audit.record, elsewhere, audit.rows)
    manifest = run.slices.provenance.get("predictions")
    found_in = {"run": str(run.folder), "predictions": manifest}
    return CarriedOver(
        slices=replace(carried, tree=None, provenance={**carried.provenance, "found_in": found_in}),
        predictions=not_searched,
        rows=rows,
        searched=int(run.slices.searched_mask.sum()),
        left_out=len(p) - len(rows),
        notes=(*_other_weights_note(run, p), *_unknown_copies_note(run, searched)),
    )


def rows_not_searched(
    run: SavedRun,
    ids: Sequence[str] | Shaped[np.ndarray, " n"],
    copies: Bool[np.ndarray, " n"] | None = None,
) -> Int[np.ndarray, " m"]:
    """Return the rows of the examples that the run did not search.

    Args:
        run: The run.
        ids: (n,) ids of examples.
        copies: (n,) which of them the run searched, whatever their ids; None if only ids are known.

    Returns:
        (m,) rows.

    Raises:
        ValueError: If too few are left to test anything on.
    """
    names = np.asarray(ids)
    searched = np.isin(names, run.slices.ids[run.slices.searched_mask])
    rows = np.flatnonzero(~searched if copies is None else ~(searched | copies))
    if len(rows) < MIN_EXAMPLES:
        raise ValueError(
            f"{run.folder} searched {len(names) - len(rows)} of these {len(names)} examples, so what it found cannot "
            f"be tested on them (a test needs {MIN_EXAMPLES} others): give other examples (split=val, "
            "predictions=FILE). If they are other examples with the same ids, give each an id of its own (a column id)"
        )
    return rows


def check_testable(run: SavedRun) -> None:
    """Raise ValueError if the run's slices cannot be tested on any examples, or it is not known on which."""
    found_in = run.slices.provenance.get("found_in")
    if found_in is not None:
        raise ValueError(
            f"{run.folder} only tested the slices of {found_in['run']}, and does not know what that run searched: give "
            f"slices={found_in['run']}"
        )
    method = method_of(run.slices)
    if not method.testable:
        raise ValueError(f"{run.folder}: {method.why_untestable()}; give a run of another method")


def check_fits(run: SavedRun, p: Predictions) -> None:
    """Check that a run's slices can be applied to examples like these.

    Args:
        run: The run.
        p: Some of the model's predictions, to which the slices are applied.

    Raises:
        ValueError: If the run found no slices, or they cannot be applied, for example because the task is another.
    """
    if not len(run.slices):
        raise ValueError(f"{run.folder} found no slice, so there is nothing to carry over")
    if p.labels is None and "labels" in run.slices.parameters:
        raise ValueError(
            f"{run.folder} compared examples of the same label, and these have no labels: give predictions with labels"
        )
    check_same_embedding(run, p.manifest)
    try:
        apply(run.slices, p.take([0]))
    except ValueError as error:
        raise ValueError(f"the slices of {run.folder} cannot be applied here: {error}") from error


def check_same_embedding(run: SavedRun, manifest: Mapping[str, Any]) -> None:
    """Check that embeddings come from the same source as those that a run searched, if both records state it.

    Args:
        run: The run.
        manifest: The manifest of the predictions, or `{"checkpoint": …, "embedding": …}` if they are yet to be made.

    Raises:
        ValueError: If they are those of another layer, or of another model; the message says what to add.
    """
    searched = run.slices.provenance.get("predictions")
    if not isinstance(searched, Mapping) or not method_of(run.slices).in_embeddings:
        return
    if "checkpoint" not in searched or "checkpoint" not in manifest:
        return
    wanted, found = searched.get("embedding"), manifest.get("embedding")
    if wanted != found:
        raise ValueError(
            f"{run.folder} searched the embedding of the {wanted or LAST_LAYER}, and these are embeddings of "
            f"the {found or LAST_LAYER}: repeat its settings on the command line (model.embed_layer=…, encoder=…)"
        )


def _other_weights_note(run: SavedRun, p: Predictions) -> tuple[str, ...]:
    manifests = (run.slices.provenance.get("predictions") or {}, p.manifest)
    earlier_weights, weights = ((manifest.get("made_from") or {}).get("weights") for manifest in manifests)
    if earlier_weights is None or weights is None or earlier_weights == weights:
        return ()
    return (
        "These slices were found in the embeddings of other weights: if training has changed the embedding, they may "
        "cover other examples. discover.py compare=[RUN,RUN] compares two models example by example.",
    )


def _unknown_copies_note(run: SavedRun, searched: Predictions | None) -> tuple[str, ...]:
    if searched is not None:
        return ()
    return (
        f"The predictions that {run.folder} searched cannot be read, so the examples that it searched are left out by "
        "their ids only. Copies of them under other ids, if there are any, do not test what was found.",
    )
