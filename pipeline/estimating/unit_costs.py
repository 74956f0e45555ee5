"""What single pieces of work cost on a machine: read from unit_costs.json, which `python -m bench.costs` measures and writes."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.stage.errors import ParameterError
from pipeline.stage.tables import read_json

FILE = Path(__file__).with_name("unit_costs.json")


class _Measured(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResizeCosts(_Measured):
    """Seconds of a core for a photograph, for each of its megapixels, and for each megapixel that is stored; bytes of a stored megapixel."""

    image: float
    read_megapixel: float
    png_megapixel: float
    jpeg_megapixel: float
    png_bytes: float
    jpeg_bytes: float


class ExtractCosts(_Measured):
    """Seconds of a core beside the network's arithmetic: for an image, and for a million stored values; bytes of a stored value over two."""

    image: float
    million_values: float
    compressed: float


class CollectionCosts(_Measured):
    """Seconds of a core for an image's thumbnail, and for a row of 512 dimensions in each kind of index, without its comparison with
    inverted lists; bytes of a thumbnail."""

    thumbnail: float
    thumbnail_bytes: float
    row: dict[str, float]


class GpuCosts(_Measured):
    """Of one GPU.

    Attributes:
        gigaflops: a second, by architecture and precision, from image shards to feature shards; `other` for those that were not measured.
        image: seconds of the thread that feeds the GPU and writes, for an image; there is one for each GPU.
        euros: an hour, with the cores around it.
    """

    title: str
    gigaflops: dict[str, dict[str, float]]
    image: float
    euros: float


class UnitCosts(_Measured):
    """Everything that was measured.

    Attributes:
        core: the processor that one core is of.
        gigaflops: a second and core, by architecture; `other` for architectures that were not measured.
        describe: seconds of a core for a million values of maps, by method.
        product: seconds of a core for a million products of the exact search.
        euros: an hour of a core.
        gpus: by name.
    """

    core: str
    resize: ResizeCosts
    gigaflops: dict[str, float]
    extract: ExtractCosts
    describe: dict[str, float]
    product: float
    collection: CollectionCosts
    euros: float
    gpus: dict[str, GpuCosts]

    def gpu(self, name: str) -> GpuCosts:
        """Of a GPU by its name.

        Raises:
            ParameterError: it was not measured.
        """
        if name not in self.gpus:
            raise ParameterError(f"--gpu: {name!r} was not measured; there are: {', '.join(self.gpus)}")
        return self.gpus[name]


def unit_costs(file: Path = FILE) -> UnitCosts:
    """What was measured.

    Raises:
        ParameterError: a file of another form.
    """
    content: Any = read_json(file)
    try:
        return UnitCosts.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ParameterError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def cost_rows(costs: UnitCosts) -> list[tuple[str, str]]:
    """(piece of work, what it costs) for docs/scale.md: time is that of one core."""
    resize, extract, collection = costs.resize, costs.extract, costs.collection
    stored = f"png {resize.png_bytes / 1e6:.2g} MB, jpeg {resize.jpeg_bytes / 1e6:.2g} MB"
    rows = [
        ("a photograph to be resized", _milliseconds(resize.image)),
        ("a megapixel of it, read and resized", _milliseconds(resize.read_megapixel)),
        ("a megapixel that is stored", f"png {_milliseconds(resize.png_megapixel)}, jpeg {_milliseconds(resize.jpeg_megapixel)}; {stored}"),
        *((f"arithmetic of {name}", f"{rate:.3g} GFLOP/s") for name, rate in costs.gigaflops.items()),
        ("an image around the arithmetic", _milliseconds(extract.image)),
        ("a million values of maps, compressed and written", f"{_milliseconds(extract.million_values)}; {extract.compressed:.2f} of their bytes"),
        *((f"a million values of maps to a descriptor by {name}", _milliseconds(each)) for name, each in costs.describe.items()),
        ("a million products of the exact search", _milliseconds(costs.product)),
        ("a thumbnail", f"{_milliseconds(collection.thumbnail)}; {collection.thumbnail_bytes / 1e3:.2g} kB"),
        *((f"a row of 512 dimensions in a {name} index", _milliseconds(each)) for name, each in collection.row.items() if each),
    ]
    return rows


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
