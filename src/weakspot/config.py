"""What can be configured: the schemas of the entry points, the words of the groups, and the way to objects.

Only names and types stand here, so that composing a configuration imports neither torch nor transformers.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
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

from weakspot.arguments import checked
from weakspot.models.names import NAMES

_PACKAGE = Path(__file__).parent
CONFIGS = next(
    folder for folder in (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs") if folder.is_dir()
)
"""Where the YAML files lie: in the package of a wheel, at the top of a checkout."""

_WISHES = {"spotlight_size", "checkpoint", "weights", "hide", "group"}
"""Settings that stand with a dataset and are read by others: by a method or a model, through `${preferred:…}`, or
by what tests and describes slices (`group`, `hide`)."""


@dataclass
class TrainingConfig:
    epochs: int = 20
    batch_size: int = 64
    optimizer: str = "adamw"  # adam, adamw, sgd
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: str = "constant"  # constant, cosine
    clip: float | None = None  # of the gradient's norm
    patience: int | None = None  # epochs without a better validation loss before stopping
    keep: str = "best"  # best, last: which epoch's weights


@dataclass
class InferenceConfig:
    batch_size: int = 256


@dataclass
class ReweightConfig:
    by: str | None = None  # reweight=RUN, the folder of a run, to mend what it confirmed; or adversary
    strength: float = 0.5  # share of the training loss that goes to slices, 0 to 1
    first_epoch: int = 1  # before it, all examples weigh alike


@dataclass
class FailIfConfig:
    accuracy_below: float | None = None  # a confirmed slice is less accurate: exit code 3
    new_against: str | None = None  # a slice is new against that run (its folder): exit code 3


@dataclass
class ReportConfig:
    members: Any = 24  # shown of each finding and slice; all: the others too, folded away
    examples: str = "top"  # top: a page of 5 MB at most, images as far as they fit; all: of 25 MB
    map: str = (
        "pca"  # what places examples on the map; umap, pacmap: pip install "weakspot[maps]"; none: no map
    )


@dataclass
class JobConfig:
    """The words of train.py, infer.py and discover.py alike: a line may be run step by step."""

    dataset: Any = MISSING
    model: Any = MISSING
    encoder: Any = None  # another model in whose embeddings to search: encoder=timm encoder.name=…
    method: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    reweight: ReweightConfig = field(default_factory=ReweightConfig)
    split: str = "test"  # train, val, test: what is audited
    shard: str | None = None  # 3/64: infer that part of the rows, as one of many jobs (infer.py alone)
    checkpoint: str = "${preferred:checkpoint,auto}"  # auto: train if missing; pretrained; or a file
    predictions: str | None = None  # a store folder or a file: skips dataset and model
    outputs_are: str | None = None  # logits, probabilities: the outputs in the file of predictions=…
    slices: list[str] | None = None  # a run: test what it found on these examples; or published .pkl files
    compare: list[str] | None = None  # two runs: which slices are fixed, persist, are new
    tree: str | None = None  # fc_treeData.json of the published UDIS tool: report it alone
    fail_if: FailIfConfig = field(default_factory=FailIfConfig)
    export: str | None = None  # parquet: every example as a table that other viewers read
    report: ReportConfig = field(default_factory=ReportConfig)
    confirm: Any = 0.5  # share held out to test slices on; or another split (val); 0 tests nothing
    stability: int = 0  # fits on parts of the data, to say how stable slices are
    upstream: str = "pull"  # pull: make what is missing; require: stop and name the command
    figures: str | None = None  # pdf, png, svg: figures for papers, in the run's folder
    cam: str = "predicted"  # what Grad-CAM explains: predicted, label, a class by name; none leaves it out
    seed: int = 0  # of training, and of the method
    num_workers: int | None = None  # processes that load data; null: for image files one per core, at most 16
    model_dir: str = "${oc.env:MODEL_DIR,models}"  # $MODEL_DIR: where given checkpoints are looked for, too
    checkpoints_dir: str = "outputs/checkpoints"  # the store of what was trained
    predictions_dir: str = "outputs/predictions"  # the store of what was inferred


@dataclass
class BrowseConfig:
    folders: list[str] = field(default_factory=lambda: ["outputs", "multirun"])
    port: int = 8765  # 0: any that is free
    host: str = "127.0.0.1"  # another address is reached from other machines, with the token that is shown
    token: bool = False  # ask for it on this machine, too, where others work on it as well
    tree: str | None = None  # fc_treeData.json of the published UDIS tool: show it instead
    open: bool = True  # a browser, too
    root: str | None = None  # the folder in which data lie now, where they lay elsewhere when a run was made
    trust: list[str] = field(default_factory=list)  # modules of your own, whose code may be run
    words: list[str] = field(default_factory=list)  # for every command that audits an uploaded model


@dataclass
class SpotlightConfig:
    _target_: str = MISSING
    n_slices: int = 5  # how many spotlights
    min_size: Any = 0.02  # a share of the examples, or (1 and more) a count; the dataset's own by default
    search: str = "multistart"  # multistart, published
    steps: int = 5000  # of the published search
    learning_rate: float = 1e-2  # at its start
    patience: int = 10  # steps without a better objective before the rate is cut
    barrier_scale: float = 1.0  # what a spotlight smaller than min_size pays
    precision: str = "spherical"  # spherical, diagonal, full
    flip: bool = False  # look for what is served best
    device: str = "cpu"  # cpu, cuda
    seed: int = 0
    n_components: int | None = None  # search among so many principal components
    barrier_end: float = 0.05  # width of the barrier at the end, as a share of min_size
    factor: float = 0.5  # by which the rate is cut
    label_entropy: float = 0.0  # price of a spotlight of many labels
    prediction_entropy: float = 0.0  # price of a spotlight of many predictions
    past: list[str] | None = None  # .pkl files of the published tool that these come after
    starts: int = 8  # of a multistart search, run to the end
    n_jobs: int = 1  # threads; -1: one per core
    labels: str = "ignore"  # ignore, within: search each label by itself
    loss: str = "log"  # log, residual (bounded: 1 - p of the label)
    members: str = "kernel"  # kernel, discriminant: graded beyond the kernel's edge
    sharded: bool = False  # share the rows out among the processes of torchrun or srun


@dataclass
class UDISConfig:
    _target_: str = MISSING
    min_cluster_size: Any = 5  # examples in every cluster of the finest cut, at least
    max_cluster_size: Any = 100  # examples in a cluster of the coarsest cut, about
    accuracy_threshold: float = 0.66  # a cluster fails below this share of the accuracy of all
    metric: str = "accuracy"  # accuracy, f1
    category: Any = None  # audit only what is predicted to be of this class
    cut: Any = "silhouette"  # or a number of clusters
    search: str = "exact"  # exact, published
    dtype: str = "float64"  # float64, float32
    approximate: Any = "auto"  # auto, null (never), or a number of micro-clusters
    memory_limit: float = 8.0  # in GB: a matrix of distances is used where it fits
    seed: int = 0
    members: str = "nearest"  # nearest, distance: graded
    device: str = "cpu"  # cpu, cuda


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
    "embed_layer": StringNode(None),  # whose output is the embedding; the last layer's input by default
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


def register() -> None:
    """Put the schemas and the torchvision models where Hydra finds them; once, before it composes."""
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
    OmegaConf.register_new_resolver("choices", _described_choices, replace=True)
    OmegaConf.register_new_resolver("settings", _described_settings, replace=True)
    OmegaConf.register_new_resolver("preferred", _preferred, replace=True)
    OmegaConf.register_new_resolver("run_name", _run_name, replace=True)


def build(
    node: DictConfig, key: str | None = None, later: Collection[str] = (), positional: int = 0
) -> Callable[..., Any]:
    """What a group's choice names, ready to be called with the objects it still needs.

    Library code receives plain lists and mappings, never a DictConfig.

    Args:
        node: The settings, and what takes them, `_target_`.
        key: What the settings are called by on the command line; where the node stands, by default.
        later: Names of the arguments that are given in the call.
        positional: How many more are.

    Raises:
        ValueError: If what is built takes no such setting, or one of another kind.
    """
    settings, key = plain(node), key or node._get_full_key("")
    target = settings.pop("_target_")
    taken = checked(class_of(target, key), settings, key, later, positional)
    resolved = OmegaConf.create({"_target_": target, **taken})
    maker: Callable[..., Any] = instantiate(resolved, _partial_=True, _convert_="all")
    return maker


def build_when_called(node: DictConfig) -> Callable[..., Any]:
    """The same, but what is named is imported, and the settings are held against it, in the call: importing Lightning
    takes seconds, and what is to be built with it may never be called for.
    """
    settings = plain(node)
    target, key = settings.pop("_target_"), node._get_full_key("")
    return partial(_build_and_call, target, key, **instantiate(OmegaConf.create(settings), _convert_="all"))


def _build_and_call(target: str, key: str, /, **settings: Any) -> Any:
    found = class_of(target, key)
    return found(**checked(found, settings, key))


def class_of(target: str, key: str) -> Callable[..., Any]:
    """The class or function of this import path."""
    try:
        found: Callable[..., Any] = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ImportError(
            f"{key}._target_={target} cannot be imported ({error}); install it, or put the folder that it is in on "
            "PYTHONPATH"
        ) from error
    return found


def dataset_alone(node: DictConfig) -> DictConfig:
    """A dataset's settings without its wishes, resolved."""
    return OmegaConf.create({key: value for key, value in node.items() if key not in _WISHES})


