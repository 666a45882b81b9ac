"""Errors in typed commands: one sentence, before anything runs, with exit code 2 and nothing left behind."""

from __future__ import annotations

import logging
import os
import pickle
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paths import ROOT
from processes import quiet_environment
from shell import Shell
from weakspot import cli
from weakspot.pipeline.checks import _check_writable

Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """A function that runs a command in this process and its own folder; it returns the exit code and all output."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_DIR", "MODEL_DIR", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)

    def run(script: str, *words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *words])
        handlers, level = logging.root.handlers[:], logging.root.level
        try:
            getattr(cli, script)()
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            for handler in set(logging.root.handlers) - set(handlers):
                handler.close()
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)
        assert isinstance(code, int)
        return code, "".join(capsys.readouterr())

    return run


def write_inputs(folder: Path) -> None:
    """Write the files that the commands below name."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 3)).astype(np.float32)
    np.savez(folder / "my.npz", embeddings=x, losses=draw.random(40))
    np.savez(folder / "nothing.npz", embeddings=x)
    labels = draw.integers(0, 2, 40)
    np.savez(folder / "labels_and_losses.npz", embeddings=x, losses=draw.random(40), labels=labels)
    numbers = draw.normal(size=40)
    np.savez(folder / "numbers.npz", embeddings=x, labels=numbers, predictions=numbers + draw.normal(size=40))
    np.savez(folder / "wide.npz", embeddings=draw.normal(size=(40, 5)), losses=draw.random(40))
    np.savez(
        folder / "from_one.npz",
        embeddings=x,
        outputs=draw.normal(size=(40, 2)),
        labels=draw.integers(1, 3, 40),
    )
    for name, n in (("a.pkl", 40), ("short.pkl", 39)):
        (folder / name).write_bytes(pickle.dumps({"unnormalized_weights": np.linspace(0, 1, n)}))
    (folder / "zero.pkl").write_bytes(pickle.dumps({"unnormalized_weights": np.zeros(40)}))
    (folder / "inference.pkl").write_bytes(pickle.dumps({"embeddings": x, "losses": draw.random(40)}))
    (folder / "junk.ckpt").write_text("101")
    torch.save({"weight": torch.zeros(3)}, folder / "other.ckpt")
    (folder / "texts.csv").write_text(
        "text,label\n" + "".join(f"words {n},{'ab'[n % 2]}\n" for n in range(40))
    )
    (folder / "broken.csv").write_text(
        "path,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(40))
    )
    for n in range(40):
        (folder / f"{n}.png").write_text("no image")
    (folder / "a_file").write_text("")
    (folder / "conf" / "dataset").mkdir(parents=True)
    (folder / "conf" / "dataset" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [/schema/dataset/base@dataset]\ndataset: {_target_: mine.Mine, n: 3}\n"
    )


