"""Images per second of the extraction against plain torch, one image at a time in float32, on the same images and networks.

Both decode the same stored images, run the same network on all cores, and write float16 maps to disk.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.pictures import store
from bench.timing import paired
from pipeline.contracts.device import prepare_processor
from pipeline.contracts.image_shards import KIND, read_images
from pipeline.contracts.manifest import load_manifest
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.settings import settings
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.params import ExtractParameters
from pipeline.extraction.planning import plan_batches, plan_shards
from pipeline.extraction.shards import write_shards
from pipeline.imaging.images import decode
from pipeline.networks.registry import ARCHITECTURES, load_network, own_keys
from pipeline.networks.weights import read_weights

COUNT, SIDE = 64, 640


def weights(name: str) -> dict[str, torch.Tensor]:
    """Real weights where a package ships them, else random ones of ordinary size."""
    package = ARCHITECTURES[name].package
    if package is not None:
        return own_keys(name, read_weights(package()))
    torch.manual_seed(0)
    module = ARCHITECTURES[name].build()
    return dict(module.state_dict())


def plain(module: nn.Module, images: Path, output: Path) -> None:
    """What one writes first: a loop over the images."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        for path in load_manifest(images, KIND).paths(images):
            for stored in read_images(path):
                pixels = torch.from_numpy(decode(stored.bytes).copy()).permute(2, 0, 1).float() / 255
                np.save(output / stored.image_id, module(((pixels - mean) / std)[None])[0].half().numpy())


def ours(extractor: FeatureExtractor, images: Path, ids: list[str]) -> None:
    """The extract stage's work."""
    values = extractor.network.channels / extractor.network.stride**2
    plan = plan_shards(plan_batches(images, dict.fromkeys(ids, "database")), values, 32 * 2**20)
    scratch = ScratchStore("bench-extraction", "maps")
    write_shards(plan, [extractor], scratch, settings().threads)
    shutil.rmtree(scratch.home)


def compare(name: str, images: Path, ids: list[str], output: Path) -> None:
    """Print images per second of both, networks loaded beforehand."""
    tensors = weights(name)
    module = ARCHITECTURES[name].build()
    module.load_state_dict(tensors, strict=False)
    module.eval()
    extractor = FeatureExtractor(load_network(name, tensors), ExtractParameters(), torch.device("cpu"))
    own, beside = paired(lambda: ours(extractor, images, ids), lambda: plain(module, images, output))
    print(f"{name}: {COUNT / own:.1f} images/s, plain loop {COUNT / beside:.1f}, ratio {beside / own:.2f}", flush=True)


def main() -> None:
    """Both run with the allocator as the stage sets it, which helps the plain loop as well; --plain-allocator leaves it as it is for both."""
    torch.set_num_threads(settings().threads)
    if "--plain-allocator" not in sys.argv:
        prepare_processor()
    with tempfile.TemporaryDirectory() as place:
        images, output = Path(place) / "images", Path(place) / "maps"
        ids = store(images, COUNT, SIDE)
        output.mkdir()
        for name in ("efficientnet_lite0", "squeezenet1_1"):
            compare(name, images, ids, output)


if __name__ == "__main__":
    main()
