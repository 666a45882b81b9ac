"""SQuAD: tokens are mapped to characters, answers scored as by its own scripts, every published format read."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertTokenizer

from layouts import squad as layout
from tiny_models import SPECIAL, write_model, write_tokenizer
from weakspot.datasets.inputs.answers import exact_match, f1, normalise
from weakspot.datasets.inputs.texts import load_tokenizer, tokenizer_digest
from weakspot.datasets.inputs.windows import Windows
from weakspot.datasets.readers.squad_files import read_questions
from weakspot.datasets.squad import SQuAD
from weakspot.models import QAModel
from weakspot.tasks import QuestionAnswering


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, [text for text in layout.texts() if "Dresden" not in text])
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squad")
    layout.publish(folder)
    layout.publish(folder, "2.0")
    return folder


# --- scores


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The  Rhine,", "rhine"),
        ("an apple a day!", "apple day"),
        ("Theatre", "theatre"),
        ("U.S.A.", "usa"),
        ("a", ""),
        ("“quoted”", "“quoted”"),
    ],
)
def test_normalise(text: str, plain: str) -> None:
    assert normalise(text) == plain


@pytest.mark.parametrize(
    ("said", "answers", "em", "overlap"),
    [
        ("the Rhine", ["Rhine."], 1, 1),
        ("Rhine river", ["Elbe", "the Rhine"], 0, 2 / 3),
        ("to be or not to be", ["to be"], 0, 2 * 2 / (6 + 2)),
        ("be be", ["be"], 0, 2 / 3),  # a word that is predicted twice counts once
        ("Danube", ["Rhine"], 0, 0),
        ("", [], 1, 1),
        ("Danube", [], 0, 0),
        ("", ["Danube"], 0, 0),
        ("", ["the"], 1, 1),
        ("the", ["the", "Rhine"], 0, 0),
    ],
)
def test_scores_are_the_official_ones(said: str, answers: list[str], em: float, overlap: float) -> None:
    assert exact_match(said, answers) == em
    assert f1(said, answers) == pytest.approx(overlap)


# --- tokens and characters


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_tokens_equal_those_of_question_and_context_encoded_together(
    version: str, root: Path, tokenizer: Path
) -> None:
    found = SQuAD("test", root, version, tokenizer=tokenizer, max_length=64)
    for row in range(len(found)):
        seen = found.preview(row)
        pair = found.tokenizer(seen["question"], seen["context"], return_offsets_mapping=True)
        x = found.input(row)
        assert x["input_ids"].tolist() == pair["input_ids"]
        assert found.windows.lengths[row] == len(pair["input_ids"])
        inside = [side == 1 for side in pair.sequence_ids()]
        assert x["answerable"].tolist() == [version == "2.0", *inside[1:]]
        first, last = found.targets[row]
        answer = found.questions.answers[row]
        if not answer:
            assert (first, last) == (0, 0)
            continue
        start, stop = found.questions.spans[row]
        assert seen["context"][start:stop] == answer[0]
        offsets = pair["offset_mapping"]
        assert (offsets[first][0], offsets[last][1]) == (start, stop)


def test_windows_match_the_published_code(tokenizer: Path) -> None:
    """Spans that begin or end inside a token, as some answers do, compared with the loops of inference_squad.py."""
    tokens = SQuAD("test", _one(tokenizer.parent), tokenizer=tokenizer).tokenizer
    context = "  The Romans built 12 bridges; the Rhine-Danube canal came 1992."
    windows = Windows(tokens, ["How many?"], [context], np.array([0]))
    pair = tokens("How many?", context, return_offsets_mapping=True)
    of, offsets = pair.sequence_ids(), pair["offset_mapping"]
    spans = [(start, stop) for start in range(2, 60, 3) for stop in range(start + 1, 64, 5)]
    spans = [(start, stop) for start, stop in spans if " " not in (context[start], context[stop - 1])]
    assert len(spans) > 100
    for start, stop in spans:
        left = of.index(1)
        while left < len(offsets) and of[left] == 1 and offsets[left][0] <= start:
            left += 1
        right = len(offsets) - 1
        while of[right] != 1:
            right -= 1
        while offsets[right][1] >= stop:
            right -= 1
        expected = [left - 1, max(left - 1, right + 1)]
        assert windows.tokens(np.array([0]), np.array([[start, stop]])).tolist() == [expected]


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("He drank cafe\u0301 there.", "cafe\u0301"),  # a combining accent after the letter
        ("He drank cafe\u0301.", "cafe\u0301"),
        ("A r\u0323\u0307e\u0301 \u0323b", "r\u0323\u0307e\u0301"),
        ("He drank tea there.", "tea "),
        ("He drank tea there.", " tea"),
        ("He drank  tea  ", "  tea  "),
        ("  tea there", "  tea"),
    ],
)
def test_accents_and_spaces_do_not_shift_an_answer(context: str, answer: str, tokenizer: Path) -> None:
    """A model that predicts the right tokens gives the right answer."""
    tokens = load_tokenizer(tokenizer)
    windows = Windows(tokens, ["What?"], [context], np.array([0]))
    start = context.index(answer)
    span = windows.tokens(np.array([0]), np.array([[start, start + len(answer)]]))
    first, last = windows.characters(np.array([0]), span)[0]
    assert context[first:last] == answer.strip()
    assert exact_match(context[first:last], [answer]) == 1


def test_a_tokenizer_that_keeps_accents_gives_their_positions(tmp_path: Path) -> None:
    tokenizer = BertTokenizer(
        vocab={word: place for place, word in enumerate([*SPECIAL, "cafe", "what", "\u0301", "##\u0301"])},
        strip_accents=False,
    )
    windows = Windows(tokenizer, ["what"], ["cafe\u0301 cafe"], np.array([0]))
    found = windows.tokens(np.array([0, 0]), np.array([[0, 5], [6, 10]]))
    assert windows.characters(np.array([0, 0]), found).tolist() == [[0, 5], [6, 10]]


def test_a_byte_order_mark_is_ignored(root: Path, tmp_path: Path) -> None:
    plain = read_questions(root, "dev", "1.1")
    name = "dev-v1.1.json"
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (root / name).read_bytes())
    assert read_questions(tmp_path, "dev", "1.1").texts == plain.texts


def _one(folder: Path) -> Path:
    layout.publish(folder / "one")
    return folder / "one"


def test_questions_that_are_too_long_are_left_out_and_counted_in_the_log(
    root: Path, tokenizer: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = SQuAD("test", root, tokenizer=tokenizer)
    limit = int(np.median(whole.windows.lengths))
    with caplog.at_level("INFO"):
        found = SQuAD("test", root, tokenizer=tokenizer, max_length=limit)
    kept = whole.windows.lengths < limit
    assert 0 < kept.sum() < len(whole)
    assert found.examples["id"].to_pylist() == np.array(whole.examples["id"])[kept].tolist()
    assert f"{(~kept).sum()} of {len(whole)} questions are left out" in caplog.text
    rows = np.flatnonzero(kept)
    assert (found.targets == whole.targets[rows]).all()
    assert [found.preview(row) for row in range(len(found))] == [whole.preview(row) for row in rows]


def test_attributes_and_splits(root: Path, tokenizer: Path) -> None:
    train, val, test = (SQuAD(split, root, tokenizer=tokenizer) for split in ("train", "val", "test"))
    titles = [set(dataset.examples["title"].to_pylist()) for dataset in (train, val, test)]
    assert not titles[0] & titles[1]
    assert titles[0] | titles[1] == set(layout.TRAIN_TITLES)
    assert titles[2] == {"Plain", "Delta"}
    assert test.examples.slice(0, 2).to_pylist() == [
        {
            "id": f"Plain-0-{place}",
            "title": "Plain",
            "question_word": word,
            "answer_words": answered,
            "context_words": 13,
            "question_words": asked,
            "answers": given,
        }
        for place, word, answered, asked, given in ((0, "what", 2, 4, 3), (1, "how", 1, 9, 2))
    ]


def test_batches_are_padded_after_the_tokens(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    shutil.copytree(tokenizer, tmp_path / "left")
    set_up(tmp_path / "left", padding_side="left")
    found = SQuAD("test", root, tokenizer=tmp_path / "left")
    order = np.argsort(found.windows.lengths)
    items = [found[row] for row in (order[0], order[-1])]
    x = found.collate(items)["input"]
    lengths = [len(item["input"]["input_ids"]) for item in items]
    assert lengths[0] < lengths[1]
    for name, batch in x.items():
        for row, item in enumerate(items):
            assert torch.equal(batch[row, : lengths[row]], item["input"][name])
            assert not batch[row, lengths[row] :].any()  # [PAD] is 0
    assert found.fingerprint() == SQuAD("test", root, tokenizer=tokenizer).fingerprint()


def set_up(folder: Path, **settings: object) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@pytest.mark.parametrize(
    "setting",
    [{"truncation_side": "left"}, {"padding_side": "left"}, {"model_input_names": ["input_ids", "attention_mask"]}],
)  # fmt: skip
def test_the_digest_of_a_tokenizer_depends_on_its_settings(
    setting: dict[str, object], tokenizer: Path, tmp_path: Path
) -> None:
    shutil.copytree(tokenizer, tmp_path / "other")
    same = tokenizer_digest(load_tokenizer(tokenizer))
    assert tokenizer_digest(load_tokenizer(tmp_path / "other")) == same
    set_up(tmp_path / "other", **setting)
    assert tokenizer_digest(load_tokenizer(tmp_path / "other")) != same


# --- judging a model's answers


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_judged_answers_match_a_comparison_of_the_texts(version: str, root: Path, tokenizer: Path) -> None:
    found = SQuAD("test", root, version, tokenizer=tokenizer)
    rng = np.random.default_rng(0)
    rows = np.arange(len(found))
    said = found.targets.copy()
    for row in rows[
        rng.random(len(rows)) < 0.6
    ]:  # some right, some elsewhere in the paragraph, some without answer
        low = int(found.windows._starts[row])
        first = rng.integers(low, found.windows.lengths[row] - 1)
        last = rng.integers(first, found.windows.lengths[row] - 1)
        said[row] = (first, last) if rng.random() < 0.8 else (0, 0)
    judged = found.judge(rows, said)
    right = []
    for row in rows:
        seen = found.preview(row)
        encoded = found.tokenizer(seen["question"], seen["context"])
        first, last = said[row]
        text = ""
        if first:
            text = seen["context"][encoded.token_to_chars(first).start : encoded.token_to_chars(last).end]
        start, stop = judged["predictions"][row]
        assert seen["context"][start:stop] == text
        right.append(exact_match(text, found.questions.answers[row]))
        start, stop = judged["labels"][row]
        assert seen["context"][start:stop] == (found.questions.answers[row] or [""])[0]
    assert judged["correct"].dtype == bool
    assert judged["correct"].tolist() == right
    assert 0 < np.mean(right) < 1
    scores = found.scores(judged["predictions"])
    assert scores["exact_match"] == pytest.approx(np.mean(right))
    assert scores["exact_match"] < scores["f1"] < 1
    perfect = found.scores(found.judge(rows, found.targets)["labels"])
    assert perfect == {"exact_match": 1.0, "f1": 1.0}


def test_correctness_may_be_decided_by_f1(root: Path, tokenizer: Path) -> None:
    strict = SQuAD("test", root, tokenizer=tokenizer)
    loose = SQuAD("test", root, correctness="f1", tokenizer=tokenizer)
    row = 0  # "the Rhine" or "Rhine": with one word more not an exact match, but mostly right
    more = strict.targets[:1] + np.array([[0, 1]])
    assert not strict.judge(np.array([row]), more)["correct"][0]
    assert loose.judge(np.array([row]), more)["correct"][0]
    assert strict.fingerprint() != loose.fingerprint()


def test_an_empty_answer_is_predicted_only_in_version_2_0(root: Path, tmp_path: Path) -> None:
    write_model(tmp_path, layout.texts(), head="ForQuestionAnswering")
    for version in ("1.1", "2.0"):
        found = SQuAD("test", root, version, tokenizer=tmp_path, max_length=64)
        model = QAModel(found.task, tmp_path).eval()
        batch = found.collate([found[row] for row in range(len(found))])
        with torch.no_grad():
            _, outputs = model.read(batch["input"])
            outputs[:, [0, found.task.length]] += 50 * (outputs[:, [0, found.task.length]] > -100)
        said = found.task.predict(outputs).numpy()
        judged = found.judge(np.arange(len(found)), said)
        empty = judged["predictions"][:, 0] == judged["predictions"][:, 1]
        assert empty.all() if version == "2.0" else not empty.any()
        assert torch.isfinite(found.task.losses(outputs, batch["target"])).all()


def test_predictions_are_the_best_of_all_spans() -> None:
    task = QuestionAnswering(length=9, longest=3)
    outputs = torch.randn(200, 18, generator=torch.manual_seed(0))
    allowed = [(0, 0)] + [(a, b) for a in range(1, 9) for b in range(a, min(a + 3, 9))]
    for row, said in zip(outputs, task.predict(outputs).tolist(), strict=True):
        assert tuple(said) == max(allowed, key=lambda span: float(row[span[0]] + row[9 + span[1]]))


# --- files


def tables(root: Path, version: str) -> dict[str, pa.Table]:
    found = {}
    for half, name in (("train", "train"), ("dev", "validation")):
        asked = read_questions(root, half, version)
        rows = zip(
            asked.ids,
            asked.titles,
            asked.texts,
            asked.answers,
            asked.context_of,
            asked.spans,
            strict=True,
        )
        found[name] = pa.Table.from_pylist(
            [
                {
                    "id": i,
                    "title": title,
                    "context": asked.contexts[context],
                    "question": question,
                    "answers": {"text": given, "answer_start": [int(span[0])] * len(given)},
                }
                for i, title, question, given, context, span in rows
            ]
        )
    return found


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_every_format_gives_the_same_examples(
    version: str, root: Path, tokenizer: Path, tmp_path: Path
) -> None:
    shards, saved = tmp_path / "hub", tmp_path / "saved"
    folder = shards / {"1.1": "plain_text", "2.0": "squad_v2"}[version]
    folder.mkdir(parents=True)
    (shards / "other").mkdir()
    for name, table in tables(root, version).items():
        pq.write_table(table, folder / f"{name}-00000-of-00001.parquet")
        (saved / name).mkdir(parents=True)
        with (
            pa.OSFile(str(saved / name / "data.arrow"), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as out,
        ):
            out.write_table(table)
        (saved / name / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    for split in SQuAD.splits:
        published = SQuAD(split, root, version, tokenizer=tokenizer)
        for other in (shards, saved):
            assert SQuAD(split, other, version, tokenizer=tokenizer).fingerprint() == published.fingerprint()


def edit(file: Path, change: object) -> Path:
    assert callable(change)
    content = json.loads(file.read_text())
    change(content["data"][0]["paragraphs"][0]["qas"][1])
    file.write_text(json.dumps(content))
    return file


def test_files_that_are_not_as_published_are_refused(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    def read(version: str = "1.1") -> SQuAD:
        return SQuAD("test", tmp_path, version, tokenizer=tokenizer)

    with pytest.raises(FileNotFoundError, match=r"no dev-v1\.1\.json in .*squad\.md"):
        read()
    layout.publish(tmp_path)
    file = tmp_path / "dev-v1.1.json"
    edit(file, lambda question: question["answers"][0].update(answer_start=400))
    with pytest.raises(
        ValueError, match=f"{re.escape(str(file))}, question 'Plain-0-1': its answer .* at 400"
    ):
        read()
    edit(file, lambda question: question.pop("answers"))
    with pytest.raises(ValueError, match=r"question 'Plain-0-1', 'answers' is missing"):
        read()
    file.write_text(file.read_text()[:500])
    with pytest.raises(ValueError, match=f"{re.escape(str(file))} cannot be read as SQuAD's JSON"):
        read()
    layout.publish(tmp_path, "2.0")
    (tmp_path / "dev-v2.0.json").rename(file)
    with pytest.raises(ValueError, match=r"question 'Plain-0-none': it has no answer.*dataset\.version=2\.0"):
        read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda asked: asked["answers"][0].update(answer_start=3), r"its answer '2' at 3 is not in the paragraph"),
        (lambda asked: asked["answers"][0].update(answer_start=-3), r"its answer '2' at -3 is not in"),
        (lambda asked: asked["answers"][0].update(answer_start="3"), r"of its answer '2' is '3', not an integer"),
        (lambda asked: asked["answers"][0].update(answer_start=3.0), r"of its answer '2' is 3\.0, not an integer"),
        (lambda asked: asked["answers"][0].update(answer_start=None), r"is None, not an integer"),
        (lambda asked: asked["answers"][1].update(text=""), r"one of its answers is empty"),
        (lambda asked: asked["answers"][0].update(text=None), r"one of its answers is None, not a text"),
        (lambda asked: asked["answers"][0].update(text="\ud800"), r"one of its answers has half a character"),
        (lambda asked: asked.update(question=None), r"its question is None, not a text"),
        (lambda asked: asked.update(question="What\udfff?"), r"its question has half a character .*'\\udfff'\) at 4"),
    ],
)  # fmt: skip
def test_a_question_that_is_not_as_published_is_named(change: object, message: str, tmp_path: Path) -> None:
    layout.publish(tmp_path)
    file = edit(tmp_path / "dev-v1.1.json", change)
    with pytest.raises(
        ValueError, match=f"{re.escape(str(file))}, question 'Plain-0-1': .*{message}"
    ) as error:
        read_questions(tmp_path, "dev", "1.1")
    assert "\n" not in str(error.value)


def test_a_file_of_another_shape_is_named(tmp_path: Path) -> None:
    layout.publish(tmp_path)
    file = edit(tmp_path / "dev-v1.1.json", lambda question: question.update(answers=3))
    with pytest.raises(
        ValueError,
        match=f"{re.escape(str(file))} is not as .* question 'Plain-0-1', something is neither a list nor an object",
    ):
        read_questions(tmp_path, "dev", "1.1")


@pytest.mark.parametrize("answers", [None, {"text": ["Rhine"], "answer_start": None}, {"text": ["Rhine"]}])
def test_missing_answers_in_a_table_are_named(answers: object, tmp_path: Path) -> None:
    row = {"id": "q", "title": "t", "context": "Rhine", "question": "What?", "answers": answers}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "train-0.parquet")
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))}, question 'q': its answers are not"):
        read_questions(tmp_path, "train", "1.1")


def test_invalid_settings_and_unsuitable_tokenizers_are_refused(
    root: Path, tokenizer: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"dataset\.version=3 is unknown; choose 1\.1 or 2\.0"):
        SQuAD("test", root, "3", tokenizer=tokenizer)
    with pytest.raises(ValueError, match="choose exact_match or f1"):
        SQuAD("test", root, correctness="f2", tokenizer=tokenizer)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))} holds no tokenizer"):
        SQuAD("test", root, tokenizer=tmp_path)
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"writes \[CLS\].* this one writes 'a b'"):
        SQuAD("test", root, tokenizer=tmp_path)
