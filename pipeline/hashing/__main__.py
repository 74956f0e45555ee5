"""Stage hash: descriptors to packed binary codes by a function learned on the held-out set, to data/codes/BENCHMARK; nothing for method none."""

import argparse
import logging
from typing import Any

from pipeline.contracts import codes, descriptors
from pipeline.contracts.benchmarks import load_benchmark
from pipeline.contracts.codes import CodeFacts
from pipeline.contracts.descriptors import DescriptorFacts, DistractorFacts
from pipeline.contracts.held_out import LearnedOn, refuse_leakage, refuse_leakage_to_distractors
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.hashing.params import load_hash
from pipeline.stage import places
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ParameterError
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import PARAMS_FILE
from pipeline.stage.run_record import Produced

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `benchmarks` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    sets = load_benchmark(benchmark, "dataset", "allow_self_learning")
    method, parameters = load_hash()
    own, mixed_in = places.descriptors(benchmark), places.distractors(benchmark)
    manifests = load_manifest(own, descriptors.KIND), load_manifest(mixed_in, descriptors.DISTRACTORS)
    described, distractors = DescriptorFacts.of(manifests[0]), DistractorFacts.of(manifests[1])
    settings: dict[str, Any] = parameters.model_dump() if parameters else {}
    code = code_fingerprint("stage", "contracts", "projections", "hashing")
    store = ScratchStore(f"hash-{benchmark}", fingerprint(method, settings, code, *(manifest.fingerprint for manifest in manifests)))
    names: list[str] = []
    learned_on: LearnedOn | None = None
    count = described.database + described.queries + described.kept_back + distractors.distractors if parameters else 0
    if parameters and described.patches.database:
        raise ParameterError(f"{PARAMS_FILE}: hash.method: codes are of whole images, and the descriptors are of patches; set it to none")
    if parameters:
        held_out, allowed = described.held_out_set, sets.allow_self_learning
        refuse_leakage(benchmark, sets.dataset, held_out.dataset, held_out.role, allowed)
        refuse_leakage_to_distractors(benchmark, distractors.dataset, distractors.role, held_out, allowed)
        learned_on = LearnedOn(**held_out.model_dump(), fingerprint=manifests[0].fingerprint)
        from pipeline.hashing.encoding import encode_descriptors  # with torch, which `none` does not need

        names = encode_descriptors(method, parameters, [(own, manifests[0]), (mixed_in, manifests[1])], described, count, store, learned_on)
    output = places.codes(benchmark)
    store.publish(output, names, codes.KIND, CodeFacts(method=method, parameters=settings, learned_on=learned_on))
    log.info("%s: %s.", output, f"{count} codes of {parameters.bits} bits by {method}" if parameters else "no codes, hash.method is none")
    return Produced((output,), count, "codes")


if __name__ == "__main__":
    run_stage(main)
