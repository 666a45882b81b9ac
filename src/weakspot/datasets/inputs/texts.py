"""Texts as model input: token ids, padded to the longest text of a batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from weakspot.datasets.base import Dataset, digest
from weakspot.offline import hub_network

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(name: str | Path, download: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer in a folder, or that of a model on the Hugging Face hub.

    Args:
        name: A folder, or a name on the hub that is in Hugging Face's cache.
        download: Whether it may be fetched; otherwise the network is not used.

    Raises:
        FileNotFoundError: If there is no such tokenizer.
        ValueError: If the folder holds no tokenizer that can be read.
    """
    from transformers import AutoTokenizer

    folder = Path(name).expanduser()
    fetch = download and not folder.is_dir()
    try:
        with hub_network(fetch):
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder if folder.is_dir() else str(name),
                local_files_only=not fetch,
                trust_remote_code=False,
            )
    except Exception as error:  # OSError, ValueError, KeyError, JSON's and the tokenizers library's own
        reason = " ".join(str(error).split())[:200]
        if folder.is_dir():
            raise ValueError(
                f"{folder} holds no tokenizer that can be read ({reason}); it needs tokenizer.json or vocab.txt, "
                "as save_pretrained writes them"
            ) from error
        raise FileNotFoundError(
            f"the tokenizer {str(name)!r} is neither a folder nor in Hugging Face's cache. Texts need a model that "
            "reads them: model=text_encoder or text_classifier, and model.name=<its folder>; model.download=true "
            f"fetches one by its name on the hub" + (f" [{reason}]" if fetch else "")
        ) from error
    return tokenizer


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a digest of how a tokenizer cuts and pads texts, which is the same for equal tokenizers in two folders."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    how = json.loads(backend.to_str()) if backend is not None else sorted(tokenizer.get_vocab().items())
    if isinstance(how, dict):  # these two change with every call
        how = {part: value for part, value in how.items() if part not in ("truncation", "padding")}
    settings = [tokenizer.truncation_side, tokenizer.padding_side, *tokenizer.model_input_names]
    return hashlib.sha256(json.dumps([how, settings]).encode()).hexdigest()[:16]


class Texts(Dataset):
    """A dataset of texts; a subclass also sets `texts`, one per row.

    Args:
        split: The split's name.
        root: The folder of the files.
        tokenizer: The text model's tokenizer: a folder, or a name on the hub.
        max_length: The maximum number of tokens of a text; the rest is cut off.
        download: Whether the tokenizer may be fetched.
    """

    no_difference = Dataset.no_difference | {"tokenizer"}  # it is in the fingerprint
    texts: Sequence[str]

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        tokenizer: str | Path = "distilbert-base-uncased",
        max_length: int = 512,
        download: bool = False,
    ) -> None:
        super().__init__(split, root)
        if max_length < 2:
            raise ValueError(f"max_length must be at least 2 tokens, not {max_length}")
        self.max_length = max_length
        self.tokenizer = load_tokenizer(tokenizer, download)

    def input(self, row: int) -> dict[str, Tensor]:
        """Return token ids and the attention mask of a text, each (t,) with t ≤ max_length."""
        cut = self.tokenizer(self.texts[row], truncation=True, max_length=self.max_length)
        return {name: torch.tensor(values) for name, values in cut.items()}

    def preview(self, row: int) -> str:
        return self.texts[row]

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate a batch, padding inputs to its longest text: `input_ids` and the others are (n, t)."""
        inputs = [item["input"] for item in items]
        names = list(inputs[0])
        padded = self.tokenizer.pad({name: [i[name] for i in inputs] for name in names}, return_tensors="pt")
        rest = default_collate([{k: v for k, v in item.items() if k != "input"} for item in items])
        return {"input": {name: padded[name] for name in names}, **rest}

    def fingerprint(self) -> str:
        texts = "\0".join(self.texts).encode("utf-8", "surrogatepass")
        return digest(
            self.examples,
            self.targets,
            texts,
            f"{tokenizer_digest(self.tokenizer)} {self.max_length}".encode(),
        )
