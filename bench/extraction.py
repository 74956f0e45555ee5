"""Images per second of the extraction against plain torch, one image at a time in float32, on the same images and networks.

Both decode the same stored images, run the same network on all cores, and write float16 maps to disk. The share of the processor says how far
any other way could get: arithmetic of the network per second, divided by that of a product of two large float32 matrices.
"""

import tempfile
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.pictures import store
from bench.timing import paired, seconds
from pipeline.contracts.executors.executing import Place, untold
from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.contracts.images.image_shards import KIND, read_images
from pipeline.contracts.running.device import prepare_processor
from pipeline.contracts.running.settings import settings
from pipeline.extraction.bucket_tasks import bucket_tasks
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.known_values import NOTHING
from pipeline.extraction.shards import ShardWriter
from pipeline.imaging.images import decode
from pipeline.networks.params import is_timm
from pipeline.networks.registry import ARCHITECTURES, load_network, own_keys
from pipeline.networks.timm_layers import build
from pipeline.networks.weight_files import read_weights
from pipeline.stage.manifest import load_manifest

COUNT, SIDE = 32, 640
MATRIX = 2048
NETWORKS = ("efficientnet_lite0", "squeezenet1_1", "timm/vit_small_patch16_224")


def weights(name: str) -> dict[str, torch.Tensor]:
    """Real weights where a package ships them, else random ones of ordinary size."""
    package = None if is_timm(name) else ARCHITECTURES[name].package
    if package is not None:
        return own_keys(name, read_weights(package()))
    torch.manual_seed(0)
    return dict(bare(name).state_dict())


def bare(name: str) -> nn.Module:
    """The module alone; one of timm's gives its tokens."""
    if not is_timm(name):
        return ARCHITECTURES[name].build()
    model = build(name)
    model.forward = model.forward_features  # type: ignore[assignment]
    return model


def plain(module: nn.Module, images: Path, output: Path) -> None:
    """What one writes first: a loop over the images."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        for path in load_manifest(images, KIND).paths(images):
            for stored in read_images(path):
                pixels = torch.from_numpy(decode(stored.bytes).copy()).permute(2, 0, 1).float() / 255
                np.save(output / stored.image_id, module(((pixels - mean) / std)[None])[0].half().numpy())


def ours(extractor: FeatureExtractor, images: Path) -> None:
    """The extract stage's work."""
    with tempfile.TemporaryDirectory() as place:
        writer = ShardWriter(extractor, Place(Path(place), str(extractor.device), settings().threads, untold), NOTHING, {})
        for task in bucket_tasks(images, ["database"]):
            writer.write(task)


def plain_process(name: str, images: Path, output: Path, line: Connection) -> None:
    """The plain loop in a process of its own, whose allocator nobody has set: one round for every message."""
    torch.set_num_threads(settings().threads)
    module = bare(name)
    module.load_state_dict(weights(name), strict=False)
    module.eval()
    while line.recv():
        line.send(seconds(lambda: plain(module, images, output)))


def products() -> float:
    """GFLOP/s of a product of two float32 matrices on all cores; the best of ten."""
    torch.set_num_threads(settings().threads)
    matrix = torch.randn(MATRIX, MATRIX)
    return 2 * MATRIX**3 / 1e9 / min(seconds(lambda: matrix @ matrix) for _ in range(10))


def arithmetic(name: str, images: Path) -> float:
    """GFLOP of one of the stored images, which all have one size."""
    stored = next(read_images(load_manifest(images, KIND).paths(images)[0]))
    height, width, _ = decode(stored.bytes).shape
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        bare(name).eval()(torch.zeros(1, 3, height, width))
    return float(counter.get_total_flops()) / 1e9


def compare(name: str, images: Path, output: Path, most: float) -> None:
    """Print images per second of both, networks loaded beforehand, and the share of the processor's arithmetic, `most` GFLOP/s, that ours uses."""
    context = get_context("spawn")
    line, other_end = context.Pipe()
    process = context.Process(target=plain_process, args=(name, images, output, other_end), daemon=True)
    process.start()
    extractor = FeatureExtractor(load_network(name, weights(name)), ExtractParameters(), torch.device("cpu"))

    def beside() -> None:
        line.send(True)
        line.recv()

    own, plain_seconds = paired(lambda: ours(extractor, images), beside)
    line.send(False)
    process.join()
    rates = f"{COUNT / own:.1f} images/s, plain loop {COUNT / plain_seconds:.1f}, ratio {plain_seconds / own:.2f}"
    print(f"{name}: {rates}; {arithmetic(name, images) * COUNT / own / most:.2f} of the processor", flush=True)


def main() -> None:
    prepare_processor()
    with tempfile.TemporaryDirectory() as place:
        images, output = Path(place) / "images", Path(place) / "maps"
        store(images, COUNT, SIDE)
        output.mkdir()
        most = products()
        print(f"products of matrices: {most:.0f} GFLOP/s", flush=True)
        for name in NETWORKS:
            compare(name, images, output, most)


if __name__ == "__main__":
    main()
