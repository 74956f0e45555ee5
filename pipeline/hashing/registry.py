"""The hash function of each method that `hash.method` of params.yaml names."""

from pipeline.hashing.binary_autoencoder import RelaxedBinaryAutoencoder
from pipeline.hashing.hasher import Hasher
from pipeline.hashing.itq import ITQ
from pipeline.hashing.kmeans_hashing import KMeansHashing
from pipeline.hashing.params import HashParameters
from pipeline.hashing.thresholding import Thresholding

HASHERS: dict[str, type[Hasher]] = {
    "itq": ITQ,
    "kmeans_hashing": KMeansHashing,
    "binary_autoencoder": RelaxedBinaryAutoencoder,
    "thresholding": Thresholding,
}


def new_hasher(method: str, parameters: HashParameters) -> Hasher:
    """A hash function of a method of params.yaml that has not learned yet."""
    return HASHERS[method](**parameters.model_dump(exclude={"learning_images"}))