COMPOSED = [
    ("discover method=scan,kmeans", "method=scan,kmeans names several: add -m to run each"),
    ("discover +method=scan", "+method=scan cannot be used: choose one, method=…, without +"),
    ("discover ~method=udis", "~method=udis cannot be used: choose one, method=…, without ~"),
    ("discover ~method predictions=p.npz", "~method cannot be used: choose one, method=…, without ~"),
    (
        "discover -m seed=1,2 hydra.run.dir=a",
        "hydra.run.dir=a has no effect with -m: write hydra.sweep.dir=…, or leav",
    ),
    (
        "discover hydra.sweep.dir=a",
        "hydra.sweep.dir=a has no effect without -m: write hydra.run.dir=…, or add -m",
    ),
    (
        "discover hydra.sweep.subdir=a",
        "hydra.sweep.subdir=a has no effect without -m: write hydra.run.dir=…, or add -m",
    ),
    *(
        (
            f"discover -m seed=1,2 hydra.sweep.subdir={subdir}",
            f"hydra.sweep.subdir={subdir} is one folder for all",
        )
        for subdir in ("a", "${hydra.job.name}", "${now:%H}_${hydra:job.name}")
    ),
    ("discover ~trainer", "~trainer cannot be used: choose one, trainer=…, without ~"),
    (
        "browse dataset=digits",
        "dataset=digits has no effect on this command, which takes no dataset: leave it out",
    ),
    (
        "browse dataset=mine",
        "dataset=mine has no effect on this command, which takes no dataset: leave it out",
    ),
    ("discover experiment=null", "experiment=null is not a choice: leave experiment= out for the default"),
    (
        "discover -m encoder=null,resnet18",
        "encoder=null is not a choice: leave encoder= out for the default; a swe",
    ),
    (
        "discover hydra/launcher=nothing",
        "hydra/launcher=nothing cannot be used: In 'hydra/config': Could not find",
    ),
    (
        "discover hydra/launcher=submitit_x",
        "hydra/launcher=submitit_x cannot be used: In 'hydra/config': Could no",
    ),
    (
        "discover -m hydra.sweeper.params.seed=1,2",
        "hydra.sweeper.params.seed is for files of settings; on the command line, type the swept setting itself: -m",
    ),
    (
        "discover +hydra.sweeper.params.method.n_slices=1,2",
        "hydra.sweeper.params.method.n_slices is for files of settings; on the command line, type the swept setting",
    ),
    (
        "discover -m hydra.sweeper.params={seed:'1,2'}",
        "hydra.sweeper.params is for files of settings; on the",
    ),
    ("discover hydra.verbos=true", "hydra.verbos=true cannot be used: Could not override 'hydra.verbos'"),
    (
        "discover my-key!=3",
        "'my-key!' is not a setting: write key=value; python discover.py --help lists them",
    ),
    ("discover +colour={}", "There is no setting 'colour'; --help lists them"),
    (
        "discover -m seed=range(0,1000000) trainng.epochs=3",
        "There is no setting 'trainng.epochs'. Did you mean",
    ),
    (f"discover method={'9' * 300}", "There is no method=999"),
    ("discover +metod=udis", "There is no setting 'metod'. Did you mean method or model?"),
    ("discover metod=udis", "There is no setting 'metod'. Did you mean method or model?"),
    ("discover ++trainng.epochs=3", "There is no setting 'trainng.epochs'. Did you mean training.epochs?"),
    ("discover +training.epoch=3", "There is no setting 'training.epoch'. Did you mean training.epochs?"),
    (
        "discover method=spotlight method.minsize=3",
        "There is no setting 'method.minsize'. Did you mean method.min_size?",
    ),
    (
        "discover method=spotlight +method.minsize=3",
        "There is no setting 'method.minsize'. Did you mean method.min_size?",
    ),
    ("discover method=spotlight min_size=3", "There is no setting 'min_size'. Did you mean method.min_size?"),
    (
        "discover dataset=colored_digit",
        "There is no dataset=colored_digit. Did you mean dataset=colored_digits?",
    ),
    ("discover logger=xyzzy", "There is no logger=xyzzy. There are: csv, none, tensorboard, wandb."),
    ("discover -m seed=1,2 method=spotlight,udsi", "There is no method=udsi. Did you mean method=udis?"),
    ("discover predictions_dir=null", "predictions_dir must have a value: leave it out for the default"),
    ("discover checkpoints_dir=[a,b]", "checkpoints_dir must be text, not [a,b]"),
    ("discover slices=", "slices= has no value: give it one, or leave it out"),
    ("discover compare={a:1}", "compare must be a list, compare=[A,B], not {a:1}"),
    (
        "discover fail_if=worse",
        "fail_if has settings, and no value of its own: fail_if.accuracy_below, fail_if.error_above, fail_if.new",
    ),
    ("discover training.epochs=many", "training.epochs must be a whole number, not many"),
    ("discover -m training.epochs=1,many", "training.epochs must be a whole number, not many"),
    ("discover seed=1,2", "seed=1,2 has a comma: add -m to run each, or quote it"),
    (
        "discover spotlight",
        "'spotlight' is not a setting: write key=value; python discover.py --help lists them",
    ),
    ("discover =3", "'=3' is not a setting: write key=value"),
    ("discover checkpoint=[half", "the value of checkpoint cannot be read: [half; put it in quotes"),
    (
        "discover dataset.colour=3",
        "There is no setting 'dataset.colour' in its file; if the chosen dataset ",
    ),
    ("discover hydra.run.dir=a_file/run", "the run's folder cannot be made (Not a directory: "),
    (
        "discover predictions=my.npz dataset=digits",
        "dataset=digits has no effect on predictions that already exist: leave it out, or leave out predictions=",
    ),
    ("discover predictions=my.npz model=resnet18", "model=resnet18 has no effect on predictions"),
    ("discover predictions=my.npz cam=label", "cam=label has no effect on predictions"),
    ("discover predictions=my.npz training.epochs=3", "training.epochs=3 has no effect on predictions"),
    (
        "discover tree=a.json predictions=my.npz",
        "predictions=my.npz has no effect on a tree by itself: leave it out, or leave out tree=a.json",
    ),
    (
        "discover slices=a.pkl,b.pkl predictions=my.npz method.n_slices=2",
        "method.n_slices=2 has no effect on slices that already exist: leave it out, or leave out "
        "slices=a.pkl,b.pkl",
    ),
    ("discover slices=a.pkl predictions=my.npz stability=3", "stability=3 has no effect on slices that"),
    ("discover tree=a.json slices=a.pkl", "slices=[a.pkl] has no effect on a tree by itself"),
    ("discover sizes=3", "There is no setting 'sizes'. Did you mean method.sizes?"),
    (
        "discover method=udis method.past=a.pkl",
        "There is no setting 'method.past' in the chosen method; choose one that has method.past: method=spotlight",
    ),
    ("discover learning_rate=3", "There is no setting 'learning_rate'. Did you mean training.learning_rate?"),
    (
        "discover n_clusters=3",
        "There is no setting 'n_clusters' in the chosen method; choose one that has method.n_clusters: method=kmeans",
    ),
    ("discover predictions=", "predictions= has no value: give it one, or leave it out"),
    ("discover hydra.run.dir=", "hydra.run.dir= has no value: give it one, or leave it out"),
    ("discover -m seed=1,2 hydra.sweep.dir=", "hydra.sweep.dir= has no value: give it one, or leave it out"),
    ("discover seed=", "seed= has no value: give it one, or leave it out"),
    *(
        (
            f"discover {line}",
            f"{line.split()[-1]} has a comma with no value beside it: leave the comma out, or ",
        )
        for line in (
            "-m method=scan,",
            "-m method=scan,,kmeans",
            "-m seed=,1",
            "-m confirm=0,",
            "-m slices=a,,",
            "-m dataset.hide=[a,,b],[c]",
            "slices=,a",
            "figures=[svg,]",
        )
    ),
    ("discover -m seed=x,1 method=glob(k*) method.n_clusters=5", "seed must be a whole number, not x"),
    (
        "discover -m seed=interval(1,2)",
        "seed=interval(1,2) is a range to search, which this sweeper cannot do: list",
    ),
    (
        "discover confirm",
        "confirm needs a value: write confirm=…; python discover.py --help lists what it takes",
    ),
    ("train reweight=", "reweight= has no value: give it one, or leave it out"),
    ("discover compare=[]", "compare=[] has no value: give it one, or leave it out"),
    ("discover tree=a.json dataset=digits", "dataset=digits has no effect on a tree by itself"),
    ("discover tree=a.json dataset.group=patient", "dataset.group=patient has no effect on a tree by itself"),
    ("discover tree=a.json confirm=0.3", "confirm=0.3 has no effect on a tree by itself"),
    ("discover tree=a.json method.n_slices=2", "method.n_slices=2 has no effect on a tree by itself"),
    ("discover tree=a.json method=udis method.cut=3", "method.cut=3 has no effect on a tree by itself"),
    ("discover --config-dir nowhere dataset=mine", "Additional config directory '"),
    (
        "discover --config-dir conf dataset=min",
        "There is no dataset=min. Did you mean dataset=mine?",
    ),
    (
        "discover --config-dir conf dataset=mine dataset.ns=3",
        "There is no setting 'dataset.ns'. Did you mean dataset.n?",
    ),
    ("discover --helpp", "There is no option --helpp. Did you mean --help?"),
    ("train --multirunn seed=1,2", "There is no option --multirunn. Did you mean --multirun?"),
    (
        "infer -z",
        "There is no option -z; settings are typed without dashes (method=spotlight), and python infer",
    ),
    ("discover --seed=3", "There is no option --seed; settings are typed without dashes"),
    ("discover --cfg", "--cfg takes job, hydra or all: write --cfg job"),
    ("discover --cfg al", "--cfg takes job, hydra or all: write --cfg all"),
    ("discover --cfg jobs", "--cfg takes job, hydra or all: write --cfg job"),
    ("discover --config-dir", "--config-dir takes a value, and none is given: write --config-dir VALUE"),
    ("discover --help=3", "--help takes no value: write it by itself"),
    ("discover --shell-completion", "--shell-completion takes a shell: write python discover.py --shell-com"),
    ("discover --experimental-rerun a.pkl", "There is no option --experimental-rerun; "),
    ("discover --config-name nowhere", "Cannot find primary config 'nowhere'. Check that"),
    ("discover --run -m seed=1", "Only one of --run, --multirun, --cfg, --info and --shell_completion can"),
    ("browse tree=nowhere.json", "nowhere.json does not exist; give the fc_treeData.json that the published"),
    ("browse tree=conf", "conf is a folder; give the fc_treeData.json that the published tool wrote"),
    ("browse tree=a_file", "a_file is not a tree of the published UDIS tool: "),
    (
        "browse tree=a.json folders=outputs",
        "folders=[outputs] has no effect on a tree by itself: leave it out",
    ),
    ("browse port=80000", "port=80000 is not a port: ports are 1 to 65535"),
    ("browse port=x", "port must be a whole number, not x"),
]
JOBS = [
    (
        "+dataset.colour=3",
        "There is no setting 'dataset.colour': ColoredDigits does not take it; its settings are: dataset.r",
    ),
    ("dataset.size=big", "dataset.size must be a whole number or null, not big"),
    ("dataset.size=0", "size must be a positive number of pixels, not 0"),
    ("model.channels=3", "model.channels must be a list, each a whole number, not 3"),
    ("model=text_classifier", "model.name must be given"),
    ("model=module model.path=nowhere:Net model.head=fc", "no module 'nowhere' for the model 'nowhere:Net'"),
    (
        "--config-dir conf dataset=mine",
        "dataset._target_=mine.Mine cannot be imported (No module named 'mine')",
    ),
    (
        "model._target_=weakspot.models.SmalCNN",
        "model._target_=weakspot.models.SmalCNN cannot be imported (module",
    ),
    ("split=tset", "ColoredDigits has no split 'tset'; it has: train, val, test"),
    ("shard=0/4", "shard=0/4: the 4 shards are numbered from 1 to 4"),
    ("shard=5/4", "shard=5/4: the 4 shards are numbered from 1 to 4"),
    ("shard=x", "shard=x is not a shard of the rows: write shard=3/64 for the third of 64"),
    ("training.epochs=0", "training.epochs=0 must be more than 0"),
    ("training.schedule=linear", "training.schedule='linear' is unknown; choose constant or cosine"),
    ("inference.batch_size=0", "batch_size must be at least 1, not 0"),
    ("num_workers=-1", "num_workers must be 0 (load in the main process) or more, not -1"),
    ("upstream=requir", "upstream='requir' is unknown; choose pull or require"),
    ("slices=a.pkl", "slices=… needs neither training nor inference: only discover.py takes it"),
    ("outputs_are=probabilities", "no file is given: add predictions=FILE, or leave it out"),
    ("trainer.devices=9 trainer.accelerator=gpu", "choose another (trainer=auto, cpu, gpu, ddp, ddp_cpu)"),
    ("checkpoint=pretrained", "checkpoint=pretrained, but the last layer of model=small_cnn is random"),
    ("checkpoint=nowhere.ckpt", "checkpoint 'nowhere.ckpt' was not found as "),
    ("checkpoint=epoch=6-step=120.ckpt", "checkpoint 'epoch=6-step=120.ckpt' was not found as "),
    ("checkpoint=junk.ckpt", "junk.ckpt is not a file of weights that torch can read"),
    ("checkpoint=other.ckpt", "other.ckpt does not fit SmallCNN"),
    ("model=vit_b_16", "vit_b_16 takes images of exactly 224×224 pixels, not 32×32"),
    ("checkpoints_dir=a_file/store", "a_file is a file, so checkpoints_dir=a_file/store cannot be a folder"),
    ("predictions_dir=a_file", "a_file is a file, so predictions_dir=a_file cannot be a folder"),
    (f"predictions_dir={'a' * 300}", "refuses it (File name too long); choose another folder"),
    ("dataset=csv", "dataset=csv needs a table: add dataset.file=my.csv"),
    (
        "dataset=csv dataset.file=texts.csv",
        "Texts need a model that reads them: model=text_encoder or text_class",
    ),
    ("dataset=csv dataset.file=broken.csv model=small_cnn", "cannot be read as an image (cannot identify"),
    ("dataset=fairface", "set dataset.root to the folder that holds fairface_label_train.csv"),
]

