"""What lies in a folder of the store of checkpoints, as far as that can be told without torch."""

from __future__ import annotations

import json
from pathlib import Path

CHECKPOINT = "model.ckpt"
"""The epoch that `training.keep` asks for, so far."""

LAST = "last.ckpt"
"""The last epoch that is over, from which an interrupted run goes on."""

MANIFEST = "manifest.json"
"""Written last: what made the checkpoint, and how well it did."""


def is_trained(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and (folder / CHECKPOINT).is_file()


def is_interrupted(folder: Path) -> bool:
    return not is_trained(folder) and any((folder / name).is_file() for name in (LAST, CHECKPOINT))


def kept_loss(folder: Path) -> float | None:
    """The validation loss of the epoch that a trained folder keeps; None where its manifest does not say it."""
    loss = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("val_loss")
    return None if loss is None else float(loss)
