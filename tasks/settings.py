"""Where and how flows run on this machine: RETRIEVAL_* variables or `.env`, in addition to the library's settings."""

import os
from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.contracts.running.settings import read_settings, settings


class FlowSettings(BaseSettings):
    """Settings of the flows; every one has a default that works."""

    model_config = SettingsConfigDict(env_prefix="RETRIEVAL_", env_file=".env", extra="ignore", frozen=True)

    parallel: int = Field(default=0, ge=0, le=256, description="stages that run side by side; 0: one per core, at most 4")
    stage_retries: int = Field(default=2, ge=0, le=20, description="how often a stage is tried again whose source does not answer")
    stage_retry_delay: float = Field(default=30.0, ge=0, description="seconds before the first of these retries; doubles each time")
    notify_url: SecretStr = Field(default=SecretStr(""), description="address that is told of failed runs of deployments; empty: none")
    notify_block: str = Field(default="", pattern=r"^$|^[\w-]+/[\w-]+$", description="a notification block of the Prefect server instead, TYPE/NAME")
    published: Path | None = Field(default=None, description="folder that nightly runs publish accepted collections to; empty: none")
    report_address: str = Field(default="", description="where reports/ is served, for the link in Prefect; empty: the file's own address")

    @field_validator("published", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def stages_at_once(self) -> int:
        return self.parallel or max(1, min(4, os.cpu_count() or 1))

    def report_link(self, root: Path) -> str:
        """The address of the report."""
        if self.report_address:
            return f"{self.report_address.rstrip('/')}/index.html"
        return (root / "reports" / "index.html").resolve().as_uri()


@cache
def flow_settings() -> FlowSettings:
    """The settings of this process.

    Raises:
        ParameterError: a variable has a value that is not allowed.
    """
    return read_settings(FlowSettings)


def setting_lines() -> list[str]:
    """Every setting of this place, with its meaning, as `.env` would have it."""
    own = (settings(), flow_settings())
    return [
        f"RETRIEVAL_{name.upper()}={'' if getattr(values, name) is None else getattr(values, name)}    # {field.description}"
        for values in own
        for name, field in type(values).model_fields.items()
    ]
