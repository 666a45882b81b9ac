"""W&B as a dashboard: what a run logged, read back from the file that W&B wrote."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paths import ROOT
from processes import ended_with, quiet_environment
from shell import Shell
from wandb_files import Logged, contents, listening
from weakspot import UDIS, Findings, Predictions, Spotlight
from weakspot.findings import Media
from weakspot.pipeline.discover import discover
from weakspot.pipeline.run_outputs import RunOutputs
from weakspot.slices.statistics import ConfusionCell
from weakspot.tasks import Classification
from weakspot.tracking.lineage import log_input_artifact, log_output_artifact
from weakspot.tracking.loggers import WandbLogger, close, wandb_logger
from weakspot.tracking.panel import Block, draw_panel
from weakspot.tracking.run_names import run_name
from weakspot.tracking.run_tags import run_tags
from weakspot.tracking.tables import confusion_square, examples_table

N = 400
WORDS = {"method": "udis", "dataset": "pets", "model": "net"}


def pets() -> Predictions:
    """Two classes, and a corner of the embedding in which the model mistakes nearly all for the other class."""
    draw = np.random.default_rng(1)
    apart = draw.random(N) < 0.15
    x = draw.normal(size=(N, 6))
    x[apart, :3] += 5
    labels = draw.integers(0, 2, N)
    right = draw.random(N) < np.where(apart, 0.2, 0.95)
    return Predictions.from_arrays(
        x,
        losses=np.where(right, 0.1, 2) + draw.exponential(0.1, N),
        labels=labels,
        predictions=np.where(right, labels, 1 - labels),
        attributes={"weather": np.where(apart, "fog", "sun"), "group": draw.integers(0, 3, N).astype(str)},
        task=Classification(("cat", "dog")),
        manifest={"dataset": "pets", "model": "net", "split": "val"},
    )


def photograph(row: int) -> Image.Image:
    return Image.new("RGB", (20, 10), (row % 256, row // 256, 0))


def overlays(rows: Any) -> list[Image.Image]:
    return [Image.new("RGB", (20, 10), (row % 256, row // 256, 255)) for row in rows]


def offline_run(
    folder: Path, method: UDIS | Spotlight, media: Media, **settings: Any
) -> tuple[Findings, Logged]:
    """Search, log and read back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        config = {"words": WORDS, "seed": 7, "multirun": "multirun/discover/today"}
        logger = wandb_logger(folder, "discover", config, **settings)
        found = discover(method, pets(), folder, media=media, outputs=RunOutputs(logger=logger))
        close(logger)
        assert "WANDB_DATA_DIR" not in os.environ
    return found, Logged(folder)


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Findings, Logged]:
    """UDIS on the pets, with images and Grad-CAMs."""
    return offline_run(
        tmp_path_factory.mktemp("audit"), UDIS(), Media(photograph, overlays), tags=["mine", "pets"]
    )


def test_a_run_is_named_tagged_and_grouped_by_what_was_chosen(audit: tuple[Findings, Logged]) -> None:
    run = audit[1].run
    assert run["display_name"] == "udis-pets-net-s7"
    assert run["job_type"] == "discover"
    assert run["run_group"] == "multirun/discover/today"
    assert run["tags"] == ["mine", "pets", "udis", "net"]
    assert audit[1].config["words"] == WORDS


def test_run_names_and_tags() -> None:
    words = {"method": "scan", "dataset": "pets", "model": "net"}
    assert run_name("train", {"words": words, "seed": 3}) == "train-pets-net-s3"
    given = {"words": {"method": "scan", "predictions": "some/where/my.npz"}, "seed": 0}
    assert run_name("discover", given) == "scan-my-s0"
    assert run_name("discover", {}) is None
    assert run_tags({"words": words | {"model": "m" * 65}}, ["a"]) == ["a", "scan", "pets"]


