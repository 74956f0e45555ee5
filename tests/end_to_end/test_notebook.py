"""The notebook of docs/ runs from its first cell to its last, on the small museum."""

import json
import subprocess
import sys

import pytest

from tests.conftest import PROJECT
from tests.end_to_end.project import Project

pytestmark = pytest.mark.slow
SHOWN = """
assert alike.shape == (5, 5) and abs(alike.diagonal() - 1).max() < 1e-3
assert len(reply.results) == 5 and "data:image/jpeg" in reply._repr_html_()
assert len(reply.to_pandas()) == 5
"""


def test_every_cell_runs_in_order(museum: Project) -> None:
    notebook = json.loads((PROJECT / "docs/ask.ipynb").read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "results of somebody's machine"
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    environment = museum.environment | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*cells, SHOWN])], cwd=museum.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "of 5 named rightly" in done.stdout