def model_alone(node: DictConfig) -> DictConfig:
    """A model's settings without the layer that its embeddings are read in, which changes no weight; resolved."""
    return OmegaConf.create({key: value for key, value in node.items() if key != "embed_layer"})


def plain(node: DictConfig) -> dict[str, Any]:
    """A resolved configuration as plain values."""
    values: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    return {str(key): value for key, value in values.items()}


@cache  # Hydra composes a configuration twice, its manual included
def _described_choices(group: str) -> str:
    """For --help: every choice of a group with the first line of its file, where that says what it is."""
    told = {}
    for file in sorted((CONFIGS / group).glob("*.yaml")):
        comments = [line[1:].strip() for line in file.read_text().splitlines() if line.startswith("#")]
        told[file.stem] = next((line for line in comments if not line.startswith("@package")), "")
    width = max(map(len, told))
    lines = [_beside(name, words, width + 2) for name, words in told.items()]
    if group == "model":
        lines.append(
            textwrap.fill(
                f"and torchvision's: {', '.join(NAMES)}", _WIDE, initial_indent="  ", subsequent_indent="  "
            )
        )
    return "\n".join(lines).replace("$", "$$")


_WIDE = 80  # columns of a terminal, at least


def _beside(name: str, words: str, width: int) -> str:
    """A name, indented, and what is said of it beside it, in as many lines as that takes."""
    left, below = f"  {name:<{width}}", " " * (width + 2)
    filled = textwrap.fill(words, _WIDE, initial_indent=left, subsequent_indent=below, break_on_hyphens=False)
    return filled or left.rstrip()