def test_the_summary_compares_runs(audit: tuple[Findings, Logged]) -> None:
    found, logged = audit
    confirmed = [finding for finding in found.findings if finding.confirmed]
    assert confirmed
    said = logged.summary
    assert said["n_slices"] == len(found.slices)
    assert said["confirmed/n"] == len(confirmed)
    assert said["confirmed/errors_explained"] == max(one.errors_explained or 0 for one in confirmed)
    gaps = [one.accuracy.outside - one.accuracy.inside for one in confirmed if one.accuracy is not None]
    assert said["worst/gap"] == pytest.approx(max(gaps))
    p = pets()
    assert p.correct is not None
    assert said["val/accuracy"] == pytest.approx(p.correct.mean())
    assert said["val/loss"] == pytest.approx(p.losses.mean())


def test_an_audit_of_one_category_logs_no_scores_of_the_split() -> None:
    from weakspot.tracking.scalars import scalars

    p = pets()
    slices = UDIS(category="dog").fit(p).slices_
    said = scalars(Findings.build(p, slices))
    assert "whole/accuracy" in said
    assert not any(name.startswith("val/") for name in said)


def test_every_cluster_is_a_row_and_a_node(audit: tuple[Findings, Logged]) -> None:
    found, logged = audit
    rows = logged.table("clusters")
    assert len(rows) == len(found.clusters) >= 3
    assert [row["size"] for row in rows] == [cluster.size for cluster in found.clusters]
    tree = logged.stored(logged.artifact("slices"), "tree.json")["nodes"]
    assert [node["id"] for node in tree] == [cluster.id for cluster in found.clusters]
    assert [node["parent"] for node in tree] == [cluster.parent for cluster in found.clusters]
    assert len(logged.table("silhouette")) == len(found.cut_scores)
    assert logged.summary["silhouette_by_clusters_table.nrows"] == len(found.cut_scores)


def test_an_image_is_logged_once_for_all_tables(audit: tuple[Findings, Logged]) -> None:
    found, logged = audit
    held = contents(logged.artifact("tables"))
    pictures = {name for name in held if name.startswith("media/images/")}
    shown = {row for part in (*found.findings, *found.slices) for row in part.portrait.top}
    leaves = {cluster.rows[0] for cluster in found.clusters if cluster.rows}
    # the images, and a Grad-CAM of each example shown
    assert len(pictures) == len(shown | leaves) + len(shown)
    for table in ("findings", "slices", "clusters", "examples"):
        cells = [row["example"] for row in logged.table(table) if row["example"] is not None]
        assert cells
        assert {cell["path"] for cell in cells} <= pictures
        (entry,) = contents(logged_table(logged, table)).values()
        assert entry["ref"].startswith(f"wandb-client-artifact://{logged.artifact('tables')['client_id']}/")


def logged_table(logged: Logged, name: str) -> dict[str, Any]:
    (found,) = (one for one in logged.artifacts if one["name"].endswith(f"-{name}"))
    return dict(found)


def test_examples_are_logged_with_their_attributes(audit: tuple[Findings, Logged]) -> None:
    found, logged = audit
    rows = logged.table("examples")
    known = {one.id: one for one in found.examples}
    for row in rows:
        one = known[row["id"]]
        assert row["weather"] == one.attributes["weather"]
        assert row["group (attribute)"] == one.attributes["group"]
        assert row["group"] in ("finding", "slice")
        assert row["loss"] == pytest.approx(one.loss)
        assert row["correct"] is (not one.wrong)


