"""A flow that a worker started ends with the worker, so that nothing computes on unseen."""

import os
import signal
import threading
import time

import psutil

INTERVAL = 1.0


def end_with_worker() -> None:
    """Watch the worker that started this process, where it runs for a deployment, and terminate it when the worker is gone."""
    if not os.environ.get("PREFECT__FLOW_RUN_ID"):
        return
    worker = psutil.Process().parent()
    if worker is not None and worker.pid > 1:
        threading.Thread(target=_watch, args=(worker,), daemon=True, name="worker watch").start()


def _watch(worker: psutil.Process) -> None:
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        time.sleep(INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)
