"""Figures for papers: they draw what was found, are legible, and are the same bytes for the same run."""

import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from sklearn.decomposition import PCA

from paths import ROOT
from processes import quiet_environment
from report_pages import picture, planted
from weakspot.figures import (
    accuracies,
    co_occurrence,
    draw,
    lengths,
    make_figures,
    members,
    save,
    silhouettes,
    space,
    text_fitting,
    tree,
    values,
)
from weakspot.figures.style import VERMILION, WIDTH
from weakspot.figures.text_fitting import fit_line, text_width, wrap_lines
from weakspot.figures.tree import move_apart
from weakspot.findings import Findings, Media
from weakspot.methods.udis import UDIS
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification, Multilabel, Regression

HOSTILE = "$x^{2 \x1b[31m𝕏 長い\n" + "Wide words " * 40


def overlays(rows):
    return [Image.blend(picture(row), Image.new("RGB", (32, 32), "yellow"), 0.4) for row in rows]


@pytest.fixture(scope="module")
def found():
    """Predictions, slices and findings of a planted failure."""
    predictions, slices = planted()
    return (
        predictions,
        slices,
        Findings.build(predictions, slices, confirm=np.arange(len(predictions)) % 2 == 0),
    )


@pytest.fixture(scope="module")
def clustered():
    """Predictions, slices and findings of UDIS, with its tree: four groups; the model fails in one of them."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 4, 320)
    right = rng.random(320) < np.where(group == 3, 0.1, 0.97)
    label = group % 2
    guess = np.where(right, label, 1 - label)
    p = Predictions.from_arrays(
        np.eye(4)[group] * 6 + rng.normal(size=(320, 4)),
        outputs=np.stack([1 - guess, guess], axis=1) * rng.uniform(1, 5, (320, 1)),
        labels=label,
        attributes={"group": group.astype(str)},
        task=Classification(("<5", "≥5")),
    )
    slices = UDIS().fit(p).slices_
    return p, slices, Findings.build(p, slices)


def everything(found, media=None, texts=None):
    predictions, slices, findings = found
    return dict(make_figures(findings, predictions, slices, media, texts))


def texts_of(figure):
    return [text for text in figure.findobj(lambda one: hasattr(one, "get_text")) if text.get_text().strip()]


def test_accuracies_draws_the_intervals_of_the_findings(found):
    _, _, findings = found
    figure = accuracies(findings)
    (axes,) = figure.axes
    drawn_lines = [tuple(map(float, line.get_xdata())) for line in axes.lines]
    order = sorted(findings.findings, key=lambda finding: not finding.confirmed)
    for finding in order:
        assert finding.accuracy.interval in drawn_lines
        assert (finding.accuracy.inside,) in drawn_lines
        assert (finding.accuracy.outside,) in drawn_lines
    assert (findings.whole.accuracy,) * 2 in drawn_lines
    said = [label.get_text() for label in axes.get_yticklabels()]
    assert said[0].startswith("group = red_≥5\nconfirmed, p <")
    filled = [
        line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() == VERMILION
    ]
    assert len(filled) == sum(finding.confirmed for finding in findings.findings) > 0


def test_members_are_sorted_by_weight_and_wrong_ones_are_framed(found):
    predictions, _, findings = found
    one = findings.slices[0]
    figure = members(findings, Media(picture, overlays), one, rows=2, columns=3)
    (axes,) = figure.axes
    top = one.portrait.top[:6]
    images = [np.asarray(image.get_array()) for image in axes.images]
    expected = [image for row in top for image in (picture(row), overlays([row])[0])]
    assert len(images) == 12
    assert all(
        np.array_equal(image, np.asarray(other)) for image, other in zip(images, expected, strict=True)
    )
    frames = [to_hex(frame.get_edgecolor()) for frame in axes.patches]
    wrong = [not predictions.correct[row] for row in top for _ in range(2)]
    assert [frame.upper() == VERMILION for frame in frames] == wrong
    captions = [text.get_text() for text in axes.texts[1:]]
    assert captions[0].startswith("≥5 → <5\nweight ")
    shown = [float(caption.split("weight ")[1]) for caption in captions]
    np.testing.assert_allclose(shown, np.sort(predictions_weights(found)[0])[::-1][:6], atol=0.0006)


def predictions_weights(found):
    return np.asarray(found[1].weights)


def test_sixteen_bit_and_transparent_images_are_drawn_as_viewers_show_them(found):
    _, _, findings = found
    levels = Image.fromarray(np.linspace(1000, 5000, 32 * 32).reshape(32, 32).astype(np.uint16))
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    one = findings.slices[0]
    grey, white = (
        np.asarray(
            members(findings, Media(lambda row, shown=shown: shown), one).axes[0].images[0].get_array()
        )
        for shown in (levels, clear)
    )
    assert np.unique(grey[..., 0]).size == 256
    assert (white == 255).all()


def test_only_the_previews_drawn_are_loaded(found, caplog):
    predictions, _, _ = found
    weights = np.random.default_rng(0).random((25, len(predictions)))
    slices = Slices("spotlight", predictions.ids, weights, describe(weights, predictions))
    findings = replace(Findings.build(predictions, slices), findings=())
    loaded = set()

    def text(row):
        loaded.add(row)
        return f"text {row}"

    with caplog.at_level("INFO", "weakspot.figures"):
        names = [name for name, _ in make_figures(findings, media=Media(text)) if name.startswith("members")]
    assert names == [f"members-slice-{j}" for j in range(1, 11)]
    assert loaded == {row for one in findings.slices[:10] for row in one.portrait.top[:10]}
    assert "the first 10 of 25 slices" in caplog.text


def test_texts_and_records_are_listed(found):
    _, _, findings = found
    words = texts_of(members(findings, Media(lambda row: f"text number {row}"), findings.slices[0]))
    assert f"text number {findings.slices[0].portrait.top[0]}" in [text.get_text() for text in words]
    record = {"user": 5, "Comedy": "yes", "Drama": "no", "rated": 1, "context": "long"}
    words = texts_of(members(findings, Media(lambda row: record), findings.slices[0]))
    assert "user: 5 · Comedy · rated: 1" in [text.get_text() for text in words]
    with pytest.raises(ValueError, match="there is nothing to look at in Spotlight 1"):
        members(findings, Media(), findings.slices[0])


def test_a_failing_cluster_is_followed_by_its_neighbour(clustered):
    _, _, findings = clustered
    figure = members(findings, Media(picture), findings.slices[0], columns=4)
    (axes,) = figure.axes
    assert len(axes.images) == 8 + min(4, len(findings.slices[0].neighbours[0].rows))
    assert any("served well" in text.get_text() for text in axes.texts)


def test_the_map_draws_the_principal_components(found):
    predictions, slices, _ = found
    figure = space(predictions, slices)
    main, *small = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    points = main.collections[0]
    order = np.argsort(predictions.losses, kind="stable")
    expected = PCA(2).fit_transform(predictions.embeddings)[order]
    signs = np.sign((points.get_offsets() * expected).sum(axis=0))
    np.testing.assert_allclose(points.get_offsets() * signs, expected, atol=1e-5)
    np.testing.assert_array_equal(points.get_array(), predictions.losses[order])
    assert len(small) == len(slices)
    for axes, weights in zip(small, slices.weights, strict=True):
        behind, lit = axes.collections
        assert len(lit.get_offsets()) == (weights > 0.05 * weights.max()).sum()
        assert len(behind.get_offsets()) + len(lit.get_offsets()) == len(predictions)


def test_a_map_by_prediction_handles_every_task():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 12, 60)

    def shown(**arrays):
        figure = space(Predictions.from_arrays(x, **arrays), by="prediction")
        return figure, figure.axes[0].collections[0].get_array()

    _, probability = shown(outputs=np.stack([np.zeros(60), y - 5.0], axis=1), labels=y % 2)
    losses = np.log1p(np.exp(-np.where(y % 2, 1, -1) * (y - 5.0)))
    expected = 1 / (1 + np.exp(5.0 - y))
    np.testing.assert_allclose(probability, expected[np.argsort(losses, kind="stable")], atol=1e-6)
    figure, _ = shown(outputs=np.eye(12)[y] * 5, labels=y)
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names[-1] == "others"
    assert names[0] == str(np.bincount(y).argmax())
    _, numbers = shown(labels=y + 0.5, predictions=y + 0.25, task=Regression())
    assert set(np.unique(numbers)) == set(np.unique(y + 0.25))
    several = Predictions.from_arrays(
        x, outputs=rng.normal(size=(60, 3)), labels=np.ones((60, 3), int), task=Multilabel(("a", "b", "c"))
    )
    with pytest.raises(ValueError, match="neither classes nor numbers"):
        space(several, by="prediction")
    with pytest.raises(ValueError, match="hold no losses"):
        space(Predictions.from_arrays(x, correct=y > 3))


def test_a_large_map_makes_a_small_file(tmp_path):
    rng = np.random.default_rng(0)
    n = 60_000
    p = Predictions.from_arrays(rng.normal(size=(n, 3)).astype(np.float32), losses=rng.exponential(size=n))
    file = save(space(p), tmp_path / "map.pdf")
    assert file.stat().st_size < 1_000_000


def test_bars_of_the_tree_span_their_children(clustered):
    _, slices, findings = clustered
    figure = tree(findings)
    axes = figure.axes[0]
    bars = axes.patches
    assert len(bars) == len(findings.clusters)
    for bar, cluster in zip(bars, findings.clusters, strict=True):
        assert bar.get_width() == cluster.size
        assert bar.get_y() == cluster.depth
        children = [
            bars[i]
            for i, one in enumerate(findings.clusters)
            if one.parent is not None and findings.clusters[one.parent] is cluster
        ]
        if children:
            assert children[0].get_x() == bar.get_x()
            assert sum(child.get_width() for child in children) == bar.get_width()
            assert children[0].get_x() + children[0].get_width() == children[-1].get_x()
    outlined = [to_hex(bar.get_edgecolor()) != "#ffffff" for bar in bars]
    assert outlined == [cluster.failing for cluster in findings.clusters]
    assert sum(outlined) == len(slices)
    curve = silhouettes(findings).axes[0].lines[0]
    assert tuple(zip(curve.get_xdata(), curve.get_ydata(), strict=True)) == findings.cut_scores


def test_a_large_tree_draws_the_widest_and_all_failing_bars(clustered, monkeypatch):
    _, _, findings = clustered
    monkeypatch.setattr(sys.modules[move_apart.__module__], "_BARS", 3)
    narrowest = min(range(len(findings.clusters)), key=lambda i: findings.clusters[i].size)
    clusters = [replace(one, failing=i == narrowest) for i, one in enumerate(findings.clusters)]
    assert len(clusters) > 5
    bars = tree(replace(findings, clusters=tuple(clusters))).axes[0].patches
    sizes = sorted((one.size for one in clusters), reverse=True)
    assert sizes[2] > sizes[3]
    assert sorted((bar.get_width() for bar in bars), reverse=True) == [*sizes[:3], sizes[-1]]


def test_co_occurrences_are_counted_by_label_and_by_prediction():
    rng = np.random.default_rng(0)
    labels, outputs = rng.integers(0, 2, (200, 3)), rng.normal(size=(200, 3))
    p = Predictions.from_arrays(
        rng.normal(size=(200, 4)), outputs=outputs, labels=labels, task=Multilabel(("bed", "cup", "cat"))
    )
    weights = rng.random((1, 200))
    slices = Slices("spotlight", p.ids, weights, describe(weights, p))
    counts, changes, *_ = co_occurrence(Findings.build(p, slices)).axes
    said, shown = labels.T @ labels, (outputs > 0).astype(int).T @ (outputs > 0)
    expected = np.tril(said, -1) + np.triu(shown, 1)
    drawn_counts = np.asarray(counts.images[0].get_array())
    assert (drawn_counts[expected > 0] == expected[expected > 0]).all()
    below = np.tril_indices(3, -1)
    np.testing.assert_array_equal(np.asarray(changes.images[0].get_array())[below], (shown - said)[below])
    red, _, blue, _ = changes.images[0].cmap(1.0)
    assert red > blue  # predicted together more often: red, as in the report
    assert [text.get_text() for text in counts.get_yticklabels()] == ["bed", "cup", "cat"]


@pytest.mark.parametrize("seed", range(20))
def test_labels_are_moved_apart_and_no_further(seed):
    rng = np.random.default_rng(seed)
    places = np.sort(rng.random(rng.integers(1, 26)) ** rng.integers(1, 4))
    moved = np.array(move_apart(places.tolist(), 0.04))
    assert (np.diff(moved) >= 0.04 - 1e-9).all()
    assert moved.min() >= -1e-9
    assert moved.max() <= 1 + 1e-9
    far = np.array(move_apart([0.1, 0.5, 0.9], 0.04))
    np.testing.assert_allclose(far, [0.1, 0.5, 0.9])


def test_a_table_of_values_shows_weighted_accuracies_and_shares():
    rng = np.random.default_rng(0)
    n, topic = 300, rng.choice(["Rhine", "Elbe", "Oder"], 300)
    right, counts = rng.random(n) < np.where(topic == "Elbe", 0.3, 0.9), rng.integers(1, 4, n)
    p = Predictions.from_arrays(
        rng.normal(size=(n, 3)),
        correct=right,
        losses=1.0 - right,
        counts=counts,
        attributes={"topic": topic, "row_id": np.arange(n)},
    )
    weights = np.stack([(topic == "Elbe") * 0.5, rng.random(n)])
    slices = Slices("spotlight", p.ids, weights, describe(weights, p))
    figure = values(p, slices, "topic")
    left, right_axes = figure.axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[0] == "Elbe"
    dots = [float(line.get_xdata()[0]) for line in left.lines if line.get_marker() == "o"]
    expected = [np.average(right[topic == name], weights=counts[topic == name]) for name in names]
    np.testing.assert_allclose(dots, expected)
    assert dots == sorted(dots)
    cells = [text.get_text() for text in right_axes.texts]
    masses = [counts, *(counts * weights)]
    shares = [[100 * mass[topic == name].sum() / mass.sum() for mass in masses] for name in names]
    assert cells == ["–" if share == 0 else f"{share:.0f}" for row in shares for share in row]
    for wrong, said in (
        ("colour", "there is no attribute 'colour' here; there are: topic"),
        ("row_id", "describes nothing"),
    ):
        with pytest.raises(ValueError, match=said):
            values(p, slices, wrong)


def test_a_table_of_many_values_needs_little_memory():
    n, many = 20_000, 100
    rng = np.random.default_rng(0)
    p = Predictions.from_arrays(
        rng.normal(size=(n, 2)), losses=rng.random(n), attributes={"of": (np.arange(n) % many).astype(str)}
    )
    weights = rng.random((1, n))
    slices = Slices("spotlight", p.ids, weights, describe(weights, p))
    values(p, slices, "of")
    tracemalloc.start()
    try:
        values(p, slices, "of")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < many * n * 8  # less than one float64 array per value


def test_lengths_are_weighted_means(found):
    predictions, slices, findings = found
    texts = ["word " * (1 + row % 17) for row in range(len(predictions))]
    (axes,) = lengths(findings, predictions, slices, texts).axes
    dots = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o"]
    long = [1 + row % 17 for row in range(len(predictions))]
    assert dots[0] == pytest.approx(np.mean(long))
    np.testing.assert_allclose(dots[1:], [np.average(long, weights=w) for w in slices.weights])


@pytest.mark.parametrize("kind", ["planted", "clustered", "hostile"])
def test_every_axis_is_labelled_and_no_text_leaves_the_figure(kind, found, clustered):
    n = 400
    texts = [f"{HOSTILE} {row}" for row in range(n)]
    if kind == "hostile":
        predictions, slices = planted()
        odd = np.array([HOSTILE + name for name in predictions.attributes["group"].to_pylist()])
        predictions = Predictions.from_arrays(
            predictions.embeddings,
            losses=predictions.losses,
            labels=predictions.labels,
            predictions=predictions.predictions,
            attributes={HOSTILE: odd},
            task=Classification((f"1 {HOSTILE}", f"2 {HOSTILE}")),
        )
        slices = Slices(slices.method, predictions.ids, slices.weights, slices.statistics, slices.histories)
        shown = (predictions, slices, Findings.build(predictions, slices, texts=texts))
    else:
        shown = found if kind == "planted" else clustered
    figures = everything(shown, Media(picture if kind != "hostile" else texts.__getitem__, overlays), texts)
    assert {"findings", "map-loss", "members-slice-1", "lengths"} <= set(figures)
    for name, figure in figures.items():
        assert figure.get_figwidth() == WIDTH
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for axes in figure.axes:
            assert (
                axes.get_ylabel()
                or not axes.get_yticks().size
                or not axes.yaxis.get_tick_params()["labelleft"]
            ), name
            assert axes.get_xlabel() or not axes.get_xticks().size or axes.get_label() == "<colorbar>", name
        box = figure.get_tightbbox(canvas.get_renderer())
        assert min(box.x0, box.y0) > -0.02, name
        assert box.x1 < WIDTH + 0.02, name
        assert box.y1 < figure.get_figheight() + 0.02, name


DRAWS = """
import sys
from pathlib import Path
sys.path[:0] = {tests!r}
from report_pages import picture, planted
from weakspot.figures import accuracies, members, save, space
from weakspot.findings import Findings, Media
predictions, slices = planted(k=1)
findings = Findings.build(predictions, slices)
figures = accuracies(findings), members(findings, Media(picture), findings.slices[0]), space(predictions, slices)
for i, figure in enumerate(figures):
    for kind in ("pdf", "png", "svg"):
        save(figure, Path(sys.argv[1], str(i) + "." + kind))
