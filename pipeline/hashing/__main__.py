"""Stage hash: descriptors to packed binary codes by a function learned on the held-out set, to data/codes/BENCHMARK; nothing for method none."""

import argparse
import logging
from pathlib import Path
from typing import Any

from pipeline.contracts import codes, descriptors
from pipeline.contracts.entry import run_stage
from pipeline.contracts.errors import ParameterError
from pipeline.contracts.fingerprint import fingerprint
from pipeline.contracts.held_out import refuse_leakage, refuse_leakage_to_distractors
from pipeline.contracts.manifest import Manifest, load_manifest
from pipeline.contracts.parameters import PARAMS_FILE
from pipeline.contracts.run_record import Produced
from pipeline.contracts.scratch import ScratchStore
from pipeline.hashing.params import HashParameters, load_hash

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark")
    parser.add_argument("--dataset", required=True, help="what is encoded")
    parser.add_argument("--allow-self-learning", choices=("true", "false"), default="false")
    options = parser.parse_args(arguments)
    method, parameters = load_hash()
    own, distractors = Path("data/descriptors") / options.benchmark, Path("data/distractors") / options.benchmark
    manifests = load_manifest(own, descriptors.KIND), load_manifest(distractors, descriptors.KIND)
    settings: dict[str, Any] = parameters.model_dump() if parameters else {}
    store = ScratchStore(f"hash-{options.benchmark}", fingerprint(method, settings, *(manifest.fingerprint for manifest in manifests)))
    names: list[str] = []
    facts: dict[str, Any] = {"method": method, "parameters": settings, "learned_on": None}
    count = 0
    if parameters and manifests[0].facts["patches"]["database"]:
        raise ParameterError(f"{PARAMS_FILE}: hash.method: codes are of whole images, and the descriptors are of patches; set it to none")
    if parameters:
        held_out = manifests[0].facts["held_out_set"]
        allowed = options.allow_self_learning == "true"
        refuse_leakage(options.benchmark, options.dataset, held_out["dataset"], held_out["role"], allowed)
        mixed_in = manifests[1].facts
        refuse_leakage_to_distractors(options.benchmark, mixed_in["dataset"], mixed_in["role"], held_out, allowed)
        facts["learned_on"] = held_out | {"fingerprint": manifests[0].fingerprint}
        names, count = _encode(method, parameters, [(own, manifests[0]), (distractors, manifests[1])], store, facts["learned_on"])
    output = Path("data/codes") / options.benchmark
    store.publish(output, names, codes.KIND, **facts)
    log.info("%s: %s.", output, f"{count} codes of {parameters.bits} bits by {method}" if parameters else "no codes, hash.method is none")
    return Produced((output,), count, "codes")


def _encode(
    method: str, parameters: HashParameters, folders: list[tuple[Path, Manifest]], store: ScratchStore, learned_on: dict[str, Any]
) -> tuple[list[str], int]:
    """Write the codes and their model; returns the files' names and the number of codes. Torch is imported here: `none` does not need it."""
    from pipeline.hashing.encoding import encode_descriptors

    return encode_descriptors(method, parameters, folders, store, learned_on)


if __name__ == "__main__":
    run_stage(main)
