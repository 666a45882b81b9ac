"""Builds the audit target from the configuration, with its reweighting and its Grad-CAM."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from weakspot.arguments import value_as_typed
from weakspot.config.build import (
    build,
    build_when_called,
    dataset_own_settings,
    model_own_settings,
    plain_values,
)
from weakspot.launch.process_arguments import config_folder_option
from weakspot.launch.quoting import word_as_typed
from weakspot.launch.run_folders import CONFIG

if TYPE_CHECKING:
    import pyarrow as pa

    from weakspot.datasets import Dataset
    from weakspot.pipeline.audit_target import AuditTarget
    from weakspot.pipeline.file_previews import FilePreviews
    from weakspot.pipeline.grad_cams import GradCams
    from weakspot.pipeline.reweight import Reweight
    from weakspot.predictions import Predictions

# Settings of a trainer's hardware and display, which do not change its results.
_HARDWARE_SETTINGS = {
    "accelerator",
    "devices",
    "strategy",
    "num_nodes",
    "enable_progress_bar",
    "enable_model_summary",
}

# Settings that are left out of the command that runs an upstream step, because it does not need them.
_NOT_PASSED_UPSTREAM = {
    "upstream",
    "shard",
    "slices",
    "fail_if",
    "export",
    "figures",
    "report",
    "stability",
}


def check_no_given_results(cfg: DictConfig) -> None:
    """Check that no existing results are given to a command that trains or infers a model.

    Raises:
        ValueError: If any are given.
    """
    for word in ("predictions", "slices", "compare", "tree"):
        if cfg[word]:
            raise ValueError(f"{word}=… needs neither training nor inference: only discover.py takes it")


def check_no_shard(cfg: DictConfig) -> None:
    """Check that `shard=` does not restrict the run to some of the rows.

    Raises:
        ValueError: If it does.
    """
    if cfg.shard is not None:
        raise ValueError(
            f"shard={cfg.shard} infers some of the rows: only infer.py takes it; without it, the shards that any "
            "number of such jobs have inferred are joined"
        )


def build_audit_target(cfg: DictConfig) -> AuditTarget:
    """Return the audit target that the configuration describes.

    Raises:
        ValueError: If settings contradict each other.
    """
    from weakspot.datasets import Dataset
    from weakspot.models import Model
    from weakspot.pipeline.audit_target import AuditTarget, Component
    from weakspot.pipeline.training_settings import TrainingSettings

    if cfg.upstream not in ("pull", "require"):
        raise ValueError(f"upstream={cfg.upstream!r} is unknown; choose pull or require")
    for name in ("outputs_are", "task"):
        if cfg[name]:
            raise ValueError(
                f"{name}={cfg[name]} says what a file of predictions holds, and no file is given: add "
                "predictions=FILE, or leave it out"
            )
    choices: dict[str, str] = dict(HydraConfig.get().runtime.choices)
    dataset, model = dataset_own_settings(cfg.dataset), model_own_settings(cfg.model)
    layer, encoder = cfg.model.get("embed_layer"), None
    if cfg.encoder is not None:
        if layer is not None:
            raise ValueError(
                f"model.embed_layer={layer} and encoder=… both say where embeddings come from: leave out one of them"
            )
        if cfg.encoder.get("embed_layer") is not None:
            raise ValueError(
                f"encoder.embed_layer={cfg.encoder.embed_layer}: an encoder's embedding is what its last layer "
                "receives; leave it out"
            )
        settings = model_own_settings(cfg.encoder)
        encoder = Component(
            choices["model@encoder"],
            plain_values(settings),
            build(settings, "encoder", positional=1, kind=Model),
        )
    return AuditTarget(
        dataset=Component(
            choices["dataset"], plain_values(dataset), build(dataset, "dataset", {"split"}, kind=Dataset)
        ),
        model=Component(
            choices["model"], plain_values(model), build(model, "model", positional=1, kind=Model)
        ),
        training=TrainingSettings(**plain_values(cfg.training)),
        make_trainer=build_when_called(cfg.trainer),
        checkpoint=cfg.checkpoint,
        split=cfg.split,
        seed=cfg.seed,
        reweight=build_reweight(cfg),
        embed_layer=layer,
        encoder=encoder,
        inference_batch_size=cfg.inference.batch_size,
        num_workers=cfg.num_workers,
        numeric_settings={
            name: value for name, value in plain_values(cfg.trainer).items() if name not in _HARDWARE_SETTINGS
        },
        commands={name: upstream_command(name) for name in ("train", "infer")},
        checkpoints_dir=Path(cfg.checkpoints_dir),
        predictions_dir=Path(cfg.predictions_dir),
        model_dir=Path(cfg.model_dir),
    )


def build_reweight(cfg: DictConfig) -> Reweight | None:
    """Return how training weights its examples; None if all have the same weight."""
    words = plain_values(cfg.reweight)
    by = words.pop("by")
    if by is None:
        for word in HydraConfig.get().overrides.task:
            if word.startswith(("reweight.strength=", "reweight.first_epoch=")):
                raise ValueError(
                    f"{word} has no effect without reweight=RUN or reweight=adversary: add one of them"
                )
        return None
    if cfg.checkpoint != "auto":
        raise ValueError(
            f"checkpoint={cfg.checkpoint} is trained already, so reweight={by} changes nothing: leave out one of them"
        )
    if by == "adversary":
        from weakspot.methods import Method
        from weakspot.pipeline.reweight_by_adversary import ReweightByAdversary

        settings = plain_values(cfg.method)
        if settings.pop("sharded", False):  # it makes no difference to what is trained
            raise ValueError(
                "reweight=adversary searches in one process, and method.sharded=true divides the rows among "
                "several: leave out one of them"
            )
        return ReweightByAdversary(method=build(cfg.method, kind=Method)(), settings=settings, **words)
    from weakspot.pipeline.reweight_by_findings import ReweightByFindings

    run = read_run_config(Path(by))
    return ReweightByFindings(
        folder=Path(by),
        confirm=run["confirm"],
        group=run["dataset"]["group"],
        **words,
    )


def read_run_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a run of discover.py, as plain values.

    Raises:
        FileNotFoundError: If the folder has none.
    """
    from omegaconf import OmegaConf

    file = folder / CONFIG
    if not file.is_file():
        what = f"lacks {CONFIG}" if folder.is_dir() else "is not a folder"
        raise FileNotFoundError(
            f"reweight={folder}: {folder.absolute()} {what}; name the folder of a run of discover.py "
            "(outputs/discover/…), or reweight=adversary"
        )
    return plain_values(DictConfig(OmegaConf.load(file)))


