"""Where and how fast things run: read from RETRIEVAL_* variables or `.env`, never from params.yaml, so that a change reruns nothing."""

import os
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.stage.errors import ParameterError

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class Settings(BaseSettings):
    """Settings of the place; every one has a default that works."""

    model_config = SettingsConfigDict(env_prefix="RETRIEVAL_", env_file=".env", extra="ignore", frozen=True)

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda|cuda:\d+)$", description="auto, cpu, cuda or cuda:N")
    executor: Literal["inline", "devices", "ray"] = Field(
        default="devices", description="who works on buckets: inline, devices (one thread per GPU) or ray (a cluster's workers)"
    )
    ray_address: str = Field(default="", description="of a Ray cluster, auto for the one of this machine; empty: one that starts with the stage")
    ray_storage: str = Field(
        default="",
        description="address of object storage that a cluster's machines share instead of this folder: s3://BUCKET/FOLDER, gs://… or file:///…",
    )
    ray_actors: int = Field(default=0, ge=0, le=10000, description="most actors of a Ray cluster; 0: as many as fit")
    workers: int = Field(default=0, ge=0, le=1024, description="threads for decoding and for the processor's arithmetic; 0: all cores")
    pixels_at_once: int = Field(default=256_000_000, ge=1, description="pixels of photographs decoded at once, by all threads; 4 bytes each")
    batch_size: int = Field(default=0, ge=0, le=4096, description="images per forward pass; 0: chosen by the device")
    data: Path = Field(default=Path("."), description="the folder that paths of `folder` data sets and of weights start from")
    mirror: str = Field(default="", description="address that replaces the scheme of every download: MIRROR/HOST/PATH")
    scratch: Path = Field(default=Path(".scratch"), description="where unfinished work is kept")
    store: Path = Field(default=Path(".store"), description="where computed values are kept for other runs; safe to delete")
    store_gib: float = Field(default=20.0, ge=0, description="GiB that the store may take; 0: no store")
    checkpoint_seconds: float = Field(default=60.0, ge=0, description="between two checkpoints within an epoch of training")
    token: SecretStr = Field(default=SecretStr(""), description="that requests to `retrieval serve` need; 16 characters or more")
    retries: int = Field(default=5, ge=0, le=100, description="how often a failed download is tried again")
    retry_delay: float = Field(default=1.0, ge=0, description="seconds before the first retry; doubles each time")

    @property
    def threads(self) -> int:
        """Threads to use."""
        return self.workers or cores()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def settings() -> Settings:
    """The settings of this process.

    Raises:
        ParameterError: a variable has a value that is not allowed.
    """
    return read_settings(Settings)


def read_settings(model: type[SettingsT]) -> SettingsT:
    """Settings of one kind, from the environment and `.env`.

    Raises:
        ParameterError: a variable has a value that is not allowed.
    """
    try:
        return model()
    except ValidationError as error:
        first = error.errors()[0]
        name = "RETRIEVAL_" + str(first["loc"][0]).upper()
        raise ParameterError(f"{name}: {first['msg']}, got {first['input']!r}") from None
