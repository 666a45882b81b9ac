"""A run in the explorer: its examples by filter, Grad-CAM on demand, a new slice tested on the held-out set."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import quote, urlencode

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from explorer import asked, follow, opened, posted, read, serving
from report_pages import needs_chromium
from shell import Shell
from weakspot import Findings, Predictions, Spotlight
from weakspot.app.filters import AttributeCondition
from weakspot.app.loaded_runs import LoadedRun, LoadedRuns
from weakspot.app.run_components import ComponentBuilders, RunComponents, encode_webp
from weakspot.app.run_index import RunIndex
from weakspot.app.selections import SelectionTest
from weakspot.commands.component_builders import component_builders
from weakspot.evaluation.confirmation import LEVEL
from weakspot.methods.kmeans import Kmeans
from weakspot.models.checkpoint import load_weights
from weakspot.pipeline.discover import discover
from weakspot.pipeline.grad_cams import GradCams
from weakspot.pipeline.run_outputs import RunOutputs


@pytest.fixture(scope="module")
def outputs(digits, tmp_path_factory):
    """The output folder of a UDIS run on a model trained for one epoch."""
    shell = Shell(tmp_path_factory.mktemp("explored"))
    # leave out the runs that other tests of this process made there
    no_runs = shutil.ignore_patterns("discover")
    shutil.copytree(digits.folder / "outputs", shell.folder / "outputs", ignore=no_runs)
    shell("discover", "method=udis", "logger=none", "training.epochs=1", "cam=none")
    return shell.folder / "outputs"


@pytest.fixture(scope="module")
def run(outputs):
    (run,) = RunIndex([outputs]).all()
    return run


@pytest.fixture(scope="module")
def record(outputs, run):
    return LoadedRuns(RunIndex([outputs])).load(run)


@pytest.fixture(scope="module")
def server(outputs):
    with serving(outputs) as server:
        yield server


def ids(server, run, query=""):
    status, headers, text = asked(server, f"/run/{run.digest}/ids.csv?{query}")
    assert (status, headers["Content-Disposition"]) == (200, 'attachment; filename="examples.csv"')
    return [row["id"] for row in csv.DictReader(io.StringIO(text))]


def picture(server, path):
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        content = answer.read()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp"), content
    return Image.open(io.BytesIO(content))


def test_filters_find_the_matching_examples(server, run, record):
    p, a = record.predictions, record.attributes
    values = {name: np.array(a[name].to_pylist()) for name in a.column_names}
    correct, labels = np.asarray(p.correct), np.array([record.label(row) for row in range(len(p))])
    brightness = values["image.brightness"]
    edge = float(np.median(brightness))
    expected = {
        "rows=all": np.ones(len(p), dtype=bool),
        "": record.searched,
        "rows=held": ~record.searched,
        "rows=all&outcome=wrong": ~correct,
        "rows=all&where=colour%3Dred": values["colour"] == "red",
        "rows=all&attribute=colour&value=red": values["colour"] == "red",
        "rows=all&where=colour%3Dred&where=digit%3D7": (values["colour"] == "red") & (values["digit"] == 7),
        f"rows=all&where=image.brightness%3E%3D{edge}": brightness >= edge,
        f"rows=all&where=image.brightness%3C{edge}": brightness < edge,
        "rows=all&" + urlencode({"label": "≥5", "prediction": "<5"}): (labels == "≥5")
        & (np.array([record.prediction(row) for row in range(len(p))]) == "<5"),
        "rows=all&search=DIGIT-00": np.char.startswith(p.ids, "digit-00"),
    }
    for query, mask in expected.items():
        assert mask.sum() > 0, query
        found = ids(server, run, query)
        assert len(found) == mask.sum(), query
        assert set(found) == set(p.ids[mask]), query
        count = re.search(
            r"([\d\u202f]+) examples?(, accuracy .*?)?\.",
            read(asked(server, f"/run/{run.digest}?{query}")[2]),
        )
        assert int(count[1].replace("\u202f", "")) == mask.sum()


def test_members_of_nodes_and_slices_are_found(server, run, record):
    for node in list(record.tree.root.walk())[::5]:
        members = {row for leaf in node.leaves() for row in leaf.members}
        assert set(ids(server, run, f"in=node-{node.id}&rows=all")) == {
            record.predictions.ids[row] for row in members
        }
    for number, weights in enumerate(record.slices.weights, start=1):
        found = ids(server, run, f"in=slice-{number}&rows=all")
        assert set(found) == set(record.predictions.ids[np.asarray(weights) > 0])


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("where=secret%3D1", "is not a condition on an attribute"),
        ("attribute=colour&operator=~&value=x", "is not a condition on an attribute"),
        ("where=colour%3E%3D1", "compares values that are not numbers"),
        ("where=digit%3E%3Dx", "compares values that are not numbers"),
        ("in=node-999999", "is not a finding, slice or node"),
        ("in=%3Cscript%3E", "is not a finding, slice or node"),
        ("outcome=x", "is neither wrong nor right"),
        ("rows=x", "is neither all, nor searched, nor held"),
        ("from=-1", "is not a whole number"),
    ],
)
def test_invalid_queries_are_refused_with_a_reason(server, run, query, reason):
    status, _, text = asked(server, f"/run/{run.digest}?{query}")
    assert status == 400
    assert reason in read(text)
    assert "<script>" not in text


def test_grad_cam_of_the_models_own_layer_is_the_same_as_in_the_report(server, outputs, run, record):
    builders = component_builders(run.folder)
    data = builders.dataset("test")
    model = builders.model(data.task)
    load_weights(model, outputs.parent / record.predictions.manifest["checkpoint"])
    for name, target in (("predicted", "predicted"), ("label", "label"), ("≥5", "≥5")):
        (expected,) = GradCams(model, data, target, device="cpu")([7])
        found = picture(server, f"/run/{run.digest}/cam/7?{urlencode({'class': name})}")
        assert np.array_equal(np.asarray(found), np.asarray(Image.open(io.BytesIO(encode_webp(expected)))))


def test_attributes_of_images_are_not_looked_up_for_a_page_without_them(server, run, monkeypatch):
    monkeypatch.delattr(LoadedRun, "attributes_of")
    status, _, text = asked(server, f"/run/{run.digest}")
    assert (status, "/image/" in text) == (200, True)


def test_an_image_is_the_datasets_preview(server, run):
    shown = component_builders(run.folder).dataset("test").preview(7)
    found = picture(server, f"/run/{run.digest}/image/7?side=512")
    assert np.array_equal(np.asarray(found), np.asarray(Image.open(io.BytesIO(encode_webp(shown)))))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("cam/7?layer=nowhere", 400),
        ("cam/7?layer=__class__", 400),
        ("cam/7?class=nothing", 400),
        ("cam/99999", 404),
        ("image/99999", 404),
        ("example/99999", 404),
        ("example/7?class=nothing", 400),
        ("image/-1", 404),
    ],
)
def test_unknown_layers_classes_and_examples_are_refused(server, run, path, status):
    assert asked(server, f"/run/{run.digest}/{path}")[0] == status


@needs_chromium
@pytest.mark.slow
def test_an_example_from_the_list_is_explained_for_a_class_in_any_layer(server):
    with opened(server) as tab:
        follow(tab, tab.get_by_role("link", name="explore").first)
        tab.get_by_label("Attribute").select_option("colour")
        tab.get_by_label("Value").fill("green")
        tab.get_by_label("Outcome").select_option("wrong")
        follow(tab, tab.get_by_role("button", name="Show"))
        assert tab.get_by_label("Conditions").inner_text().startswith("colour is green")
        loaded = "images => images.every(image => image.complete && image.naturalWidth > 0)"
        tab.wait_for_load_state("networkidle")
        images = tab.locator(".gallery img")
        assert images.count() > 0
        assert images.first.evaluate_all(loaded)
        assert tab.locator(".gallery img:not(.wrong)").count() == 0
        follow(tab, images.first)
        layers = tab.get_by_label("Layer").locator("option").all_inner_texts()
        assert len(layers) > 3
        assert tab.get_by_label("Layer").input_value() in layers
        seen = set()
        for layer, target in ((layers[0], "<5"), (layers[-1], "<5"), (layers[-1], "≥5")):
            tab.get_by_label("Layer").select_option(layer)
            tab.locator("select[name=class]").select_option(target)
            follow(tab, tab.get_by_role("button", name="Show Grad-CAM"))
            tab.wait_for_load_state("networkidle")
            assert tab.locator("#cam").evaluate("image => image.naturalWidth > 0")
            assert layer in tab.locator("figcaption").last.inner_text()
            seen.add(tab.locator("#cam").get_attribute("src"))
        assert len(seen) == 3


@needs_chromium
@pytest.mark.slow
def test_a_selection_becomes_a_slice_that_is_tested_on_the_held_out_set(server, outputs, run, record):
    with opened(server) as tab:
        tab.goto(f"http://localhost:{server.port}/run/{run.digest}")
        tab.get_by_label("Attribute").select_option("group")
        tab.get_by_label("Value").fill("red_≥5")
        follow(tab, tab.get_by_role("button", name="Show"))
        assert "selection 1 at the level 0.0250" in tab.locator("form .note").first.inner_text()
        follow(tab, tab.get_by_role("button", name="Make it a slice, and test it"))
        assert "small_cnn" in tab.locator("h1").inner_text()
        tab.goto(f"http://localhost:{server.port}/run/{run.digest}?where=" + quote("group=red_≥5"))
        assert "selection 2 at the level 0.0083" in tab.locator("form .note").first.inner_text()
    (made,) = (one for one in RunIndex([outputs]).all() if one.method == "selection")
    again = LoadedRuns(RunIndex([outputs])).load(made)
    inside = np.array(record.attributes["group"].to_pylist()) == "red_≥5"
    assert np.array_equal(again.slices.weights[0] > 0, inside)
    assert np.array_equal(again.searched, record.searched)
    findings = Findings.load(made.folder)
    assert findings.confirmation.mode == "held_out"
    assert findings.confirmation.tested == (~record.searched).sum()
    assert findings.confirmation.level == LEVEL / 2
    held = inside & ~record.searched
    evidence = findings.slices[0].evidence
    assert evidence.members == held.sum()
    assert evidence.accuracy.inside == pytest.approx(np.asarray(record.predictions.correct)[held].mean())
    assert any("selection 1 of these predictions" in note for note in findings.notes)
    assert ids(server, made, "in=slice-1&rows=all")
    picture(server, f"/run/{made.digest}/image/7")


def test_the_levels_of_all_selections_add_up_to_the_level_of_one_test():
    levels = [SelectionTest(number).level for number in range(1, 5000)]
    assert sum(levels) < LEVEL
    assert sum(levels) == pytest.approx(LEVEL, rel=1e-3)


@pytest.mark.parametrize(
    "fields",
    [{}, {"outcome": "wrong"}, {"where": "colour=red", "prediction": "<5"}, {"in": "slice-1", "label": "<5"}],
)
def test_a_slice_defined_by_what_the_model_does_is_not_tested(server, run, outputs, fields):
    before = len(RunIndex([outputs]).all())
    status, _, text = form(server, run, **fields)
    assert status == 400
    assert "A slice to test is defined by what its examples are" in read(text)
    assert len(RunIndex([outputs]).all()) == before


def form(server, run, **fields):
    headers = {
        "Origin": f"http://localhost:{server.port}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return asked(server, f"/run/{run.digest}/slices", method="POST", body=urlencode(fields), **headers)


def test_a_selection_of_no_or_all_examples_is_refused_and_so_is_a_file(server, run):
    for search, words in (("nobody", "none of the examples"), ("digit", "all of the examples")):
        status, _, text = form(server, run, search=search)
        assert status == 400
        assert words in read(text)
    assert posted(server, f"/run/{run.digest}/slices", b"x", search="1")[0] == 400


def test_a_request_from_another_origin_makes_no_slice(server, run):
    headers = {"Origin": "null", "Content-Type": "application/x-www-form-urlencoded"}
    assert asked(server, f"/run/{run.digest}/slices", method="POST", body="label=%3C5", **headers)[0] == 403


# Runs that somebody else may have put into the folder


@pytest.fixture
def copied(outputs, tmp_path):
    shutil.copytree(outputs, tmp_path / "outputs", ignore=shutil.ignore_patterns("selections"))
    (run,) = RunIndex([tmp_path / "outputs"]).all()
    return run


CONFIGURATIONS = {
    "a function as dataset": ({"dataset": {"_target_": "os.mkdir", "path": "MARK"}}, "come with weakspot"),
    "a function as model": ({"model": {"_target_": "os.mkdir", "path": "MARK"}}, "come with weakspot"),
    "a module of anyone's": (
        {"model": {"_target_": "weakspot.models.user.UserModel", "path": "antigravity:x", "head": "fc"}},
        "come with weakspot",
    ),
    "a function inside": ({"dataset": {"size": {"_target_": "os.mkdir", "path": "MARK"}}}, "plain values"),
    "a function in a list": (
        {"model": {"channels": [{"_target_": "os.mkdir", "path": "MARK"}]}},
        "plain values",
    ),
    "a variable of the environment": ({"dataset": {"root": "${oc.env:HOME}"}}, "plain values"),
    "no dataset": ({"dataset": None}, "names no dataset"),
}


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_a_configuration_that_calls_foreign_code_is_not_built(copied, tmp_path, kind):
    from omegaconf import OmegaConf

    changed, reason = CONFIGURATIONS[kind]
    mark = tmp_path / "owned"
    file = copied.folder / "config.yaml"
    before = OmegaConf.to_container(OmegaConf.load(file))
    told = json.loads(json.dumps(changed).replace("MARK", str(mark)))
    merged = {key: (before[key] | value if value else value) for key, value in told.items()}
    OmegaConf.save(OmegaConf.create(before | merged), file)
    # images are shown even if the model is not built
    page, shown, explained = ("/example/7", 200, 400) if "model" in changed else ("", 404, 404)
    with serving(tmp_path / "outputs") as server:
        status, _, text = asked(server, f"/run/{copied.digest}{page}")
        assert status == 200
        assert reason in read(text)
        assert 'id="cam"' not in text
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
            connection.request("GET", f"/run/{copied.digest}/image/7", headers={"Host": "localhost"})
            assert connection.getresponse().status == shown
        assert asked(server, f"/run/{copied.digest}/cam/7")[0] == explained
    assert not mark.exists()


def test_a_configuration_behind_a_link_is_not_read(copied, tmp_path):
    (copied.folder / "config.yaml").rename(tmp_path / "config.yaml")
    (copied.folder / "config.yaml").symlink_to(tmp_path / "config.yaml")
    with serving(tmp_path / "outputs") as server:
        assert "holds no config.yaml" in read(asked(server, f"/run/{copied.digest}")[2])


def test_weights_and_predictions_outside_the_folders_are_not_read(copied, tmp_path):
    with serving(copied.folder.parents[1]) as server:  # outputs/discover only
        (run,) = RunIndex([copied.folder.parents[1]]).all()
        status, _, text = asked(server, f"/run/{run.digest}")
        assert status == 400
        assert "name their folder too" in read(text)
    (store,) = (tmp_path / "outputs" / "predictions").glob("*-*")
    shutil.move(tmp_path / "outputs" / "checkpoints", tmp_path / "checkpoints")
    with serving(tmp_path / "outputs") as server:
        status, _, text = asked(server, f"/run/{copied.digest}/cam/7")
        assert status == 400
        assert "name their folder too" in read(text)
    (store / "records.parquet").rename(tmp_path / "records.parquet")
    (store / "records.parquet").symlink_to(tmp_path / "records.parquet")
    with serving(tmp_path / "outputs") as server:
        assert "name their folder too" in read(asked(server, f"/run/{copied.digest}")[2])


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A run on given predictions with hostile names and without a dataset."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(0)
    x, apart = rng.normal(size=(300, 3)), rng.random(300) < 0.2
    x[apart] += 4
    labels = rng.integers(0, 2, 300)
    p = Predictions.from_arrays(
        x,
        labels=labels,
        predictions=np.where(apart, 1 - labels, labels),
        losses=np.where(apart, 3.0, 0.1),
        ids=[f"<script>alert({i})</script>" for i in range(300)],
        attributes=pa.table({"<b>=x": np.where(apart, "<i>", "=1+1").tolist()}),
    )
    p.save(folder / "mine")
    discover(
        Spotlight(n_slices=1, search="published"),
        Predictions.load(folder / "mine"),
        folder / "run",
        outputs=RunOutputs(command="<u>"),
    )
    return folder


def test_a_run_without_data_is_shown_as_a_table_with_everything_escaped(given):
    (run,) = RunIndex([given]).all()
    with serving(given) as server:
        for path in ("", "/example/7", "?" + urlencode({"where": "<b>=x=<i>"}), "?search=%3Cscript"):
            status, _, text = asked(server, f"/run/{run.digest}{path}")
            assert status == 200
            assert text.count("<script") == text.count('<script src="/static/') == 2
            assert "<i>" not in text
            assert "<u>" not in text
            assert "holds no config.yaml" in read(text)
        found = ids(server, run, "rows=all&" + urlencode({"where": "<b>=x=<i>"}))
        assert len(found) == 300 - len(ids(server, run, "rows=all&" + urlencode({"where": "<b>=x==1+1"})))


@pytest.fixture
def oddly_named(tmp_path):
    """A run whose attributes have names that a form does not keep: line breaks, repeated blanks, digits, nothing."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    names = ["1", "new\nline", "two  blanks ", "return\rhere", "0"]
    values = ["a", "b", "c\nd"]
    p = Predictions.from_arrays(
        x,
        losses=x[:, 0] ** 2,
        attributes=pa.table(
            {name: [values[(row + i) % 3] for row in range(60)] for i, name in enumerate(names)}
        ),
    )
    p.save(tmp_path / "mine")
    found = Predictions.load(tmp_path / "mine")
    discover(Kmeans(n_clusters=2), found, tmp_path / "run", outputs=RunOutputs())
    return tmp_path, found.attributes