SEARCHES = [
    (
        "method=spotlight method.min_size=5000",
        "min_size=5000 asks for 5000 examples; give more than 0 and less than all 3",
    ),
    (
        "method=spotlight method.min_size=500",
        "min_size=500 asks for 500 examples; give more than 0 and less than all 3",
    ),
    ("method.n_slices=0", "n_slices=0 must be a whole number of at least 1"),
    ("method=udis method.category=bed", "category='bed' is not one of the classes: <5, ≥5"),
    ("method=udis method.category=7", "category=7 is not one of the classes: <5, ≥5"),
    ("method=udis method.metric=f2", "metric='f2' is unknown; choose accuracy or f1"),
    ("cam=nonsense", "choose predicted, label, none or one of <5, ≥5"),
    ("confirm=1.5", "confirm=1.5 must be a share of the examples below 1"),
    ("confirm=true", "confirm is a share of the examples (confirm=0.5), another split (confirm=val), a file"),
    ("confirm=null", "or 0 to test nothing, not null"),
    ("confirm=[a,b]", "or 0 to test nothing, not [a,b]"),
    ("confirm=[a,[null,1]]", "or 0 to test nothing, not [a,[null,1]]"),
    ("confirm={share:0.5,group:null}", "or 0 to test nothing, not {share:0.5,group:null}"),
    (
        "confirm=0.001",
        "confirm=0.001 holds out 1 of 719 examples, but 20 are needed both to search and to test on",
    ),
    ("confirm=0.99", "confirm=0.99 holds out 712 of 719 examples, but 20 are needed"),
    ("stability=-1", "stability=-1 must be 0 (not measured) or how often to fit again"),
    ("seed=-1", "seed=-1 must lie between 0 and 4294967295"),
    ("confirm=test", "confirm=test is the split that is searched; choose another, or a share"),
    (
        "confirm=vla",
        "confirm='vla' is neither a share of the examples (confirm=0.5), nor another split (val)",
    ),
    ("method=confusion confirm=vla", "confirm='vla' is neither a share of the examples"),
    (
        "method=spotlight method.past=nowhere.pkl",
        "nowhere.pkl does not exist; give the .pkl file that the published tool wrote",
    ),
    (
        "method=spotlight method.past=short.pkl",
        "short.pkl has weights for 39 examples, but there are 719; give files of the same",
    ),
    (
        "dataset.group=patient",
        "dataset.group=patient: there is no attribute 'patient'; there are: digit, colour",
    ),
    (
        "dataset.group=color confirm=0",
        "dataset.group=color: there is no attribute 'color'. Did you mean colour?",
    ),
    (
        "dataset.hide=[digit,image.width,color]",
        "dataset.hide=[digit,image.width,color]: there is no attribute 'color'. Did you mean colour?",
    ),
    (
        "dataset.hide=[image.brightnes]",
        "dataset.hide=[image.brightnes]: there is no attribute 'image.brightnes'. Did you mean image.brightness or ",
    ),
    ("dataset.hide=[digit,null]", "dataset.hide=[digit,null]: null names no attribute; leave it out"),
    ("dataset.hide=colour", "dataset.hide must be a list, dataset.hide=[A,B], not colour"),
    (
        "method=rules method.attributes=[color]",
        "attributes=['color']: there is no attribute 'color'. Did you mean colour?",
    ),
    (
        "dataset=csv dataset.file=broken.csv dataset.id=number",
        "dataset.id=number: broken.csv has no such column; there are: path, label",
    ),
    (
        "dataset=csv dataset.file=broken.csv dataset.text=paht",
        "dataset.text=paht: broken.csv has no such column. Did you mean path?",
    ),
    (
        "upstream=require figures=svg report.members=all",
        "there is no checkpoint of this yet: run `python train.py logger=tensorboard trainer=cpu`",
    ),
    ("dataset.size=big", "dataset.size must be a whole number or null, not big"),
    ("checkpoint=pretrained", "checkpoint=pretrained, but the last layer of model=small_cnn is random"),
]
GIVEN = [
    ("predictions=nowhere.npz", "no predictions at nowhere.npz"),
    ("predictions=my run (2).npz", "no predictions at my run (2).npz"),
    ("predictions=größe.npz", "no predictions at größe.npz"),
    ("predictions=~/no/such.npz", f"no predictions at {os.path.expanduser('~')}/no/such.npz"),
    ("predictions=from_one.npz", "from_one.npz: labels: row "),
    (
        "predictions=texts.csv",
        "texts.csv: there are no 'embeddings', only: text, label; for a table of images or",
    ),
    ("predictions=texts.txt", "texts.txt: predictions are a folder or a file ending in .npz"),
    ("predictions=my.npz method=spotlight method.min_size=40", "min_size=40 asks for 40 examples"),
    (
        "predictions=my.npz confirm=my.npz",
        "confirm=my.npz is the file of predictions in which the slices are found",
    ),
    ("predictions=my.npz slices=a.pkl,short.pkl", "short.pkl has weights for 39 examples, but there are 40"),
    ("predictions=my.npz slices=nowhere.pkl", "nowhere.pkl does not exist; give the .pkl file"),
    ("predictions=my.npz slices=conf", "conf holds no slices: give the folder of a run of discover.py"),
    ("predictions=my.npz slices=my.npz", "my.npz is a file, neither .pkl nor a run"),
    (
        "predictions=my.npz slices=inference.pkl",
        "inference.pkl has no unnormalized_weights, so it is not a spotlight result; it is an inference result",
    ),
    ("predictions=a.pkl slices=a.pkl", "a.pkl has no embeddings, so it is not an inference result"),
    ("slices=a.pkl", "slices=a.pkl are reported on the predictions they were found in: add predictions=FILE"),
    (
        "predictions=my.npz slices=a.pkl confirm=0.5",
        "confirm=0.5 holds nothing out, because slices=a.pkl were",
    ),
    ("predictions=inference.pkl slices=a.pkl confirm=my.npz", "these spotlight slices hold no centers"),
    (
        "predictions=my.npz method=spotlight method.past=a.pkl,short.pkl",
        "short.pkl has weights for 39 examples, but there ar",
    ),
    (
        "predictions=my.npz method=spotlight method.past=zero.pkl",
        "past holds a slice whose weights are zero everywhere",
    ),
    ("predictions=my.npz method=spotlight method.past=my.npz", "my.npz cannot be read: "),
    ("predictions=my.npz confirm=other.npz", "no predictions at other.npz"),
    (
        "predictions=my.npz confirm=val",
        "confirm=val is not a file, and predictions=my.npz has no splits: name a file",
    ),
    ("predictions=my.npz confirm=null", "or 0 to test nothing, not null"),
    (
        "predictions=my.npz confirm=wide.npz",
        "confirm=wide.npz has embeddings of 5 dimensions, and predictions=my.npz of 3: give predictions of the same",
    ),
    ("predictions=my.npz outputs_are=odds", "outputs_are='odds' is unknown; choose logits or probabilities"),
    ("predictions=my.npz method=kmeans method.seed=-1", "method.seed=-1 must lie between 0 and 4294967295"),
    ("predictions=my.npz seed=99999999999", "seed=99999999999 must lie between 0 and 4294967295"),
    (
        "predictions=nothing.npz",
        "nothing.npz: slices are found by outputs, losses, or which examples are right",
    ),
    (
        "predictions=numbers.npz method=udis",
        "numbers.npz: UDIS needs to know which examples are right, which a regression does not define; give correct",
    ),
    (
        "predictions=labels_and_losses.npz method=barlow",
        "labels_and_losses.npz: Barlow needs to know which examples are right; these predictions do not say",
    ),
    (
        "predictions=labels_and_losses.npz method=domino",
        "labels_and_losses.npz: Domino needs outputs or predictions; these hold neither",
    ),
    (
        "predictions=labels_and_losses.npz method=confusion",
        "labels_and_losses.npz: a confusion matrix needs labels and outputs or predictions; these do not hold both",
    ),
    (
        "predictions=labels_and_losses.npz method=udis",
        "labels_and_losses.npz: UDIS needs to know which examples are right; give correct, or labels and predictions",
    ),
    (
        "predictions=my.npz dataset.group=patient",
        "dataset.group=patient: there is no attribute 'patient'; there are: none",
    ),
    (
        "predictions=my.npz dataset.hide=[camra]",
        "dataset.hide=[camra]: there is no attribute 'camra'; there are: none",
    ),
    (
        "predictions=my.npz dataset.hide=[image.brightness]",
        "dataset.hide=[image.brightness]: there is no attribute 'image.brightness'; there are: none",
    ),
]


