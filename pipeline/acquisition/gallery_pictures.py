"""The pictures of the gallery: photographs that installed packages ship, and the quarters of each."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.stage.errors import SourceError

Picture = npt.NDArray[np.uint8]

BENCHMARK_PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/brick.png"),
    ("skimage", "data/camera.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/page.png"),
    ("skimage", "data/retina.jpg"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)
HELD_OUT_PHOTOGRAPHS = (
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ("matplotlib", "mpl-data/sample_data/Minduka_Present_Blue_Pack.png"),
    ("skimage", "data/cell.png"),
    ("skimage", "data/clock_motion.png"),
    ("skimage", "data/color.png"),
    ("skimage", "data/horse.png"),
    ("skimage", "data/moon.png"),
    ("skimage", "data/text.png"),
)
SHORTER_SIDE, QUARTERS = 256, 4


def pictures(photographs: tuple[tuple[str, str], ...]) -> dict[str, Picture]:
    """The quarters of every photograph by name ('astronaut_2'), RGB uint8, the shorter side 256 pixels.

    Raises:
        SourceError: a package or its photograph is missing.
    """
    quarters = {}
    for package, place in photographs:
        whole = _read(package, place)
        height, width = (side // 2 for side in whole.shape[:2])
        for index in range(QUARTERS):
            top, left = index // 2 * height, index % 2 * width
            quarters[f"{Path(place).stem.lower()}_{index + 1}"] = _scaled(whole[top : top + height, left : left + width])
    return quarters


def _read(package: str, place: str) -> Picture:
    spec = find_spec(package)
    path = Path(spec.submodule_search_locations[0]) / place if spec and spec.submodule_search_locations else Path(package) / place
    if not path.is_file():
        raise SourceError(f"gallery: {package}/{place} is missing; install the packages of requirements.lock with `make setup`")
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA").convert("RGB"))


def _scaled(image: Picture) -> Picture:
    factor = SHORTER_SIDE / min(image.shape[:2])
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
