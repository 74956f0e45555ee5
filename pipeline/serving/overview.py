"""The description of the service's addresses as a page, made from its OpenAPI document."""

from pathlib import Path
from typing import Any

from pipeline.look.templates import templates


def overview(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document; it needs no script and no other address."""
    rows = [
        {"method": method.upper(), "path": path, "description": operation["description"], "fields": _fields(operation)}
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return templates(Path(__file__).parent).get_template("overview.html.j2").render(title=document["info"]["title"], rows=rows)


def _fields(operation: dict[str, Any]) -> list[dict[str, str]]:
    """Parameters and fields of the form."""
    own = [{"name": each["name"], "description": each.get("description", each["in"])} for each in operation.get("parameters", [])]
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema", {}).get("properties", {})
    return own + [{"name": name, "description": each["description"]} for name, each in form.items()]
