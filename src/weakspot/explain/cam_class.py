"""The class that Grad-CAM explains, as `cam=…` and the explorer name it: predicted, label, or a class's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weakspot.tasks import Task

DEFAULT_CAM_CLASS = "predicted"
"""The class that is explained by default."""


def check_cam_class(task: Task, cam_class: str) -> None:
    """Check that a task has a class for Grad-CAM to explain; this is cheap, and done before anything else.

    Args:
        task: The task.
        cam_class: predicted, label, none or a class's name.

    Raises:
        ValueError: If it is not one of these.
    """
    if cam_class not in ("predicted", "label", "none", *task.classes):
        raise ValueError(
            f"no Grad-CAM for cam={cam_class!r}: choose predicted, label, none or one of {', '.join(task.classes[:20])}"
        )
