"""A small project of real DVC stages that run at once: two branches that meet, and one stage by itself."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests import warm_python

STAGE = """
import json, sys, time
from pathlib import Path
name, *inputs = sys.argv[1:]
text = dict(line.split(": ", 1) for line in open("params.yaml"))[name].strip()
try:
    value = json.loads(text)
except ValueError:  # a text that DVC wrote without quotes
    value = text
Path("runs.log").open("a").write(name + "\\n")
if value == "fail":
    sys.exit("error: " + name + " cannot be made")
if value == "unreachable" and not Path("online").exists():
    print("error: nobody answers", file=sys.stderr)
    sys.exit(75)
if isinstance(value, str) and value.startswith("meet "):
    Path(name + ".here").touch()
    while not Path(value.removeprefix("meet ") + ".here").exists():
        time.sleep(0.02)
if isinstance(value, float):
    Path(name + ".pid").write_text(str(__import__("os").getpid()))
    time.sleep(value)
Path("data").mkdir(exist_ok=True)
Path("data", name).write_text("-".join(Path("data", each).read_text() for each in inputs) + str(value))
"""
CHECK = """
import sys
names = {names}
for file in sys.argv[2:] or ["params.yaml"]:
    unknown = {{line.split(":")[0] for line in open(file)}} - names
    if unknown:
        sys.exit(f"error: {{file}}: {{unknown}}: unknown")
"""
NEEDS: dict[str, list[str]] = {"left": [], "right": [], "join": ["left", "right"], "tail": ["join"], "alone": []}
ORDER = tuple(NEEDS)


class ScriptProject:
    """The project in a folder; `set` changes a stage's parameter.

    A stage whose parameter is "fail" fails for good and one whose parameter is "unreachable" fails until the file `online` is there; "meet NAME"
    waits until the stage NAME runs too; a float lets it take so many seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stage.py").write_text(STAGE, encoding="utf-8")
        (folder / "cli.py").write_text(CHECK.format(names=set(NEEDS)), encoding="utf-8")
        (folder / ".gitignore").write_text("/data/\n/runs.log\n*.pid\n*.here\n__pycache__/\n", encoding="utf-8")
        stages = {
            name: {
                "cmd": f"{sys.executable} -I -S stage.py {' '.join([name, *needs])}",
                "deps": ["stage.py", *(f"data/{need}" for need in needs)],
                "params": [name],
                "outs": [f"data/{name}"],
            }
            for name, needs in NEEDS.items()
        }
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False), encoding="utf-8")
        self.values: dict[str, object] = dict.fromkeys(NEEDS, 1)
        self._write()
        subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)
        (folder / ".dvc").mkdir()
        (folder / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n", encoding="utf-8")

    def set(self, **values: object) -> None:
        self.values |= values
        self._write()

    def _write(self) -> None:
        """One line for each value, as JSON, which is YAML too: a stage reads it without a library."""
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in self.values.items()]
        (self.folder / "params.yaml").write_text("".join(lines), encoding="utf-8")

    def dvc(self, *arguments: str) -> str:
        """Run DVC to a good end."""
        done = subprocess.run([warm_python.for_dvc(), "-m", "dvc", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def runs(self) -> list[str]:
        """The stages that ran since the last call, sorted."""
        log = self.folder / "runs.log"
        names = sorted(log.read_text(encoding="utf-8").split()) if log.exists() else []
        log.unlink(missing_ok=True)
        return names


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody; returns what it printed."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
