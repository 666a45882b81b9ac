"""The table printed at the end of a sweep."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from weakspot.commands.sweep_summary import print_sweep_summary
from weakspot.launch import sweep_results
from weakspot.launch.sweeps import Sweep, sweep_to_launch


def rows(text: str) -> list[list[str]]:
    """The cells of the last table that was printed."""
    table = text.rpartition("The runs of this sweep")[2]
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in table.splitlines()
        if line.startswith("│")
    ]


def write_predictions(file: Path) -> float:
    """Predictions that fail in one of six groups, and their accuracy."""
    rng = np.random.default_rng(0)
    groups, labels = np.arange(600) % 6, np.arange(600) // 6 % 2
    right = rng.random(600) < np.where(groups == 0, 0.2, 0.95)
    np.savez(
        file,
        embeddings=6 * np.eye(6)[groups] + rng.normal(size=(600, 6)),
        labels=labels,
        predictions=np.where(right, labels, 1 - labels),
        losses=np.where(right, 0.1, 3.0) + 0.01 * rng.random(600),
    )
    return float(right.mean())


WORDS = ("predictions=my.npz", "method=kmeans", "logger=none", "hydra.sweep.dir=swept")


def test_a_sweep_ends_with_a_row_for_each_run_even_if_a_gate_fails(shell):
    accuracy_of_all = write_predictions(shell.folder / "my.npz")
    words = (*WORDS, "method.n_clusters=6")
    text = shell("discover", "-m", *words, "confirm=0,0.5,0.6", fails=False)
    assert "The runs of this sweep, below swept (python browse.py 'folders=[swept]' shows them)" in text
    (number, settings, confirmed, accuracy), (_, other, some, _), _ = rows(text)
    assert (number, settings, other) == ("0", "confirm=0", "confirm=0.5")
    assert confirmed.startswith("none tested of ")
    assert some.startswith("1 of ")
    assert accuracy == f"{100 * accuracy_of_all:.1f}\u202f%"

    text = shell("discover", "-m", *words, "fail_if.accuracy_below=0.7,0.01", fails=3)
    # The third run in the folder comes from the earlier sweep.
    assert [(row[0], row[-1]) for row in rows(text)] == [("0", "stopped by fail_if"), ("1", "")]
    assert [row[2].startswith("1 of ") for row in rows(text)] == [True, True]
    assert (
        "\nrun 0 (fail_if.accuracy_below=0.7) stopped by fail_if:\n  Cluster 1: the model is right on" in text
    )
    assert text.count("the model is right on") == 1


def test_failed_runs_have_a_row_and_a_reason(shell):
    write_predictions(shell.folder / "my.npz")
    text = shell("discover", "-m", *WORDS, "method.n_clusters=0,6,1000", fails=2)
    assert [row[0] for row in rows(text)] == ["0", "1", "2"]
    assert [row[-1] for row in rows(text)] == ["failed", "", "failed"]
    assert rows(text)[0][1:-1] == ["method.n_clusters=0", "–", "–"]
    assert rows(text)[1][1] == "method.n_clusters=6"
    said = "n_clusters=0 must be a whole number of at least 2"
    assert f"\nrun 0 (method.n_clusters=0) failed: {said}\n" in text
    assert text.count(said) == 1
    assert (
        "\nrun 2 (method.n_clusters=1000) failed: n_clusters=1000 is more than the number of examples" in text
    )
    assert "Error executing" not in text

    # The first failing run sets the exit code; here it fails at a gate.
    text = shell("discover", "-m", *WORDS, "method.n_clusters=6,0", "fail_if.accuracy_below=0.7", fails=3)
    assert [row[-1] for row in rows(text)] == ["stopped by fail_if", "failed"]

    # The same folder again, with other runs: earlier failures are not reported for them.
    text = shell("discover", "-m", *WORDS, "method.n_clusters=6,5")
    assert [len(row) for row in rows(text)] == [4, 4]
    assert "run 0" not in text
    assert json.loads((shell.folder / "swept/0/result.json").read_text()) == {}


def test_runs_that_have_not_begun_have_a_row(shell):
    """A sweep in batches ends with the first batch that contains a failure."""
    write_predictions(shell.folder / "my.npz")
    words = (*WORDS, "hydra.sweeper.max_batch_size=1", "hydra.sweep.subdir=of_${method.n_clusters}")
    shell("discover", "-m", *words, "method.n_clusters=7")  # an earlier sweep in the same folder
    text = shell("discover", "-m", *words, "method.n_clusters=6,0,7,7", fails=2)
    assert [(row[0], row[1], row[-1]) for row in rows(text)] == [
        ("of_6", "method.n_clusters=6", ""),
        ("of_0", "method.n_clusters=0", "failed"),
        ("2", "method.n_clusters=7", "not begun"),
        ("3", "method.n_clusters=7", "not begun"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("seed=range(1,3)", "++method.n_slices=1"),
        ("method=glob([conf*,top*])", "report={map: none}"),
        ("seed=1,1", "~experiment", "dataset.hide=['a b',c]"),
        ("dataset.group=null,'it\\'s, ${seed}'", "+method.size=1e3"),
        ("seed=shuffle(range(2))",),
        ("hydra.sweep.subdir=run_${hydra.job.num}", "seed=sort(2,1)"),
    ],
)
def test_every_run_is_identified_by_its_overrides(shell, words):
    """Overrides in Hydra's sweep grammar, each for two runs; that the runs fail does not matter here."""
    settings = [word for word in WORDS if not word.startswith("method=")]
    text = shell("discover", "-m", *settings, "stability=-1", *words, fails=2)
    assert [row[-1] for row in rows(text)] == ["failed", "failed"]


