"""What `infer.py` does."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from weakspot.commands.running import opened_logger, say
from weakspot.commands.subject import check_makes, subject_of


def main(cfg: DictConfig, folder: Path) -> None:
    from rich.console import Console

    from weakspot.pipeline.checks import check
    from weakspot.pipeline.part import Part
    from weakspot.pipeline.plan import describe_plan, pull_part, pull_predictions
    from weakspot.pipeline.score import score, score_by_class
    from weakspot.tracking.scores import log_scores, scores_table, write_scores

    check_makes(cfg)
    part = None if cfg.shard is None else Part.read(cfg.shard)
    subject = subject_of(cfg)
    check(subject, "infer", cfg.upstream)
    say(describe_plan(subject, "infer", cfg.upstream, part))
    with opened_logger(cfg, folder) as logger:
        if part is not None:
            told = pull_part(subject, part, cfg.upstream, logger)
            if told is not None:  # a rank above 0 has done its share
                say(told)
            return
        predictions = pull_predictions(subject, cfg.upstream, logger)
        if predictions is None:
            return  # a rank above 0 has done its share
        scores, by_class = score(predictions, subject.data(subject.split)), score_by_class(predictions)
        write_scores(by_class, folder)
        log_scores(scores, by_class, subject.split, logger)
    say(f"predictions → {subject.predictions_folder(predictions.manifest['made_from']['weights'])}")
    say(str(predictions))
    Console().print(scores_table(scores, by_class))
