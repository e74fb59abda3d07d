"""How requests to stores are tried again: one policy for whatever they are made with."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

TRIES = 4


def retrying(passes: Callable[[BaseException], bool], tries: int = TRIES) -> Retrying:
    """Attempts, with growing pauses between them; the last error is raised as it is.

    Args:
      passes: whether an error may be gone at the next attempt.
      tries: how many attempts there are.
    """
    return Retrying(
        retry=retry_if_exception(passes),
        stop=stop_after_attempt(tries),
        wait=wait_exponential_jitter(0.5, 20.0),
        reraise=True,
    )
