"""The process of a temporary Prefect server on loopback: `python -m tasks.prefect_server PORT`."""

import sys

from tasks.rare_collections import collect_rarely


def serve(port: int) -> None:
    """Serve Prefect's API until the process ends."""
    collect_rarely()
    import uvicorn

    uvicorn.run("prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