def test_a_finding_is_shown_in_one_image_beside_its_neighbour(audit: tuple[Findings, Logged]) -> None:
    found, logged = audit
    (one, *_) = found.findings
    parts = [each for each in found.slices if each.number in one.parts]
    near = next(each for part in parts for each in part.neighbours)
    (file,) = logged.folder.glob("files/media/images/finding_1/examples_*.png")
    sheet = np.asarray(Image.open(file).convert("RGB"))
    ours, theirs = ((sheet.shape[1] - 48) // 2 * half + 48 * half for half in (0, 1))
    for left, rows in ((ours, one.portrait.top), (theirs, near.rows)):
        middle = left + 48
        assert tuple(sheet[22 + 48, middle]) == photograph(rows[0]).getpixel((0, 0))
        assert tuple(sheet[22 + 100 + 48, middle]) == overlays(rows[:1])[0].getpixel((0, 0))
    assert logged.summary["finding_1/examples.caption"] == one.sentence


def test_confusions_are_logged_as_a_chart(audit: tuple[Findings, Logged]) -> None:
    found, logged = audit
    (one, *_) = found.findings
    (file,) = logged.folder.glob("files/media/table/finding_1/confusion_table_*.json")
    table = json.loads(file.read_text(encoding="utf-8"))
    assert table["columns"] == ["Actual", "Predicted", "nPredictions"]
    said = {(actual, predicted): weight for actual, predicted, weight in table["data"]}
    assert {pair: weight for pair, weight in said.items() if weight} == {
        (cell.label, cell.prediction): cell.weight for cell in one.portrait.confusion if cell.weight
    }
    assert len(said) == 4
    shown = json.dumps(logged.config["_wandb.visualize.finding_1/confusion"])
    assert "wandb/confusion_matrix/v1" in shown
    assert "finding_1/confusion_table" in shown


def test_weights_and_curves_of_spotlights_are_logged(tmp_path: Path) -> None:
    found, logged = offline_run(tmp_path, Spotlight(n_slices=1, starts=2), Media())
    steps = found.slices[0].curves["objective"]
    assert logged.summary["slice_1/search/objective"] == pytest.approx(steps[-1][1])
    rows = logged.table("weights")
    weights = sorted((row["weight"] for row in rows if row["group"] == "slice"), reverse=True)
    assert weights[:5] == pytest.approx(
        sorted(found.memberships["weight"].to_pylist(), reverse=True)[:5], abs=0.2
    )
    assert len(rows) == len(found.memberships)
    assert "example" not in logged.table("findings")[0]  # there are no images
    assert not list(logged.folder.glob("files/media/images/**/*.png"))


def test_wandb_leaves_no_files_outside_its_own_folder(audit: tuple[Findings, Logged], tmp_path: Path) -> None:
    folder = audit[1].folder.parents[1]
    discover(UDIS(), pets(), tmp_path, media=Media(photograph, overlays))  # without a logger
    assert {path.name for path in folder.iterdir()} == {"wandb", *(path.name for path in tmp_path.iterdir())}
    for artifact in audit[1].artifacts:
        for entry in contents(artifact).values():
            if "local_path" in entry:
                assert Path(entry["local_path"]).is_relative_to(folder)
                assert Path(entry["local_path"]).is_file()
    files = contents(audit[1].artifact("slices"))  # not copied
    assert files["report.html"]["local_path"] == str(folder / "report.html")


def test_a_chart_of_confusions_has_the_classes_of_largest_weight() -> None:
    cells = [ConfusionCell(f"c{i}", f"c{i + 1}", 100.0 - i) for i in range(90)]
    _, rows = confusion_square(cells)
    assert len(rows) == 20 * 20
    assert {name for row in rows for name in row[:2]} == {f"c{i}" for i in range(20)}
    assert {(a, b): weight for a, b, weight in rows if weight} == {
        (cell.label, cell.prediction): cell.weight for cell in cells[:19]
    }


@pytest.mark.parametrize("upload", [False, True])
def test_an_output_artifact_is_the_same_as_the_later_input(
    upload: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs name the same artifact with the same digest, one as its output and one as its input."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    store = tmp_path / "predictions-store"
    store.mkdir()
    for name in ("manifest.json", "arrays.safetensors", "records.parquet"):
        (store / name).write_text('{"n": 3, "dataset": "pets"}' if name == "manifest.json" else name)
    logged = []
    for job, mention in (("infer", log_output_artifact), ("discover", log_input_artifact)):
        logger = wandb_logger(tmp_path / job, job, {}, upload=upload)
        mention(logger, "predictions", store)
        mention(logger, "predictions", store)
        close(logger)
        logged.append(Logged(tmp_path / job).artifact("predictions"))
    output, put_in = logged
    assert output["name"] == put_in["name"] == "predictions-predictions-store"
    assert output["digest"] == put_in["digest"]
    assert put_in["use_after_commit"] is put_in["user_created"] is True
    assert "use_after_commit" not in output
    assert {("ref" in entry) for entry in contents(output).values()} == {not upload}
    assert json.loads(output["metadata"]) == {"n": 3, "dataset": "pets", "path": str(store)}


@pytest.mark.slow
def test_a_synced_run_has_its_output_and_input_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wandb sync`, to a stand-in for the server: an artifact with a run's name is that run's output."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("trained", "given"):
        (tmp_path / f"{name}.ckpt").write_text(name)
    logger = wandb_logger(tmp_path, "infer", {})
    log_output_artifact(logger, "checkpoint", tmp_path / "trained.ckpt")
    log_input_artifact(logger, "checkpoint", tmp_path / "given.ckpt")
    close(logger)
    with listening() as (address, heard):
        environment = quiet_environment() | {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": address}
        command = [sys.executable, "-m", "wandb", "sync", str(Logged(tmp_path).folder)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with ended_with([subprocess.Popen(command, env=environment, text=True, **quiet)]):
            waited = time.monotonic() + 120
            while "UseArtifact" not in dict(heard) and time.monotonic() < waited:
                time.sleep(0.1)
    outputs = {
        put_in["artifactCollectionName"]: put_in["runName"]
        for name, put_in in heard
        if name == "CreateArtifact"
    }
    assert outputs["checkpoint-given"] is None
    assert outputs["checkpoint-trained"] is not None
    inputs = [(put_in["artifactID"], put_in["runName"]) for name, put_in in heard if name == "UseArtifact"]
    assert inputs == [("checkpoint-given", outputs["checkpoint-trained"])]


class OnlineRun:
    """The parts of an online run that these tests need."""

    url = "https://wandb.ai/me/weakspot/runs/1"
    offline = False

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.used = error, list[Any]()
        self.settings = SimpleNamespace(sync_dir="nowhere")

    def define_metric(self, *words: Any, **settings: Any) -> None: ...

    def finish(self, exit_code: int) -> None: ...

    def use_artifact(self, artifact: Any) -> None:
        if self.error is not None:
            raise self.error
        self.used.append(artifact.name)


def test_an_online_run_records_its_input_artifacts_or_logs_why_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    caplog.set_level(logging.INFO)
    (tmp_path / "my net.ckpt").write_text("weights")
    run = OnlineRun()
    logger = WandbLogger(run)
    log_input_artifact(logger, "checkpoint", tmp_path / "my net.ckpt")
    assert run.used == ["checkpoint-my_net"]
    close(logger)
    assert "W&B → https://wandb.ai/me/weakspot/runs/1" in caplog.text
    refused = OnlineRun(wandb.Error("no such project"))
    log_input_artifact(WandbLogger(refused), "checkpoint", tmp_path / "my net.ckpt")
    assert (
        f"W&B could not record that this run used {tmp_path / 'my net.ckpt'}: no such project" in caplog.text
    )


def test_a_panel_takes_images_of_any_size_and_mode() -> None:
    tall, grey = Image.new("RGBA", (1, 300), "red"), Image.new("L", (300, 2), 7)
    sheet = draw_panel([Block("alone", [tall] * 7, []), Block("beside", [grey], [grey])])
    assert sheet.size == (2 * 600 + 48, 22 + 2 * 100)
    assert sheet.getpixel((47, 22 + 47)) == (255, 0, 0)
    assert sheet.getpixel((648 + 48, 22 + 100 + 47)) == (7, 7, 7)


def test_the_examples_table_has_at_most_a_hundred_attributes() -> None:
    p = pets()
    many = Predictions.from_arrays(
        p.embeddings,
        losses=p.losses,
        labels=p.labels,
        predictions=p.predictions,
        attributes={f"a{i}": np.arange(N) % 2 for i in range(150)} | {"weather": p.attributes["weather"]},
        task=p.task,
    )
    (columns, _), _ = examples_table(Findings.build(many, UDIS().fit(many).slices_))
    assert len(columns) == 8 + 100
    assert "weather" in columns  # the last one, but the only one that is informative


@pytest.mark.slow
def test_train_infer_and_discover_are_linked(shell: Shell) -> None:
    words = ("training.epochs=1", "cam=none", "method=random")
    for script in ("train", "infer", "discover"):
        said = shell(script, *words)
    (discover_run,) = shell.folder.glob("outputs/discover/*/*")
    assert shlex.split(said.partition("send the run with: ")[2].splitlines()[0]) == [
        *("wandb", "sync", str(Logged(discover_run).folder.relative_to(shell.folder)))
    ]
    (trained,), (inferred,) = (list(shell.folder.glob(f"outputs/{job}/*/*")) for job in ("train", "infer"))
    runs = {"train": Logged(trained), "infer": Logged(inferred), "discover": Logged(discover_run)}
    assert [run.run["job_type"] for run in runs.values()] == list(runs)
    assert runs["train"].run["display_name"] == "train-colored_digits-small_cnn-s0"
    assert runs["discover"].run["display_name"] == "random-colored_digits-small_cnn-s0"
    checkpoint, predictions = runs["train"].artifact("model"), runs["infer"].artifact("predictions")
    for made_there, run in ((checkpoint, "infer"), (checkpoint, "discover"), (predictions, "discover")):
        there = runs[run].artifact(made_there["type"])
        assert (there["name"], there["digest"]) == (made_there["name"], made_there["digest"])
        assert there["use_after_commit"] is True
        assert "use_after_commit" not in made_there
    scores, summary = runs["infer"].summary, runs["discover"].summary
    for name in ("test/accuracy", "test/loss"):
        assert scores[name] == pytest.approx(summary[name], abs=1e-6)
    assert scores["test/classes.nrows"] == 2


@pytest.mark.slow
def test_the_runs_of_a_multirun_are_one_group(shell: Shell) -> None:
    draw = np.random.default_rng(0)
    np.savez(shell.folder / "my.npz", embeddings=draw.normal(size=(60, 3)), losses=draw.random(60))
    shell("discover", "-m", "predictions=my.npz", "method=random", "seed=1,2")
    runs = [Logged(report.parent) for report in shell.reports()]
    (group,) = {run.run["run_group"] for run in runs}
    assert (shell.folder / group).is_dir()
    assert sorted(run.run["display_name"] for run in runs) == ["random-my-s1", "random-my-s2"]
    for run in runs:
        assert run.config["words"] == {"method": "random", "predictions": "my.npz"}
        for entry in contents(run.artifact("tables")).values():
            assert Path(entry["local_path"]).is_relative_to(run.folder)


@pytest.mark.slow
def test_the_workspace_refers_only_to_what_runs_log(audit: tuple[Findings, Logged]) -> None:
    """The specification, made without a login, names only what a run logs."""
    words = ("--entity", "me", "--project", "mine", "--swept", "method.min_size", "--shown", "1", "--print")
    done = subprocess.run(
        [sys.executable, str(ROOT / "sweeps" / "workspace.py"), *words],
        capture_output=True,
        text=True,
        env=quiet_environment(),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["entity"], told["project"]) == ("me", "mine")
    sections = {
        each["name"]: each["panels"] for each in told["spec"]["section"]["panelBankConfig"]["sections"]
    }
    assert list(sections) == ["Runs compared", "What was found", "Finding 1", "Slice 1"]
    columns = [column["accessor"] for column in sections["Runs compared"][0]["config"]["columns"]]
    assert {"config:words.value.method", "config:method.value.min_size", "summary:worst/gap"} <= set(columns)
    logged = {name.replace("val/", "test/") for name in audit[1].summary}
    for column in columns:
        section, _, name = column.partition(":")
        assert section == "config" or name in logged
    (runs,) = told["spec"]["section"]["runSets"]
    assert set(columns) <= set(runs["runFeed"]["columnPinned"])
    for asked in sections["Finding 1"]:
        config = asked["config"]
        for name in (*config.get("mediaKeys", ()), *config.get("metrics", ())):
            assert name in logged or f"{name}._type" in logged
    assert "finding_1/confusion_table._type" in logged
