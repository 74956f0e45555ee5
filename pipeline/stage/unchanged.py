"""What a stage read must still be there when it ends: its parameters and its code.

DVC records both as they are after the run. Without this check a file that is edited meanwhile would make it record a result under
parameters or code that the result was not computed with.
"""

import sys
from pathlib import Path

from pipeline.stage.errors import ParameterError, PipelineError
from pipeline.stage.fingerprint import CODE_ROOT, file_sha256
from pipeline.stage.parameters import PARAMS_FILE, read_section, sections_read

Code = dict[Path, str]
"""Digests of source files and templates."""


def code_now() -> Code:
    """Digests of every file of pipeline/ that can decide a result."""
    return {path: file_sha256(path) for pattern in ("*.py", "*.j2") for path in CODE_ROOT.rglob(pattern)}


def refuse_changes(before: Code) -> None:
    """Compare what this process read with what stands there now.

    Args:
        before: `code_now` of the process's start.

    Raises:
        ParameterError: a section that was read has another value now.
        PipelineError: the code of a room that was imported changed.
    """
    for section, value in list(sections_read().items()):
        if read_section(section) != value:
            raise ParameterError(f"{PARAMS_FILE}: {section or 'the file'} changed while the stage ran, and its result is of the old value; run again")
    after = code_now()
    rooms = {name.split(".")[1] for name in sys.modules if name.startswith("pipeline.")}
    for path in sorted(before.keys() | after.keys()):
        room = path.relative_to(CODE_ROOT).parts[0].removesuffix(".py")
        if room in rooms and before.get(path) != after.get(path):
            raise PipelineError(f"pipeline/{path.relative_to(CODE_ROOT).as_posix()} changed while the stage ran; run again")
