"""The published tool's tree files, both variants: read, written, converted, refused."""

import json

import numpy as np
import pytest

from clustered_predictions import multilabel, single_label
from paths import FIXTURES
from weakspot.interop.udis_tree import check, export, read, to_tree, write
from weakspot.methods.udis import UDIS
from weakspot.predictions import Predictions

SEED = FIXTURES / "seed_tree_bed.json"


@pytest.fixture(scope="module", params=["single-label", "multi-label"])
def exported(request):
    p = single_label() if request.param == "single-label" else multilabel()
    u = UDIS(category=None if request.param == "single-label" else "bed").fit(p)
    return u, p, export(u.slices_)


def nodes_of(tree):
    """All nodes of a tree in the published form."""
    return [tree, *(node for child in tree.get("children", ()) for node in nodes_of(child))]


def leaves(tree):
    return [node for node in nodes_of(tree) if node["leaf"] == "True"]


def first_leaf(tree):
    return leaves(tree)[0]


def test_the_published_tree_survives_reading_and_writing(tmp_path):
    published = json.loads(SEED.read_text())
    assert read(SEED) == published
    assert write(read(SEED), tmp_path / "tree.json").read_text() == json.dumps(published)
    assert [path.name for path in tmp_path.iterdir()] == ["tree.json"]


def test_the_published_tree_converts_to_our_form():
    published = read(SEED)
    ids = [str(image) for leaf in leaves(published) for image in leaf["images"]]
    tree = to_tree(published, ids)
    assert tree.size == len(ids) == 182
    assert round(100 * tree.accuracy) == 58  # the tool's readme states this accuracy for the tree
    by_id = {node.id: node for node in tree.walk()}
    for leaf in leaves(published):
        mine = by_id[leaf["id"]]
        assert [int(ids[row]) for row in mine.members] == leaf["images"]
        assert [int(ids[row]) for row in mine.wrong_members] == leaf["inc_images"]
        assert 100 * mine.accuracy == pytest.approx(leaf["acc"])
        assert mine.loss == leaf["loss"]
        assert 100 * mine.f1_macro == pytest.approx(leaf["f1_c"])
    # below 0.66 · 58.24 % and with more than 5 images
    assert {node.id for node in tree.walk() if node.failing} == {331, 343, 346, 352}
    with pytest.raises(ValueError, match=r"cluster 294 holds image 66523, which is not among the ids"):
        to_tree(published, ids[1:])


def test_the_exported_tree_equals_what_was_found(exported, tmp_path):
    u, p, tree = exported
    assert read(write(tree, tmp_path / "fc_treeData.json")) == tree
    ours = {node.id: node for node in u.tree_.walk()}
    theirs = {node["id"]: node for node in nodes_of(tree)}
    assert ours.keys() == theirs.keys()
    for number, node in theirs.items():
        assert (node["leaf"] == "True") == ("children" not in node) == ours[number].leaf
    for leaf in leaves(tree):
        mine = ours[leaf["id"]]
        images = [str(image) for image in leaf["images"]]
        assert images == p.ids[list(mine.members)].tolist()
        assert [str(image) for image in leaf["inc_images"]] == p.ids[list(mine.wrong_members)].tolist()
        assert leaf["loss"] == mine.loss


def test_an_exported_tree_converts_back(exported):
    u, p, tree = exported
    back = {node.id: node for node in to_tree(tree, p.ids).walk()}
    for node in u.tree_.walk():
        mine = back[node.id]
        for name in ("size", "wrong", "accuracy", "failing", "members", "wrong_members"):
            assert getattr(mine, name) == getattr(node, name)
        assert mine.loss == pytest.approx(node.loss)


def test_the_single_label_fields():
    p = single_label()
    u = UDIS().fit(p)
    tree = export(u.slices_)
    for node in nodes_of(tree):
        mine = next(other for other in u.tree_.walk() if other.id == node["id"])
        assert node["name"] == f"{node['id']}-{100 * (mine.size - mine.wrong) // mine.size:.0f}"
        assert node["count"] == mine.size
    width = {len(leaf["dist_vec"]) for leaf in leaves(tree)}
    assert len(width) == 1
    for leaf in leaves(tree):
        rows = [int(image) for image in leaf["images"]]
        assert np.allclose(leaf["avg_vec"], p.embeddings[rows].mean(axis=0))
        assert leaf["inc_count"] == len(leaf["inc_images"]) == (~p.correct[rows]).sum()
        assert 0 < leaf["conf"] <= 1
        assert len(leaf["top_attr"]) <= 5
        bright = np.mean([p.attributes["bright"][row].as_py() for row in rows])
        assert any(share == pytest.approx(bright) for share in leaf["dist_vec"])


