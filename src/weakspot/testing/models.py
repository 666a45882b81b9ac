"""Checks of the contract that every model must fulfil."""

from __future__ import annotations

from typing import Any

import torch

from weakspot.models.base import Model


def check_model(model: Model, inputs: Any) -> None:
    """Check a model against the contract of `weakspot.models.Model`: an embedding followed by a head.

    Args:
        model: The model, in any mode; it is left in evaluation mode.
        inputs: A batch that the model takes, of two examples or more.

    Raises:
        AssertionError: The model breaks the contract; the message says how.
    """
    model.eval()
    with torch.inference_mode():
        embedding = model.embed(inputs)
        outputs = model(inputs)
        assert embedding.ndim == 2, (
            f"embed gives shape {tuple(embedding.shape)}, not one vector for each example"
        )
        assert embedding.shape[1] == model.embedding_size, (
            f"embed gives {embedding.shape[1]} numbers, but embedding_size is {model.embedding_size}"
        )
        assert len(outputs) == len(embedding), "there is not one output for each example"
        assert torch.equal(model.head(embedding), outputs), "head(embed(x)) is not what the model computes"
        assert torch.equal(model.embed(inputs), embedding), (
            "a second pass in evaluation mode gives a different embedding"
        )
    layer = model.cam_layer
    assert layer is None or any(layer is module for module in model.modules()), (
        "cam_layer is not a module of the model"
    )
    outputs = model(inputs)
    outputs.sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert any(parameter.grad is not None for parameter in trained), "no gradient reaches any parameter"
    model.zero_grad(set_to_none=True)
