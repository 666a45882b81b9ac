"""The files in a folder of the checkpoint store, as far as they can be read without torch."""

from __future__ import annotations

import json
from pathlib import Path

CHECKPOINT = "model.ckpt"
"""The checkpoint of the epoch that `training.keep` asks for, of those so far."""

LAST = "last.ckpt"
"""The checkpoint of the last finished epoch, from which an interrupted run resumes."""

MANIFEST = "manifest.json"
"""The manifest, written last: what made the checkpoint, and how well it did."""


def is_trained(folder: Path) -> bool:
    """Return whether a folder holds a finished training."""
    return (folder / MANIFEST).is_file() and (folder / CHECKPOINT).is_file()


def is_interrupted(folder: Path) -> bool:
    """Return whether a folder holds a training that can go on."""
    return not is_trained(folder) and any((folder / name).is_file() for name in (LAST, CHECKPOINT))


def kept_loss(folder: Path) -> float | None:
    """Return the validation loss of the epoch that a trained folder keeps; None where its manifest does not hold it."""
    loss = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("val_loss")
    return None if loss is None else float(loss)