"""


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(tmp_path):
    code = DRAWS.format(tests=[str(ROOT / "tests" / "support")])
    for seed in "12":
        (tmp_path / seed).mkdir()
        environment = quiet_environment() | {"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": ""}
        del environment["SOURCE_DATE_EPOCH"]
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], env=environment, check=True)
    first, second = (sorted((tmp_path / seed).iterdir()) for seed in "12")
    assert [file.name for file in first] == [file.name for file in second]
    assert len(first) == 9
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_text_stays_text_in_files(found, tmp_path):
    _, _, findings = found
    svg = save(accuracies(findings), tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "group = red_≥5</text>" in svg
    assert "<dc:date>" not in svg
    pdf = save(accuracies(findings), tmp_path / "a.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"/TrueType" in pdf or b"/CIDFontType2" in pdf
    assert b"/CreationDate" not in pdf
    with pytest.raises(ValueError, match=r"a\.jpg does not end in a figure format; choose pdf, png, svg"):
        save(accuracies(findings), tmp_path / "a.jpg")


def test_text_width_is_close_to_the_drawn_width():
    figure = Figure(dpi=1000)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for words in ("label = negative, predicted positive", "Wim lives ill in Miami", "≥5 → <5"):
        box = figure.text(0, 0, words, fontsize=6, fontfamily="DejaVu Sans").get_window_extent(renderer)
        assert text_width(words, 6) == pytest.approx(box.width / 1000, rel=0.05)
    for most in (0.2, 1.0, 3.0):
        assert text_width(fit_line(HOSTILE, most, 6), 6) <= most + 1e-9
        wrapped = wrap_lines(HOSTILE, most, 6, 3)
        assert len(wrapped) == 3
        assert all(text_width(words, 6) <= most + 1e-9 for words in wrapped)
        assert "\n" not in "".join(wrapped)
        assert "\x1b" not in "".join(wrapped)
    assert wrap_lines("a few words", 3, 6, 3) == ["a few words"]
    assert fit_line("長", 1, 6) == "□"


@pytest.mark.parametrize("inches", [0.0, 0.05, 0.3, 2.0])
@pytest.mark.parametrize("words", ["label = negative", "W" * 50 + "i" * 50, "a few words " * 30])
def test_a_line_is_as_long_as_fits(words, inches):
    cut = fit_line(words, inches, 6)
    words = words.strip()
    if text_width(words, 6) <= inches:
        assert cut == words
    else:
        fits = [end for end in range(len(words)) if text_width(words[:end] + "…", 6) <= inches]
        assert cut == words[: max(fits, default=0)].rstrip() + "…"


def test_fitting_a_long_text_takes_linear_time(monkeypatch):
    looked_up = []
    advance = text_fitting._letter_width
    monkeypatch.setattr(
        text_fitting, "_letter_width", lambda letter: looked_up.append(letter) or advance(letter)
    )
    fit_line("word " * 4000, 2, 6)
    wrap_lines("word " * 4000, 2, 6, 3)
    assert len(looked_up) < 10 * 20_000


def test_without_findings_the_map_is_still_drawn(tmp_path):
    rng = np.random.default_rng(0)
    p = Predictions.from_arrays(rng.normal(size=(80, 1)), losses=rng.exponential(size=80))
    weights = np.empty((0, 80))
    slices = Slices("spotlight", p.ids, weights, [])
    findings = Findings.build(p, slices)
    assert [file.name for file in draw(tmp_path, "svg", findings, p, slices)] == ["map-loss.svg"]
    for figure in (accuracies, tree, silhouettes):
        with pytest.raises(ValueError, match=r"no findings|no cluster tree|fewer than two cuts"):
            figure(findings)


def test_the_setting_figures_leaves_figures_in_the_run(shell, tmp_path):
    rng = np.random.default_rng(0)
    group = rng.integers(0, 4, 300)
    right = rng.random(300) < np.where(group == 3, 0.1, 0.95)
    np.savez(
        tmp_path / "my.npz",
        embeddings=np.eye(4)[group] * 5 + rng.normal(size=(300, 4)),
        losses=np.where(right, 0.1, 2.0),
        correct=right,
        labels=np.zeros(300, int),
    )
    words = ["predictions=my.npz", "logger=none", "hydra.run.dir=run", "method.n_slices=2"]
    assert "figures → " in shell("discover", *words, "figures=svg")
    names = {file.name for file in (tmp_path / "run" / "figures").iterdir()}
    assert {"findings.svg", "map-loss.svg"} <= names
    said = shell("discover", *words, "figures=jpg", "hydra.run.dir=other", fails=2)
    assert "figures=jpg is not a format of figures; choose pdf, png, svg" in said
    said = shell("discover", "compare=[run,run]", "figures=pdf", "hydra.run.dir=other", fails=2)
    assert "figures=pdf draws what one run found" in said
    assert not (tmp_path / "other").exists()


def test_without_matplotlib_the_run_stops_early_and_names_what_to_install(shell, tmp_path):
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "matplotlib.py").write_text(
        "raise ModuleNotFoundError('No module named matplotlib')"
    )
    path = f"{tmp_path / 'lacking'}:{ROOT / 'src'}"
    said = shell("discover", "figures=pdf", "logger=none", fails=2, PYTHONPATH=path)
    assert 'pip install "weakspot[figures]"' in said
    assert "Traceback" not in said
    assert not (tmp_path / "outputs" / "checkpoints").exists()
