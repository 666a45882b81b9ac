"""Trains a model: the command `train.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from weakspot.commands.audit_target import (
    build_audit_target,
    check_no_given_results,
    check_no_shard,
    upstream_command,
)
from weakspot.commands.run_logging import log_on_main, open_logger
from weakspot.launch.sweep_results import write_result

if TYPE_CHECKING:
    from weakspot.pipeline.audit_target import AuditTarget
    from weakspot.pipeline.reweight import Reweight
    from weakspot.tracking.loggers import RunLogger


def main(cfg: DictConfig, folder: Path) -> float | None:
    """Train the model, and return the validation loss of the kept epoch, which a sweeper may minimise."""
    from weakspot.pipeline.checkpoint_files import kept_loss
    from weakspot.pipeline.checks import check_steps
    from weakspot.pipeline.store_folders import checkpoint_folder
    from weakspot.pipeline.upstream import describe_plan, pull_checkpoint

    check_no_given_results(cfg)
    check_no_shard(cfg)
    cfg.checkpoint = "auto"  # even if the audited model is a given file
    target = build_audit_target(cfg)
    check_steps(target, "train")
    log_on_main(describe_plan(target, "train"))
    with open_logger(cfg, folder) as logger:
        checkpoint = pull_checkpoint(target, logger=logger)
        loss = kept_loss(checkpoint_folder(target))
        log_on_main(f"checkpoint → {checkpoint}" + ("" if loss is None else f" (validation loss {loss:.3g})"))
        if target.reweight is not None:
            report_effect_of_reweight(target, target.reweight, logger)
            log_on_main(f"next: `{upstream_command('discover')}` finds where this model still fails")
    write_result(folder, {"validation loss": loss})
    return loss


def report_effect_of_reweight(target: AuditTarget, reweight: Reweight, logger: RunLogger | None) -> None:
    """Show what reweighting improved, and what it cost."""
    from weakspot.pipeline.store_folders import checkpoint_folder
    from weakspot.tracking.console import output_console
    from weakspot.tracking.mended_model import log_mended, mended_table, write_mended

    mended = reweight.measure_effect(target)
    if mended is None:
        return  # ranks above 0 are done, or there is nothing to compare with
    write_mended(mended, checkpoint_folder(target))
    log_mended(mended, logger)
    output_console().print(mended_table(mended))