def nothing_is_left(folder: Path) -> bool:
    return not (folder / "outputs").exists() and not (folder / "multirun").exists()


@pytest.mark.parametrize(("line", "sentence"), COMPOSED, ids=[line for line, _ in COMPOSED])
def test_an_invalid_command_is_refused_in_one_sentence(
    typed: Typed, tmp_path: Path, line: str, sentence: str
) -> None:
    write_inputs(tmp_path)
    code, said = typed(*line.split())
    assert said.startswith(sentence), said
    assert code == 2
    assert said.count("\n") == 1, said
    assert nothing_is_left(tmp_path) or line.startswith("discover -m")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "predictions=my.npz dataset=digits seed=${inference.batch_size},2",
            "dataset=digits has no effect on predictions that already exist: leave it out, or leave out pre",
        ),
        (
            "tree=x.json method=udis,scan split=val",
            "split=val has no effect on a tree by itself: leave it out",
        ),
    ],
)
def test_an_error_in_all_runs_of_a_sweep_is_reported_once_and_none_begins(
    typed: Typed, tmp_path: Path, words: str, sentence: str
) -> None:
    code, said = typed("discover", "-m", *words.split())
    assert said.startswith(sentence)
    assert said.count("\n") == 1
    assert code == 2
    assert nothing_is_left(tmp_path)


