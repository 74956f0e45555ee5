"""How the values of descriptors are stored: float32, or rounded to half of the bytes."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Storage = Literal["float32", "float16", "bfloat16"]
"""Of a value: 24 bits of precision, 11, or 8 with the range of float32."""
STORED: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "bfloat16": np.dtype("<u2")}
"""bfloat16, which NumPy does not have, as the upper half of a float32's bits."""
Floats = npt.NDArray[np.float32]


def rounded(vectors: Floats, storage: Storage) -> Floats:
    """The vectors as they are read again once they are stored."""
    return decoded(encoded(vectors, storage), storage)


def encoded(vectors: Floats, storage: Storage) -> npt.NDArray[Any]:
    """Values as they are stored, rounded to the nearest one, halves to the even one."""
    if storage != "bfloat16":
        return vectors.astype(STORED[storage], copy=False)
    bits = np.ascontiguousarray(vectors, "<f4").view("<u4")
    even = (bits >> np.uint32(16)) & np.uint32(1)
    upper: npt.NDArray[np.uint16] = ((bits + np.uint32(0x7FFF) + even) >> np.uint32(16)).astype("<u2")
    return upper


def decoded(values: npt.NDArray[Any], storage: Storage) -> Floats:
    """Values that were stored, as float32."""
    if storage != "bfloat16":
        return values.astype(np.float32, copy=False)
    vectors: Floats = (values.astype("<u4") << np.uint32(16)).view("<f4")
    return vectors
