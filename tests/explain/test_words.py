"""Distinctive words: planted ones come first, and shares equal those counted by hand."""

import numpy as np
import pytest

from weakspot.explain.words import distinctive_words

COMMON = ["the", "film", "was", "long", "and", "the", "people", "in", "it", "were", "many"]


@pytest.fixture
def reviews():
    """300 texts; the first 40 mention a refund and a broken charger, the others do not."""
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.permutation(COMMON)) + " " + rng.choice(["good", "bad", "fair"]) for _ in range(300)
    ]
    about = np.arange(300) < 40
    texts = [
        text + " refund broken charger" if there else text for text, there in zip(texts, about, strict=True)
    ]
    return texts, about.astype(float)


def test_planted_words_come_first_with_their_shares(reviews):
    texts, weights = reviews
    (words,) = distinctive_words(weights[None], texts)
    assert {word.text for word in words[:3]} == {"refund", "broken", "charger"}
    assert all(word.share_inside == pytest.approx(1) and word.share_outside == 0 for word in words[:3])
    assert all(word.contrast > 0 for word in words)
    assert not any("refund" in word.text.split() and " " in word.text for word in words)  # redundant


def test_words_that_chance_explains_are_not_listed(reviews):
    """Slices unrelated to their texts have hardly any words; a slice of the longest texts has none."""
    texts, _ = reviews
    rng = np.random.default_rng(3)
    texts = [f"{text} {' '.join(rng.choice(list('abcdefghijklmnop'), rng.integers(1, 8)))}" for text in texts]
    weights = np.array([rng.permutation(300) < 30 for _ in range(200)], dtype=float)
    assert sum(len(words) > 0 for words in distinctive_words(weights, texts)) <= 10
    longest = 40 + np.argsort([-len(text) for text in texts[40:]], kind="stable")[:12]
    (words,) = distinctive_words(np.isin(np.arange(300), longest).astype(float)[None], texts)
    assert words == []


def test_a_common_word_is_listed_if_it_is_even_more_common_inside():
    """All 150 texts inside have it, and 110 of the 150 outside: Fisher's p is 4.5e-14."""
    texts = [f"{'usual ' if i < 260 else ''}{'abcdefghij'[i % 10]}" for i in range(300)]
    (words,) = distinctive_words((np.arange(300) < 150).astype(float)[None], texts)
    assert [word.text for word in words] == ["usual"]


def test_a_count_of_five_equals_five_copies_of_a_text():
    texts = [f"{'refund ' if i % 60 < 8 else ''}{'abcdef'[i % 6]}" for i in range(60)]
    weights = np.isin(np.arange(60), [0, 1, 2, 20, 21, 22, 23]).astype(float)
    once, counted, repeated = (
        [word.text for word in distinctive_words(w[None], t, c)[0]]
        for w, t, c in (
            (weights, texts, None),
            (weights, texts, np.full(60, 5)),
            (np.tile(weights, 5), texts * 5, None),
        )
    )
    assert once == []
    assert counted == repeated == ["refund"]


def test_shares_equal_weighted_counts_by_hand(reviews):
    texts, weights = reviews
    rng = np.random.default_rng(1)
    weights, counts = weights * rng.uniform(0.2, 1, 300), rng.integers(1, 4, 300)
    (words,) = distinctive_words(weights[None], texts, counts)
    for word in words:
        has = np.array([f" {word.text} " in f" {text} " for text in texts])
        assert word.share_inside == pytest.approx(
            (counts * weights)[has].sum() / (counts * weights).sum(), rel=1e-5
        )
        outside = counts * (1 - weights)
        assert word.share_outside == pytest.approx(outside[has].sum() / outside.sum(), rel=1e-5, abs=1e-9)


def test_the_order_of_texts_changes_nothing(reviews):
    texts, weights = reviews
    order = np.random.default_rng(2).permutation(300)
    (plain,), (shuffled,) = (
        distinctive_words(w[None], t)
        for w, t in ((weights, texts), (weights[order], [texts[i] for i in order]))
    )
    assert [word.text for word in plain[:3]] == [word.text for word in shuffled[:3]]


@pytest.mark.parametrize("texts", [["", "", ""], ["…", "!", "?"], ["one", "two", "three"]])
def test_texts_without_shared_words_give_words_or_nothing(texts):
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    first, second = distinctive_words(weights, texts)
    assert all(word.text == "one" for word in first)
    assert second == []


