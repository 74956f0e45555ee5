"""Requests that are not answered: a status of HTTP and one line that says why."""


class RefusedError(Exception):
    """A request that the service refuses.

    Attributes:
        status: of HTTP.
        retry_after: seconds after which the same request may be answered; None where it never will.
    """

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.retry_after = status, retry_after
