"""Embedding and aggregation of 768 local features of 512 channels: images per second and peak memory at three lengths of the descriptor,
against plain NumPy loops in float64; what the MAX mask saves; the democratic weights alone."""

import time
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.memory import peak_since, reset_peak
from bench.timing import paired, seconds

if TYPE_CHECKING:
    import torch

    from pipeline.aggregation.describers.selective_features import SelectiveFeatures

CHANNELS, HEIGHT, WIDTH, KEPT = 512, 24, 32, 230
LENGTHS = {  # embedding: {D: (local dimensions, codebook, dropped)}, near D where the published sizes do not give it exactly
    "fisher": {512: (32, 8, 0), 1024: (32, 16, 0), 4096: (64, 32, 0)},
    "vlad": {512: (32, 16, 0), 1024: (64, 16, 0), 4096: (64, 64, 0)},
    "triangulation": {512: (32, 20, 128), 1024: (64, 18, 128), 4096: (64, 66, 128)},
    "function_approximation": {512: (16, 6, 272), 1024: (16, 10, 272), 4096: (32, 10, 1056)},
}
HOW = ("sum", "max", "democratic", "generalized_max")
BATCH, ROUNDS = 4, 3
Times = dict[str, float]


def describer(embedding: str, length: int, how: str, mask: str = "none") -> "SelectiveFeatures":
    """A describer whose learned arrays are random: their values change no time."""
    import torch

    from pipeline.aggregation.describers.selective_features import SelectiveFeatures
    from pipeline.aggregation.embeddings import WhitenedEmbedding
    from pipeline.aggregation.params import SelectiveParameters
    from pipeline.aggregation.post_processing import PostProcessing
    from pipeline.projections.codebooks import GaussianMixture
    from pipeline.projections.floored_whitening import FlooredWhitening
    from pipeline.projections.whitening import PCA, Rotation

    local, codebook, dropped = LENGTHS[embedding][length]
    values = {"mask": mask, "embedding": embedding, "local_dimensions": local, "codebook": codebook, "truncate": dropped, "aggregation": how}
    made = SelectiveFeatures("selective", SelectiveParameters.model_validate(values))
    generator = torch.Generator().manual_seed(0)
    size = made.parameters.embedded_dimensions
    centroids, weights = torch.randn(codebook, local, generator=generator), torch.full((codebook,), 1 / codebook)
    learned: Any = made._new_embedding()
    learned.codebook_ = GaussianMixture(weights, centroids, torch.ones(codebook, local)) if embedding == "fisher" else centroids
    if isinstance(learned, WhitenedEmbedding):
        learned.whitening_ = FlooredWhitening(1)
        learned.whitening_.whitening_mean_ = torch.zeros(size)
        learned.whitening_.whitening_ = torch.randn(size, size, generator=generator) / size**0.5
    final = PostProcessing(dropped)
    final.rotation_ = axes(Rotation(size), size, size, generator)
    made.models = {"local": axes(PCA(local), local, CHANNELS, generator), "embedding": learned, "final": final}
    return made


def axes(model: Any, kept: int, length: int, generator: "torch.Generator") -> Any:
    """A model of principal components with random ones."""
    import torch

    model.mean_, model.components_ = torch.zeros(length), torch.randn(kept, length, generator=generator)
    return model


def maps(count: int = BATCH) -> "torch.Tensor":
    """Feature maps (count, 512, 1, 768): all locations in one row."""
    import torch

    return torch.relu(torch.randn(count, CHANNELS, 1, HEIGHT * WIDTH, generator=torch.Generator().manual_seed(1)))


