"""Logs to W&B which checkpoints and predictions a run reads and makes, so that W&B can draw runs as a graph.

The artifact of a store's entry is named after the entry's folder, whose name is determined by its contents. So a run
that reads an entry names the same artifact as the run that made it, online or offline, now or later.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weakspot.tracking.loggers import RunLogger, WandbLogger

if TYPE_CHECKING:
    from wandb import Artifact

log = logging.getLogger(__name__)

Kind = Literal["checkpoint", "predictions"]

_TYPES = {"checkpoint": "model", "predictions": "predictions"}  # W&B's registry lists models by this type
_FILES = {
    "checkpoint": ("manifest.json", "model.ckpt"),
    "predictions": ("manifest.json", "arrays.safetensors", "records.parquet"),
}
_LONGEST = 128  # characters of a name that W&B accepts


def log_input_artifact(logger: RunLogger | None, kind: Kind, path: Path) -> None:
    """Log that a run reads a checkpoint or predictions.

    Args:
        logger: The logger of the run; loggers other than W&B's are ignored.
        kind: What is read.
        path: A folder of a store, or a file given by the user.
    """
    if not isinstance(logger, WandbLogger) or not logger.register_artifact(kind, path):
        return
    import wandb

    run, artifact = logger.experiment, _artifact(kind, path, logger.upload)
    try:
        if run.offline:
            # `run.use_artifact` refuses to work offline; this writes the same record, which is synced later
            run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
        else:
            run.use_artifact(artifact)
    except (wandb.Error, ValueError) as error:  # the graph must not fail the run
        log.warning("W&B could not record that this run used %s: %s", path, " ".join(str(error).split()))


def log_output_artifact(logger: RunLogger | None, kind: Kind, path: Path) -> None:
    """Log that a run has made a checkpoint or predictions; the arguments are those of `log_input_artifact`."""
    if isinstance(logger, WandbLogger) and logger.register_artifact(kind, path):
        logger.experiment.log_artifact(_artifact(kind, path, logger.upload))


def _artifact(kind: Kind, path: Path, upload: bool) -> Artifact:
    """Return an artifact of the files if `upload`, otherwise of references to them, which upload nothing."""
    import wandb

    path = path.absolute()
    files = [path / name for name in _FILES[kind]] if path.is_dir() else [path]
    name = re.sub(r"[^\w.-]+", "_", f"{kind}-{path.name if path.is_dir() else path.stem}", flags=re.ASCII)
    artifact = wandb.Artifact(name[:_LONGEST], type=_TYPES[kind], metadata=_metadata(path))
    for file in files:
        if not file.is_file():
            continue
        if upload:
            artifact.add_file(str(file), policy="immutable", skip_cache=True)
        else:
            # a store's manifest holds the checksums of the files beside it, which may be terabytes
            sealed = file.parent == path and file.name != "manifest.json" and kind == "predictions"
            artifact.add_reference(file.as_uri(), name=file.name, checksum=not sealed)
    return artifact


def _metadata(folder: Path) -> dict[str, Any]:
    """Return the scalar values in the manifest of a store's folder, and the folder's path."""
    manifest: dict[str, Any] = {}
    if (folder / "manifest.json").is_file():
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    plain = {name: value for name, value in manifest.items() if isinstance(value, str | int | float)}
    plain.pop("seal", None)
    return plain | {"path": str(folder)}
