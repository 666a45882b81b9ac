"""The command `discover.py`: it searches a model's predictions or given ones, or reports existing slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from weakspot import plugins
from weakspot.commands.audit_target import (
    audited_grad_cams,
    build_audit_target,
    check_grad_cam,
    check_no_shard,
    choose_cam_class,
    file_previews,
    held_out_share,
    hidden_attributes,
)
from weakspot.commands.carry_over import carry_over_run
from weakspot.commands.compare import compare_two_runs
from weakspot.commands.fail_if import build_fail_if, end_if_failed, expected_predictions, find_failures
from weakspot.commands.prediction_files import check_residuals, load_predictions
from weakspot.commands.run_logging import log_on_main, open_logger, typed_command
from weakspot.commands.run_outputs import build_run_outputs, check_run_outputs
from weakspot.config.build import build
from weakspot.seeds import check_seed

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Shaped

    from weakspot.methods import Method
    from weakspot.pipeline.audit_target import AuditTarget
    from weakspot.predictions import Predictions

_NOTHING_HELD_OUT = (
    "Nothing was tested, because these slices were found in all of the examples (confirm=FILE tests them on other "
    "predictions of the same model)"
)

_PUBLISHED = (".pkl", ".pickle")  # files of the published Spotlight tool


def main(cfg: DictConfig, folder: Path) -> None:
    """Run the discovery that the configuration describes."""
    from weakspot.methods import Method
    from weakspot.pipeline.sharded_search import check_sharded_search

    check_no_shard(cfg)
    check_run_outputs(cfg)
    check_seeds_and_stability(cfg)
    method: Method = build(cfg.method, kind=Method)()
    check_method_word(HydraConfig.get().runtime.choices["method"], cfg.method._target_, method)
    check_sharded_search(method, cfg.stability, typed_command().removeprefix("python "))
    if cfg.tree:
        report_tree_file(cfg, folder, method)
    elif cfg.compare:
        compare_two_runs(cfg, folder)
    elif cfg.slices and all(name.endswith(_PUBLISHED) for name in cfg.slices):
        report_published_spotlights(cfg, folder)
    elif cfg.slices:
        carry_over_run(cfg, folder)
    elif cfg.predictions:
        discover_in_predictions(cfg, folder, method)
    else:
        discover_in_model(cfg, folder, method)


def check_method_word(word: str, target: str, method: Method) -> None:
    """Check that a plug-in's class has the `word` by which it was chosen, because its saved slices are applied by it.

    Raises:
        ValueError: If it has another, or none.
    """
    from weakspot.methods.registry import wrong_name_error

    if plugins.method_target(word) == target and getattr(type(method), "word", None) != word:
        raise wrong_name_error(target, word)


def check_seeds_and_stability(cfg: DictConfig) -> None:
    """Check the run's seed, the method's seed and `stability`.

    Raises:
        ValueError: If a seed is invalid, or `stability` is negative.
    """
    check_seed("seed", cfg.seed)
    if isinstance(cfg.method.get("seed"), int):
        check_seed("method.seed", cfg.method.seed)
    if cfg.stability < 0:
        raise ValueError(f"stability={cfg.stability} must be 0 (not measured) or how often to fit again")


def report_tree_file(cfg: DictConfig, folder: Path, method: Method) -> None:
    """Report a cluster tree of the published UDIS tool."""
    from weakspot.interop.udis_tree import read
    from weakspot.methods.udis import UDIS
    from weakspot.pipeline.discover import report_tree
    from weakspot.pipeline.processes import is_main_process

    if not is_main_process():
        return
    log_on_main(f"tree: given ({cfg.tree}) · discover")
    udis = method if isinstance(method, UDIS) else UDIS()
    tree = read(cfg.tree)
    udis.check(2, None)
    with open_logger(cfg, folder) as logger:
        report_tree(
            tree,
            folder,
            accuracy_threshold=udis.accuracy_threshold,
            source=str(cfg.tree),
            outputs=build_run_outputs(cfg, logger),
        )


def discover_in_predictions(cfg: DictConfig, folder: Path, method: Method) -> None:
    """Search given predictions."""
    from weakspot.findings import Media
    from weakspot.pipeline.discover import discover
    from weakspot.pipeline.processes import is_main_process
    from weakspot.pipeline.search import check_search, search
    from weakspot.pipeline.sharded_search import is_sharded
    from weakspot.tracking.lineage import log_input_artifact

    if not (is_main_process() or is_sharded(method)):
        return
    log_on_main(f"predictions: given ({cfg.predictions}) · discover")
    p = load_predictions(cfg, cfg.predictions)
    check_residuals(cfg.predictions, p)
    _check_record(cfg.predictions, p, method)
    hidden = hidden_attributes(cfg, p.attributes)
    share = held_out_share(cfg)
    other = load_test_predictions(cfg, p)  # checked even if nothing is tested
    if not method.testable:
        other = None
    if other is not None:
        check_residuals(cfg.confirm, other)
        _check_same_width(cfg, method, p, other)
    group = cfg.dataset.get("group") or p.manifest.get("group")
    set_past_spotlights(cfg, method, p.ids)
    check_search(method, p.task, p.ids, p.attributes, share or 0.0, group, p.counts)
    fail_if = build_fail_if(cfg, share)
    fail_if.check(p, method)
    if other is not None:
        fail_if.check_measures(other)
    if not is_main_process():
        search(method, p, share or 0.0, group=group)
        return
    previews = file_previews(cfg, p)
    with open_logger(cfg, folder) as logger:
        log_input_artifact(logger, "predictions", Path(cfg.predictions))
        findings = discover(
            method,
            p,
            folder,
            confirm=(share or 0.0) if other is None else other,
            source="" if other is None else f"the predictions {cfg.confirm}",
            group=group,
            restating=(*hidden, *(p.manifest.get("restating") or ())),
            media=Media(previews.preview if previews else None),
            texts=previews.texts,
            stability=cfg.stability,
            outputs=build_run_outputs(cfg, logger),
            seed=cfg.seed,
        )
        failures = find_failures(cfg, folder, fail_if, findings, p, logger)
    end_if_failed(fail_if, failures)


def report_published_spotlights(cfg: DictConfig, folder: Path) -> None:
    """Report spotlights of the published tool on the predictions in which they were found."""
    from weakspot.interop.spotlight_results import read_spotlights
    from weakspot.methods import apply
    from weakspot.pipeline.discover import report_slices
    from weakspot.pipeline.processes import is_main_process
    from weakspot.tracking.lineage import log_input_artifact

    if not is_main_process():
        return
    names = ",".join(cfg.slices)
    if not cfg.predictions:
        raise ValueError(
            f"slices={names} are reported on the predictions they were found in: add predictions=FILE, the inference "
            "results"
        )
    if held_out_share(cfg) and any(word.startswith("confirm=") for word in HydraConfig.get().overrides.task):
        raise ValueError(
            f"confirm={cfg.confirm} holds nothing out, because slices={names} were found in all of the examples; "
            "leave it out, or test them on other predictions (confirm=FILE)"
        )
    log_on_main(f"predictions: given ({cfg.predictions}) · slices: given ({names})")
    p = load_predictions(cfg, cfg.predictions)
    hidden = hidden_attributes(cfg, p.attributes)
    slices = read_spotlights(list(cfg.slices), p)
    other = load_test_predictions(cfg, p)
    fail_if = build_fail_if(cfg, None if other else 0.0)
    fail_if.check(p)
    if other is not None:
        fail_if.check_measures(other)
        apply(slices, other)  # refuses slices that cannot be applied before a logger opens
    with open_logger(cfg, folder) as logger:
        log_input_artifact(logger, "predictions", Path(cfg.predictions))
        findings = report_slices(
            slices,
            p,
            folder,
            confirm=other,
            source=_NOTHING_HELD_OUT if other is None else f"the predictions {cfg.confirm}",
            restating=(*hidden, *(p.manifest.get("restating") or ())),
            outputs=build_run_outputs(cfg, logger),
            seed=cfg.seed,
        )
        failures = find_failures(cfg, folder, fail_if, findings, p, logger)
    end_if_failed(fail_if, failures)


def set_past_spotlights(
    cfg: DictConfig, method: Method, ids: Sequence[str] | Shaped[np.ndarray, " n"]
) -> None:
    """Give the method the published spotlights of `method.past`, which precede its own spotlights.

    Args:
        cfg: The configuration.
        method: The method.
        ids: (n,) ids of the examples, in which the spotlights must have been found.
    """
    files = cfg.method.get("past")
    if not files:
        return
    import numpy as np

    from weakspot.interop.spotlight_results import read_spotlights
    from weakspot.predictions import Predictions

    method.set_params(
        past=read_spotlights(list(files), Predictions(np.asarray(ids), np.empty((len(ids), 0))))
    )


def discover_in_model(cfg: DictConfig, folder: Path, method: Method) -> None:
    """Search the predictions of a model, which is first trained and inferred if necessary."""
    from weakspot.findings import Media
    from weakspot.pipeline.checks import check_steps
    from weakspot.pipeline.discover import discover
    from weakspot.pipeline.processes import broadcast_decision
    from weakspot.pipeline.search import check_search, search
    from weakspot.pipeline.sharded_search import is_sharded
    from weakspot.pipeline.upstream import describe_plan, pull_predictions, read_pulled_predictions

    target = build_audit_target(cfg)
    data = target.split_dataset(target.split)
    hidden = hidden_attributes(cfg, data.examples, data)
    share, group = held_out_share(cfg), cfg.dataset.get("group") or data.group
    ids = data.examples.column("id").to_pylist()
    set_past_spotlights(cfg, method, ids)
    check_search(method, data.task, ids, data.examples, share or 0.0, group)
    fail_if = build_fail_if(cfg, share)
    if fail_if.is_set:
        fail_if.check(expected_predictions(target), method)
    cam_class = choose_cam_class(cfg, target)
    other = test_split_target(cfg, target) if share is None else None
    if not method.testable:  # `confirm` has been checked even so
        other = None
    for audited in [target] if other is None else [target, other]:
        check_steps(audited, "infer", cfg.upstream)
    log_on_main(describe_plan(target, "discover", cfg.upstream))
    cam_class = check_grad_cam(cfg, target, cam_class)
    with open_logger(cfg, folder) as logger:
        pulled = pull_predictions(target, cfg.upstream, logger)
        tested = None if other is None else pull_predictions(other, cfg.upstream, logger)
        if is_sharded(method):  # the other ranks wait until rank 0 has joined the predictions
            broadcast_decision("joined", lambda: True)
        if pulled is None:  # ranks above 0 only have to search
            if is_sharded(method):
                search(method, read_pulled_predictions(target), share or 0.0, group=group)
            return
        findings = discover(
            method,
            pulled,
            folder,
            confirm=(share or 0.0) if tested is None else tested,
            source="" if other is None else f"split {cfg.confirm}",
            group=group,
            restating=(*hidden, *data.restating),
            media=Media(data.preview, audited_grad_cams(target, cam_class)),
            texts=data.texts,
            stability=cfg.stability,
            outputs=build_run_outputs(cfg, logger),
            seed=cfg.seed,
        )
        failures = find_failures(cfg, folder, fail_if, findings, pulled, logger)
    end_if_failed(fail_if, failures)


def _check_record(file: str, p: Predictions, method: Method) -> None:
    """Raise ValueError, with the file's name, if the method would reject what the predictions hold."""
    try:
        method.check_record(p.take([0]))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _check_same_width(cfg: DictConfig, method: Method, p: Predictions, other: Predictions) -> None:
    """Raise ValueError, before the search, if slices of these embeddings cannot be applied to the others."""
    width, other_width = p.embeddings.shape[1], other.embeddings.shape[1]
    if method.in_embeddings and width != other_width:
        raise ValueError(
            f"confirm={cfg.confirm} has embeddings of {other_width} dimensions, and predictions={cfg.predictions} of "
            f"{width}: give predictions of the same model"
        )


