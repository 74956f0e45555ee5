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
