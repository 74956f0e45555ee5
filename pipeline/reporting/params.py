"""The section `report` of params.yaml."""

from pydantic import Field

from pipeline.stage.parameters import Section


class ReportParameters(Section):
    """What the page shows of each benchmark."""

    best: int = Field(6, ge=0, le=1000, description="best queries shown")
    worst: int = Field(6, ge=0, le=1000, description="worst queries shown, and queries with relevant images ranked last or irrelevant first")
    results: int = Field(8, ge=1, le=100, description="first results shown of each")
    thumbnail: int = Field(120, ge=16, le=1024, description="pixels of a thumbnail's longer side")
    picture: int = Field(480, ge=16, le=4096, description="pixels of the longer side of a picture that is enlarged on the page")
    pictured: int = Field(5000, ge=0, description="queries whose results can be enlarged, the worst first; the others are shown in words")
