"""The errors a user can cause, one tree.

PipelineError
├── ParameterError   params.yaml, the environment or the command line asks for something impossible
├── SourceError      a data set or weights cannot be had: missing, cut off, wrong checksum, hostile archive
│   └── UnreachableError   a server does not answer now; later it may
├── ImageError       one image cannot be used
├── ShardError       a Parquet file of the project is missing, foreign or damaged, or cannot be written
├── ModelError       a learned model or a network's weights do not fit what they are applied to
├── LeakageError     a model would be applied to the images it was learned on
└── SanityError      a result that cannot be right: scores at chance level, constant or non-finite descriptors

Every message is one line: what is wrong, where, and what would be right.
"""

import errno


class PipelineError(Exception):
    """Anything that a user can put right; printed as one line, never as a traceback."""


class ParameterError(PipelineError):
    pass


class SourceError(PipelineError):
    pass


class UnreachableError(SourceError):
    """Ends a stage with exit status 75 (EX_TEMPFAIL), so that a scheduler knows that trying again can help."""


class ImageError(PipelineError):
    pass


class ShardError(PipelineError):
    pass


class ModelError(PipelineError):
    pass


class LeakageError(PipelineError):
    pass


class SanityError(PipelineError):
    pass


def of_the_system(error: OSError) -> str | None:
    """The line about a file that the system refuses; None where no file is to blame, so that it is a defect of the program."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full while writing {error.filename or 'an output'}: free some space and run again; finished shards are kept"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"too many open files at {error.filename or 'an input'}: raise the limit (`ulimit -n`) and run again; finished shards are kept"
    return None if error.filename is None else f"{error.filename}: {error.strerror or type(error).__name__}"
