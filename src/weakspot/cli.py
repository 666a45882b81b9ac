"""The functions behind train.py, infer.py, discover.py, browse.py and the console scripts; configuration stops here."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from weakspot.config import build, dataset_alone, plain
from weakspot.launch import CONFIG, begin, fail, run
from weakspot.signals import Interrupted

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Shaped
    from pytorch_lightning.loggers import Logger

    from weakspot.findings import Findings, Media
    from weakspot.methods import Method
    from weakspot.pipeline.cams import GradCams
    from weakspot.pipeline.carry_over import CarriedOver
    from weakspot.pipeline.gate import Gate
    from weakspot.pipeline.plan import Subject
    from weakspot.pipeline.reweight import Reweight
    from weakspot.pipeline.runs import Run
    from weakspot.predictions import Predictions
    from weakspot.report.server import BoundedServer

log = logging.getLogger(__name__)


# Where a trainer runs makes no difference to what it makes.
_PLACES = {
    "accelerator",
    "devices",
    "strategy",
    "num_nodes",
    "enable_progress_bar",
    "enable_model_summary",
}


_PUBLISHED = (".pkl", ".pickle")  # files of the published Spotlight tool

_NOT_SET_ASIDE = (
    "Nothing was tested, for these slices were found in all of the examples (confirm=FILE tests them on other "
    "predictions of the same model)"
)


def train() -> None:
    run("train", _train)


def infer() -> None:
    run("infer", _infer)


def discover() -> None:
    run("discover", _discover)


def browse() -> None:
    run("browse", _browse)


def _train(cfg: DictConfig, folder: Path) -> None:
    from weakspot.pipeline.checks import check
    from weakspot.pipeline.plan import describe_plan, pull_checkpoint

    _check_makes(cfg)
    cfg.checkpoint = "auto"  # also where the audited model would be a given one
    subject = _subject(cfg)
    check(subject, "train")
    _say(describe_plan(subject, "train"))
    with _logger(cfg, folder) as logger:
        checkpoint = pull_checkpoint(subject, logger=logger)
        _say(f"checkpoint → {checkpoint}")
        if subject.reweight is not None:
            _compare(subject, subject.reweight, logger)


def _compare(subject: Subject, reweight: Reweight, logger: Logger | None) -> None:
    """Say what mending did, and what it cost."""
    from rich.console import Console

    from weakspot.tracking.mended import log_mended, mended_table, write_mended

    mended = reweight.compared(subject)
    if mended is None:
        return  # a rank above 0 has done its share, or there is nothing to compare with
    write_mended(mended, subject.checkpoint_folder())
    log_mended(mended, logger)
    Console().print(mended_table(mended))


def _infer(cfg: DictConfig, folder: Path) -> None:
    from rich.console import Console

    from weakspot.pipeline.checks import check
    from weakspot.pipeline.plan import describe_plan, pull_predictions
    from weakspot.pipeline.score import score, score_by_class
    from weakspot.tracking.scores import log_scores, scores_table, write_scores

    _check_makes(cfg)
    subject = _subject(cfg)
    check(subject, "infer", cfg.upstream)
    _say(describe_plan(subject, "infer", cfg.upstream))
    with _logger(cfg, folder) as logger:
        predictions = pull_predictions(subject, cfg.upstream, logger)
        if predictions is None:
            return  # a rank above 0 has done its share
        scores, by_class = score(predictions, subject.data(subject.split)), score_by_class(predictions)
        write_scores(by_class, folder)
        log_scores(scores, by_class, subject.split, logger)
    _say(f"predictions → {subject.predictions_folder(predictions.manifest['made_from']['weights'])}")
    _say(str(predictions))
    Console().print(scores_table(scores, by_class))


def _discover(cfg: DictConfig, folder: Path) -> None:
    method: Method = build(cfg.method)()
    if cfg.tree:
        _discover_in_tree(cfg, folder, method)
    elif cfg.compare:
        _compare_runs(cfg, folder)
    elif cfg.slices and all(name.endswith(_PUBLISHED) for name in cfg.slices):
        _report_given(cfg, folder)
    elif cfg.slices:
        _carry_over(cfg, folder)
    elif cfg.predictions:
        _discover_in_given(cfg, folder, method)
    else:
        _discover_in_model(cfg, folder, method)


def _discover_in_tree(cfg: DictConfig, folder: Path, method: Method) -> None:
    from weakspot.methods.udis import UDIS
    from weakspot.methods.udis.published import read
    from weakspot.pipeline.discover import discover_in_tree
    from weakspot.pipeline.ranks import is_main

    if not is_main():
        return
    _say(f"tree: given ({cfg.tree}) · discover")
    udis = method if isinstance(method, UDIS) else UDIS()
    tree = read(cfg.tree)
    udis.check(2, None)
    with _logger(cfg, folder) as logger:
        discover_in_tree(
            tree,
            folder,
            accuracy_threshold=udis.accuracy_threshold,
            source=str(cfg.tree),
            logger=logger,
            command=_command(),
        )


def _discover_in_given(cfg: DictConfig, folder: Path, method: Method) -> None:
    from weakspot.pipeline.discover import discover
    from weakspot.pipeline.ranks import is_main
    from weakspot.pipeline.search import check_search
    from weakspot.predictions import Predictions

    if not is_main():
        return
    _say(f"predictions: given ({cfg.predictions}) · discover")
    p = Predictions.load(cfg.predictions, cfg.outputs_are)
    share, other = _share(cfg), _other_predictions(cfg)
    group = cfg.dataset.get("group") or p.manifest.get("group")
    _come_after(cfg, method, p.ids)
    check_search(method, p.task, p.ids, p.attributes, share or 0.0, group, p.counts)
    gate = _gate(cfg, share)
    gate.check(p, method)
    with _logger(cfg, folder) as logger:
        findings = discover(
            method,
            p,
            folder,
            confirm=(share or 0.0) if other is None else other,
            source="" if other is None else f"the predictions {cfg.confirm}",
            group=group,
            hide=(*_hidden(cfg), *(p.manifest.get("restating") or ())),
            logger=logger,
            stability=cfg.stability,
            command=_command(),
            seed=cfg.seed,
        )
        failures = _failures(cfg, folder, gate, findings, p, logger)
    _end(failures)


def _report_given(cfg: DictConfig, folder: Path) -> None:
    from weakspot.methods import apply
    from weakspot.pipeline.discover import report
    from weakspot.pipeline.ranks import is_main
    from weakspot.predictions import Predictions
    from weakspot.slices.published import read_spotlights

    if not is_main():
        return
    names = ",".join(cfg.slices)
    if not cfg.predictions:
        raise ValueError(
            f"slices={names} are reported over what they were found in: add predictions=FILE, the inference results"
        )
    if _share(cfg) and any(word.startswith("confirm=") for word in HydraConfig.get().overrides.task):
        raise ValueError(
            f"confirm={cfg.confirm} sets nothing aside, for slices={names} were found in all of the examples; "
            "leave it out, or test them on other predictions (confirm=FILE)"
        )
    _say(f"predictions: given ({cfg.predictions}) · slices: given ({names})")
    p = Predictions.load(cfg.predictions, cfg.outputs_are)
    slices = read_spotlights(list(cfg.slices), p)
    other = _other_predictions(cfg)
    gate = _gate(cfg, None if other else 0.0)
    gate.check(p)
    if other is not None:
        apply(slices, other)  # slices that cannot be applied are told before a logger opens
    with _logger(cfg, folder) as logger:
        findings = report(
            slices,
            p,
            folder,
            confirm=other,
            source=_NOT_SET_ASIDE if other is None else f"the predictions {cfg.confirm}",
            hide=(*_hidden(cfg), *(p.manifest.get("restating") or ())),
            logger=logger,
            command=_command(),
            seed=cfg.seed,
        )
        failures = _failures(cfg, folder, gate, findings, p, logger)
    _end(failures)


def _compare_runs(cfg: DictConfig, folder: Path) -> None:
    """What is fixed, persists and is new between two earlier runs."""
    from weakspot.findings.comparing import check_comparable
    from weakspot.pipeline.compare import compare_runs
    from weakspot.pipeline.gate import Gate
    from weakspot.pipeline.ranks import is_main
    from weakspot.pipeline.runs import Run

    if not is_main():
        return
    if len(cfg.compare) != 2 or len({Path(name).resolve() for name in cfg.compare}) != 2:
        raise ValueError(
            f"compare=[{','.join(cfg.compare)}] takes the folders of two runs, the earlier one first"
        )
    baseline = cfg.fail_if.new_against
    if baseline is not None and Path(baseline).resolve() != Path(cfg.compare[0]).resolve():
        raise ValueError(
            f"fail_if.new_against={baseline}: what is new in {cfg.compare[1]} is told against {cfg.compare[0]}; "
            f"write fail_if.new_against={cfg.compare[0]}"
        )
    before, after = (Run.open(name).reading(Path(cfg.predictions_dir)) for name in cfg.compare)
    check_comparable(before, after)
    gate = Gate(cfg.fail_if.accuracy_below, None if baseline is None else before)
    gate.check(after.predictions)
    _say(f"compare: {before.run} → {after.run}")
    with _logger(cfg, folder) as logger:
        comparison = compare_runs(before, after, folder, logger=logger, command=_command(), seed=cfg.seed)
    _end(gate.failures_of(comparison))


def _carry_over(cfg: DictConfig, folder: Path) -> None:
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
        _carry_over_to_given(cfg, folder, run)
    elif words & {"dataset", "model", "split", "checkpoint"}:
        _carry_over_to_model(cfg, folder, run)
    else:
        raise ValueError(
            f"slices={cfg.slices[0]} are tested on other examples than those they were found in: add "
            "predictions=FILE, or the words of a dataset and a model (dataset=… model=… split=val)"
        )


def _carry_over_to_given(cfg: DictConfig, folder: Path, run: Run) -> None:
    from weakspot.findings import Media
    from weakspot.pipeline.carry_over import carry_over
    from weakspot.pipeline.ranks import is_main
    from weakspot.predictions import Predictions

    if not is_main():
        return
    _say(f"predictions: given ({cfg.predictions}) · slices: given ({run.folder})")
    carried, gate = carry_over(run, Predictions.load(cfg.predictions, cfg.outputs_are)), _gate(cfg)
    gate.check(carried.predictions)
    what, hide = f"the predictions {cfg.predictions}", carried.predictions.manifest.get("restating") or ()
    with _logger(cfg, folder) as logger:
        findings = _report_carried(cfg, folder, carried, what, hide, Media(), None, logger)
        failures = _failures(cfg, folder, gate, findings, carried.predictions, logger)
    _end(failures)


def _carry_over_to_model(cfg: DictConfig, folder: Path, run: Run) -> None:
    from weakspot.findings import Media
    from weakspot.pipeline.carry_over import carry_over, check_fits, not_searched
    from weakspot.pipeline.checks import check, few_predictions
    from weakspot.pipeline.plan import describe_plan, pull_predictions

    subject = _subject(cfg)
    data = subject.data(subject.split)
    not_searched(run, data.examples.column("id").to_pylist())
    few = few_predictions(subject)
    if few is not None:
        check_fits(run, data.task, few)
    gate = _gate(cfg)
    if gate.asked:
        gate.check(_foreseen(subject))
    target = _target(cfg, subject)
    check(subject, "infer", cfg.upstream)
    _say(f"{describe_plan(subject, 'infer', cfg.upstream)} · slices: given ({run.folder})")
    target = _rehearsed(cfg, subject, target)
    with _logger(cfg, folder) as logger:
        pulled = pull_predictions(subject, cfg.upstream, logger)
        if pulled is None:
            return  # a rank above 0 has done its share
        carried = carry_over(run, pulled)
        media = Media(data.preview, _grad_cams(subject, target))
        what = f"split {subject.split} of {subject.dataset.name}"
        findings = _report_carried(cfg, folder, carried, what, data.restating, media, data.texts, logger)
        failures = _failures(cfg, folder, gate, findings, carried.predictions, logger)
    _end(failures)


def _report_carried(
    cfg: DictConfig,
    folder: Path,
    carried: CarriedOver,
    what: str,
    restating: Sequence[str],
    media: Media,
    texts: Sequence[str] | None,
    logger: Logger | None,
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
        hide=(*_hidden(cfg), *restating),
        media=media.of(carried.rows.tolist()),
        texts=None if texts is None else [texts[row] for row in carried.rows],
        notes=carried.notes,
        logger=logger,
        command=_command(),
        seed=cfg.seed,
    )


def _come_after(cfg: DictConfig, method: Method, ids: Sequence[str] | Shaped[np.ndarray, " n"]) -> None:
    """Give the method the published spotlights that its own come after; they must be of the examples of these ids."""
    files = cfg.method.get("past")
    if not files:
        return
    import numpy as np

    from weakspot.predictions import Predictions
    from weakspot.slices.published import read_spotlights

    method.set_params(
        past=read_spotlights(list(files), Predictions(np.asarray(ids), np.empty((len(ids), 0))))
    )


def _discover_in_model(cfg: DictConfig, folder: Path, method: Method) -> None:
    from weakspot.findings import Media
    from weakspot.pipeline.checks import check
    from weakspot.pipeline.discover import discover
    from weakspot.pipeline.plan import describe_plan, pull_predictions
    from weakspot.pipeline.search import check_search

    subject = _subject(cfg)
    data = subject.data(subject.split)
    share, group = _share(cfg), cfg.dataset.get("group") or data.group
    ids = data.examples.column("id").to_pylist()
    _come_after(cfg, method, ids)
    check_search(method, data.task, ids, data.examples, share or 0.0, group)
    gate = _gate(cfg, share)
    if gate.asked:
        gate.check(_foreseen(subject), method)
    target = _target(cfg, subject)
    other = None if share is not None else _other_split(cfg, subject)
    for audited in [subject] if other is None else [subject, other]:
        check(audited, "infer", cfg.upstream)
    _say(describe_plan(subject, "discover", cfg.upstream))
    target = _rehearsed(cfg, subject, target)
    with _logger(cfg, folder) as logger:
        pulled = pull_predictions(subject, cfg.upstream, logger)
        tested = None if other is None else pull_predictions(other, cfg.upstream, logger)
        if pulled is None:
            return  # a rank above 0 has done its share
        findings = discover(
            method,
            pulled,
            folder,
            confirm=(share or 0.0) if tested is None else tested,
            source="" if other is None else f"split {cfg.confirm}",
            group=group,
            hide=(*_hidden(cfg), *data.restating),
            media=Media(data.preview, _grad_cams(subject, target)),
            texts=data.texts,
            logger=logger,
            stability=cfg.stability,
            command=_command(),
            seed=cfg.seed,
        )
        failures = _failures(cfg, folder, gate, findings, pulled, logger)
    _end(failures)


def _gate(cfg: DictConfig, share: float | None = 0.5) -> Gate:
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


def _foreseen(subject: Subject) -> Predictions:
    """What is known of predictions before they are made: the examples, their labels and the task."""
    import numpy as np

    from weakspot.predictions import Predictions

    data = subject.data(subject.split)
    ids = np.asarray(data.examples.column("id").to_pylist())
    width = subject.build_model().embedding_size
    nowhere = np.broadcast_to(np.zeros(width), (len(ids), width))
    attributes = data.examples.drop_columns(["id"])
    return Predictions(ids, nowhere, labels=np.asarray(data.targets), attributes=attributes, task=data.task)


def _failures(
    cfg: DictConfig,
    folder: Path,
    gate: Gate,
    findings: Findings,
    p: Predictions,
    logger: Logger | None,
) -> list[str]:
    """What the run is to fail for, of what it has found and left in its folder."""
    from weakspot.findings.comparing import Reading
    from weakspot.pipeline.compare import compare_runs
    from weakspot.pipeline.runs import Run

    found = gate.failures(findings)
    if gate.new_against is None:
        return found
    made = Run.open(folder)
    after = Reading(str(folder), made.slices, p, made.findings)
    comparison = compare_runs(
        gate.new_against, after, folder, logger=logger, command=_command(), seed=cfg.seed
    )
    return [*found, *replace(gate, accuracy_below=None).failures_of(comparison)]


def _end(failures: list[str]) -> None:
    """End the run with exit code 3 if it found what it was to fail for."""
    from weakspot.pipeline.gate import sentence

    if failures:
        fail(sentence(failures))


def _hidden(cfg: DictConfig) -> tuple[str, ...]:
    return tuple(cfg.dataset.get("hide") or ())


def _share(cfg: DictConfig) -> float | None:
    """The share of the examples that `confirm=` holds out; None where it names what else is tested on."""
    number = isinstance(cfg.confirm, int | float) and not isinstance(cfg.confirm, bool)
    return float(cfg.confirm) if number else None


def _other_predictions(cfg: DictConfig) -> Predictions | None:
    """The predictions that `confirm=` names, beside given ones; None where it is a share."""
    from weakspot.predictions import Predictions

    if _share(cfg) is not None:
        return None
    path = Path(str(cfg.confirm))
    if path.exists() and path.samefile(cfg.predictions):
        raise ValueError(f"confirm={cfg.confirm} are the predictions that slices come from; choose others")
    return Predictions.load(path, None if path.is_dir() else cfg.outputs_are)


def _other_split(cfg: DictConfig, subject: Subject) -> Subject:
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


def _browse(cfg: DictConfig, folder: Path) -> None:
    import webbrowser

    what = cfg.tree or f"reports under {', '.join(cfg.folders)}"
    with _serving(cfg) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        _say(f"{what} → {address} (Ctrl+C ends)")
        if cfg.open:
            webbrowser.open(address)
        server.serve_forever()


def _serving(cfg: DictConfig) -> BoundedServer:
    from weakspot.report.browser import make_page_server, make_server

    port = cfg.port
    if not 0 <= port < 1 << 16:
        raise ValueError(f"port={port} is none: ports are 1 to 65535, and port=0 takes any that is free")
    page = _page_of_tree(cfg.tree) if cfg.tree else None
    try:
        return (
            make_server([Path(name) for name in cfg.folders], port)
            if page is None
            else make_page_server(page, port)
        )
    except OSError as error:
        raise OSError(
            f"port={port} cannot be had ({error.strerror}); port=0 takes any that is free"
        ) from error


def _page_of_tree(file: str) -> str:
    from weakspot.methods.udis.published import read
    from weakspot.pipeline.discover import page_of_tree

    return page_of_tree(read(file), file, _command())


def _target(cfg: DictConfig, subject: Subject) -> str:
    """The class that Grad-CAM is to explain: the audited category, if there is one."""
    from weakspot.pipeline.cams import check_target

    task = subject.data(subject.split).task
    category = cfg.method.get("category")
    if isinstance(category, int) and 0 <= category < task.n_outputs:
        return task.classes[category]
    target = cfg.cam if category is None else str(category)
    check_target(task, target)
    return target


def _rehearsed(cfg: DictConfig, subject: Subject, target: str) -> str:
    """The target of Grad-CAM, or "none" where the model cannot be asked for it: found before it is trained."""
    from weakspot.pipeline.cams import grad_cams
    from weakspot.pipeline.ranks import is_main

    data = subject.data(subject.split)
    if target == "none" or data.texts is not None or not is_main():
        return target
    asked = cfg.model.get("cam_layer") is not None
    found = grad_cams(subject.build_model(), data, target, asked, device="cpu")
    return target if found is not None else "none"


def _grad_cams(subject: Subject, target: str) -> GradCams | None:
    """Grad-CAM of what is shown, where the audited model can be asked for it."""
    from weakspot.pipeline.cams import grad_cams
    from weakspot.pipeline.plan import audited_model

    return (
        None if target == "none" else grad_cams(audited_model(subject), subject.data(subject.split), target)
    )


def _check_makes(cfg: DictConfig) -> None:
    """Raise ValueError for words that speak of what is there already, where it is to be trained or inferred."""
    for word in ("predictions", "slices", "compare", "tree"):
        if cfg[word]:
            raise ValueError(f"{word}=… needs neither training nor inference: only discover.py takes it")


def _subject(cfg: DictConfig) -> Subject:
    from weakspot.pipeline.learner import Training
    from weakspot.pipeline.plan import Named, Subject

    if cfg.upstream not in ("pull", "require"):
        raise ValueError(f"upstream={cfg.upstream!r} is unknown; choose pull or require")
    if cfg.outputs_are:
        raise ValueError(
            f"outputs_are={cfg.outputs_are} says what the outputs in a file are, and there is none: add "
            "predictions=FILE, or leave it out"
        )
    choices: dict[str, str] = dict(HydraConfig.get().runtime.choices)
    dataset = dataset_alone(cfg.dataset)
    return Subject(
        dataset=Named(choices["dataset"], plain(dataset), build(dataset, "dataset", {"split"})),
        model=Named(choices["model"], plain(cfg.model), build(cfg.model, positional=1)),
        training=Training(**plain(cfg.training)),
        make_trainer=build(cfg.trainer),
        checkpoint=cfg.checkpoint,
        split=cfg.split,
        seed=cfg.seed,
        reweight=_reweight(cfg),
        inference_batch_size=cfg.inference.batch_size,
        num_workers=cfg.num_workers,
        numerics={name: value for name, value in plain(cfg.trainer).items() if name not in _PLACES},
        commands={name: _upstream_command(name) for name in ("train", "infer")},
        checkpoints_dir=Path(cfg.checkpoints_dir),
        predictions_dir=Path(cfg.predictions_dir),
        model_dir=Path(cfg.model_dir),
    )


def _reweight(cfg: DictConfig) -> Reweight | None:
    """By what training weighs its examples; None where all weigh alike."""
    words = plain(cfg.reweight)
    by = words.pop("by")
    if by is None:
        for word in HydraConfig.get().overrides.task:
            if word.startswith(("reweight.strength=", "reweight.first_epoch=")):
                raise ValueError(
                    f"{word} says nothing without reweight=RUN or reweight=adversary: add one of them"
                )
        return None
    if cfg.checkpoint != "auto":
        raise ValueError(
            f"checkpoint={cfg.checkpoint} is trained already, so reweight={by} changes nothing: leave out one of them"
        )
    if by == "adversary":
        from weakspot.pipeline.adversary import Adversary

        return Adversary(method=build(cfg.method)(), settings=plain(cfg.method), **words)
    from weakspot.pipeline.mend import Mend

    run = _settings_of_run(Path(by))
    return Mend(
        folder=Path(by),
        confirm=run["confirm"],
        group=run["dataset"]["group"],
        **words,
    )


def _settings_of_run(folder: Path) -> dict[str, Any]:
    """What a run of discover.py was told, as plain values."""
    from omegaconf import OmegaConf

    file = folder / CONFIG
    if not file.is_file():
        what = f"lacks {CONFIG}" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(
            f"reweight={folder}: {folder.absolute()} {what}; name the folder of a run of discover.py "
            "(outputs/discover/…), or reweight=adversary"
        )
    return plain(DictConfig(OmegaConf.load(file)))


def _upstream_command(name: str) -> str:
    """The line that makes one upstream step alone: this command's words, but for what stops it short."""
    words = [
        word
        for word in HydraConfig.get().overrides.task
        if not word.startswith(("upstream=", "slices=", "fail_if"))
    ]
    return shlex.join(["python", f"{name}.py", *words])


@contextmanager
def _logger(cfg: DictConfig, folder: Path) -> Iterator[Logger | None]:
    from weakspot.pipeline.ranks import is_main
    from weakspot.tracking.loggers import close

    logger: Logger | None = None
    if is_main():
        logger = build(cfg.logger, positional=3)(folder, HydraConfig.get().job.name, plain(cfg))
        begin(cfg)
    try:
        yield logger
    except BaseException as error:
        close(logger, error.code if isinstance(error, Interrupted) else 1)
        raise
    close(logger)


def _say(line: str) -> None:
    from weakspot.pipeline.ranks import is_main

    if is_main():
        log.info(line)


def _command() -> str:
    return " ".join(["python", shlex.join(sys.argv)]).replace(sys.argv[0], Path(sys.argv[0]).name, 1)
