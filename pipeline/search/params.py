"""The section `search` of params.yaml."""

from pydantic import Field

from pipeline.contracts.parameters import Section


class SearchParameters(Section):
    top_k: int = Field(100, ge=1, le=100000, description="results kept per query; mAP is exact whatever it is")