def test_an_error_in_one_run_of_a_sweep_is_reported_for_that_run(typed: Typed, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    code, said = typed("discover", "-m", "tree=my.npz", "method=scan,udis", "logger=none")
    assert "run 0 (method=scan) failed: method=scan has no effect on a tree by itself" in said
    assert "run 1 (method=udis) failed: my.npz" in said
    assert code == 2


@pytest.mark.parametrize("options", [["-m", "--help"], ["--cfg", "job", "--multirun"]])
def test_help_and_cfg_show_the_settings_of_the_first_run_of_a_sweep(
    typed: Typed, tmp_path: Path, options: list[str]
) -> None:
    words = (
        "method=kmeans,scan",
        "seed=range(3,5)",
        "training.epochs=choice(7,8)",
        "training.clip=interval(1,2)",
    )
    code, said = typed("discover", *words, *options)
    shown = (
        [
            "of method=kmeans",
            "method.n_clusters=10",
            "method.seed=3",
            "training.epochs=7",
            "training.clip=null",
        ]
        if "--help" in options
        else ["n_clusters: 10", "\nseed: 3", "epochs: 7", "clip: null"]
    )
    assert [text for text in shown if text not in said] == []
    assert code == 0
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(("line", "sentence"), JOBS, ids=[line for line, _ in JOBS])
def test_an_impossible_job_is_refused_before_anything_is_made(
    typed: Typed, tmp_path: Path, line: str, sentence: str
) -> None:
    write_inputs(tmp_path)
    words = line.split()
    options = [words.pop(0), words.pop(0)] if words[0] == "--config-dir" else []
    refused(typed("infer", *options, "logger=tensorboard", "trainer=cpu", *words), sentence)
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("script", ["train", "discover"])
def test_only_inference_takes_a_shard_of_the_rows(typed: Typed, tmp_path: Path, script: str) -> None:
    refused(
        typed(script, "logger=tensorboard", "trainer=cpu", "shard=3/64"),
        "shard=3/64 infers some of the rows: only infer.py takes it",
    )
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(("line", "sentence"), SEARCHES, ids=[line for line, _ in SEARCHES])
def test_an_impossible_search_is_refused_before_a_model_is_trained(
    typed: Typed, tmp_path: Path, line: str, sentence: str
) -> None:
    write_inputs(tmp_path)
    refused(typed("discover", "logger=tensorboard", "trainer=cpu", *line.split()), sentence)
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(("line", "sentence"), GIVEN, ids=[line for line, _ in GIVEN])
def test_given_predictions_that_cannot_be_searched_leave_no_run(
    typed: Typed, tmp_path: Path, line: str, sentence: str
) -> None:
    write_inputs(tmp_path)
    words = re.split(r" (?=\w+[.\w]*=)", line)
    code, said = typed("discover", "logger=tensorboard", *words)
    refused((code, re.sub(r"predictions: given .*\n", "", said)), sentence)
    assert nothing_is_left(tmp_path)


def test_a_failed_job_of_a_sweep_is_identified(typed: Typed, tmp_path: Path) -> None:
    code, said = typed(
        "discover", "-m", "method=spotlight", "method.min_size=5000", "seed=0,1", "logger=none"
    )
    first, second = said.splitlines()[-2:]
    assert first.startswith("run 0 (seed=0) failed: min_size=5000 asks for 5000 examples")
    assert second.startswith("run 1 (seed=1) failed: min_size=5000 asks for 5000 examples")
    assert said.count("min_size=5000 asks for") == 2
    assert "Error executing" not in said
    assert code == 2
    results = sorted(tmp_path.glob("multirun/*/*/*/*/result.json"))
    assert ["min_size=5000 asks for" in result.read_text() for result in results] == [True, True]


def refused(answer: tuple[int, str], sentence: str) -> None:
    code, said = answer
    first, second, rest = said.split("\n", 2)
    assert first == "loading libraries …"
    assert sentence in second, said
    assert rest == ""
    assert code == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_later_failure_is_one_sentence_too_and_its_run_is_kept(
    typed: Typed, tmp_path: Path, workers: int
) -> None:
    """An image that is first opened during training, in this process or in one that loads data."""
    lines = ["path,label,split"]
    for n in range(24):
        Image.new("RGB", (16, 16), (10 * n, 0, 0)).save(tmp_path / f"{n}.png")
        lines.append(f"{n}.png,{'ab'[n % 2]},{('train', 'train', 'val', 'test')[n // 2 % 4]}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    (tmp_path / "8.png").write_bytes(b"no image")
    words = ("dataset=csv", "dataset.file=table.csv", "dataset.size=16", "model=small_cnn", "trainer=cpu")
    code, said = typed("train", *words, "logger=csv", f"num_workers={workers}", "training.epochs=1")
    *_, last, end = said.split("\n")
    assert re.fullmatch(r"row \d of train: 8\.png cannot be read as an image .*; repair or remove it", last)
    assert (code, end) == (1, "")
    assert "Traceback" not in said
    (log,) = tmp_path.glob("outputs/train/*/*/train.log")
    assert "Traceback" in log.read_text()
    assert (log.parent / "config.yaml").is_file()


def test_the_first_line_is_printed_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    np.savez(tmp_path / "my.npz", embeddings=np.eye(4, dtype=np.float32), losses=np.ones(4))
    script = (
        "import io, runpy, sys\n"
        "class Out(io.TextIOBase):\n"
        "    def write(self, text):\n"
        "        heavy = {'torch', 'pytorch_lightning', 'wandb'} & set(sys.modules)\n"
        "        return sys.__stdout__.write(f'{sorted(heavy)} {text}' if text.strip() else text)\n"
        "sys.argv = ['discover.py', 'predictions=my.npz', 'logger=none']\n"
        f"sys.stdout = Out(); runpy.run_path({str(ROOT / 'discover.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=quiet_environment(), capture_output=True, text=True
    )
    assert done.stdout.startswith("[] loading libraries …"), done


def test_a_logger_that_is_not_installed_is_named_before_training(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    code, said = typed("discover", "logger=tensorboard", "trainer=cpu")
    assert (
        said.splitlines()[-1] == "logger=tensorboard needs TensorBoard: pip install 'weakspot[tensorboard]'"
    )
    assert code == 2
    assert nothing_is_left(tmp_path)


def test_a_busy_port_is_refused(typed: Typed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code, said = typed("browse", f"port={server.getsockname()[1]}", "open=false")
    assert "cannot be used (Address already in use); port=0 takes any that is free" in said
    assert code == 2


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="a folder in which nobody can write, root included"
)
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("predictions_dir=/proc/x/y",),
            "predictions_dir=/proc/x/y cannot be written to: /proc refuses it (",
        ),
        (("checkpoints_dir=/proc/x",), "checkpoints_dir=/proc/x cannot be written to: /proc refuses it ("),
        (("hydra.run.dir=/proc/x",), "(No such file or directory: /proc/x); run it in a folder that can be"),
        (("-m", "seed=1,2", "hydra.sweep.dir=/proc/x"), "to, or say where: hydra.sweep.dir=…"),
    ],
)
def test_folders_that_cannot_be_written_are_named_before_training(
    typed: Typed, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    code, said = typed("discover", "logger=none", "trainer=cpu", *words)
    assert sentence in said.splitlines()[-1], said
    assert "train →" not in said
    assert code == 2
    assert nothing_is_left(tmp_path)


def test_checking_whether_a_folder_is_writable_leaves_nothing(tmp_path: Path) -> None:
    _check_writable("checkpoints_dir", tmp_path / "new" / ".." / ".." / tmp_path.name / "store" / "deep")
    _check_writable("checkpoints_dir", tmp_path / "a" / ".." / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_log_file_on_a_full_disk_does_not_change_the_output(shell: Shell) -> None:
    full = "hydra.job_logging.handlers.file.filename=/dev/full"
    said = shell("discover", "logger=none", "predictions=nowhere.npz", full, fails=True)
    assert said.splitlines() == [
        "loading libraries …",
        "predictions: given (nowhere.npz) · discover",
        "no predictions at nowhere.npz",
    ]


ESCAPES = "\x1b[2J\x1b]0;owned\x07"
"""Clears the screen and renames the window."""


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["predictions=nowhere{}.npz"], "no predictions at nowhere{}.npz"),
        (["predictions=my.npz", "dataset.group=x"], "there are: age{}"),
        (["dataset=csv", "dataset.file=a.csv"], "a.csv, line 2: there is no file 0{}.png"),
        (["dataset=image_folder", "dataset.root=root{}"], "root{}"),
        (["seed{}=3"], "seed{}"),
    ],
)
def test_messages_contain_no_terminal_escapes(
    typed: Typed, tmp_path: Path, words: list[str], named: str
) -> None:
    """Control characters in names, from the command line and from files, are shown escaped."""
    np.savez(tmp_path / "my.npz", embeddings=np.eye(9), losses=np.ones(9), **{f"age{ESCAPES}": np.ones(9)})
    (tmp_path / "a.csv").write_text("path,label\n" + "".join(f"{n}{ESCAPES}.png,{n % 2}\n" for n in range(9)))
    code, said = typed("discover", "logger=none", *(word.format(ESCAPES) for word in words))
    assert code == 2
    assert named.format(r"\x1b[2J\x1b]0;owned\x07") in said
    assert not set(said) & {"\x1b", "\x07"}
