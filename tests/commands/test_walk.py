"""Real-world folders of images: links, loops, pipes, and names that are not UTF-8."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from PIL import Image

from weakspot.datasets.image_folder import ImageFolder
from weakspot.datasets.readers.folders import image_names
from weakspot.datasets.readers.walk import files_below

ENDINGS = (".png",)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("test/cat/1.png", "test/cat/deep/2.png", "test/dog/3.png"):
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "red").save(file)
    return tmp_path / "images"


PLAIN = ["test/cat/1.png", "test/cat/deep/2.png", "test/dog/3.png"]


@pytest.mark.parametrize("follow_links", [False, True])
@pytest.mark.parametrize(
    "links",
    [
        {"test/cat/loop": ".."},  # one loop
        {"test/cat/loop": "../..", "test/dog/loop": "../.."},  # two loops, each through the other
        {"again": "again"},  # a link to itself
        {"a_link": "test/cat"},  # to a folder inside the root, though the link's path sorts first
        {"test/a_link": "dog"},
        {"back": "."},
    ],
    ids=str,
)
def test_links_within_the_root_add_no_files(root: Path, links: dict[str, str], follow_links: bool) -> None:
    for name, target in links.items():
        (root / name).symlink_to(target)
    assert files_below(root, ENDINGS, follow_links) == PLAIN


def test_links_that_lead_out_are_followed_only_on_request(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = root.parent / "other" / "bird"
    other.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(other / "4.png")
    (other / "home").symlink_to(root)  # a loop through a folder outside
    (root / "test" / "bird").symlink_to(other)
    (root / "test" / "dog" / "5.png").symlink_to(other / "4.png")
    (root / "test" / "dog" / "notes.txt").symlink_to(other / "4.png")
    with caplog.at_level(logging.WARNING):
        assert files_below(root, ENDINGS) == PLAIN
    assert "skipped 2 links that lead out of it (test/bird, test/dog/5.png)" in caplog.text
    assert "dataset.follow_links=true" in caplog.text
    all_of_them = ["test/bird/4.png", *PLAIN, "test/dog/5.png"]
    assert files_below(root, ENDINGS, follow_links=True) == all_of_them
    assert len(ImageFolder("test", root)) == 3
    found = ImageFolder("test", root, follow_links=True)
    assert found.task.classes == ("bird", "cat", "dog")
    assert found.preview(0).size == (4, 4)


def test_the_root_may_be_a_link(root: Path) -> None:
    (root.parent / "link").symlink_to(root)
    assert files_below(root.parent / "link", ENDINGS) == PLAIN


@pytest.mark.timeout(60)
def test_entries_that_are_not_files_are_skipped(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(root / "test" / "cat" / "pipe.png")
    (root / "test" / "cat" / "gone.png").symlink_to("nowhere.png")
    (root / "test" / "cat" / ".hidden.png").symlink_to("nowhere.png")
    with caplog.at_level(logging.WARNING):
        found = ImageFolder("test", root)
    assert found.files == PLAIN
    assert (
        "skipped 2 entries that are not regular files (test/cat/gone.png, test/cat/pipe.png)" in caplog.text
    )
    assert [found.preview(row).size for row in range(3)] == [(4, 4)] * 3
    assert image_names(root / "test" / "cat") == ["1.png"]


def test_names_that_are_not_utf_8(root: Path) -> None:
    folder = os.fsencode(root / "test") + b"/caf\xe9"
    os.mkdir(folder)
    os.link(root / "test" / "dog" / "3.png", folder + b"/na\xefve\n.png")
    found = ImageFolder("test", root)
    found.check()
    assert found.task.classes == (r"caf\xe9", "cat", "dog")
    assert found.examples["id"].to_pylist() == ["test/caf\\xe9/na\\xefve\n.png", *PLAIN]
    assert found.preview(0).size == (4, 4)
    assert found.fingerprint() == ImageFolder("test", root).fingerprint()
    os.unlink(folder + b"/na\xefve\n.png")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*test/caf\\xe9/na\\xefve"):
        found.preview(0)
    Path(os.fsdecode(folder + b"/\xff.png")).touch()
    with pytest.raises(ValueError, match=r"caf\\xe9/\\xff\.png: the file's name is not UTF-8"):
        image_names(Path(os.fsdecode(folder)))
