"""How fast images go through a model into the store of predictions, compared with the model alone.

    python benchmarks/inference.py                                        # resnet18; some minutes on two cores
    python benchmarks/inference.py --model resnet50 --images 512 --docs docs/scale.md
    python benchmarks/inference.py --model vit_b_16 --precision bf16-mixed

JPEG files of 500 × 375 pixels are drawn once (blurred noise, about 60 kB each, like photographs of ImageNet) and are in
the page cache. *Synthetic* is the network alone on one batch in memory, as fast as it can be made to run here: nothing
is read or written. *Loading* is only what is done to an image before the network sees it. The *plain loop* is what the
published scripts do: a DataLoader, no_grad, results gathered in lists. *Ours* is the pipeline of `infer.py`, from the
files to the joined store: it also measures every image (brightness, sharpness, …) and judges every prediction. Rounds
are interleaved, and each run is a process of its own, so that its peak memory (without loading processes) is its own.
The rate is wall-clock time, the best of the rounds: other work on the machine only slows it. CPU time includes loading
processes, and is the smallest of the rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from planted.pages import write_between

STORE = Path("outputs/inference")
WIDTH, HEIGHT = 500, 375
CLASSES = 10


def images(n: int) -> Path:
    """Return a folder of n JPEG files in ten classes; draw them if it does not exist."""
    from PIL import Image, ImageFilter

    root = STORE / f"images-{n}"
    if not root.is_dir():
        part = root.with_suffix(".part")
        random = np.random.default_rng(0)
        for row in range(n):
            folder = part / "test" / f"class{row % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(random.integers(256, size=(30, 40, 3), dtype=np.uint8))
            fine = random.normal(scale=12, size=(HEIGHT, WIDTH, 3))
            smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=float)
            mixed = Image.fromarray(np.clip(smooth + fine, 0, 255).astype(np.uint8))
            mixed.filter(ImageFilter.GaussianBlur(0.6)).save(folder / f"{row}.jpg", quality=90)
        part.rename(root)
    return root


def network(name: str) -> Any:
    import torch

    from weakspot.models import TorchvisionModel
    from weakspot.tasks import Classification

    torch.manual_seed(0)
    return TorchvisionModel(Classification(tuple(f"class{c}" for c in range(CLASSES))), name)


class Spent:
    """Measures wall-clock and CPU seconds since it was made."""

    def __init__(self) -> None:
        self.started, self.cpu = time.perf_counter(), cpu_seconds()

    def per_image(self, seen: int) -> tuple[float, float]:
        """Return images per second and CPU seconds per image; loading processes must have ended."""
        rate = seen / (time.perf_counter() - self.started)
        gc.collect()
        return rate, (cpu_seconds() - self.cpu) / seen


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def synthetic(options: argparse.Namespace) -> tuple[float, float]:
    import torch

    model = network(options.model).eval()
    x = torch.randn(options.batch, 3, 224, 224)
    if options.channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    half = options.precision == "bf16-mixed"
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        read = torch.compile(model.read) if options.compile else model.read
        read(x)
        spent, seen = Spent(), 0
        while seen < options.images:
            read(x)
            seen += len(x)
    return spent.per_image(seen)


def plain_loop(options: argparse.Namespace) -> tuple[float, float]:
    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    model = network(options.model).eval()
    steps = [transforms.Resize(224), transforms.CenterCrop(224), transforms.ToTensor()]
    dataset = ImageFolder(str(images(options.images) / "test"), transforms.Compose(steps))
    spent = Spent()
    loader = DataLoader(dataset, batch_size=options.batch, num_workers=options.workers)
    embeddings, outputs, losses = [], [], []
    with torch.no_grad():
        for x, y in loader:
            z, logits = model.read(x)
            embeddings.append(z.numpy())
            outputs.append(logits.numpy())
            losses.append(torch.nn.functional.cross_entropy(logits, y, reduction="none").numpy())
    found = [np.concatenate(one) for one in (embeddings, outputs, losses)]
    return spent.per_image(len(found[0]))


def loading(options: argparse.Namespace) -> tuple[float, float]:
    import torch

    from weakspot.datasets.image_folder import ImageFolder
    from weakspot.datasets.inputs.measured_previews import MeasuredPreviews
    from weakspot.pipeline.image_attributes import measure_image

    torch.set_num_threads(1)  # as in a loading process
    data = MeasuredPreviews(ImageFolder("test", images(options.images)), measure_image)
    spent = Spent()
    for row in range(len(data)):
        data[row]
    return spent.per_image(len(data))


def ours(options: argparse.Namespace) -> tuple[float, float]:
    from pytorch_lightning import Trainer

    from weakspot.datasets.datamodule import DataModule
    from weakspot.datasets.image_folder import ImageFolder
    from weakspot.pipeline.infer import infer

    model = network(options.model)
    root = images(options.images)
    data = DataModule(
        lambda split: ImageFolder(split, root), batch_size=options.batch, num_workers=options.workers
    )
    make = partial(Trainer, accelerator="cpu", devices=1, precision=options.precision)
    with tempfile.TemporaryDirectory() as folder:
        spent = Spent()
        found = infer(model, data, "test", make, Path(folder) / "store", {})
        assert found is not None
        return spent.per_image(len(found))


RUNS = {"synthetic": synthetic, "loading": loading, "plain loop": plain_loop, "ours": ours}


def in_a_process(way: str, words: list[str]) -> tuple[float, float, float]:
    done = subprocess.run(
        [sys.executable, __file__, *words, "--one", way], capture_output=True, text=True, env=os.environ
    )
    if done.returncode:
        sys.exit(done.stderr)
    rate, cpu, peak = json.loads(done.stdout.splitlines()[-1])
    return rate, cpu, peak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="resnet18", help="any torchvision model that reads 224 × 224 pixels"
    )
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", default="32-true", help="of the synthetic run and of ours")
    parser.add_argument("--workers", nargs="*", type=int, default=[0, 1, 2], help="loading processes")
    parser.add_argument("--channels-last", action="store_true", help="of the synthetic run")
    parser.add_argument("--compile", action="store_true", help="also do the synthetic run with torch.compile")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", type=Path, help="a page to write the table into")
    parser.add_argument("--one", choices=RUNS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        options.workers = options.workers[0]
        rate, cpu = RUNS[options.one](options)
        print(json.dumps([rate, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
        return
    images(options.images)
    plain = ["--model", options.model, "--images", str(options.images), "--batch", str(options.batch)]
    plain += ["--precision", options.precision]
    ways = {"synthetic": [*plain, "--workers", "0"]}
    ways |= {"synthetic, channels last": [*ways["synthetic"], "--channels-last"]}
    if options.compile:
        ways |= {"synthetic, compiled": [*ways["synthetic, channels last"], "--compile"]}
    ways |= {"loading": ways["synthetic"]}
    ways |= {f"plain loop, {w} workers": [*plain, "--workers", str(w)] for w in options.workers}
    ways |= {f"ours, {w} workers": [*plain, "--workers", str(w)] for w in options.workers}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, words in ways.items():
            found[name].append(in_a_process(name.split(",")[0], words))
            rate, cpu, _ = found[name][-1]
            print(f"{name}: {rate:.1f} images a second, {1000 * cpu:.1f} ms of CPU an image", flush=True)
    alone = [runs for name, runs in found.items() if name.startswith("synthetic") and "compiled" not in name]
    fastest = max(rate for runs in alone for rate, _, _ in runs)
    cheapest = min(cpu for runs in alone for _, cpu, _ in runs)
    shown = f"{options.model}, {options.precision}, batches of {options.batch}"
    lines = [
        f"| {shown} | images a second | of synthetic | CPU ms an image | of synthetic | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        rate, cpu = max(one for one, _, _ in runs), min(one for _, one, _ in runs)
        peak = max(one for _, _, one in runs)
        shares = ["", ""] if name == "loading" else [f"{rate / fastest:.0%}", f"{cheapest / cpu:.0%}"]
        lines.append(
            f"| {name} | {rate:.1f} | {shares[0]} | {1000 * cpu:.1f} | {shares[1]} | {peak / 2**20:,.0f} MiB |"
        )
    print("\n".join(lines))
    if options.docs:
        write_between(options.docs, f"inference {options.precision}", "\n".join(lines))


if __name__ == "__main__":
    main()
