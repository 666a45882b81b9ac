"""What `discover.py slices=RUN` does: slices of an earlier run over other examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from weakspot.commands.gate import asked_gate, end, failures_of, foreseen
from weakspot.commands.running import opened_logger, report_options, say, typed_command
from weakspot.commands.subject import (
    cam_target,
    grad_cams_of,
    hidden_attributes,
    previews_of,
    rehearsed_target,
    subject_of,
)

if TYPE_CHECKING:
    from weakspot.findings import Findings, Media
    from weakspot.pipeline.carry_over import CarriedOver
    from weakspot.pipeline.runs import Run
    from weakspot.tracking.loggers import RunLogger


def carry_over_run(cfg: DictConfig, folder: Path) -> None:
    """Slices of an earlier run over other examples: those of a file, or of a split of the dataset."""
    from weakspot.pipeline.runs import Run

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
    run = Run.open(cfg.slices[0])
    if cfg.predictions:
        carry_over_to_given(cfg, folder, run)
    elif words & {"dataset", "model", "split", "checkpoint"}:
        carry_over_to_model(cfg, folder, run)
    else:
        raise ValueError(
            f"slices={cfg.slices[0]} are tested on other examples than those they were found in: add "
            "predictions=FILE, or the words of a dataset and a model (dataset=… model=… split=val)"
        )


def carry_over_to_given(cfg: DictConfig, folder: Path, run: Run) -> None:
    from weakspot.findings import Media
    from weakspot.pipeline.carry_over import carry_over
    from weakspot.pipeline.ranks import is_main
    from weakspot.predictions import Predictions
    from weakspot.tracking.lineage import log_input_artifact

    if not is_main():
        return
    say(f"predictions: given ({cfg.predictions}) · slices: given ({run.folder})")
    carried, gate = carry_over(run, Predictions.load(cfg.predictions, cfg.outputs_are)), asked_gate(cfg)
    gate.check(carried.predictions)
    previews = previews_of(cfg, carried.predictions)
    media = Media(previews.preview if previews else None)
    what, hide = f"the predictions {cfg.predictions}", carried.predictions.manifest.get("restating") or ()
    with opened_logger(cfg, folder) as logger:
        log_input_artifact(logger, "predictions", Path(cfg.predictions))
        findings = report_carried(cfg, folder, carried, what, hide, media, previews.texts, logger)
        failures = failures_of(cfg, folder, gate, findings, carried.predictions, logger)
    end(failures)


def carry_over_to_model(cfg: DictConfig, folder: Path, run: Run) -> None:
    from weakspot.findings import Media
    from weakspot.pipeline.carry_over import carry_over, check_fits, not_searched
    from weakspot.pipeline.checks import check, few_predictions
    from weakspot.pipeline.plan import describe_plan, pull_predictions

    subject = subject_of(cfg)
    data = subject.data(subject.split)
    not_searched(run, data.examples.column("id").to_pylist())
    few = few_predictions(subject)
    if few is not None:
        check_fits(run, data.task, few)
    gate = asked_gate(cfg)
    if gate.asked:
        gate.check(foreseen(subject))
    target = cam_target(cfg, subject)
    check(subject, "infer", cfg.upstream)
    say(f"{describe_plan(subject, 'infer', cfg.upstream)} · slices: given ({run.folder})")
    target = rehearsed_target(cfg, subject, target)
    with opened_logger(cfg, folder) as logger:
        pulled = pull_predictions(subject, cfg.upstream, logger)
        if pulled is None:
            return  # a rank above 0 has done its share
        carried = carry_over(run, pulled)
        media = Media(data.preview, grad_cams_of(subject, target))
        what = f"split {subject.split} of {subject.dataset.name}"
        findings = report_carried(cfg, folder, carried, what, data.restating, media, data.texts, logger)
        failures = failures_of(cfg, folder, gate, findings, carried.predictions, logger)
    end(failures)


def report_carried(
    cfg: DictConfig,
    folder: Path,
    carried: CarriedOver,
    what: str,
    restating: Sequence[str],
    media: Media,
    texts: Sequence[str] | None,
    logger: RunLogger | None,
) -> Findings:
    import numpy as np

    from weakspot.pipeline.discover import report

    left_out = f", without the {carried.left_out} examples that were searched" if carried.left_out else ""
    return report(
        carried.slices,
        carried.predictions,
        folder,
        confirm=np.ones(len(carried.predictions), dtype=bool),
        searched=carried.searched,
        source=what + left_out,
        hide=(*hidden_attributes(cfg), *restating),
        media=media.of(carried.rows.tolist()),
        texts=None if texts is None else [texts[row] for row in carried.rows],
        notes=carried.notes,
        options=report_options(cfg),
        logger=logger,
        export=cfg.export,
        command=typed_command(),
        seed=cfg.seed,
        figures=cfg.figures,
    )
