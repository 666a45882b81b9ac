"""README and docs: every command is one that the project accepts, and every block of Python runs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from forked import run_forked
from paths import ROOT
from processes import quiet_environment
from weakspot import Predictions, Scan
from weakspot.config.choices import CONFIGS
from weakspot.config.compose import register
from weakspot.launch.quoting import quote_for_hydra
from weakspot.launch.setting_checks import check_settings

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ENTRY_POINTS = ("train", "infer", "discover", "browse")
FLAGS = {"--help", "-m", "--multirun", "--cfg", "job", "--config-dir", "conf"}

register()


def blocks(page: Path) -> Iterator[tuple[int, str, str]]:
    """The code blocks of a page: the line they begin in, their language ("" if indented), and their text."""
    lines, start = page.read_text(encoding="utf-8").splitlines(), 0
    while start < len(lines):
        fence = re.match(r"( *)```(\w*)", lines[start])
        end = start + 1
        if fence:
            while not lines[end].startswith(f"{fence[1]}```"):
                end += 1
            yield start + 1, fence[2], "\n".join(lines[start + 1 : end])
        elif lines[start].startswith("    ") and (start == 0 or not lines[start - 1].strip()):
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            yield start + 1, "", "\n".join(line[4:] for line in lines[start:end])
        start = end + 1 if fence else end


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command in a block of README and docs, split into words, with its page and line."""
    for page in PAGES:
        for number, language, text in blocks(page):
            if language not in ("", "bash"):
                continue
            for offset, line in enumerate(re.sub(r"\\\n *", "", text).splitlines()):
                for command in re.sub(r"(^|\s)# .*", "", line).split(" && "):
                    if re.match(r"([A-Z_]+=\S+ )*(python|torchrun|srun|weakspot)", command):
                        words = shlex.split(re.sub(r"<[^>]*>|…", "PLACE", command))
                        yield f"{page.relative_to(ROOT)}:{number + offset}", words


def of_entry_point(words: list[str]) -> tuple[str, list[str]] | None:
    """The entry point that a command runs and its own words; None if it runs another program."""
    for position, word in enumerate(words):
        name = word.removesuffix(".py").removeprefix("weakspot-")
        if name in ENTRY_POINTS and word != name:
            return name, words[position + 1 :]
    return None


COMMANDS = list(commands())
JOBS = [(where, *job) for where, words in COMMANDS if (job := of_entry_point(words))]
SCRIPTS = [
    (where, words)
    for where, words in COMMANDS
    if re.search(r" (benchmarks|sweeps|tests/support|docs)/\w+\.py", " ".join(words))
]


