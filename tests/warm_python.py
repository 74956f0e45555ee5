"""A Python that has libraries loaded: a program of the tests starts as a fork of it, which costs no seconds of imports.

The program is the real one, in a process of its own with its own session, folder, environment and files; it dies when its starter does.
What imports cost, and that a stage finds its interpreter, is for tests without it.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

STARTER = """#!{python} -ISE
import array, json, os, socket, sys
assert sys.argv[1] == "-m", sys.argv
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({address!r})
    request = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode() + b"\\n"
    socket.send_fds(asking, [request], [0, 1, 2])
    answer = asking.recv(16)
os._exit(int(answer) if answer else 255)
"""
"""What is run as if it were Python: it hands module, folder, environment and files over, and waits for the exit status."""


DVC = (
    *("dvc.cli", "dvc.cli.parser", "dvc._debug", "dvc.repo.reproduce", "dvc.repo.stage", "dvc.repo.plots", "dvc.repo.artifacts", "dvc.repo.datasets"),
    *("dvc.repo.index", "dvc.repo.graph", "networkx", "dvc.stage.loader", "dvc.stage.cache", "dvc.dependency.param", "dvc.parsing.interpolate"),
    *("ruamel.yaml", "dvc.utils.strictyaml", "dvc.dvcfile", "dvc.dirs", "configobj", "platformdirs", "flatten_dict", "scmrepo.git.backend.dulwich"),
    *("dvc.cachemgr", "dvc.data_cloud", "dvc.lock", "zc.lockfile", "flufl.lock", "dvc_data.hashfile.db.local", "dvc_data.hashfile.status"),
    "fsspec.implementations.memory",
)
"""Much of DVC is imported by its functions only."""


class WarmPython:
    """The process with the libraries; `program` takes the arguments of `python -m`."""

    def __init__(self, *libraries: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-python-")
        address, self.program = Path(self._folder.name, "socket"), Path(self._folder.name, "python")
        self.program.write_text(STARTER.format(python=sys.executable, address=str(address)), encoding="utf-8")
        self.program.chmod(0o755)
        self._process = subprocess.Popen([sys.executable, __file__, str(address), *libraries], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        atexit.register(self.close)

    def close(self) -> None:
        self._process.communicate()
        self._folder.cleanup()


@functools.cache
def for_stages() -> str:
    """The program that stages run by, to be set as RETRIEVAL_PYTHON; it has what they import and none of their own code."""
    data = ("pandas", "pyarrow.parquet", "safetensors.torch", "yaml", "pydantic_settings")
    pictures = ("PIL.ImageOps", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "cv2", "matplotlib.figure", "matplotlib.backends.backend_agg", "jinja2")
    return str(WarmPython("torch", *data, *pictures, "filelock", "psutil").program)


@functools.cache
def for_dvc() -> str:
    """The program that `dvc` runs by."""
    return str(WarmPython(*DVC).program)


@functools.cache
def for_flows() -> str:
    """The program that the command `retrieval` runs by, where it starts flows."""
    prefect = ("prefect.main", "prefect.flow_engine", "prefect.task_engine", "prefect.events.clients", "prefect.artifacts")
    return str(WarmPython(*prefect, *DVC, "typer", "fastapi", "graphviz", "filelock", "pyarrow.parquet", "pydantic_settings", "PIL.Image").program)


def serve(address: str, libraries: list[str]) -> list[str]:
    """Fork for every request; returns, in the process that is to become the program, the module's name and its arguments."""
    for library in libraries:
        importlib.import_module(library)
    gc.freeze()  # or every fork copies, at its end, all memory that its garbage collection touches
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        os.write(1, b"ready\n")
        while True:
            if 0 in select.select([listening.fileno(), 0], [], [])[0]:
                os._exit(0)
            connection, _ = listening.accept()
            with connection:
                if not os.fork():
                    listening.close()
                    return attend(connection)


def attend(connection: socket.socket) -> list[str]:
    """Start one program and report its exit status; program and this process are killed when the starter hangs up."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 20)
    arguments, folder, environment = json.loads(text)
    program = os.fork()
    if not program:
        connection.close()
        become(folder, environment, files)
        return list(arguments)
    for file in (*files, 0, 1, 2):
        os.close(file)
    ended = os.pidfd_open(program)
    if connection.fileno() in select.select([connection.fileno(), ended], [], [])[0]:
        os.killpg(0, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    try:
        connection.sendall(str(status if status >= 0 else 128 - status).encode())
    finally:
        os._exit(0)


def become(folder: str, environment: dict[str, str], files: list[int]) -> None:
    """Take the folder, the environment and the files of a program that was just started."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    sys.path[:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    if "prefect.context" in sys.modules:  # it has read the settings of another environment
        sys.modules["prefect.context"].refresh_global_settings_context()


if __name__ == "__main__":
    module, *rest = serve(sys.argv[1], sys.argv[2:])
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