def test_attributes_with_line_breaks_and_blanks_in_their_names_can_be_filtered(oddly_named):
    folder, attributes = oddly_named
    (run,) = RunIndex([folder]).all()
    with serving(folder) as server:
        page = asked(server, f"/run/{run.digest}")[2]
        select = re.search(r'<select name="column">(.*?)</select>', page, re.DOTALL)[1]
        positions = re.findall(r'<option value="(\d+)">', select)
        assert len(positions) == len(attributes.column_names)
        for position, name in zip(positions, attributes.column_names, strict=True):
            held = [f"{row}" for row in range(60) if attributes[name][row].as_py() == "a"]
            chosen = urlencode({"rows": "all", "column": position, "value": "a"})
            assert sorted(ids(server, run, chosen)) == sorted(held), name
            # a condition is a hidden field of the forms
            as_submitted = re.sub(r"\r\n?|\n", "\r\n", f"{name}=a")
            assert sorted(ids(server, run, urlencode({"rows": "all", "where": as_submitted}))) == sorted(held)
            old_link = urlencode({"rows": "all", "attribute": name, "value": "a"})
            assert sorted(ids(server, run, old_link)) == sorted(held)
        assert len(ids(server, run, urlencode({"rows": "all", "where": "1=c\r\nd"}))) == 20
        for position in ("5", "-1", "x", "9" * 5000):
            status, _, text = asked(server, f"/run/{run.digest}?column={position}&value=a")
            assert (status, "is not the position of an attribute" in read(text)) == (400, True)