def test_images_of_the_single_label_tool_are_found_by_file_name():
    p = single_label()
    names = [f"{i:06}.jpg" for i in range(len(p))]
    named = Predictions.from_arrays(
        p.embeddings, labels=p.labels, outputs=p.outputs, ids=names, attributes=p.attributes
    )
    u = UDIS().fit(named)
    tree = export(u.slices_)
    for leaf in leaves(tree):
        leaf["images"] = [f"celeba/img_align_celeba/{name}" for name in leaf["images"]]
    assert to_tree(tree, named.ids).size == len(p)


def test_a_record_without_outputs_cannot_be_exported():
    p = single_label()
    bare = Predictions.from_arrays(p.embeddings, labels=p.labels, predictions=p.predictions)
    with pytest.raises(
        ValueError, match="needs the loss and confidence of every cluster, which come from outputs"
    ):
        export(UDIS().fit(bare).slices_)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.pop("id"), "'id' is missing"),
        (lambda tree: tree.update(id="362"), "'id' must be a whole number"),
        (lambda tree: tree.update(leaf="no"), "'leaf' must be"),
        (lambda tree: tree["children"].pop(), "an inner node must have two children"),
        (lambda tree: tree.update(children={}), "'children' must be a list of nodes"),
        (lambda tree: tree["children"][0].update(id=362), "another node has the same id"),
        (
            lambda tree: tree["children"][0]["children"][1].update(acc="66"),
            r"child 2 of node 357 \(id 351\): 'acc' must be a number",
        ),
        (lambda tree: tree["children"][0]["children"][0].update(images=[]), "a cluster must have images"),
        (lambda tree: tree["children"][0]["children"][0].update(images=[[1]]), "a list of names or numbers"),
        (lambda tree: tree.update(name="362-58"), r"the root \(id 362\): 'count' is missing"),
        (
            lambda tree: first_leaf(tree).update(inc_images=["elsewhere"]),
            "a wrong image is not among its images",
        ),
        (lambda tree: first_leaf(tree)["images"].append(first_leaf(tree)["images"][0]), "occurs in it twice"),
        (
            lambda tree: first_leaf(tree)["images"].append(leaves(tree)[-1]["images"][0]),
            "in another cluster as well",
        ),
        (lambda tree: first_leaf(tree).update(loss=10**400), "'loss' must be a number"),
        (lambda tree: first_leaf(tree).update(loss=float("inf")), "'loss' must be a number"),
        (lambda tree: tree.update(id=2**60), "'id' must be a whole number"),
    ],
)
def test_an_invalid_tree_is_refused_with_the_place(change, words, tmp_path):
    tree = read(SEED)
    change(tree)
    with pytest.raises(ValueError, match=words):
        check(tree)
    path = tmp_path / "tree.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(ValueError, match="tree.json is not a tree of the published UDIS tool: .*" + words):
        read(path)
    with pytest.raises(ValueError, match=words):
        write(tree, tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    "text", ["{", "[1]", "[" * 100_000, '{"id": 1}'], ids=["cut", "list", "deep", "bare"]
)
def test_a_file_without_a_tree_is_refused(text, tmp_path):
    path = tmp_path / "tree.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"tree\.json is not a tree of the published UDIS tool"):
        read(path)


def chain(levels):
    """A tree in which the second child of every node is a leaf."""

    def leaf(number):
        found = {"images": [number], "inc_images": [], "loss": 0.5, "acc": 100.0, "f1": 100.0, "f1_c": 100.0}
        return {"id": number, "leaf": "True", **found}

    tree = leaf(0)
    for level in range(1, levels):
        tree = {"id": 10_000 + level, "leaf": "False", "children": [tree, leaf(level)]}
    return tree


def test_deep_trees_are_read_and_deeper_ones_refused(tmp_path):
    path = write(chain(450), tmp_path / "tree.json")
    tree = to_tree(read(path), [str(number) for number in range(450)])
    assert tree.size == 450
    assert len(list(tree.walk())) == 899
    with pytest.raises(ValueError, match=r"other\.json: the tree is nested too deeply for a JSON file"):
        write(chain(5_000), tmp_path / "other.json")
    assert [path.name for path in tmp_path.iterdir()] == ["tree.json"]


def test_a_missing_tree_is_refused_with_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json does not exist; give the fc_treeData\.json"):
        read(tmp_path / "none.json")
