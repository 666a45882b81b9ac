"""What Grad-CAM costs beside a prediction and a training step: `python benchmarks/gradcam.py`.

Times are ratios of runs that take turns, in one thread; each memory peak comes from a process of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch

from weakspot.explain.gradcam import grad_cam
from weakspot.models import TorchvisionModel
from weakspot.tasks import Classification

ROUNDS = 5


def steps(name: str) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    model = TorchvisionModel(Classification(("no", "yes")), name).eval()
    images = torch.rand(16, 3, 224, 224)

    def train() -> None:
        model(images).amax(dim=1).sum().backward()
        model.zero_grad()

    return {
        "grad_cam": lambda: grad_cam(model, images),
        "forward": torch.inference_mode()(lambda: model(images)),
        "forward and backward": train,
    }


def seconds(step: Callable[[], object]) -> float:
    start = perf_counter()
    step()
    return perf_counter() - start


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    torch.set_num_threads(1)
    if len(sys.argv) == 3:
        step = steps(sys.argv[1])[sys.argv[2]]
        before = megabytes()
        step()
        print(f"{megabytes() - before:.0f}")
        return
    # first, while this process is small: on Linux a child's peak begins at its parent's
    print("16 images of 224×224: peak memory beyond the loaded model, MB")
    for step in ("grad_cam", "forward", "forward and backward"):
        done = subprocess.run(
            [sys.executable, __file__, "resnet34", step], capture_output=True, text=True, check=True
        )
        print(f"resnet34: {step} {done.stdout.strip()}")
    print("time of grad_cam, one thread, relative to")
    for name in ("resnet18", "densenet121", "vit_b_32"):
        work = steps(name)
        times = np.array([[seconds(step) for step in work.values()] for _ in range(ROUNDS)])
        ratios = np.median(times[:, :1] / times[:, 1:], axis=0)
        for other, ratio in zip(list(work)[1:], ratios, strict=True):
            print(f"{name}: {other} {ratio:.2f}")


if __name__ == "__main__":
    main()
