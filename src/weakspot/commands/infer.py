"""Runs a model over a split and stores its predictions: the command `infer.py`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from weakspot.commands.audit_target import build_audit_target, check_no_given_results
from weakspot.commands.run_logging import log_on_main, open_logger
from weakspot.launch.sweep_results import write_result


def main(cfg: DictConfig, folder: Path) -> None:
    """Infer a split, or one shard of it, and show the scores."""
    from weakspot.pipeline.checks import check_steps
    from weakspot.pipeline.job_shard import JobShard
    from weakspot.pipeline.model_scores import score, score_by_class
    from weakspot.pipeline.store_folders import predictions_folder
    from weakspot.pipeline.upstream import describe_plan, pull_predictions, pull_shard
    from weakspot.tracking.console import output_console
    from weakspot.tracking.score_reports import log_scores, scores_table, write_scores

    check_no_given_results(cfg)
    shard = None if cfg.shard is None else JobShard.parse(cfg.shard)
    target = build_audit_target(cfg)
    check_steps(target, "infer", cfg.upstream)
    log_on_main(describe_plan(target, "infer", cfg.upstream, shard))
    with open_logger(cfg, folder) as logger:
        if shard is not None:
            progress = pull_shard(target, shard, cfg.upstream, logger)
            if progress is not None:  # ranks above 0 are done
                log_on_main(progress)
            return
        predictions = pull_predictions(target, cfg.upstream, logger)
        if predictions is None:
            return  # ranks above 0 are done
        scores, by_class = score(predictions, target.split_dataset(target.split)), score_by_class(predictions)
        write_scores(by_class, folder)
        write_result(folder, scores)
        log_scores(scores, by_class, target.split, logger)
    log_on_main(f"predictions → {predictions_folder(target, predictions.manifest['made_from']['weights'])}")
    log_on_main(str(predictions))
    output_console().print(scores_table(scores, by_class))