_FALLBACK = re.compile(r"\$\{[^,}]*,([^}]*)\}")  # what an interpolation gives where nothing else is said


@cache
def _described_settings(kind: str) -> str:
    """For --help: settings with their defaults and what stands beside them, in their schema or a method's file."""
    schema = {
        "job": JobConfig,
        "training": TrainingConfig,
        "inference": InferenceConfig,
        "reweight": ReweightConfig,
        "fail_if": FailIfConfig,
        "report": ReportConfig,
        "spotlight": SpotlightConfig,
        "udis": UDISConfig,
        "browse": BrowseConfig,
    }.get(kind)
    own = ("training", "inference", "fail_if", "report", "reweight")
    prefix = "" if kind in ("job", "browse") else f"{kind}." if kind in own else "method."
    if schema is None:
        lines, parts = (CONFIGS / "method" / f"{kind}.yaml").read_text().splitlines(), ": "
    else:
        lines, parts = inspect.getsource(schema).splitlines(), " = "
    rows = []
    for line in lines:
        code, _, words = (part.strip() for part in line.partition("  # "))
        name, _, default = code.partition(parts)
        name = name.partition(":")[0]
        if not default or default == "MISSING" or default.startswith("field(") or name.startswith(("#", "_")):
            continue
        value = _FALLBACK.sub(r"\1", default.strip('"')).replace("None", "null")
        rows.append((f"{prefix}{name}={value}".replace("=${seed}", "=0"), words))
    width = 2 + max(len(setting) for setting, _ in rows)
    return "\n".join(_beside(setting, words, width) for setting, words in rows).replace("$", "$$")


def _run_name(*, _root_: DictConfig) -> str:
    """What a run's folder is named by: the method, and the dataset's word or the name of the file that was given."""
    chosen = _root_.hydra.runtime.choices
    if _root_.get("tree"):
        return f"udis-{Path(_root_.tree).stem}"
    if _root_.get("compare"):
        return "compare"
    given, what = _root_.get("predictions"), "slices" if _root_.get("slices") else chosen.method
    return f"{what}-{Path(given).stem if given else chosen.dataset}"


def _preferred(setting: str, otherwise: Any, *, _root_: DictConfig) -> Any:
    """The dataset's own value of another's setting, unless predictions come from a file of no dataset."""
    value = None if _root_.get("predictions") else _root_.dataset.get(setting)
    return otherwise if value is None else value
