"""Small models of transformers: the architecture and files of the large ones, with random weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import BertTokenizer, PreTrainedModel

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SIZES = {
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "Bert": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
    "GPT2": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
}
SIZES["Roberta"] = SIZES["Electra"] = SIZES["Bert"]


def write_tokenizer(folder: Path, texts: Iterable[str]) -> int:
    """Write a WordPiece tokenizer, lower-cased like the uncased models, that knows letters and the words of `texts`;
    return the length of its vocabulary."""
    words = {word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())}
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *sorted(words - set(letters))]
    tokenizer = BertTokenizer(vocab={token: place for place, token in enumerate(vocabulary)})
    tokenizer.save_pretrained(folder)
    return len(vocabulary)


def write_model(
    folder: Path,
    texts: Iterable[str],
    head: str = "ForSequenceClassification",
    family: str = "DistilBert",
    **config: Any,
) -> PreTrainedModel:
    """Save a model with its tokenizer as `save_pretrained` does, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    size = write_tokenizer(folder, texts)
    torch.manual_seed(0)
    settings = getattr(transformers, f"{family}Config")(vocab_size=size, **SIZES[family], **config)
    model: PreTrainedModel = getattr(transformers, f"{family}{head}")(settings)
    for parameter in model.parameters():  # biases too, so that tests notice every part
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model.eval()
