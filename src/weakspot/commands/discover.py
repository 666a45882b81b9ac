"""What `discover.py` does: search in a model, in given predictions, or tell what is found already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from weakspot.commands.carry_over import carry_over_run
from weakspot.commands.compare import compare_two_runs
from weakspot.commands.gate import asked_gate, end, failures_of, foreseen
from weakspot.commands.running import opened_logger, report_options, say, typed_command
from weakspot.commands.subject import (
    cam_target,
    check_figures,
    check_whole,
    grad_cams_of,
    held_out_share,
    hidden_attributes,
    previews_of,
    rehearsed_target,
    subject_of,
)
from weakspot.config import build

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Shaped

    from weakspot.methods import Method
    from weakspot.pipeline.subject import Subject
    from weakspot.predictions import Predictions

_NOT_SET_ASIDE = (
    "Nothing was tested, for these slices were found in all of the examples (confirm=FILE tests them on other "
    "predictions of the same model)"
)

_PUBLISHED = (".pkl", ".pickle")  # files of the published Spotlight tool


def main(cfg: DictConfig, folder: Path) -> None:
    from weakspot.pipeline.export import check_export
    from weakspot.pipeline.shares import check_shares

    check_whole(cfg)
    check_export(cfg.export)
    check_figures(cfg)
    report_options(cfg)
    method: Method = build(cfg.method)()
    check_shares(method, cfg.stability, typed_command().removeprefix("python "))
    if cfg.tree:
        in_tree(cfg, folder, method)
    elif cfg.compare:
        compare_two_runs(cfg, folder)
    elif cfg.slices and all(name.endswith(_PUBLISHED) for name in cfg.slices):
        report_given(cfg, folder)
    elif cfg.slices:
        carry_over_run(cfg, folder)
    elif cfg.predictions:
        in_given(cfg, folder, method)
    else:
        in_model(cfg, folder, method)


def in_tree(cfg: DictConfig, folder: Path, method: Method) -> None:
    from weakspot.interop.udis_tree import read
    from weakspot.methods.udis import UDIS
    from weakspot.pipeline.discover import discover_in_tree
    from weakspot.pipeline.ranks import is_main

    if not is_main():
        return
    say(f"tree: given ({cfg.tree}) · discover")
    udis = method if isinstance(method, UDIS) else UDIS()
    tree = read(cfg.tree)
    udis.check(2, None)
    with opened_logger(cfg, folder) as logger:
        discover_in_tree(
            tree,
            folder,
            accuracy_threshold=udis.accuracy_threshold,
            source=str(cfg.tree),
            options=report_options(cfg),
            logger=logger,
            command=typed_command(),
            figures=cfg.figures,
        )


def in_given(cfg: DictConfig, folder: Path, method: Method) -> None:
    from weakspot.findings import Media
    from weakspot.pipeline.discover import discover
    from weakspot.pipeline.ranks import is_main
    from weakspot.pipeline.search import check_search, search
    from weakspot.pipeline.shares import is_sharded
    from weakspot.predictions import Predictions
    from weakspot.tracking.lineage import log_input_artifact

    if not (is_main() or is_sharded(method)):
        return
    say(f"predictions: given ({cfg.predictions}) · discover")
    p = Predictions.load(cfg.predictions, cfg.outputs_are)
    share, other = held_out_share(cfg), other_predictions(cfg)
    group = cfg.dataset.get("group") or p.manifest.get("group")
    come_after(cfg, method, p.ids)
    check_search(method, p.task, p.ids, p.attributes, share or 0.0, group, p.counts)
    gate = asked_gate(cfg, share)
    gate.check(p, method)
    if not is_main():
        search(method, p, share or 0.0, group=group)
        return
    previews = previews_of(cfg, p)
    with opened_logger(cfg, folder) as logger:
        log_input_artifact(logger, "predictions", Path(cfg.predictions))
        findings = discover(
            method,
            p,
            folder,
            confirm=(share or 0.0) if other is None else other,
            source="" if other is None else f"the predictions {cfg.confirm}",
            group=group,
            hide=(*hidden_attributes(cfg), *(p.manifest.get("restating") or ())),
            media=Media(previews.preview if previews else None),
            texts=previews.texts,
            options=report_options(cfg),
            logger=logger,
            export=cfg.export,
            stability=cfg.stability,
            command=typed_command(),
            seed=cfg.seed,
            figures=cfg.figures,
        )
        failures = failures_of(cfg, folder, gate, findings, p, logger)
    end(failures)


def report_given(cfg: DictConfig, folder: Path) -> None:
    from weakspot.interop.spotlight_results import read_spotlights
    from weakspot.methods import apply
    from weakspot.pipeline.discover import report
    from weakspot.pipeline.ranks import is_main
    from weakspot.predictions import Predictions
    from weakspot.tracking.lineage import log_input_artifact

    if not is_main():
        return
    names = ",".join(cfg.slices)
    if not cfg.predictions:
        raise ValueError(
            f"slices={names} are reported over what they were found in: add predictions=FILE, the inference results"
        )
    if held_out_share(cfg) and any(word.startswith("confirm=") for word in HydraConfig.get().overrides.task):
        raise ValueError(
            f"confirm={cfg.confirm} sets nothing aside, for slices={names} were found in all of the examples; "
            "leave it out, or test them on other predictions (confirm=FILE)"
        )
    say(f"predictions: given ({cfg.predictions}) · slices: given ({names})")
    p = Predictions.load(cfg.predictions, cfg.outputs_are)
    slices = read_spotlights(list(cfg.slices), p)
    other = other_predictions(cfg)
    gate = asked_gate(cfg, None if other else 0.0)
    gate.check(p)
    if other is not None:
        apply(slices, other)  # slices that cannot be applied are told before a logger opens
    with opened_logger(cfg, folder) as logger:
        log_input_artifact(logger, "predictions", Path(cfg.predictions))
        findings = report(
            slices,
            p,
            folder,
            confirm=other,
            source=_NOT_SET_ASIDE if other is None else f"the predictions {cfg.confirm}",
            hide=(*hidden_attributes(cfg), *(p.manifest.get("restating") or ())),
            options=report_options(cfg),
            logger=logger,
            export=cfg.export,
            command=typed_command(),
            seed=cfg.seed,
            figures=cfg.figures,
        )
        failures = failures_of(cfg, folder, gate, findings, p, logger)
    end(failures)


def come_after(cfg: DictConfig, method: Method, ids: Sequence[str] | Shaped[np.ndarray, " n"]) -> None:
    """Give the method the published spotlights that its own come after; they must be of the examples of these ids."""
    files = cfg.method.get("past")
    if not files:
        return
    import numpy as np

    from weakspot.interop.spotlight_results import read_spotlights
    from weakspot.predictions import Predictions

    method.set_params(
        past=read_spotlights(list(files), Predictions(np.asarray(ids), np.empty((len(ids), 0))))
    )


def in_model(cfg: DictConfig, folder: Path, method: Method) -> None:
    from weakspot.findings import Media
    from weakspot.pipeline.checks import check
    from weakspot.pipeline.discover import discover
    from weakspot.pipeline.plan import describe_plan, pull_predictions, pulled_predictions
    from weakspot.pipeline.ranks import agree
    from weakspot.pipeline.search import check_search, search
    from weakspot.pipeline.shares import is_sharded

    subject = subject_of(cfg)
    data = subject.data(subject.split)
    share, group = held_out_share(cfg), cfg.dataset.get("group") or data.group
    ids = data.examples.column("id").to_pylist()
    come_after(cfg, method, ids)
    check_search(method, data.task, ids, data.examples, share or 0.0, group)
    gate = asked_gate(cfg, share)
    if gate.asked:
        gate.check(foreseen(subject), method)
    target = cam_target(cfg, subject)
    other = None if share is not None else other_split(cfg, subject)
    for audited in [subject] if other is None else [subject, other]:
        check(audited, "infer", cfg.upstream)
    say(describe_plan(subject, "discover", cfg.upstream))
    target = rehearsed_target(cfg, subject, target)
    with opened_logger(cfg, folder) as logger:
        pulled = pull_predictions(subject, cfg.upstream, logger)
        tested = None if other is None else pull_predictions(other, cfg.upstream, logger)
        if is_sharded(method):  # rank 0 joins the record when the others have left it already
            agree("joined", lambda: True)
        if pulled is None:  # a rank above 0 has done its share, but for that of the search
            if is_sharded(method):
                search(method, pulled_predictions(subject), share or 0.0, group=group)
            return
        findings = discover(
            method,
            pulled,
            folder,
            confirm=(share or 0.0) if tested is None else tested,
            source="" if other is None else f"split {cfg.confirm}",
            group=group,
            hide=(*hidden_attributes(cfg), *data.restating),
            media=Media(data.preview, grad_cams_of(subject, target)),
            texts=data.texts,
            options=report_options(cfg),
            logger=logger,
            export=cfg.export,
            stability=cfg.stability,
            command=typed_command(),
            seed=cfg.seed,
            figures=cfg.figures,
        )
        failures = failures_of(cfg, folder, gate, findings, pulled, logger)
    end(failures)


def other_predictions(cfg: DictConfig) -> Predictions | None:
    """The predictions that `confirm=` names, beside given ones; None where it is a share."""
    from weakspot.predictions import Predictions

    if held_out_share(cfg) is not None:
        return None
    path = Path(str(cfg.confirm))
    if path.exists() and path.samefile(cfg.predictions):
        raise ValueError(f"confirm={cfg.confirm} are the predictions that slices come from; choose others")
    return Predictions.load(path, None if path.is_dir() else cfg.outputs_are)


def other_split(cfg: DictConfig, subject: Subject) -> Subject:
    """The split that `confirm=` names, of the same model."""
    splits = [split for split in subject.data(subject.split).splits if split != subject.split]
    if cfg.confirm == subject.split:
        raise ValueError(
            f"confirm={cfg.confirm} is the split that is searched; choose another, or a share (confirm=0.5)"
        )
    if cfg.confirm not in splits:
        raise ValueError(
            f"confirm={cfg.confirm!r} is neither a share of the examples (confirm=0.5), nor another split "
            f"({', '.join(splits)}), nor 0 to test nothing"
        )
    return replace(subject, split=cfg.confirm)
