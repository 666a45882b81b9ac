"""Runs of every kind of task in the explorer, and examples that are texts or records."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pytest

from explorer import asked, read, serving
from paths import FIXTURES
from predictions_of_every_task import classes, losses_alone, numbers, ratings, several_labels
from weakspot import Predictions, Spotlight
from weakspot.app.loaded_runs import LoadedRuns
from weakspot.app.run_components import ComponentBuilders, RunComponents
from weakspot.app.run_index import RunIndex
from weakspot.datasets.base import Dataset
from weakspot.interop import udis_tree
from weakspot.pipeline.carry_over import carry_over
from weakspot.pipeline.discover import discover, report_slices, report_tree
from weakspot.pipeline.saved_runs import SavedRun
from weakspot.tasks import Classification

KINDS = {
    "classes": classes,
    "several labels": several_labels,
    "ratings": ratings,
    "numbers": numbers,
    "losses alone": losses_alone,
}


def explored(folder, make):
    p = make(np.random.default_rng(1))[0]
    p.save(folder / "predictions" / "mine")
    p = Predictions.load(folder / "predictions" / "mine")
    discover(Spotlight(n_slices=1, search="published", steps=300), p, folder / "run")
    (run,) = RunIndex([folder]).all()
    return p, run


def test_a_run_over_other_examples_shows_them_all(tmp_path):
    _, run = explored(tmp_path, classes)
    other = classes(np.random.default_rng(2))[0]
    other = replace(other, ids=np.char.add("new-", other.ids))
    other.save(tmp_path / "predictions" / "others")
    found = carry_over(SavedRun.open(run.folder), Predictions.load(tmp_path / "predictions" / "others"))
    everyone = np.ones(len(found.predictions), dtype=bool)
    report_slices(found.slices, found.predictions, tmp_path / "over", confirm=everyone)
    (over,) = RunIndex([tmp_path / "over"]).all()
    with serving(tmp_path) as server:
        status, _, text = asked(server, f"/run/{over.digest}")
        assert status == 200
        assert re.search(rf'id="found">{len(other)} examples', text)
        assert 'id="found">0 examples' in asked(server, f"/run/{over.digest}?rows=searched")[2]


def test_a_tree_alone_offers_only_its_report_and_tree(tmp_path):
    report_tree(udis_tree.read(FIXTURES / "seed_tree_bed.json"), tmp_path / "run")
    (run,) = RunIndex([tmp_path]).all()
    with serving(tmp_path) as server:
        text = asked(server, "/")[2]
        assert f'href="/run/{run.digest}/report"' in text
        assert f'href="/run/{run.digest}/tree"' in text
        assert f'href="/run/{run.digest}"' not in text
        assert 'type="checkbox"' not in text
        assert "a run of a tree alone (tree=FILE) has none" in asked(server, f"/run/{run.digest}")[2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_every_task_lists_its_examples(kind, tmp_path):
    p, run = explored(tmp_path, KINDS[kind])
    with serving(tmp_path) as server:
        for path in ("", "?rows=all&in=slice-1", "/example/0", "/example/499"):
            status, _, text = asked(server, f"/run/{run.digest}{path}")
            assert status == 200
            read(text)  # fails if an element is not closed
        for name in p.classes():
            for side, values in (("label", p.labels), ("prediction", p.predictions)):
                c = p.classes().index(name)
                expected = values[:, c] > 0 if values.ndim == 2 else values == c
                query = urlencode({"rows": "all", side: name})
                found = csv.DictReader(io.StringIO(asked(server, f"/run/{run.digest}/ids.csv?{query}")[2]))
                assert {row["id"] for row in found} == set(p.ids[expected])
        status, _, text = asked(server, f"/run/{run.digest}?label=nothing")
        assert (status, "is not a class of this run" in text) == (400, True)
        wrong = asked(server, f"/run/{run.digest}?outcome=wrong")[0]
        assert wrong == (400 if p.correct is None else 200)


class Written(Dataset):
    """Texts or records; every other text contains the word that is searched for."""

    texts = tuple(f"a <b>lovely</b> day {i}" if i % 2 else f"a refund {i}" for i in range(500))

    def __init__(self, split, record=False):
        super().__init__(split)
        self.record = record
        self.task = Classification(("cat", "dog"))
        self.targets = np.zeros(500, dtype=np.int64)
        # in a different order than the predictions
        self.examples = pa.table({"id": [str(i) for i in range(499, -1, -1)]})
        self.texts = None if record else Written.texts

    def input(self, row):
        return {}

    def preview(self, row):
        return {"user": f"<i>u{row}", "movie": "Up"} if self.record else Written.texts[row]

    def fingerprint(self):
        return ""


@pytest.mark.parametrize("record", [False, True])
def test_texts_and_records_are_matched_to_examples_by_id(record, tmp_path):
    _, run = explored(tmp_path, classes)
    builders = ComponentBuilders(lambda split: Written(split, record), lambda task: None)
    with serving(tmp_path, previews_of=lambda loaded, runs: RunComponents(loaded, builders, runs)) as server:
        text = asked(server, f"/run/{run.digest}/example/7")[2]
        shown = "user: <i>u492 · movie: Up" if record else Written.texts[492]
        assert shown in read(text)
        assert "<i>" not in text
        assert "<b>lovely" not in text
        assert asked(server, f"/run/{run.digest}/image/7")[0] == 404
        if not record:
            found = asked(server, f"/run/{run.digest}/ids.csv?rows=all&search=REFUND")[2]
            assert {row["id"] for row in csv.DictReader(io.StringIO(found))} == {
                str(i) for i in range(500) if (499 - i) % 2 == 0
            }


class Changed(Written):
    """The same dataset later: the last hundred examples are gone, or no preview can be read."""

    def __init__(self, split, pictured=False):
        super().__init__(split)
        self.pictured = pictured
        self.examples, self.texts = self.examples.slice(0, 400), Written.texts[:400]

    def preview(self, row):
        if self.pictured:
            raise FileNotFoundError("0.png is missing")
        return self.texts[row]


@pytest.mark.parametrize("pictured", [False, True])
def test_a_run_whose_data_have_changed_is_shown_without_the_missing_parts(pictured, tmp_path):
    _, run = explored(tmp_path, classes)
    builders = ComponentBuilders(lambda split: Changed(split, pictured), lambda task: None)
    with serving(tmp_path, previews_of=lambda loaded, runs: RunComponents(loaded, builders, runs)) as server:
        for path in ("?rows=all", "?rows=all&search=refund", "/example/7", "/example/450"):
            status, _, text = asked(server, f"/run/{run.digest}{path}")
            assert status == 200, path
            assert ("0.png is missing" in read(text)) == pictured
        gone = read(asked(server, f"/run/{run.digest}/example/7")[2])
        assert ("no longer holds this example" in gone) != pictured
        found = asked(server, f"/run/{run.digest}/ids.csv?rows=all&search=refund")[2]
        assert len(found.splitlines()) == 1 + (0 if pictured else 200)


def test_predictions_are_found_in_any_folder_given_to_the_server(tmp_path):
    p, run = explored(tmp_path, classes)
    (tmp_path / "predictions").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="name their folder too"):
        LoadedRuns(RunIndex([tmp_path / "run"])).load(run)
    found = LoadedRuns(RunIndex([tmp_path / "run", tmp_path / "elsewhere"])).load(run)
    assert np.array_equal(found.predictions.ids, p.ids)
    for number, weights in enumerate(found.slices.weights, start=1):
        rows = found.groups[f"slice-{number}"][1]
        assert set(rows) == set(np.flatnonzero(weights))
        assert np.all(np.diff(np.asarray(weights)[rows]) <= 0)


def test_arrays_that_belong_to_a_table_are_read_only_inside_the_folders(tmp_path):
    secret, inside = tmp_path / "secret.safetensors", tmp_path / "inside"
    secret.touch()
    inside.mkdir()
    runs = LoadedRuns(RunIndex([inside]))
    for name in ("plain", "[ab]"):
        for ending in (".csv", ".safetensors"):
            (inside / name).with_suffix(ending).touch()
        assert runs.may_read(inside / f"{name}.csv")
        (inside / f"{name}.safetensors").unlink()
        (inside / f"{name}.safetensors").symlink_to(secret)
        assert not runs.may_read(inside / f"{name}.csv")
