"""The folders of the stores, each named by what made it, so that an outdated one cannot be used by accident."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weakspot.identity import Identifiable, content_identity, describe_target

if TYPE_CHECKING:
    from weakspot.pipeline.audit_target import AuditTarget, Component


def checkpoint_folder(target: AuditTarget) -> Path:
    """Return the folder of a target's checkpoint in the store."""
    words = target.dataset.name, target.model.name
    return target.checkpoints_dir / store_key(*words, made_from=checkpoint_made_from(target))


def checkpoint_made_from(target: AuditTarget) -> dict[str, Any]:
    """Return everything that determines a target's checkpoint, as plain values."""
    return {
        "data": {split: target.fingerprint(split) for split in ("train", "val")},
        **_component_identities(target),
        "training": vars(target.training),
        "trainer": content_identity(target.numeric_settings),
        "seed": target.seed,
        **({} if target.reweight is None else {"reweight": target.reweight.identity(target)}),
    }


def predictions_folder(target: AuditTarget, weights: str) -> Path:
    """Return the folder of a target's predictions in the store; `weights` is the digest of the model's weights."""
    words = target.dataset.name, target.split, target.model.name
    return target.predictions_dir / store_key(*words, made_from=predictions_made_from(target, weights))


def predictions_made_from(target: AuditTarget, weights: str) -> dict[str, Any]:
    """Return everything that determines a target's predictions, as plain values."""
    return {
        **_component_identities(target),
        "data": target.fingerprint(target.split),
        "weights": weights,
        "trainer": {"precision": target.numeric_settings.get("precision")},
        "split": target.split,
        **embedding_identity(target),
    }


def embedding_identity(target: AuditTarget) -> dict[str, Any]:
    """Return where embeddings come from; empty if they are the input of the model's last layer."""
    if target.encoder is not None:
        return {"encoder": _model_identity(target.encoder)}
    if target.embed_layer is None:
        return {}
    # cam_layer changes no other result, so it is not part of the model's identity.
    chosen = (
        {"cam_layer": target.model.settings.get("cam_layer")} if target.embed_layer == "cam_layer" else {}
    )
    return {"embed_layer": target.embed_layer} | chosen


def _component_identities(target: AuditTarget) -> dict[str, Any]:
    """Return what is audited, except the data and the weights: the same for training and inference."""
    built = type(target.split_dataset(target.split))
    return {
        "dataset": {
            "name": target.dataset.name,
            **component_identity(target.dataset.make, target.dataset.settings, built),
        },
        "task": target.task.to_dict(),
        "model": _model_identity(target.model),
    }


def _model_identity(model: Component) -> dict[str, Any]:
    from weakspot.models.base import Model  # needs torch, which takes seconds to import

    return {"name": model.name, **component_identity(model.make, model.settings, Model)}


def store_key(*words: str, made_from: Mapping[str, Any]) -> str:
    """Return the name of a folder in a store, `<word>-<word>-<8 hex>`.

    Args:
        words: The words that begin the name.
        made_from: What made the folder's content, as plain values; the digest is of its canonical JSON.
    """
    text = json.dumps(made_from, sort_keys=True)
    return "-".join([*words, hashlib.sha256(text.encode()).hexdigest()[:8]])


def component_identity(
    make: Callable[..., Any], settings: Mapping[str, Any], kind: type[Identifiable]
) -> dict[str, Any]:
    """Return what distinguishes the products of a component from all others.

    Args:
        make: A class or function, or a `functools.partial` of one.
        settings: The arguments that it is called with, as plain values.
        kind: The class of what it builds, or a base class if that is not known yet.
    """
    target = make.func if isinstance(make, partial) else make
    if isinstance(target, type) and issubclass(target, kind):
        return target.identity(settings)
    return {"made_by": describe_target(target), **kind.identity(settings)}