def planted(common: list[str], word: str, blank: str = " ") -> tuple[list[str], np.ndarray]:
    """300 texts of common words; the first 40 also hold `word`, at any place."""
    rng = np.random.default_rng(0)
    about = np.arange(300) < 40
    texts = []
    for there in about:
        words = [*rng.choice(common, 8), *([word] if there else [])]
        texts.append(blank.join(rng.permutation(words)))
    return texts, about.astype(float)


CHINESE = ["服务", "很好", "我们", "昨天", "去了", "饭店", "味道", "不错", "价格", "便宜", "下次", "还来"]
JAPANESE = [
    "昨日",
    "店に",
    "行きました",
    "料理は",
    "とても",
    "おいしい",
    "です",
    "値段も",
    "が",
    "また",
]
THAI = ["อาหาร", "อร่อย", "มาก", "ร้าน", "สวย", "บริการ", "ดี", "ราคา", "ถูก", "ไป", "กับ", "เพื่อน"]
HINDI = ["खाना", "बहुत", "अच्छा", "है", "दुकान", "में", "सेवा", "ठीक", "कीमत", "हम", "कल", "गए"]
ARABIC = ["الطَّعَامُ", "جَيِّدٌ", "جِدًّا", "المَكَانُ", "نَظِيفٌ", "وَ", "الخِدْمَةُ", "سَرِيعَةٌ"]


@pytest.mark.parametrize(
    ("common", "word", "blank"),
    [
        (CHINESE, "退款", ""),
        (CHINESE, "充电器", ""),
        (CHINESE, "猫", ""),
        (JAPANESE, "返金", ""),
        (JAPANESE, "チャージャー", ""),
        (JAPANESE, "すばらしい"[:4], ""),
        (THAI, "คืนเงิน", ""),
        (["ຂອບໃຈ", "ດີ", "ຫຼາຍ", "ອາຫານ", "ແຊບ", "ຮ້ານ", "ງາມ"], "ຄືນເງິນ", ""),
        (["អាហារ", "ឆ្ងាញ់", "ណាស់", "ហាង", "ស្អាត", "សេវា", "ល្អ"], "សំណង", ""),
        (["အစားအစာ", "ကောင်း", "တယ်", "ဆိုင်", "လှ", "ဝန်ဆောင်မှု"], "ပြန်အမ်းငွေ", ""),
        (HINDI, "क्षतिपूर्ति", " "),
        (ARABIC, "اِسْتِرْدَادٌ", " "),
        (["שָׁלוֹם", "אֹכֶל", "טוֹב", "מְאֹד", "חֲנוּת"], "הֶחְזֵר", " "),
        (["좋은", "음식", "가게", "서비스", "가격", "어제"], "환불", " "),
        (COMMON, "👍🏽", " "),
        (COMMON, "❤️", ""),
        (COMMON, "👩‍👩‍👧", " "),
        (COMMON, "🇵🇪", " "),
        (COMMON, "c++", " "),
        (COMMON, "c#", " "),
        (COMMON, "don't", " "),
        (COMMON, "نمی‌خواهم", " "),  # with the non-joiner that Persian writes within words
    ],
)
def test_words_of_every_script_come_first_and_whole(common, word, blank):
    texts, weights = planted(common, word, blank)
    (words,) = distinctive_words(weights[None], texts)
    assert words[0].text == word
    assert (words[0].share_inside, words[0].share_outside) == (pytest.approx(1), 0)
    assert not any(other.text in word or word in other.text for other in words[1:] if " " not in other.text)


def test_composed_and_decomposed_accents_are_the_same_word():
    texts, weights = planted(COMMON, "café")
    texts = [text.replace("é", "e\u0301") if row % 2 else text for row, text in enumerate(texts)]
    (words,) = distinctive_words(weights[None], texts)
    assert words[0].text == "café"
    assert words[0].share_inside == pytest.approx(1)


def test_punctuation_is_not_part_of_words():
    texts, weights = planted(COMMON, "(refund!)")
    texts[:20] = [text.replace("(refund!)", "'refund'--") for text in texts[:20]]
    (words,) = distinctive_words(weights[None], texts)
    assert words[0].text == "refund"
    assert words[0].share_inside == pytest.approx(1)


def test_two_words_in_the_same_chinese_texts_are_both_listed():
    texts, weights = planted(CHINESE, "退款", "")
    texts = [f"充电器{text}" if row < 40 else text for row, text in enumerate(texts)]
    (words,) = distinctive_words(weights[None], texts)
    assert {word.text for word in words[:2]} == {"退款", "充电器"}
