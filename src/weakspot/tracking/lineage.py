"""Which checkpoint and which predictions a run has read or made, so that W&B can draw runs as a graph.

What lies in a store is named by its folder, which its contents decide. So a run that reads it names the same artifact
as the run that made it, online or offline, today or later.
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

_TYPES = {"checkpoint": "model", "predictions": "predictions"}  # W&B's registry asks for models by that word
_FILES = {
    "checkpoint": ("manifest.json", "model.ckpt"),
    "predictions": ("manifest.json", "arrays.safetensors", "records.parquet"),
}
_LONGEST = 128  # name that W&B takes


def used(logger: RunLogger | None, kind: Kind, path: Path) -> None:
    """Say that the run has read this.

    Args:
        logger: The run's; all but W&B's ignore it.
        kind: What it is.
        path: A folder of the store, or a file that was given.
    """
    if not isinstance(logger, WandbLogger) or not logger.first_mention(kind, path):
        return
    import wandb

    run, artifact = logger.experiment, _artifact(kind, path, logger.upload)
    try:
        if run.offline:
            # `run.use_artifact` refuses to work offline; this writes the record that it would, to be synced later
            run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
        else:
            run.use_artifact(artifact)
    except (wandb.Error, ValueError) as error:  # the graph is not worth a run
        log.warning("W&B does not know that this run used %s: %s", path, " ".join(str(error).split()))


def made(logger: RunLogger | None, kind: Kind, path: Path) -> None:
    """Say that the run has made this; the arguments are those of `used`."""
    if isinstance(logger, WandbLogger) and logger.first_mention(kind, path):
        logger.experiment.log_artifact(_artifact(kind, path, logger.upload))


def _artifact(kind: Kind, path: Path, upload: bool) -> Artifact:
    """Of the files themselves, or by default of references to where they lie, which send nothing."""
    import wandb

    path = path.absolute()
    files = [path / name for name in _FILES[kind]] if path.is_dir() else [path]
    name = re.sub(r"[^\w.-]+", "_", f"{kind}-{path.name if path.is_dir() else path.stem}", flags=re.ASCII)
    artifact = wandb.Artifact(name[:_LONGEST], type=_TYPES[kind], metadata=_facts(path))
    for file in files:
        if not file.is_file():
            continue
        if upload:
            artifact.add_file(str(file), policy="immutable", skip_cache=True)
        else:
            # a store's manifest holds the checksums of what lies beside it, which may be terabytes
            sealed = file.parent == path and file.name != "manifest.json" and kind == "predictions"
            artifact.add_reference(file.as_uri(), name=file.name, checksum=not sealed)
    return artifact


def _facts(folder: Path) -> dict[str, Any]:
    """What the manifest of a store's folder says in single values, and where the folder is."""
    told: dict[str, Any] = {}
    if (folder / "manifest.json").is_file():
        told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    plain = {name: value for name, value in told.items() if isinstance(value, str | int | float)}
    plain.pop("seal", None)
    return plain | {"path": str(folder)}
