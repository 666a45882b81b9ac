"""Findings in words: the name of a finding, the sentence that claims it, the headline, and how it was tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from weakspot.evaluation.contrasts import Contrast
from weakspot.evaluation.held_out_split import MIN_EXAMPLES
from weakspot.findings.entries import Confirmation, Portrait
from weakspot.findings.finding import Finding
from weakspot.findings.numbers import THIN, count, decimal, examples, percent, probability
from weakspot.findings.regions import Region
from weakspot.legible import direction_isolated, printable

_MOSTLY = 0.5  # share of a region that one kind of mistake must have to name it
_IN_TEXTS = 0.4  # share of its texts that a word must be in to name it
_IN_ALL = 0.9  # the same, for the name to refer to all of them
_MORE_COMMON = 2.0  # how many times as common as outside a word must be inside
_WORDS = 3
_ON_SEARCHED = (
    "the numbers come from the examples that the slices were found in, and say nothing about others"
)


def finding_name(region: Region, portrait: Portrait, noun: str, labels: Sequence[str]) -> str:
    """Return the name of a finding.

    It is named by attributes if they agree with it, or else by its words, its most common mistake, or the slice that it
    is made of.

    Args:
        region: The region.
        portrait: What its examples look like.
        noun: What the method calls a slice.
        labels: The labels that the region is confined to.

    Returns:
        The name: `group = red_≥5`, `texts, many with “refund”`, `mostly label = cat, predicted dog`, `Spotlight 3`.
    """
    if region.conjunction is not None:
        return str(region.conjunction)
    words = [
        word
        for word in portrait.words[:_WORDS]
        if word.share_inside >= _IN_TEXTS and word.share_inside >= _MORE_COMMON * word.share_outside
    ]
    if words:
        many = "" if min(word.share_inside for word in words) >= _IN_ALL else ", many"
        return f"texts{many} with " + ", ".join(f"“{word.text}”" for word in words)
    total = sum(cell.weight for cell in portrait.confusion)
    mistake = portrait.confusion[0] if portrait.confusion else None
    if mistake is not None and mistake.label != mistake.prediction and mistake.weight >= _MOSTLY * total:
        mostly = "mostly " if len(portrait.confusion) > 1 else ""
        return f"{mostly}label = {mistake.label}, predicted {mistake.prediction}"
    slices = f"{noun} {region.parts[0] + 1}"
    return f"{slices}, label = {labels[0]}" if len(labels) == 1 else slices


def finding_sentence(
    finding: Finding, tested: bool, measure: str, counted: str, better: bool, others: str = ""
) -> str:
    """Return what is claimed about a finding, and how sure it is.

    Args:
        finding: The finding, complete except for its sentence.
        tested: Whether its numbers come from examples that it was not found in.
        measure: The name of the task's own measure.
        counted: What `errors_explained` is a share of, in words.
        better: Whether the best-served examples are searched for.
        others: The tested examples in words, if they are others than the described ones; the finding's numbers are then
            not about the examples that are counted.

    Returns:
        Two or three sentences.
    """
    extent = finding.extent_text[:1].upper() + finding.extent_text[1:]
    them = "such examples" if others else "it" if finding.is_single else "them"
    numbers = _numbers(finding, tested, measure, them)
    where = f"on {printable(others)}, " if others else ""
    sentences = [f"{extent} ({direction_isolated(finding.subject)}): {where}{numbers}."]
    if finding.errors_explained is not None:
        hold = "It holds" if finding.is_single else "They hold"
        sentences.append(f"{hold} {percent(finding.errors_explained)} of all {counted}.")
    sentences.append(_verdict(finding, better))
    return " ".join(sentences)


def _numbers(finding: Finding, tested: bool, measure: str, them: str) -> str:
    accuracy, loss = finding.accuracy, finding.loss
    if accuracy is not None and loss is not None and finding.only_loss_differs:
        inside, outside = percent(accuracy.inside), percent(accuracy.outside)
        shares = f"the accuracy, {inside} against {outside} elsewhere, may be the same"
        if loss.expected is None:
            return f"{_contrast('the mean loss is', loss, decimal, '', tested)}; {shares}"
        shown = _contrast("the mean loss is", replace(loss, outside=None), decimal, "", tested)
        return f"{shown}, against {decimal(loss.expected)} of others with such labels; {shares}"
    if accuracy is not None and not (loss is not None and accuracy.inside == accuracy.outside):
        return _contrast("the model is right on", accuracy, percent, f" of {them}", tested)
    if finding.error is not None:
        return _contrast(f"the {measure.upper()} is", finding.error, decimal, "", tested)
    if finding.loss is not None:
        return _contrast("the mean loss is", finding.loss, decimal, "", tested)
    return "no such example could be measured"


def _contrast(what: str, contrast: Contrast, show: Callable[[float], str], of: str, tested: bool) -> str:
    text = f"{what} {show(contrast.inside)}{of}"
    if contrast.interval is not None:
        low, high = (show(bound) for bound in contrast.interval)
        text += f" (95{THIN}% interval {low} to {high}, held out)"
    elif not tested:
        text += " (where they were found)"
    return text if contrast.outside is None else f"{text}, against {show(contrast.outside)} elsewhere"


def _verdict(finding: Finding, better: bool) -> str:
    they_are = "it is" if finding.is_single else "they are"
    worse = "better" if better else "worse"
    p = f"corrected p\u00a0{probability(finding.p_corrected)}"
    match finding.verdict:
        case "confirmed":
            return f"Confirmed on held-out examples ({p})."
        case "explained_by_label":
            if finding.p_corrected is None:
                return f"The label may explain that: too few others have such labels to show that {they_are} {worse}."
            return f"The label may explain that: {they_are} not shown to be {worse} than others with such labels ({p})."
        case "not_confirmed":
            if finding.p_corrected is None:
                return "Not confirmed: chance may have done it, and too few others have such labels to compare with."
            return f"Not confirmed: on held-out examples chance may have done it ({p})."
        case "too_few":
            return "Too few such examples were held out to say more."
        case "not_tested":
            return "It was not tested."


def headline(
    findings: Sequence[Finding], confirmation: Confirmation, dataset: str, model: str, n: int, better: bool
) -> str:
    """Return the headline: where the model fails, that nothing reliable was found, or why that cannot be said."""
    data = dataset or examples(n)
    if any(finding.confirmed for finding in findings):
        return f"Where {model or 'the model'} {'does best' if better else 'fails'} on {data}"
    match confirmation.mode:
        case "off":
            return f"{model or 'The model'} on {data}: nothing was tested"
        case "too_few":
            return "Too few examples to find anything reliable"
    if findings and all(finding.verdict == "too_few" for finding in findings):
        return "Too few examples to confirm anything"
    return "Nothing reliable was found"


def explain_test(
    mode: str, searched: int, tested: int, source: str, level: float, within: str, group: str
) -> str:
    """Return how slices were tested, in one or two sentences.

    Args:
        mode: As in `Confirmation`.
        searched, tested: How many examples were searched for slices, and tested on.
        source: As in `Confirmation`.
        level: The false discovery rate.
        within: What losses are compared within: "labels", "similar labels", or nothing.
        group: The attribute whose values the test counts instead of examples, if there is one.
    """
    if mode == "off":
        if source:
            return f"{source}: {_ON_SEARCHED}."
        return f"Nothing was tested (confirm=0): {_ON_SEARCHED}. confirm=0.5 tests on half of the examples."
    if mode == "too_few":
        return (
            f"There are too few examples ({count(searched)}) to set some aside for a test, which takes {MIN_EXAMPLES} "
            f"in each part, so nothing is confirmed: {_ON_SEARCHED}. Other predictions of the same model "
            "(confirm=FILE) would test what was found."
        )
    where = source or "other examples"
    within = f" within {within}" if within else ""
    within += f", by {printable(group)}, whose examples are not independent observations" if group else ""
    return (
        f"Slices were searched for in {count(searched)} examples and tested on {count(tested)} others ({where}) by a "
        f"rank test of the losses{within}; of those called confirmed, at most {percent(level)} are expected to be "
        "chance."
    )
