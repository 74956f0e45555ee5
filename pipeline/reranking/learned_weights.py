"""The files of weights of learned local features: where they lie, verified, and copied into a collection."""

import shutil
from pathlib import Path

from pipeline.contracts.running.settings import settings
from pipeline.reranking.params import ShortlistParameters, WeightsFile
from pipeline.stage.checksums import verify_checksum
from pipeline.stage.errors import SourceError


def weights_file(name: str, own: WeightsFile, folder: Path | None) -> Path:
    """The file of a parameter, verified.

    Args:
        folder: that holds copies; None: where the parameter says.

    Raises:
        SourceError: it is missing, or another one.
    """
    path = settings().data / own.location if folder is None else folder / _copy(name, own)
    if not path.is_file():
        raise SourceError(f"search.rerank.spatial_verification.{name}: {path} is not a file; set `location`, or RETRIEVAL_DATA, which it starts from")
    verify_checksum(path, f"sha256:{own.sha256}", f"search.rerank.spatial_verification.{name}: {path.name}")
    return path


def _copy(name: str, own: WeightsFile) -> str:
    """What the copy of a file of weights is called in a collection."""
    return name + Path(own.location).suffix


def copy_weights(parameters: ShortlistParameters, folder: Path) -> None:
    """Put verified copies of the weights' files into a folder; none where there are none."""
    for name, own in parameters.weights.items():
        folder.mkdir(exist_ok=True)
        shutil.copyfile(weights_file(name, own, None), folder / _copy(name, own))
