"""What `fail_if.…` asks of a run of `discover.py`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from weakspot.commands.running import typed_command
from weakspot.launch import fail

if TYPE_CHECKING:
    from weakspot.findings import Findings
    from weakspot.pipeline.gate import Gate
    from weakspot.pipeline.subject import Subject
    from weakspot.predictions import Predictions
    from weakspot.tracking.loggers import RunLogger


def asked_gate(cfg: DictConfig, share: float | None = 0.5) -> Gate:
    """What the run is to fail for.

    Args:
        cfg: The configuration.
        share: Of the examples that are held out; None where others are tested on.
    """
    from weakspot.pipeline.gate import Gate
    from weakspot.pipeline.runs import Run

    least, baseline = cfg.fail_if.accuracy_below, cfg.fail_if.new_against
    if share == 0 and (least is not None or baseline is not None):
        raise ValueError(
            "fail_if is decided on examples that no slice was sought in, and nothing is tested here (confirm=0.5)"
        )
    if share is None and baseline is not None:
        raise ValueError(
            f"fail_if.new_against={baseline} needs examples of the same set that no slice was sought in: hold some out "
            "(confirm=0.5)"
        )
    return Gate(least, None if baseline is None else Run.open(baseline).reading(Path(cfg.predictions_dir)))


def foreseen(subject: Subject) -> Predictions:
    """What is known of predictions before they are made: the examples, their labels and the task."""
    import numpy as np

    from weakspot.pipeline.checks import few_predictions
    from weakspot.predictions import Predictions

    data = subject.data(subject.split)
    ids = np.asarray(data.examples.column("id").to_pylist())
    few = few_predictions(subject)
    width = subject.build_model().embedding_size if few is None else few.embeddings.shape[1]
    nowhere = np.broadcast_to(np.zeros(width), (len(ids), width))
    attributes = data.examples.drop_columns(["id"])
    return Predictions(ids, nowhere, labels=np.asarray(data.targets), attributes=attributes, task=data.task)


def failures_of(
    cfg: DictConfig,
    folder: Path,
    gate: Gate,
    findings: Findings,
    p: Predictions,
    logger: RunLogger | None,
) -> list[str]:
    """What the run is to fail for, of what it has found and left in its folder."""
    from weakspot.findings.compare_slices import RunToCompare
    from weakspot.pipeline.compare import compare_runs
    from weakspot.pipeline.runs import Run

    found = gate.failures(findings)
    if gate.new_against is None:
        return found
    made = Run.open(folder)
    after = RunToCompare(str(folder), made.slices, p, made.findings)
    comparison = compare_runs(
        gate.new_against, after, folder, logger=logger, command=typed_command(), seed=cfg.seed
    )
    return [*found, *replace(gate, accuracy_below=None).failures_of(comparison)]


def end(failures: list[str]) -> None:
    """End the run with exit code 3 if it found what it was to fail for."""
    from weakspot.pipeline.gate import sentence

    if failures:
        fail(sentence(failures))
