"""The command `discover.py slices=RUN`: it tests the slices of an earlier run on other examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from weakspot.commands.audit_target import (
    audited_grad_cams,
    build_audit_target,
    check_grad_cam,
    choose_cam_class,
    file_previews,
    hidden_attributes,
)
from weakspot.commands.fail_if import build_fail_if, end_if_failed, expected_predictions, find_failures
from weakspot.commands.prediction_files import check_residuals, load_predictions
from weakspot.commands.run_logging import log_on_main, open_logger
from weakspot.commands.run_outputs import build_run_outputs

if TYPE_CHECKING:
    from weakspot.findings import Findings, Media
    from weakspot.pipeline.carry_over import CarriedOver
    from weakspot.pipeline.saved_runs import SavedRun
    from weakspot.tracking.loggers import RunLogger


def carry_over_run(cfg: DictConfig, folder: Path) -> None:
    """Test the slices of an earlier run on other examples: those of a file, or of a split of the dataset.

    Raises:
        ValueError: If the settings do not name any examples, or the run's slices cannot be tested on any.
    """
    from weakspot.pipeline.carry_over import check_testable
    from weakspot.pipeline.saved_runs import SavedRun

    if len(cfg.slices) > 1:
        raise ValueError(
            f"slices={','.join(cfg.slices)}: give the folder of one run, or .pkl files of the published tool"
        )
    words = {word.partition("=")[0].split(".")[0] for word in HydraConfig.get().overrides.task}
    if "confirm" in words:
        raise ValueError(
            f"confirm={cfg.confirm}: slices of a run are tested on all of the examples that it did not search; leave "
            "it out, and give those examples (predictions=FILE, or dataset=… split=…)"
        )
    run = SavedRun.open(cfg.slices[0])
    check_testable(run)
    if cfg.predictions:
        carry_over_to_predictions(cfg, folder, run)
    elif words & {"dataset", "model", "split", "checkpoint"}:
        carry_over_to_model(cfg, folder, run)
    else:
        raise ValueError(
            f"slices={cfg.slices[0]} must be tested on examples other than those they were found in: add "
            "predictions=FILE, or a dataset and a model (dataset=… model=… split=val)"
        )


def carry_over_to_predictions(cfg: DictConfig, folder: Path, run: SavedRun) -> None:
    """Test the slices of a run on given predictions."""
    from weakspot.findings import Media
    from weakspot.pipeline.carry_over import carry_over
    from weakspot.pipeline.processes import is_main_process
    from weakspot.tracking.lineage import log_input_artifact

    if not is_main_process():
        return
    log_on_main(f"predictions: given ({cfg.predictions}) · slices: given ({run.folder})")
    p = load_predictions(cfg, cfg.predictions)
    check_residuals(cfg.predictions, p)
    carried = carry_over(run, p, run.searched_predictions(Path(cfg.predictions_dir)))
    fail_if = build_fail_if(cfg)
    fail_if.check(carried.predictions)
    hidden = hidden_attributes(cfg, p.attributes)
    previews = file_previews(cfg, p)
    media = Media(previews.preview if previews else None)
    tested_on = f"the predictions {cfg.predictions}"
    restating = (*hidden, *(p.manifest.get("restating") or ()))
    with open_logger(cfg, folder) as logger:
        log_input_artifact(logger, "predictions", Path(cfg.predictions))
        findings = report_carried_over(
            cfg, folder, carried, tested_on, restating, media, previews.texts, logger
        )
        failures = find_failures(cfg, folder, fail_if, findings, carried.predictions, logger)
    end_if_failed(fail_if, failures)


def carry_over_to_model(cfg: DictConfig, folder: Path, run: SavedRun) -> None:
    """Test the slices of a run on a split of the dataset, which is first inferred if necessary."""
    from weakspot.findings import Media
    from weakspot.pipeline.carry_over import carry_over, check_fits, check_same_embedding, rows_not_searched
    from weakspot.pipeline.checks import check_steps, predict_few_examples
    from weakspot.pipeline.upstream import describe_plan, pull_predictions

    target = build_audit_target(cfg)
    data = target.split_dataset(target.split)
    hidden = hidden_attributes(cfg, data.examples, data)
    rows_not_searched(run, data.examples.column("id").to_pylist())
    check_same_embedding(run, {"checkpoint": target.checkpoint, "embedding": target.embedding_source})
    predicted = predict_few_examples(target)
    if predicted is not None:
        check_fits(run, predicted)
    fail_if = build_fail_if(cfg)
    if fail_if.is_set:
        fail_if.check(expected_predictions(target))
    cam_class = choose_cam_class(cfg, target)
    check_steps(target, "infer", cfg.upstream)
    log_on_main(f"{describe_plan(target, 'infer', cfg.upstream)} · slices: given ({run.folder})")
    cam_class = check_grad_cam(cfg, target, cam_class)
    with open_logger(cfg, folder) as logger:
        pulled = pull_predictions(target, cfg.upstream, logger)
        if pulled is None:
            return  # ranks above 0 are done
        carried = carry_over(run, pulled, run.searched_predictions(Path(cfg.predictions_dir)))
        media = Media(data.preview, audited_grad_cams(target, cam_class))
        tested_on = f"split {target.split} of {target.dataset.name}"
        findings = report_carried_over(
            cfg, folder, carried, tested_on, (*hidden, *data.restating), media, data.texts, logger
        )
        failures = find_failures(cfg, folder, fail_if, findings, carried.predictions, logger)
    end_if_failed(fail_if, failures)


def report_carried_over(
    cfg: DictConfig,
    folder: Path,
    carried: CarriedOver,
    tested_on: str,
    restating: Sequence[str],
    media: Media,
    texts: Sequence[str] | None,
    logger: RunLogger | None,
) -> Findings:
    """Report slices that were carried over, tested on all examples that the run did not search.

    Args:
        cfg: The configuration.
        folder: The run's folder.
        carried: The slices, and the examples on which they are tested.
        tested_on: A description of these examples.
        restating: Attributes that restate the target.
        media: Previews and Grad-CAMs of all examples that were given, including those left out.
        texts: The texts of all examples that were given.
        logger: The run's logger.
    """
    import numpy as np

    from weakspot.findings.example_sets import source_without
    from weakspot.pipeline.discover import report_slices

    return report_slices(
        carried.slices,
        carried.predictions,
        folder,
        confirm=np.ones(len(carried.predictions), dtype=bool),
        searched=carried.searched,
        source=source_without(carried.left_out, tested_on),
        restating=restating,
        media=media.of(carried.rows.tolist()),
        texts=None if texts is None else [texts[row] for row in carried.rows],
        notes=carried.notes,
        outputs=build_run_outputs(cfg, logger),
        seed=cfg.seed,
    )
