"""From the words of a command line to the model, the split and the training that they speak of."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from weakspot.config import build, build_when_called, dataset_own_settings, model_own_settings, plain_values
from weakspot.launch import CONFIG

if TYPE_CHECKING:
    from weakspot.pipeline.cams import GradCams
    from weakspot.pipeline.file_previews import FilePreviews
    from weakspot.pipeline.reweight import Reweight
    from weakspot.pipeline.subject import Subject
    from weakspot.predictions import Predictions

# Where a trainer runs makes no difference to what it makes.
_PLACES = {
    "accelerator",
    "devices",
    "strategy",
    "num_nodes",
    "enable_progress_bar",
    "enable_model_summary",
}

# What stops a line short, and what only discovery takes.
_NOT_UPSTREAM = {
    "upstream",
    "shard",
    "slices",
    "fail_if",
    "export",
    "figures",
    "report",
    "stability",
}


def check_makes(cfg: DictConfig) -> None:
    """Raise ValueError for words that speak of what is there already, where it is to be trained or inferred."""
    for word in ("predictions", "slices", "compare", "tree"):
        if cfg[word]:
            raise ValueError(f"{word}=… needs neither training nor inference: only discover.py takes it")


def check_whole(cfg: DictConfig) -> None:
    """Raise ValueError for a part of the rows, where all of them are wanted."""
    if cfg.shard is not None:
        raise ValueError(
            f"shard={cfg.shard} is a part of the rows to infer: only infer.py takes it; without it, what any number of "
            "such jobs have inferred is joined"
        )


def check_figures(cfg: DictConfig) -> None:
    """Raise ValueError, or ImportError where matplotlib lacks, for figures that cannot be drawn, before any cost."""
    if cfg.figures is None:
        return
    from weakspot.figures import FORMATS

    if cfg.figures not in FORMATS:
        raise ValueError(f"figures={cfg.figures} is no format of figures; choose {', '.join(FORMATS)}")
    if cfg.compare:
        raise ValueError(
            f"figures={cfg.figures} draws what one run found, and compare=… speaks of two: leave out one of them"
        )


def subject_of(cfg: DictConfig) -> Subject:
    from weakspot.pipeline.subject import Named, Subject
    from weakspot.pipeline.training import Training

    if cfg.upstream not in ("pull", "require"):
        raise ValueError(f"upstream={cfg.upstream!r} is unknown; choose pull or require")
    if cfg.outputs_are:
        raise ValueError(
            f"outputs_are={cfg.outputs_are} says what the outputs in a file are, and there is none: add "
            "predictions=FILE, or leave it out"
        )
    choices: dict[str, str] = dict(HydraConfig.get().runtime.choices)
    dataset, model = dataset_own_settings(cfg.dataset), model_own_settings(cfg.model)
    layer, encoder = cfg.model.get("embed_layer"), None
    if cfg.encoder is not None:
        if layer is not None:
            raise ValueError(
                f"model.embed_layer={layer} and encoder=… both say where to search: leave out one of them"
            )
        settings = model_own_settings(cfg.encoder)
        encoder = Named(
            choices["model@encoder"], plain_values(settings), build(settings, "encoder", positional=1)
        )
    return Subject(
        dataset=Named(choices["dataset"], plain_values(dataset), build(dataset, "dataset", {"split"})),
        model=Named(choices["model"], plain_values(model), build(model, "model", positional=1)),
        training=Training(**plain_values(cfg.training)),
        make_trainer=build_when_called(cfg.trainer),
        checkpoint=cfg.checkpoint,
        split=cfg.split,
        seed=cfg.seed,
        reweight=reweight_of(cfg),
        embed_layer=layer,
        encoder=encoder,
        inference_batch_size=cfg.inference.batch_size,
        num_workers=cfg.num_workers,
        numerics={name: value for name, value in plain_values(cfg.trainer).items() if name not in _PLACES},
        commands={name: upstream_command(name) for name in ("train", "infer")},
        checkpoints_dir=Path(cfg.checkpoints_dir),
        predictions_dir=Path(cfg.predictions_dir),
        model_dir=Path(cfg.model_dir),
    )


def reweight_of(cfg: DictConfig) -> Reweight | None:
    """By what training weighs its examples; None where all weigh alike."""
    words = plain_values(cfg.reweight)
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

        settings = plain_values(cfg.method)
        if settings.pop("sharded", False):  # and it makes no difference to what is trained
            raise ValueError(
                "reweight=adversary searches in one process, and method.sharded=true shares the rows out among "
                "several: leave out one of them"
            )
        return Adversary(method=build(cfg.method)(), settings=settings, **words)
    from weakspot.pipeline.mend import Mend

    run = settings_of_run(Path(by))
    return Mend(
        folder=Path(by),
        confirm=run["confirm"],
        group=run["dataset"]["group"],
        **words,
    )


def settings_of_run(folder: Path) -> dict[str, Any]:
    """What a run of discover.py was told, as plain values."""
    from omegaconf import OmegaConf

    file = folder / CONFIG
    if not file.is_file():
        what = f"lacks {CONFIG}" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(
            f"reweight={folder}: {folder.absolute()} {what}; name the folder of a run of discover.py "
            "(outputs/discover/…), or reweight=adversary"
        )
    return plain_values(DictConfig(OmegaConf.load(file)))


def upstream_command(name: str) -> str:
    """The line that makes one upstream step alone."""
    return shlex.join(["python", f"{name}.py", *upstream_words(HydraConfig.get().overrides.task)])


def upstream_words(words: Sequence[str]) -> list[str]:
    """The words that training and inference are made by; those of discovery alone are left out."""
    return [word for word in words if re.split("[.=]", word.lstrip("+~"), maxsplit=1)[0] not in _NOT_UPSTREAM]


def cam_target(cfg: DictConfig, subject: Subject) -> str:
    """The class that Grad-CAM is to explain: the audited category, if there is one."""
    from weakspot.pipeline.cams import check_target

    task = subject.data(subject.split).task
    category = cfg.method.get("category")
    if isinstance(category, int) and 0 <= category < task.n_outputs:
        return task.classes[category]
    target = cfg.cam if category is None else str(category)
    check_target(task, target)
    return target


def rehearsed_target(cfg: DictConfig, subject: Subject, target: str) -> str:
    """The target of Grad-CAM, or "none" where the model cannot be asked for it: found before it is trained."""
    from weakspot.pipeline.cams import grad_cams
    from weakspot.pipeline.ranks import is_main

    data = subject.data(subject.split)
    if target == "none" or data.texts is not None or not is_main():
        return target
    asked = cfg.model.get("cam_layer") is not None
    found = grad_cams(subject.build_model(), data, target, asked, device="cpu")
    return target if found is not None else "none"


def grad_cams_of(subject: Subject, target: str) -> GradCams | None:
    """Grad-CAM of what is shown, where the audited model can be asked for it."""
    from weakspot.pipeline.cams import grad_cams
    from weakspot.pipeline.plan import audited_model

    return (
        None if target == "none" else grad_cams(audited_model(subject), subject.data(subject.split), target)
    )


def previews_of(cfg: DictConfig, predictions: Predictions) -> FilePreviews:
    """Return what there is to look at in given predictions; dataset.root= says where their images lie."""
    from weakspot.pipeline.file_previews import FilePreviews

    given = any(word.startswith("dataset.root=") for word in HydraConfig.get().overrides.task)
    return FilePreviews(predictions, cfg.dataset.root if given else None)


def hidden_attributes(cfg: DictConfig) -> tuple[str, ...]:
    return tuple(cfg.dataset.get("hide") or ())


def held_out_share(cfg: DictConfig) -> float | None:
    """The share of the examples that `confirm=` holds out; None where it names what else is tested on."""
    number = isinstance(cfg.confirm, int | float) and not isinstance(cfg.confirm, bool)
    return float(cfg.confirm) if number else None
