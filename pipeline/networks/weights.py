"""Fetching a network's weights: from a package, torchvision's address, a local file or any address; verified."""

from pathlib import Path

from pipeline.contracts.running.settings import settings
from pipeline.downloads.downloading import download
from pipeline.downloads.remote_file import RemoteFile
from pipeline.networks.params import NetworkSource
from pipeline.networks.registry import ARCHITECTURES
from pipeline.stage.checksums import verify_checksum
from pipeline.stage.errors import SourceError

DOWNLOADED = ("torchvision", "timm", "url")
"""Values of `weights` that are downloaded."""


def fetch_weights(name: str, source: NetworkSource, folder: Path) -> Path:
    """The weights file of a section networks.NAME; downloads go to `folder`.

    Raises:
        SourceError: not to be had, or its digest is not the one expected.
    """
    if source.weights in DOWNLOADED:
        url = address_of(name, source)
        digest = source.sha256 or Path(url).stem.rpartition("-")[2]
        path = folder / Path(url).name
        download(RemoteFile(url, path.name, checksum=f"sha256:{digest}"), path)
        return path
    path = _package_file(name, source) if source.weights == "package" else settings().data / (source.location or "")
    if not path.is_file():
        raise SourceError(f"networks.{name}: {path} is not a file; set `location`, or RETRIEVAL_DATA, the folder it starts from")
    if source.sha256:
        verify_checksum(path, f"sha256:{source.sha256}", f"networks.{name}: {path.name}")
    return path


def address_of(name: str, source: NetworkSource) -> str:
    """Where the weights of a section networks.NAME are downloaded.

    Raises:
        SourceError: torchvision has none.
    """
    if source.weights == "timm":
        from pipeline.networks.timm_layers import address

        return address(name, source.architecture)
    url = ARCHITECTURES[source.architecture].url if source.weights == "torchvision" else source.location
    if url is None:
        raise SourceError(f"networks.{name}: torchvision has no weights of {source.architecture}; use weights: package or file")
    return url


def _package_file(name: str, source: NetworkSource) -> Path:
    package = ARCHITECTURES[source.architecture].package
    if package is None:
        raise SourceError(f"networks.{name}: no package ships weights of {source.architecture}; use weights: torchvision, file or url")
    return package()
