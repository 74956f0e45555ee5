"""When the report was made, and from which commit: reports/made.js, which is no output, so that equal results keep equal bytes.

The page shows it only where it names the page's own contents: a report that DVC took out of its cache was made by another run.
"""

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from pipeline.stage.tables import replacing

UNMARKED = 'data-contents=""'
"""What the page's first tag holds until its contents are known."""
DECISIVE = ("params.yaml", "dvc.yaml", "pipeline")
"""What decides results and is in Git; results themselves differ from the last commit while a rebuild runs."""


def marked(page: str) -> tuple[str, str]:
    """The page with the digest of its contents in its first tag, and the digest."""
    digest = hashlib.sha256(page.encode()).hexdigest()[:32]
    return page.replace(UNMARKED, f'data-contents="{digest}"', 1), digest


def write_made(path: Path, contents: str) -> None:
    """Write the script that tells the page about this run.

    Args:
        contents: the digest of the page.
    """
    told = {"contents": contents, "at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": _git("rev-parse", "--short", "HEAD")}
    changed = bool(told["commit"] and _git("status", "--porcelain", "--untracked-files=no", "--", *DECISIVE))
    with replacing(path) as partial:
        partial.write_text(f"window.made = {json.dumps(told | {'changed': changed})};\n", encoding="utf-8")


def _git(*arguments: str) -> str:
    """What Git prints; nothing where there is no Git, no repository, no commit, or the folder is another user's."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
