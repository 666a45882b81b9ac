"""The conditions of `fail_if.…` for a run of `discover.py`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from weakspot.commands.run_logging import log_on_main, typed_command
from weakspot.launch.job_errors import job_error
from weakspot.launch.sweep_results import STOPPED, write_outcome

if TYPE_CHECKING:
    from weakspot.findings import Findings
    from weakspot.pipeline.audit_target import AuditTarget
    from weakspot.pipeline.fail_if import FailIf
    from weakspot.predictions import Predictions
    from weakspot.tracking.loggers import RunLogger

_EXIT_CODE = 3  # of a run that meets a condition of fail_if


def build_fail_if(cfg: DictConfig, share: float | None = 0.5) -> FailIf:
    """Return the conditions under which the run fails.

    Args:
        cfg: The configuration.
        share: The share of the examples that are held out; None if slices are tested on other examples.

    Raises:
        ValueError: If nothing is tested, so that the conditions cannot be decided.
    """
    from weakspot.pipeline.fail_if import FailIf
    from weakspot.pipeline.saved_runs import SavedRun

    minimum, maximum, baseline = (
        cfg.fail_if.accuracy_below,
        cfg.fail_if.error_above,
        cfg.fail_if.new_against,
    )
    if share == 0 and any(one is not None for one in (minimum, maximum, baseline)):
        cause = "the slices were found in all of them; test them on other predictions (confirm=FILE)"
        if cfg.confirm == 0:
            cause = f"of confirm={cfg.confirm}; use confirm=0.5"
        raise ValueError(
            f"fail_if is decided on examples that were not searched, and nothing is tested here, because {cause}"
        )
    if share is None and baseline is not None:
        raise ValueError(
            f"fail_if.new_against={baseline} needs examples of the same set that were not searched: hold some out "
            "(confirm=0.5)"
        )
    return FailIf(
        minimum,
        maximum,
        None if baseline is None else SavedRun.open(baseline).run_to_compare(Path(cfg.predictions_dir)),
    )


def expected_predictions(target: AuditTarget) -> Predictions:
    """Return what is known about predictions before they are made: the examples, their labels and the task."""
    import numpy as np

    from weakspot.pipeline.checks import predict_few_examples
    from weakspot.predictions import Predictions

    data = target.split_dataset(target.split)
    ids = np.asarray(data.examples.column("id").to_pylist())
    predicted = predict_few_examples(target)
    dimensions = target.build_model().embedding_size if predicted is None else predicted.embeddings.shape[1]
    embeddings = np.broadcast_to(np.zeros(dimensions), (len(ids), dimensions))
    attributes = data.examples.drop_columns(["id"])
    return Predictions(
        ids, embeddings, labels=np.asarray(data.targets), attributes=attributes, task=data.task
    )


def find_failures(
    cfg: DictConfig,
    folder: Path,
    fail_if: FailIf,
    findings: Findings,
    p: Predictions,
    logger: RunLogger | None,
) -> list[str]:
    """Return a description of each failed condition, once the run's results are saved.

    Args:
        cfg: The configuration.
        folder: The run's folder.
        fail_if: The conditions.
        findings: The run's findings.
        p: The predictions that it searched.
        logger: The run's logger.
    """
    from weakspot.pipeline.compare import compare_runs
    from weakspot.pipeline.saved_runs import SavedRun

    failures = fail_if.failures(findings)
    if fail_if.new_against is None:
        return failures
    after = SavedRun.open(folder).run_to_compare_from(p)
    comparison = compare_runs(
        fail_if.new_against, after, folder, logger=logger, command=typed_command(), seed=cfg.seed
    )
    return [
        *failures,
        *replace(fail_if, accuracy_below=None, error_above=None).comparison_failures(comparison),
    ]


def end_if_failed(fail_if: FailIf, failures: list[str]) -> None:
    """End the run with exit code 3 if there are failures; otherwise log that it has passed."""
    if failures:
        lines = "\n".join(failures)
        write_outcome(STOPPED, lines)
        raise job_error("fail_if:\n" + indent(lines, "  "), _EXIT_CODE)
    if fail_if.is_set:
        log_on_main(fail_if.describe_pass())
