"""What a collection's questions are compared with: values or codes as they are, or patches that are held as codes of a product quantiser."""

from pathlib import Path
from typing import Any

import numpy.typing as npt

from pipeline.contracts.collections import MODEL, ROWS, Version, map_rows
from pipeline.contracts.features.product_codes import CODEBOOKS, CodedRows, ProductCodes
from pipeline.contracts.models import TENSORS, load_tensors


def open_rows(folder: Path, codes: ProductCodes | None) -> npt.NDArray[Any] | CodedRows:
    """What a version's questions are compared with: (N, D) or (N, P, D) float32, read or decoded when it is looked at, or codes (N, B) uint8.

    Args:
        codes: of `product_codes`.

    Raises:
        ShardError: as `map_rows`.
    """
    rows = map_rows(folder / ROWS)
    return CodedRows(rows, codes) if codes else rows


def product_codes(version: Version) -> ProductCodes | None:
    """What its patches are held as; None where it holds values, or codes of whole images."""
    held = version.facts.described.code_bytes is not None and not version.facts.hashed
    return learned_codes(version.folder / MODEL) if held else None


def learned_codes(model: Path) -> ProductCodes:
    """Those of the product quantiser that a model's folder holds."""
    return ProductCodes(load_tensors(model / TENSORS)[CODEBOOKS].numpy())