def load_test_predictions(cfg: DictConfig, searched: Predictions) -> Predictions | None:
    """Return the predictions that `confirm=` names; None if it is a share.

    Raises:
        ValueError: If slices of the searched predictions cannot be tested on them.
    """
    from weakspot.predictions import Predictions
    from weakspot.predictions.other_examples import examples_to_test

    if held_out_share(cfg) is not None:
        return None
    path = Path(str(cfg.confirm))
    if not path.exists() and not path.suffix:
        raise ValueError(
            f"confirm={cfg.confirm} is not a file, and predictions={cfg.predictions} has no splits: name a file of "
            "predictions to test on (confirm=other.npz), a share of these (confirm=0.5), or 0 to test nothing"
        )
    if path.exists() and path.samefile(cfg.predictions):
        raise ValueError(
            f"confirm={cfg.confirm} is the file of predictions in which the slices are found; choose another"
        )
    other = Predictions.load(path) if path.is_dir() else load_predictions(cfg, path)
    examples_to_test(other, searched)
    return other


def test_split_target(cfg: DictConfig, target: AuditTarget) -> AuditTarget:
    """Return the same model on the split that `confirm=` names."""
    splits = [split for split in target.split_dataset(target.split).splits if split != target.split]
    advisable = [split for split in splits if split != "train"]  # the model may have memorised it
    if cfg.confirm == target.split:
        raise ValueError(
            f"confirm={cfg.confirm} is the split that is searched; choose another, or a share (confirm=0.5)"
        )
    if cfg.confirm not in splits:
        raise ValueError(
            f"confirm={cfg.confirm!r} is neither a share of the examples (confirm=0.5), nor another split "
            f"({', '.join(advisable or splits)}), nor 0 to test nothing"
        )
    return replace(target, split=cfg.confirm)