def test_a_sweep_over_nothing_is_refused(shell):
    text = shell("discover", "-m", "method=glob(zz*)", "logger=none", fails=2)
    assert text.endswith("there is nothing to run, because a range or a glob in this command is empty\n")


@pytest.mark.slow
def test_runs_in_other_processes_have_their_rows(shell):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    write_predictions(shell.folder / "my.npz")
    words = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "method.n_clusters=0,6")
    text = shell("discover", "-m", *WORDS, *words, fails=2)
    assert [row[-1] for row in rows(text)] == ["failed", ""]
    assert text.count("n_clusters=0 must be a whole number of at least 2") == 1
    assert "Error executing" not in text


def test_a_result_that_cannot_be_saved_for_the_table_is_printed_at_once(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    def full(folder: Path, result: Mapping[str, str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sweep_results, "write_result", full)
    monkeypatch.setattr(sweep_results, "run_folder", lambda: tmp_path)
    monkeypatch.setattr(HydraConfig, "get", lambda: OmegaConf.create({"job": {"num": 3}}))
    sweep_results.write_outcome(sweep_results.FAILED, "the disk is full")
    sweep_results.write_outcome(sweep_results.STOPPED, "Cluster 1: …\nCluster 2: …")
    assert capsys.readouterr().err == (
        "run 3 failed: the disk is full\nrun 3 stopped by fail_if:\n  Cluster 1: …\n  Cluster 2: …\n"
    )


def test_a_sweep_begins_while_another_deletes_its_files(tmp_path: Path, monkeypatch) -> None:
    """A file may be deleted before its modification time is read."""
    (tmp_path / "kept").write_text("")
    (tmp_path / "deleted").write_text("")
    is_file = Path.is_file

    def deleted_in_between(path: Path) -> bool:
        found = is_file(path)
        if path.name == "deleted":
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "is_file", deleted_in_between)
    sweep = sweep_to_launch(
        OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}, "sweeper": {"_target_": "optuna"}}})
    )
    assert [file.name for file in sweep.before] == ["kept"]
    assert not sweep.has_written(tmp_path / "kept")


@pytest.mark.parametrize("result", ["[1, 2]", '{"loss": "low"}', "{", "\\ud800", "[" * 100_000])
def test_an_invalid_result_is_ignored(tmp_path: Path, capsys, result: str) -> None:
    run = tmp_path / "0"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra/overrides.yaml").write_text("[seed=1]")
    (run / "result.json").write_text(result)
    print_sweep_summary(Sweep(tmp_path, {}))
    assert rows(capsys.readouterr().out) == [["0", "seed=1"]]


def test_a_run_without_a_result_did_not_finish(tmp_path: Path, capsys) -> None:
    """For example, because its process was killed for lack of memory."""
    for run in ("0", "1"):
        (tmp_path / run / ".hydra").mkdir(parents=True)
        (tmp_path / run / ".hydra/overrides.yaml").write_text(f"[seed={run}]")
    (tmp_path / "1/result.json").write_text("{}")
    print_sweep_summary(Sweep(tmp_path, {}))
    assert rows(capsys.readouterr().out) == [["0", "seed=0", "did not finish"], ["1", "seed=1", ""]]


def test_findings_are_counted_without_their_tables(shell, capsys) -> None:
    write_predictions(shell.folder / "my.npz")
    text = shell("discover", "-m", *WORDS, "method.n_clusters=6", "confirm=0.5")
    for table in shell.folder.glob("swept/0/*.parquet"):
        table.unlink()
    print_sweep_summary(Sweep(shell.folder / "swept", {}))
    assert rows(capsys.readouterr().out)[0][2:] == rows(text)[0][2:]


def test_a_failure_is_reported_even_if_no_run_can_have_a_row(shell) -> None:
    write_predictions(shell.folder / "my.npz")
    text = shell("discover", "-m", *WORDS, "hydra.output_subdir=null", "stability=-1,-2", fails=2)
    assert text.endswith("\nstability=-1 must be 0 (not measured) or how often to fit again\n")


def test_a_sweep_of_trainings_shows_their_validation_losses(shell):
    text = shell("train", "-m", "training.epochs=1", "seed=3,4", "logger=none")
    assert len(re.findall(r"checkpoint → .*/model.ckpt \(validation loss 0\.\d+\)\n", text)) == 2
    found = rows(text)
    assert [row[:2] for row in found] == [["0", "seed=3"], ["1", "seed=4"]]
    assert all(0 < float(row[2]) < 2 for row in found)
    assert "browse.py" not in text  # it shows reports, and training writes none
    assert re.search(r"below multirun/train/\d{4}-\d\d-\d\d/", text)
    assert "The runs of this sweep" not in shell("train", "training.epochs=1", "seed=3", "logger=none")
    assert not list(shell.folder.glob("outputs/train/**/result.json"))
