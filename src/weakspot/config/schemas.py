"""The schemas of the configuration: settings with their types and defaults.

Those of the commands and of two methods have every setting, each with its help. Those of datasets, models and trainers
have only the settings that all of these share, and accept further keys, because each class has settings of its own;
Hydra's struct mode still refuses keys that no file has set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, AnyNode, BooleanNode, IntegerNode, StringNode

from weakspot.explain.cam_class import DEFAULT_CAM_CLASS


def setting(default: Any, help: str, command: str = "all") -> Any:
    """Return a dataclass field with a default and the help that the manual (`--help`) shows beside it.

    Args:
        default: The default.
        help: The help text.
        command: `infer` or `discover`, the first command that uses the setting, whose manual lists it among its own
            settings; `all` for settings that the commands share.
    """
    return field(default=default, metadata={"help": help, "command": command})


@dataclass
class TrainingConfig:
    """Holds the settings of training, such as `training.epochs`."""

    epochs: int = setting(20, "passes over the training data")
    batch_size: int = setting(64, "examples in a batch")
    optimizer: str = setting("adamw", "adam, adamw or sgd")
    learning_rate: float = setting(1e-3, "the learning rate at the start")
    weight_decay: float = setting(0.01, "the optimizer's weight decay")
    momentum: float = setting(0.9, "the momentum of sgd")
    schedule: str = setting("constant", "how the learning rate changes: constant or cosine")
    clip: float | None = setting(None, "the largest norm of the gradient; null: no limit")
    patience: int | None = setting(None, "stop after this many epochs without a better validation loss")
    keep: str = setting("best", "the epoch whose weights are kept: best or last")


@dataclass
class InferenceConfig:
    """Holds the settings of inference."""

    batch_size: int = setting(256, "examples in a batch")


@dataclass
class ReweightConfig:
    """Holds the settings of `reweight=`: how training weights its examples."""

    by: str | None = setting(
        None, "a run's folder (reweight=RUN) to train against what it confirmed; or adversary"
    )
    strength: float = setting(0.5, "share of the training loss that goes to slices, 0 to 1")
    first_epoch: int = setting(1, "the first reweighted epoch; before it, all weights are equal")


@dataclass
class FailIfConfig:
    """Holds the conditions under which a run ends with exit code 3."""

    accuracy_below: float | None = setting(None, "exit with code 3 if a confirmed finding is less accurate")
    error_above: float | None = setting(
        None, "exit with code 3 if the error (RMSE, MAE) of a confirmed finding is higher"
    )
    new_against: str | None = setting(None, "exit with code 3 if a slice is new against this run (a folder)")


@dataclass
class ReportConfig:
    """Holds how much a report shows."""

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
        None, "3/64: infer that part of the rows, as one of many jobs (infer.py only)", command="infer"
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
    task: str | None = setting(
        None,
        "regression: whole numbers in the file of predictions=… are quantities, not classes",
        command="discover",
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
        0, "how often to fit on part of the data, to measure how stable slices are", command="discover"
    )
    upstream: str = setting(
        "pull", "pull: make what is missing; require: stop and name the command", command="infer"
    )
    figures: str | None = setting(
        None, "pdf, png or svg: draw figures for papers into the run's folder", command="discover"
    )
    cam: str = setting(
        DEFAULT_CAM_CLASS,
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
    """Holds the settings of browse.py."""

    folders: list[str] = field(
        default_factory=lambda: ["outputs", "multirun"], metadata={"help": "the folders of runs"}
    )
    port: int = setting(8765, "the port; 0: any that is free")
    host: str = setting(
        "127.0.0.1", "the address; any other is reached from other machines, with the token shown"
    )
    token: bool = setting(False, "ask for the token on this machine too, if others use it as well")
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
    """Holds the settings of `method=spotlight`."""

    _target_: str = MISSING
    n_slices: int = setting(5, "how many spotlights to find")
    min_size: Any = setting(
        0.02, "their size: a share of the examples, or (1 and more) a count; the dataset's own by default"
    )
    search: str = setting("multistart", "multistart or published")
    steps: int = setting(5000, "steps of the published search")
    learning_rate: float = setting(1e-2, "the learning rate at the start of the published search")
    patience: int = setting(10, "steps without a better objective before the learning rate is cut")
    barrier_scale: float = setting(1.0, "the penalty for a spotlight smaller than min_size")
    precision: str = setting("spherical", "the kernel's shape: spherical, diagonal or full")
    flip: bool = setting(False, "search for the examples with the lowest losses")
    device: str = setting("cpu", "cpu or cuda")
    seed: int = setting(0, "the seed of the search")
    n_components: int | None = setting(None, "search in this many principal components")
    barrier_end: float = setting(0.05, "the width of the barrier at the end, as a share of min_size")
    factor: float = setting(0.5, "the factor by which the learning rate is cut")
    label_entropy: float = setting(0.0, "the penalty for a spotlight with many labels")
    prediction_entropy: float = setting(0.0, "the penalty for a spotlight with many predictions")
    past: list[str] | None = setting(
        None, ".pkl files of the published tool whose spotlights these come after"
    )
    starts: int = setting(10, "the most starts of a multistart search, at high losses")
    n_jobs: int = setting(1, "threads; -1: one per core")
    labels: str = setting("ignore", "ignore; within: search each label by itself")
    loss: str = setting("log", "log; residual: 1 - p of the label, which is bounded")
    members: str = setting("kernel", "kernel; discriminant: graded beyond the kernel's edge")
    sharded: bool = setting(False, "divide the rows among the processes of torchrun or srun")


@dataclass
class UDISConfig:
    """Holds the settings of `method=udis`."""

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
    memory_limit: float = setting(8.0, "in GB: a matrix of distances is used if it fits")
    seed: int = setting(0, "the seed of the clustering")
    members: str = setting("nearest", "nearest; distance: graded")
    device: str = setting("cpu", "cpu or cuda")


DATASET = {
    "_target_": StringNode(MISSING),
    "root": StringNode(None),
    "spotlight_size": AnyNode(None),
    "checkpoint": StringNode(None),
    "weights": StringNode(None),
    "hide": AnyNode(None),
    "group": StringNode(None),
}

MODEL = {
    "_target_": StringNode(MISSING),
    "embed_layer": StringNode(None),
}

SHARED_HELP = {
    "root": "the folder of its files",
    "spotlight_size": "the size of a spotlight that suits it: a share or a count",
    "checkpoint": "a file of weights that suits it",
    "weights": "published weights: DEFAULT, another name of the library's, or a file",
    "hide": "attributes that restate the target and must not describe slices",
    "group": "an attribute whose examples stay on one side when slices are tested",
    "embed_layer": "the layer that gives the embedding; null: the last layer's input",
    "download": "true: fetch what is missing",
    "cam_layer": "the layer that Grad-CAM explains; null: the last maps",
    "size": "pixels a side that the model receives",
    "mean": "the mean of each channel, which is subtracted",
    "std": "the standard deviation of each channel, by which it is divided",
    "max_length": "tokens that the model receives, at most",
}
"""The help of settings that datasets or models share, unless their files say more."""

TRAINER = {
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
