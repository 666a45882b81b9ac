"""Any of Hugging Face's encoders, averaged over the tokens of a text, with a linear head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weakspot.models.hub import HubModel, accepted_tensors, load_net
from weakspot.tasks import Task


class TextEncoder(HubModel):
    """Embeds a text as the mean of the last hidden states of its tokens, without padding, as sentence encoders do.

    name      a folder, as `save_pretrained` writes it, or a name on the hub
    frozen    the encoder stays as it is, and only the head is trained: no gradient passes through the encoder

    Raises ValueError or FileNotFoundError, in one sentence, for a model that cannot be read.
    """

    head_is_trained = False

    def __init__(self, task: Task, name: str | Path, frozen: bool = True, download: bool = False) -> None:
        super().__init__()
        from transformers import AutoModel

        self.net, _ = load_net(AutoModel, name, download)
        self.frozen = frozen
        if frozen:
            self.net.requires_grad_(False)
        self.embedding_size = int(self.net.config.hidden_size)
        self.output = nn.Linear(self.embedding_size, task.n_outputs)

    @property
    def cam_layer(self) -> None:
        return None

    def train(self, mode: bool = True) -> TextEncoder:
        """Set the mode; a frozen encoder stays in evaluation mode, without dropout."""
        super().train(mode)
        if self.frozen:
            self.net.eval()
        return self

    def embed(self, x: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        """Embed `input_ids`, `attention_mask` and whatever else the network takes, each (n, t)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.net(**accepted_tensors(self.net, x)).last_hidden_state
            counted = x["attention_mask"][:, :, None].to(states.dtype)
            mean: Tensor = (states * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
        return mean

    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        y: Tensor = self.output(z)
        return y