@pytest.mark.parametrize(("where", "name", "words"), JOBS, ids=[f"{job[0]}-{job[1]}" for job in JOBS])
def test_a_command_is_accepted_by_its_entry_point(where: str, name: str, words: list[str]) -> None:
    flags = [word for word in words if "=" not in word]
    assert set(flags) <= FLAGS, where
    if (
        "--config-dir" in flags
        or "dataset=stripes" in words
        or any(word.startswith("hydra/") for word in words)
    ):
        return  # a page's own YAML is covered by the page's own test; launchers and sweepers may not be installed
    settings = quote_for_hydra([word for word in words if "=" in word])
    chosen = [
        f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
        if override.is_sweep_override()
        else text
        for override, text in zip(OverridesParser.create().parse_overrides(settings), settings, strict=True)
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose(name, chosen)
    check_settings(composed, chosen)


@pytest.mark.parametrize(("where", "words"), SCRIPTS, ids=[where for where, _ in SCRIPTS])
def test_a_script_exists_and_has_the_options_of_the_command(where: str, words: list[str]) -> None:
    (script,) = (word for word in words if word.endswith(".py"))
    source = (ROOT / script).read_text(encoding="utf-8")
    options = {word.partition("=")[0] for word in words[words.index(script) :] if word.startswith("--")}
    helped = {f"--{name.replace('_', '-')}" for name in re.findall(r"\"--([\w-]+)\"", source)}
    assert options <= helped, where


def test_commands_were_found() -> None:
    assert len(JOBS) > 100
    assert len(SCRIPTS) > 10


@pytest.fixture
def names() -> dict[str, Any]:
    """Arrays under the names that the pages use, large enough to fit a method on."""
    draw = np.random.default_rng(0)

    def record(first: int) -> Predictions:
        x = draw.normal(size=(200, 8)).astype(np.float32)
        labels = draw.integers(2, size=200)
        logits = np.stack([1.0 - 2 * labels, 2.0 * labels - 1], axis=1) * np.where(x[:, :1] > 0.5, -1, 2)
        return Predictions.from_arrays(
            x, labels=labels, outputs=logits, ids=np.arange(first, first + 200), attributes={"age": x[:, 1]}
        )

    p, p_new = record(0), record(200)
    given = {"p": p, "p_new": p_new, "p2": p_new, "table": p.attributes, "age": p.attributes["age"]}
    arrays = {"X": p.embeddings, "y": p.labels, "embeddings": p.embeddings, "losses": p.losses}
    return given | arrays | {"labels": p.labels, "logits": p.outputs, "method": Scan(n_slices=2)}


NOT_RUN = {
    "fiftyone": "needs FiftyOne, and opens its app",
    "grad_cam": "needs a model in memory; tests/explain/test_gradcam.py holds it against its definition",
    "SQuAD(": "needs SQuAD's files and a tokenizer; tests/datasets/test_squad.py calls it on made ones",
    "bed_fc_58": "needs a published tree; tests/interop/test_udis_published.py reads one",
    "ImageFolder": "needs a folder of images; tests/datasets/test_datasets.py has some",
    "class Stripes": "a plug-in's file; tests/project/test_extending.py runs it",
    "class Net": "a network's file; tests/project/test_extending.py runs it",
    "from scanners import": "the tutorial's; run below, in its order",
    "MLPClassifier": "the tutorial's; run below, in its order",
}
"""Blocks of Python that are only compiled: a text that each contains, and why."""

RUN_ELSEWHERE = {
    "docs/detectors.md": "test_detectors.py",
    "docs/language_models.md": "test_language_models.py",
    "docs/extending.md": "test_extending.py",
}
"""Pages with a test of their own, which runs their scripts in order."""

PYTHON = [
    (f"{page.relative_to(ROOT)}:{number}", text)
    for page in PAGES
    for number, language, text in blocks(page)
    if language == "python"
]


@pytest.mark.parametrize(("where", "text"), PYTHON, ids=[where for where, _ in PYTHON])
def test_a_block_of_python_runs(where, text, names, tmp_path, monkeypatch) -> None:
    code = compile(text, where, "exec")
    page = where.partition(":")[0]
    if page in RUN_ELSEWHERE:
        assert Path(page).name in (ROOT / "tests" / "project" / RUN_ELSEWHERE[page]).read_text(
            encoding="utf-8"
        )
        return
    if any(word in text for word in NOT_RUN):
        return
    monkeypatch.chdir(tmp_path)
    exec(code, names)


@pytest.mark.slow
def test_the_tutorial_gives_the_results_that_it_shows(tmp_path: Path) -> None:
    """Its files, its commands in their order, and the numbers that it shows."""
    page = ROOT / "docs" / "tutorial.md"
    text = page.read_text(encoding="utf-8")
    for name, code in re.findall(r'```python title="([^"]+)"\n(.*?)```', text, flags=re.DOTALL):
        (tmp_path / name).write_text(code, encoding="utf-8")
    said = ""
    for _, language, block in blocks(page):
        for line in block.splitlines() if language == "bash" else []:
            python, script, *words = shlex.split(line)
            assert python == "python"
            local = tmp_path / script
            if not local.exists():
                local, words = ROOT / script, [*words, "logger=none"]
            code, output = run_forked(local, words, tmp_path, quiet_environment())
            assert code in ((0, 3) if "fail_if" in line else (0,)), output
            said += output
    first = json.loads((tmp_path / "runs" / "first" / "findings.json").read_text())["findings"][0]
    assert first["name"] == "label = even and scanner = B"
    assert first["examples"] == pytest.approx(122, abs=8)
    assert first["errors_explained"] == pytest.approx(0.84, abs=0.03)
    assert "accuracy of all: 87 % → 97 %" in " ".join(said.split())
    assert "0 fixed, 3 persisting, 0 new" in " ".join(said.split())
    before, after = (int(share) for share in re.findall(r"right on (\d+)% of 118 odd digits", said))
    assert before > 95
    assert after < 25


def test_the_faq_quotes_messages_of_the_source() -> None:
    """The FAQ quotes messages, each piece of which occurs in the source."""
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a message that goes over two lines
    quotes = re.findall(r'\*\*"(.*?)"\*\*', (ROOT / "docs" / "faq.md").read_text(encoding="utf-8"))
    assert len(quotes) >= 4
    for quote in quotes:
        for piece in quote.split("…"):
            assert piece.strip() in source, quote


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=quiet_environment() | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    settings = (tmp_path / "configuration" / "index.html").read_text(encoding="utf-8")
    assert "method.accuracy_threshold" in settings
    api = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    assert "from_arrays" in api
    assert not re.search(r'(src|href)="https?://(?!github\.com|arxiv)[^"]*\.(css|js)"', settings), (
        "loads from a foreign host"
    )
