"""What the controller logs as an error is a fault of ours: production goes on, the seed has failed."""

import logging
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog


@contextmanager
def errors_go_to(sink: Callable[[str], None]) -> Iterator[None]:
    """Pass every error that is logged to *sink*, and drop all other lines."""

    def take(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> str:
        sink(", ".join(f"{key}={value}" for key, value in line.items()))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, take],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
