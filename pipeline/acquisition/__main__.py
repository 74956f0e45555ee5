"""Stage download: fetch or make the files of one data set into data/raw/DATASET, next to SOURCE.json that says what they are."""

import argparse
import logging

from pipeline.acquisition.packing import KIND
from pipeline.acquisition.params import load_dataset
from pipeline.acquisition.source_scan import remembered_scan
from pipeline.contracts.running.disk import require_free_space
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.contracts.running.settings import settings
from pipeline.downloads.downloading import address, download
from pipeline.stage import places
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import SourceError
from pipeline.stage.fingerprint import fingerprint
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import read_json, write_json

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="a name under `datasets` of params.yaml")
    name = parser.parse_args(arguments).dataset
    dataset = load_dataset(name)
    files = dataset.files()
    store = ScratchStore(f"download-{name}", fingerprint(dataset.parameters.model_dump(), [file.url for file in files]))
    if (megabytes := dataset.download_megabytes) and not all(store.has(file.name) for file in files):
        here = sum(path.stat().st_size for path in store.folder.iterdir() if path.is_file())
        require_free_space(settings().scratch, max(megabytes * 10**6 - here, 0), f"Downloading {name}")
    for file in files:
        download(file, store.path(file.name))
    names = [file.name for file in files] + dataset.make(store.folder)
    published = {file.name: {"url": file.url, "asked": address(file.url), "checksum": file.checksum} for file in files}
    provenance = dataset.provenance()
    _refuse_other_content(name, provenance.get("digest"))
    source = {"source": dataset.parameters.source, "title": dataset.title, "published": published, **provenance}
    write_json(store.path("SOURCE.json"), source)
    output = places.raw(name)
    manifest = store.publish(output, [*names, "SOURCE.json"], KIND)
    _refuse_other_content(name, provenance.get("digest"))  # once more, as checksums of large folders take minutes
    for line in dataset.summary():
        log.info("%s: %s.", name, line)
    log.info("%s: %d files, %d bytes.", output, len(manifest.parts), sum(part.bytes for part in manifest.parts))
    return Produced((output,), len(manifest.parts), "files")


def _refuse_other_content(name: str, taken: object) -> None:
    """The record of a folder and what was taken from it belong together: DVC would take them for each other's ever after."""
    record = places.source_record(name)
    recorded = read_json(record).get("digest") if record.exists() else None
    if taken and recorded and taken != recorded:
        remembered_scan(name).unlink(missing_ok=True)  # it may have been misled by times that say nothing, as of some network disks
        raise SourceError(f"{record}: the folder has changed since it was recorded; run `retrieval scan {name}`, then this stage again")


if __name__ == "__main__":
    run_stage(main)
