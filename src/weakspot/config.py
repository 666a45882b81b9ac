"""The configuration: schemas of the commands with their help, choices of the groups, and how objects are built.

Only names and types stand here, so that composing a configuration imports neither torch nor transformers.
"""

from __future__ import annotations

import dataclasses
import pkgutil
import re
import textwrap
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, fields
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.utils import instantiate
from omegaconf import (
    MISSING,
    AnyNode,
    BooleanNode,
    DictConfig,
    IntegerNode,
    OmegaConf,
    StringNode,
)

from weakspot import plugins
from weakspot.arguments import as_typed, check_arguments
from weakspot.models.names import NAMES

_PACKAGE = Path(__file__).parent
CONFIGS = next(
    folder for folder in (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs") if folder.is_dir()
)
"""The folder of the YAML files, which is in the package of a wheel, and at the top of a checkout."""

_PREFERENCES = {"spotlight_size", "checkpoint", "weights", "hide", "group"}
"""Settings of a dataset that others read: a method or a model through `${preferred:…}`, the tests and descriptions of
slices directly (`group`, `hide`)."""


def setting(default: Any, help: str, command: str = "all") -> Any:
    """Return a dataclass field with a default and the help that the manual (`--help`) shows beside it.

    Args:
        default: The default.
        help: The help.
        command: The first of `train`, `infer` and `discover` to which it makes a difference; its manual shows it among
            the command's own settings. `all` is for what they have in common.
    """
    return field(default=default, metadata={"help": help, "command": command})


@dataclass
class TrainingConfig:
    epochs: int = setting(20, "passes over the training data")
    batch_size: int = setting(64, "examples in a batch")
    optimizer: str = setting("adamw", "adam, adamw or sgd")
    learning_rate: float = setting(1e-3, "the learning rate at the start")
    weight_decay: float = setting(0.01, "the optimizer's weight decay")
    momentum: float = setting(0.9, "the momentum of sgd")
    schedule: str = setting("constant", "of the learning rate: constant or cosine")
    clip: float | None = setting(None, "the largest norm of the gradient; null: no bound")
    patience: int | None = setting(None, "stop after so many epochs without a better validation loss")
    keep: str = setting("best", "the epoch whose weights are kept: best or last")


@dataclass
class InferenceConfig:
    batch_size: int = setting(256, "examples in a batch")


@dataclass
class ReweightConfig:
    by: str | None = setting(
        None, "a run's folder (reweight=RUN) to train against what it confirmed; or adversary"
    )
    strength: float = setting(0.5, "share of the training loss that goes to slices, 0 to 1")
    first_epoch: int = setting(1, "before it, all examples have the same weight")


@dataclass
class FailIfConfig:
    accuracy_below: float | None = setting(None, "exit with code 3 if a confirmed slice is less accurate")
    new_against: str | None = setting(None, "exit with code 3 if a slice is new against this run (a folder)")


@dataclass
class ReportConfig:
    members: Any = setting(24, "examples shown of each finding and slice; all: the others too, folded away")
    examples: str = setting("top", "top: a page of 5 MB at most, with the images that fit; all: of 25 MB")
    map: str = setting(
        "pca",
        "how examples are placed on the map: pca; umap or pacmap (pip install 'weakspot[maps]'); none: no map",
    )


@dataclass
class JobConfig:
    """Holds the settings of train.py, infer.py and discover.py, so that the same line runs in each."""

    dataset: Any = MISSING
    model: Any = MISSING
    encoder: Any = setting(
        None, "another model in whose embeddings to search: encoder=timm encoder.name=…", command="infer"
    )
    method: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    reweight: ReweightConfig = field(default_factory=ReweightConfig)
    split: str = setting("test", "the split that is audited: train, val or test", command="infer")
    shard: str | None = setting(
        None, "3/64: infer that part of the rows, as one of many jobs (infer.py alone)", command="infer"
    )
    checkpoint: str = setting(
        "${preferred:checkpoint,auto}", "auto: train if there is none; pretrained; or a file", command="infer"
    )
    predictions: str | None = setting(
        None, "a store folder or a file to audit instead of dataset and model", command="discover"
    )
    outputs_are: str | None = setting(
        None, "what the outputs in the file of predictions=… are: logits or probabilities", command="discover"
    )
    slices: list[str] | None = setting(
        None, "a run whose slices to test on these examples; or published .pkl files", command="discover"
    )
    compare: list[str] | None = setting(
        None, "two runs: report which slices are fixed, persist or are new", command="discover"
    )
    tree: str | None = setting(
        None, "report this fc_treeData.json of the published UDIS tool alone", command="discover"
    )
    fail_if: FailIfConfig = field(default_factory=FailIfConfig)
    export: str | None = setting(
        None, "parquet: write every example to a table that other viewers read", command="discover"
    )
    report: ReportConfig = field(default_factory=ReportConfig)
    confirm: Any = setting(
        0.5, "share held out to test slices on; or another split (val); 0 tests nothing", command="discover"
    )
    stability: int = setting(
        0, "how often to fit on a part of the data, to measure how stable slices are", command="discover"
    )
    upstream: str = setting(
        "pull", "pull: make what is missing; require: stop and name the command", command="infer"
    )
    figures: str | None = setting(
        None, "pdf, png or svg: draw figures for papers into the run's folder", command="discover"
    )
    cam: str = setting(
        "predicted",
        "what Grad-CAM explains: predicted, label or a class by name; none: nothing",
        command="discover",
    )
    seed: int = setting(0, "the seed of training and of the method")
    num_workers: int | None = setting(
        None, "processes that load data; null: for image files one per core, at most 16"
    )
    model_dir: str = setting(
        "${oc.env:MODEL_DIR,models}", "another folder in which given checkpoints are looked for ($MODEL_DIR)"
    )
    checkpoints_dir: str = setting("outputs/checkpoints", "the store of trained models")
    predictions_dir: str = setting("outputs/predictions", "the store of inferred predictions")


@dataclass
class BrowseConfig:
    folders: list[str] = field(
        default_factory=lambda: ["outputs", "multirun"], metadata={"help": "the folders of runs"}
    )
    port: int = setting(8765, "the port; 0: any that is free")
    host: str = setting(
        "127.0.0.1", "another address is reached from other machines, with the token that is shown"
    )
    token: bool = setting(False, "ask for the token on this machine too, where others work on it as well")
    tree: str | None = setting(None, "show this fc_treeData.json of the published UDIS tool instead")
    open: bool = setting(True, "open a browser too")
    root: str | None = setting(None, "the folder of data that have moved since a run was made")
    trust: list[str] = field(
        default_factory=list, metadata={"help": "modules of your own whose code may be run"}
    )
    words: list[str] = field(
        default_factory=list, metadata={"help": "settings for every command that audits an uploaded model"}
    )


@dataclass
class SpotlightConfig:
    _target_: str = MISSING
    n_slices: int = setting(5, "how many spotlights to find")
    min_size: Any = setting(
        0.02, "their size: a share of the examples, or (1 and more) a count; the dataset's own by default"
    )
    search: str = setting("multistart", "multistart or published")
    steps: int = setting(5000, "steps of the published search")
    learning_rate: float = setting(1e-2, "the learning rate at the start of the published search")
    patience: int = setting(10, "steps without a better objective before the learning rate is cut")
    barrier_scale: float = setting(1.0, "the price of a spotlight smaller than min_size")
    precision: str = setting("spherical", "the kernel's shape: spherical, diagonal or full")
    flip: bool = setting(False, "search for the examples with the lowest losses")
    device: str = setting("cpu", "cpu or cuda")
    seed: int = setting(0, "the seed of the search")
    n_components: int | None = setting(None, "search among so many principal components")
    barrier_end: float = setting(0.05, "the width of the barrier at the end, as a share of min_size")
    factor: float = setting(0.5, "the factor by which the learning rate is cut")
    label_entropy: float = setting(0.0, "the price of a spotlight of many labels")
    prediction_entropy: float = setting(0.0, "the price of a spotlight of many predictions")
    past: list[str] | None = setting(
        None, ".pkl files of the published tool whose spotlights these come after"
    )
    starts: int = setting(8, "starts of a multistart search that are run to the end")
    n_jobs: int = setting(1, "threads; -1: one per core")
    labels: str = setting("ignore", "ignore; within: search each label by itself")
    loss: str = setting("log", "log; residual: 1 - p of the label, which is bounded")
    members: str = setting("kernel", "kernel; discriminant: graded beyond the kernel's edge")
    sharded: bool = setting(False, "share the rows out among the processes of torchrun or srun")


@dataclass
class UDISConfig:
    _target_: str = MISSING
    min_cluster_size: Any = setting(5, "the fewest examples in a cluster of the finest cut")
    max_cluster_size: Any = setting(100, "about the most examples in a cluster of the coarsest cut")
    accuracy_threshold: float = setting(0.66, "a cluster fails below this share of the accuracy of all")
    metric: str = setting("accuracy", "accuracy or f1")
    category: Any = setting(None, "audit only the examples that are predicted to be of this class")
    cut: Any = setting("silhouette", "silhouette, or a number of clusters")
    search: str = setting("exact", "exact or published")
    dtype: str = setting("float64", "float64 or float32")
    approximate: Any = setting("auto", "auto, null (never), or a number of micro-clusters")
    memory_limit: float = setting(8.0, "in GB: a matrix of distances is used where it fits")
    seed: int = setting(0, "the seed of the clustering")
    members: str = setting("nearest", "nearest; distance: graded")
    device: str = setting("cpu", "cpu or cuda")


# Open to further keys of a subclass's own, yet typed where every dataset, model or trainer has the key;
# Hydra's struct mode still refuses keys that no file has set.
_DATASET = {
    "_target_": StringNode(MISSING),
    "root": StringNode(None),
    "spotlight_size": AnyNode(None),
    "checkpoint": StringNode(None),
    "weights": StringNode(None),
    "hide": AnyNode(None),  # attributes that restate the target
    "group": StringNode(None),  # an attribute whose examples stay on one side when slices are tested
}
_MODEL = {
    "_target_": StringNode(MISSING),
    "embed_layer": StringNode(None),  # gives the embedding; else it is the last layer's input
}
_WEIGHTS = {"weights": "${preferred:weights,null}", "download": False, "cam_layer": None}
_TRAINER = {
    "_target_": StringNode("pytorch_lightning.Trainer"),
    "accelerator": StringNode("auto"),
    "devices": AnyNode("auto"),
    "strategy": StringNode("auto"),
    "num_nodes": IntegerNode(1),
    "precision": StringNode("32-true"),
    "accumulate_grad_batches": IntegerNode(1),
    "limit_train_batches": AnyNode(None),
    "val_check_interval": AnyNode(None),
    "deterministic": BooleanNode(False),
    "sync_batchnorm": BooleanNode(False),
    "enable_progress_bar": BooleanNode(True),
    "enable_model_summary": BooleanNode(False),
}


class PluginFolders(SearchPathPlugin):
    """Lets Hydra find the files of plug-ins, after the project's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in plugins.folders():
            search_path.append(provider=folder.origin, path=f"file://{folder.path}")


def register() -> None:
    """Register schemas, torchvision's models, resolvers and plug-ins with Hydra, once, before it composes."""
    Plugins.instance().register(PluginFolders)
    store = ConfigStore.instance()
    store.store(name="job_schema", node=JobConfig)
    store.store(name="browse_schema", node=BrowseConfig)
    store.store(group="schema/method", name="spotlight", node=SpotlightConfig)
    store.store(group="schema/method", name="udis", node=UDISConfig)
    store.store(group="schema/dataset", name="base", node=_DATASET)
    store.store(group="schema/model", name="base", node=_MODEL)
    store.store(group="schema/trainer", name="base", node=_TRAINER)
    for name in NAMES:
        target = "weakspot.models.torchvision.TorchvisionModel"
        node = {"_target_": target, "name": name, "embed_layer": None} | _WEIGHTS
        store.store(group="model", name=name, node=node)
    OmegaConf.register_new_resolver("choices", _help_for_choices, replace=True)
    OmegaConf.register_new_resolver("words", _help_for_words, replace=True)
    OmegaConf.register_new_resolver("settings", _help_for_settings, replace=True)
    OmegaConf.register_new_resolver("plugin_settings", _help_for_plugin_settings, replace=True)
    OmegaConf.register_new_resolver("preferred", _preferred_setting, replace=True)
    OmegaConf.register_new_resolver("run_name", _run_name, replace=True)


def build(
    node: DictConfig, key: str | None = None, later: Collection[str] = (), positional: int = 0
) -> Callable[..., Any]:
    """Return the class or function that a group's choice names, with its settings, ready to be called.

    Library code receives plain lists and mappings, never a DictConfig.

    Args:
        node: The settings, with the import path `_target_`.
        key: The prefix of the settings on the command line; by default the position of the node.
        later: Names of the arguments that the caller gives.
        positional: How many positional arguments the caller gives.

    Raises:
        ImportError: The import path cannot be imported.
        ValueError: The target takes no such setting, or one of another type.
    """
    settings, key = plain_values(node), key or node._get_full_key("")
    target = settings.pop("_target_")
    arguments = check_arguments(class_of(target, key), settings, key, later, positional)
    resolved = OmegaConf.create({"_target_": target, **arguments})
    maker: Callable[..., Any] = instantiate(resolved, _partial_=True, _convert_="all")
    return maker


def build_when_called(node: DictConfig) -> Callable[..., Any]:
    """Return the same as `build`, but import the target and check its settings in the call.

    Importing Lightning takes seconds, and the object may never be needed.
    """
    settings = plain_values(node)
    target, key = settings.pop("_target_"), node._get_full_key("")
    return partial(_build_and_call, target, key, **instantiate(OmegaConf.create(settings), _convert_="all"))


def _build_and_call(target: str, key: str, /, **settings: Any) -> Any:
    function = class_of(target, key)
    return function(**check_arguments(function, settings, key))


def class_of(target: str, key: str) -> Callable[..., Any]:
    """Return the class or function of an import path."""
    try:
        function: Callable[..., Any] = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ImportError(
            f"{key}._target_={target} cannot be imported ({error}); install it, or put its file into the folder in "
            "which the command runs"
        ) from error
    return function


def dataset_own_settings(node: DictConfig) -> DictConfig:
    """Return a dataset's resolved settings without those that others read."""
    return OmegaConf.create({key: value for key, value in node.items() if key not in _PREFERENCES})


def model_own_settings(node: DictConfig) -> DictConfig:
    """Return a model's resolved settings without the layer of its embeddings, which changes no weight."""
    return OmegaConf.create({key: value for key, value in node.items() if key != "embed_layer"})


def plain_values(node: DictConfig) -> dict[str, Any]:
    """Return a configuration, resolved, as plain values."""
    values: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    return {str(key): value for key, value in values.items()}


@cache  # Hydra composes a configuration twice, its manual included
def _help_for_choices(group: str) -> str:
    """Return every choice of a group with the first comment of its file, for --help."""
    choices = {file.stem: _comment(file) for file in sorted((CONFIGS / group).glob("*.yaml"))}
    for word, (folder, *_) in plugins.choices(group).items():
        if word not in choices:
            choices[word] = f"{_comment(folder.file(group, word))} ({folder.origin})".strip()
    width = max(map(len, choices))
    lines = [_help_line(name, comment, width + 2) for name, comment in choices.items()]
    if group == "model":
        lines.append(_paragraph(f"and torchvision's: {', '.join(NAMES)}"))
    return "\n".join(lines).replace("$", "$$")


@cache
def _help_for_words(group: str) -> str:
    """Return every choice of a group by its word alone, for --help."""
    return _paragraph(", ".join(all_words(group)))


def _paragraph(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _comment(file: Path) -> str:
    """Return the first comment of a configuration file, or "" where it has none."""
    text = file.read_text(encoding="utf-8", errors="replace")
    comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    return next((line for line in comments if not line.startswith("@package")), "")


def own_words(group: str) -> set[str]:
    """Return the choices of a group that come with the project."""
    return {file.stem for file in (CONFIGS / group).glob("*.yaml")} | (
        {*NAMES} if group == "model" else set()
    )


def all_words(group: str) -> list[str]:
    """Return the choices of a group, the project's and those of plug-ins, in alphabetical order."""
    return sorted(own_words(group) | plugins.choices(group).keys())


_WIDTH = 80  # columns that any terminal has


def _help_line(name: str, help: str, width: int) -> str:
    """Return a name, indented, with its help beside it, in as many lines as that takes."""
    left, below = f"  {name:<{width}}", " " * (width + 2)
    filled = textwrap.fill(help, _WIDTH, initial_indent=left, subsequent_indent=below, break_on_hyphens=False)
    return filled or left.rstrip()


_FALLBACK = re.compile(r"\$\{[^,}]*,([^}]*)\}")  # the value of an interpolation where nothing else is set

_SCHEMAS = {
    "job": ("", JobConfig),
    "browse": ("", BrowseConfig),
    "training": ("training.", TrainingConfig),
    "inference": ("inference.", InferenceConfig),
    "reweight": ("reweight.", ReweightConfig),
    "fail_if": ("fail_if.", FailIfConfig),
    "report": ("report.", ReportConfig),
    "spotlight": ("method.", SpotlightConfig),
    "udis": ("method.", UDISConfig),
}
"""The prefix of a schema's settings on the command line, and the schema."""


@cache
def _help_for_settings(kind: str, command: str | None = None) -> str:
    """Return settings with defaults and help, for --help, of a schema, or of a method that has a file only.

    Args:
        kind: As in `settings_of`.
        command: The command whose own settings they are, `all` for those that commands have in common; None for both.
    """
    return _settings_lines(settings_of(kind, command))


@cache
def _help_for_plugin_settings() -> str:
    """Return the settings of the methods of plug-ins, for --help."""
    own = own_words("method")
    found = {word: folder for word, (folder, *_) in plugins.choices("method").items() if word not in own}
    files = {word: folder.file("method", word) for word, folder in found.items()}
    rows = {
        word: [(f"method.{name}", default, help) for name, default, help in _rows_of_file(file)]
        for word, file in files.items()
    }
    return "".join(
        f"\n\nof method={word}\n{_settings_lines(settings)}" for word, settings in rows.items() if settings
    )


def _settings_lines(rows: list[tuple[str, str, str]]) -> str:
    settings = [(f"{name}={default}", help) for name, default, help in rows]
    width = 2 + max(len(name) for name, _ in settings)
    return "\n".join(_help_line(name, help, width) for name, help in settings).replace("$", "$$")


def settings_of(kind: str, command: str | None = None) -> list[tuple[str, str, str]]:
    """Return the settings of a part of the configuration, as the manual and the documentation list them.

    Args:
        kind: `job`, `browse`, `training`, `inference`, `reweight`, `fail_if`, `report`, or a method's word.
        command: Of a schema only those settings whose `setting` names this command.

    Returns:
        Of each setting its name on the command line, its default as it would be typed, and its help.
    """
    prefix, schema = _SCHEMAS.get(kind, ("method.", None))
    rows = (
        _rows_of_file(CONFIGS / "method" / f"{kind}.yaml")
        if schema is None
        else _rows_of_schema(schema, command)
    )
    return [(f"{prefix}{name}", _FALLBACK.sub(r"\1", default), help) for name, default, help in rows]


def _rows_of_schema(schema: type, command: str | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and help of every setting of a schema, or of one command's, that has a default of its own."""
    for one in fields(schema):
        default = one.default
        if command is not None and one.metadata.get("command") != command:
            continue
        if (
            default is dataclasses.MISSING
            and one.default_factory is not dataclasses.MISSING
            and "help" in one.metadata
        ):
            default = one.default_factory()
        if default is not dataclasses.MISSING and default != MISSING:
            yield one.name, as_typed(default), one.metadata.get("help", "")


def _rows_of_file(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and comment of every setting of a method's YAML file."""
    for line in file.read_text().splitlines():
        entry, _, comment = (part.strip() for part in line.partition("  # "))
        name, _, default = entry.partition(": ")
        if default and not name.startswith(("#", "_")):
            yield name, default.strip('"').replace("${seed}", "0"), comment


def _run_name(*, _root_: DictConfig) -> str:
    """Return the name of a run's folder: the method, and the dataset's word or the name of the predictions' file."""
    chosen = _root_.hydra.runtime.choices
    if _root_.get("tree"):
        return f"udis-{Path(_root_.tree).stem}"
    if _root_.get("compare"):
        return "compare"
    given, what = _root_.get("predictions"), "slices" if _root_.get("slices") else chosen.method
    return f"{what}-{Path(given).stem if given else chosen.dataset}"


def _preferred_setting(setting: str, otherwise: Any, *, _root_: DictConfig) -> Any:
    """Return the value that the dataset prefers for another's setting, unless predictions come from a file."""
    value = None if _root_.get("predictions") else _root_.dataset.get(setting)
    return otherwise if value is None else value
