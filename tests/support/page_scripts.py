"""The scripts on a page of the documentation, so that tests run them exactly as shown."""

from __future__ import annotations

import re

from paths import ROOT

_DOCS = ROOT / "docs"


def page_scripts(page: str) -> dict[str, str]:
    """Return the code blocks of a page that begin with a comment `# name.py`, keyed by this name."""
    blocks = re.findall(
        r"^```python\n(# (\w+\.py)\n.*?)^```$", (_DOCS / page).read_text(), re.DOTALL | re.MULTILINE
    )
    return {name: code for code, name in blocks}
