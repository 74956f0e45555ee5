"""What every stage's command does around its work: logging, one-line errors, exit status, the record of the run."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from pipeline.stage.errors import PipelineError, UnreachableError, of_the_system
from pipeline.stage.run_record import Produced, write_record
from pipeline.stage.unchanged import code_now, refuse_changes


def run_stage(main: Callable[[list[str]], Produced]) -> None:
    """Run a stage's main with the command line's arguments, write what the run cost, and exit: 0, or after one line on standard error 75
    where trying again can help, else 1."""
    signal.signal(signal.SIGTERM, _interrupt)
    _convert_without_pandas()
    level, levels = os.environ.get("RETRIEVAL_LOG", "").upper() or "INFO", logging.getLevelNamesMapping()
    if level not in levels:
        fail(f"RETRIEVAL_LOG={level}: unknown; allowed: {', '.join(levels)}")
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        code = code_now()
        produced = main(sys.argv[1:])
        refuse_changes(code)
        write_record(produced)
    except UnreachableError as error:
        fail(str(error), os.EX_TEMPFAIL)
    except PipelineError as error:
        fail(str(error))
    except OSError as error:
        line = of_the_system(error)
        if line is None:
            raise
        fail(line)
    except KeyboardInterrupt:
        fail("interrupted; finished shards are kept, run again to go on")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """A polite end, from a cancelled run or a machine that shuts down, cleans up like Ctrl-C."""
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def _convert_without_pandas() -> None:
    """Let pyarrow's first conversion find no pandas: where it is installed, pyarrow imports it then, which takes every stage a second."""
    import pyarrow as pa

    class Hidden:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "pandas":
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(Hidden)


def fail(message: str, status: int = 1) -> None:
    """Print one line on standard error and exit."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(status)