def test_a_condition_is_written_as_text_and_described():
    assert str(AttributeCondition("age", ">=", "3")) == "age>=3"
    assert AttributeCondition("age", "<", "3").description == "age below 3"


def at_once(job, times=8):
    """Run a job in several threads that switch as often as possible, and return their results."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(times) as pool:
            return [future.result() for future in [pool.submit(job, time) for time in range(times)]]
    finally:
        sys.setswitchinterval(interval)


def test_the_list_is_read_by_many_threads_while_runs_are_added(tmp_path):
    runs = RunIndex([tmp_path])

    def job(turn):
        for number in range(30):
            folder = tmp_path / f"{turn}-{number}"
            folder.mkdir()
            (folder / "report.html").write_text("")
            runs.all()

    at_once(job, 4)
    assert runs.all() == []


def test_a_run_may_be_deleted_while_runs_are_listed(tmp_path):
    runs = RunIndex([tmp_path])

    def job(turn):
        for number in range(60):
            if turn:
                runs.all()
                continue
            folder = tmp_path / f"{number}" / "run"
            folder.mkdir(parents=True)
            (folder / "report.html").write_text("")
            shutil.rmtree(folder.parent)

    at_once(job, 4)
    assert runs.all() == []


def test_dataset_and_model_are_built_once_for_all_threads(record, outputs, run):
    builders, built = component_builders(run.folder), []

    def dataset(split):
        built.append(split)
        return builders.dataset(split)

    components = RunComponents(record, ComponentBuilders(dataset, builders.model), RunIndex([outputs]))
    found = at_once(lambda turn: (components.model, components.positions, components.has_images))
    assert built == ["test"]
    assert len({(id(model), id(places)) for model, places, _ in found}) == 1