def fast(embedding: str, length: int, how: str, answer: Any) -> None:
    """Put (seconds per image, peak MiB above the learned arrays) into a queue."""
    import torch

    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    made, batch = describer(embedding, length, how), maps()

    def work() -> object:
        return made.finish(made.describe_scale(batch))

    before = reset_peak()
    work()
    taken = sorted(seconds(work) for _ in range(ROUNDS))[ROUNDS // 2] / BATCH
    answer.put((taken, peak_since(before)))


def plain(embedding: str, length: int) -> Times:
    """Seconds of one image by the loops of tests/aggregation/reference.py, by aggregation."""
    from tests.aggregation import reference

    made = describer(embedding, length, "sum")
    arrays = {name: value.double().numpy() for name, value in made.models["embedding"].state()[0].items()}
    local = made.models["local"].components_.double().numpy()
    final = made.models["final"].rotation_.components_.double().numpy()
    features = maps(1)[0, :, 0].double().numpy().T
    start = time.perf_counter()
    reduced = [reference.unit(local @ feature) for feature in features]
    if embedding == "fisher":
        book = (arrays["weights"], arrays["means"], arrays["variances"])
        embedded = np.array([reference.fisher(feature, *book) for feature in reduced])
    else:
        embed = {"vlad": reference.vlad, "triangulation": reference.triangulation, "function_approximation": reference.function_approximation}
        embedded = np.array([embed[embedding](feature, arrays["centroids"]) for feature in reduced])
        if embedding != "vlad":
            embedded = np.array([arrays["whitening"] @ (row - arrays["whitening_mean"]) for row in embedded])
    spent = time.perf_counter() - start
    times = {}
    for how in HOW:
        start = time.perf_counter()
        reference.unit(final @ reference.unit(reference.aggregate(embedded, how)))
        times[how] = spent + time.perf_counter() - start
    return times


def compare(embedding: str, length: int) -> None:
    """Print one line per aggregation."""
    context = get_context("spawn")
    slow = plain(embedding, length)
    for how in HOW:
        answer = context.SimpleQueue()
        process = context.Process(target=fast, args=(embedding, length, how, answer))
        process.start()
        taken, peak = answer.get()
        process.join()
        label = f"{embedding} {LENGTHS[embedding][length][:2]}, {how}, D = {length}"
        print(f"{label}: {1 / taken:.1f} images/s, {peak:.0f} MiB, {slow[how] / taken:.0f} times the speed of the loops", flush=True)


def smooth_maps(count: int = 1) -> "torch.Tensor":
    """Maps (count, 512, 24, 32) whose channels have blobs, so that the MAX mask keeps 30 % of the locations, as it does of photographs."""
    import torch

    generator = torch.Generator().manual_seed(0)
    wide = torch.nn.functional.interpolate(torch.randn(count, CHANNELS, 4, 5, generator=generator), (HEIGHT, WIDTH), mode="bicubic")
    return torch.relu(wide + 0.2 * torch.randn(wide.shape, generator=generator))


def mask_saves(length: int) -> None:
    """Mask, embedding and democratic aggregation with the MAX mask against all features."""
    every, masked = (describer("triangulation", length, "democratic", mask) for mask in ("none", "max"))
    batch = smooth_maps(BATCH)
    kept = float(masked.select(batch).float().mean())
    whole, selected = paired(lambda: every.describe_scale(batch), lambda: masked.describe_scale(batch))
    print(f"MAX mask ({100 * kept:.0f} % kept), triangulation, democratic, D = {length}: {whole / selected:.1f} times the speed of no mask")


def weights_alone() -> None:
    """Democratic aggregation of 230 features of 512 dimensions on one core."""
    import torch

    from pipeline.aggregation.democratic import aggregate

    torch.set_num_threads(1)
    features = torch.randn(KEPT, 512, generator=torch.Generator().manual_seed(2))
    aggregate(features, "democratic")
    taken = sorted(seconds(lambda: aggregate(features, "democratic")) for _ in range(51))[25]
    print(f"democratic, {KEPT} features of D = 512, one core: {1000 * taken:.2f} ms an image")


def main() -> None:
    import torch

    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    for embedding, lengths in LENGTHS.items():
        for length in lengths:
            compare(embedding, length)
    for length in (512, 1024, 4096):
        mask_saves(length)
    weights_alone()


if __name__ == "__main__":
    main()
