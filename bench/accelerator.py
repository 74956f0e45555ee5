"""What a device makes of networks at the papers' sizes: images per second, peak memory, and the share of the card's bfloat16 peak.

    python -m bench.accelerator

Weights are random, which takes as long. Pixels are on the device already; `bench.throughput` adds reading and writing. Each network runs in
float32, in bfloat16, and in bfloat16 compiled by torch.compile; `torch.channels_last` is how the networks are always laid out. Where no card
is there, the processor runs the smaller sizes once.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.contracts.running.device import choose_device, prepare_processor
from pipeline.extraction.inference import FeatureExtractor
from pipeline.networks.listing import network_without_weights
from pipeline.networks.network import Network

SIZES = {
    "vgg16": 1024,
    "resnet101": 1024,
    "timm/vit_small_patch14_dinov2": 518,
    "timm/vit_base_patch14_dinov2": 518,
}
"""Longest side of a photograph of 4:3, by network; of the transformers both sides."""
PUBLISHED_PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0, "A10": 125.0}
"""TFLOP/s of dense bfloat16 products, by a part of the card's name, as its maker says; a longer name stands before a part of it."""
SECONDS, MATRIX = 2.0, 8192


def main() -> None:
    prepare_processor()
    device = choose_device()
    peak, said = peak_of(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"
    print(f"{name}, torch {torch.__version__}: bfloat16 peak {peak:.3g} TFLOP/s ({said})", flush=True)
    print("network", "pixels", "batch", "way", "images/s", "TFLOP/s", "share of the peak", "peak MiB", sep="\t", flush=True)
    for architecture, side in SIZES.items():
        for cells in rows(architecture, side if device.type == "cuda" else side // 4 // 14 * 14, device, peak):
            print(*cells, sep="\t", flush=True)


def rows(architecture: str, side: int, device: torch.device, peak: float) -> list[list[str]]:
    """The cells of each way of computing."""
    height = side if architecture.startswith("timm/") else side * 3 // 4
    network = network_without_weights(architecture, ())
    assert isinstance(network, Network)
    extractor = FeatureExtractor(network, ExtractParameters(), device)
    images = torch.rand(extractor.batch_size, 3, height, side, device=device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.feature_maps(images)
    teraflops = counter.get_total_flops() / len(images) / 1e12
    ways: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], bool]] = {
        "float32": (network.feature_maps, False),
        "bfloat16": (network.feature_maps, True),
    }
    if device.type == "cuda":
        ways["bfloat16, compiled"] = torch.compile(network.feature_maps), True
    found = []
    for way, (compute, mixed) in ways.items():
        rate, memory = measured(compute, images, mixed)
        share = f"{rate * teraflops / peak:.3f}"
        found.append([architecture, f"{height}×{side}", str(len(images)), way, f"{rate:.1f}", f"{rate * teraflops:.2f}", share, memory])
    return found


def measured(compute: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, mixed: bool) -> tuple[float, str]:
    """Images per second, after a round that is not counted, and the peak memory of the device."""
    device = images.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext():
        compute(images)
        finish(device)
        rounds, start = 0, time.perf_counter()
        while rounds < 1 or time.perf_counter() - start < SECONDS:
            for _ in range(8 if device.type == "cuda" else 1):
                compute(images)
                rounds += 1
            finish(device)
    memory = f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f}" if device.type == "cuda" else "–"
    return rounds * len(images) / (time.perf_counter() - start), memory


def peak_of(device: torch.device) -> tuple[float, str]:
    """TFLOP/s of bfloat16 products, and whether they are published or measured."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, peak in PUBLISHED_PEAKS.items():
            if part in name:
                return peak, "published"
    size = MATRIX if device.type == "cuda" else MATRIX // 8
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    rate, _ = measured(lambda own: own @ own, matrix, mixed=False)
    return rate / size * 2 * size**3 / 1e12, f"measured, a product of {size}×{size} matrices"


def finish(device: torch.device) -> None:
    """Wait for the card."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