def upstream_command(name: str) -> str:
    """Return the command line of another command with the same settings, without those that only discovery uses."""
    words = upstream_words(HydraConfig.get().overrides.task)
    return shlex.join(["python", f"{name}.py", *config_folder_option(), *map(word_as_typed, words)])


def upstream_words(words: Sequence[str]) -> list[str]:
    """Return the settings that matter to training and inference, without those that only discovery uses."""
    return [
        word
        for word in words
        if re.split("[.=]", word.lstrip("+~"), maxsplit=1)[0] not in _NOT_PASSED_UPSTREAM
    ]


def choose_cam_class(cfg: DictConfig, target: AuditTarget) -> str:
    """Return the class that Grad-CAM explains: the audited category, if there is one."""
    from weakspot.explain.cam_class import check_cam_class

    task = target.split_dataset(target.split).task
    category = cfg.method.get("category")
    if isinstance(category, int) and 0 <= category < task.n_outputs:
        return task.classes[category]
    cam_class = cfg.cam if category is None else str(category)
    check_cam_class(task, cam_class)
    return cam_class


def check_grad_cam(cfg: DictConfig, target: AuditTarget, cam_class: str) -> str:
    """Return the class that Grad-CAM explains, or "none" if the model does not support it, before it is trained."""
    from weakspot.pipeline.grad_cams import build_grad_cams
    from weakspot.pipeline.processes import is_main_process

    data = target.split_dataset(target.split)
    if cam_class == "none" or data.texts is not None or not is_main_process():
        return cam_class
    layer_is_named = cfg.model.get("cam_layer") is not None
    grad_cams = build_grad_cams(target.build_model(), data, cam_class, layer_is_named, device="cpu")
    return cam_class if grad_cams is not None else "none"


def audited_grad_cams(target: AuditTarget, cam_class: str) -> GradCams | None:
    """Return Grad-CAM of the audited model for the examples shown; None if the model does not support it."""
    from weakspot.pipeline.grad_cams import build_grad_cams
    from weakspot.pipeline.upstream import load_audited_model

    return (
        None
        if cam_class == "none"
        else build_grad_cams(load_audited_model(target), target.split_dataset(target.split), cam_class)
    )


def file_previews(cfg: DictConfig, predictions: Predictions) -> FilePreviews:
    """Return the previews of given predictions, whose images are looked for in `dataset.root=` if it is given."""
    from weakspot.pipeline.file_previews import FilePreviews

    given = any(word.startswith("dataset.root=") for word in HydraConfig.get().overrides.task)
    return FilePreviews(predictions, cfg.dataset.root if given else None)


def hidden_attributes(cfg: DictConfig, attributes: pa.Table, data: Dataset | None = None) -> tuple[str, ...]:
    """Return the attributes that restate the target according to `dataset.hide`.

    Args:
        cfg: The configuration.
        attributes: The attributes of each example.
        data: The dataset, if its examples are inferred: properties of images are then measured as well.

    Raises:
        ValueError: If it is not a list of names, or there is no such attribute.
    """
    from PIL import Image

    from weakspot.explain.image_properties import PREFIX, PROPERTIES
    from weakspot.predictions.attributes import check_attributes

    hide = plain_values(cfg.dataset).get("hide") or []
    if not isinstance(hide, list):
        raise ValueError(f"dataset.hide must be a list, dataset.hide=[A,B], not {value_as_typed(hide)}")
    if None in hide:
        raise ValueError(f"dataset.hide={value_as_typed(hide)}: null names no attribute; leave it out")
    names = [str(name) for name in hide]
    known = [name for name in attributes.column_names if name != "id"]
    if data is not None and not set(names) <= set(known) and isinstance(data.preview(0), Image.Image):
        known += [PREFIX + name for name in PROPERTIES]
    check_attributes(f"dataset.hide={value_as_typed(names)}", names, known)
    return tuple(names)


def held_out_share(cfg: DictConfig) -> float | None:
    """Return the share of the examples that `confirm=` holds out; None if it names something else to test on.

    Raises:
        ValueError: If `confirm` is neither a number nor a name.
    """
    if isinstance(cfg.confirm, bool) or not isinstance(cfg.confirm, int | float | str):
        raise ValueError(
            "confirm is a share of the examples (confirm=0.5), another split (confirm=val), a file of predictions, or "
            f"0 to test nothing, not {value_as_typed(cfg.confirm)}"
        )
    return None if isinstance(cfg.confirm, str) else float(cfg.confirm)
