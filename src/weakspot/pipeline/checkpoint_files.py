"""The files in a folder of the checkpoint store, and what can be read from them without torch."""

from __future__ import annotations

import json
from pathlib import Path

CHECKPOINT = "model.ckpt"
"""The checkpoint of the epoch to keep (`training.keep`), among those so far."""

LAST = "last.ckpt"
"""The checkpoint of the last finished epoch, from which an interrupted run resumes."""

MANIFEST = "manifest.json"
"""The manifest, written last: what made the checkpoint, and how well it did."""


def is_trained(folder: Path) -> bool:
    """Return whether a folder holds a finished training run."""
    return (folder / MANIFEST).is_file() and (folder / CHECKPOINT).is_file()


def is_interrupted(folder: Path) -> bool:
    """Return whether a folder holds a training run that can be resumed."""
    return not is_trained(folder) and any((folder / name).is_file() for name in (LAST, CHECKPOINT))


def kept_loss(folder: Path) -> float | None:
    """Return the validation loss of the epoch that a trained folder keeps; None if its manifest lacks it."""
    loss = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("val_loss")
    return None if loss is None else float(loss)
