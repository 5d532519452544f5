"""Logs as JSON lines: a constant event in snake case, then fields.

```
log.info("download_started", extra=fields(run_id=work.run, length=release.length))
```
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

VALUE_LENGTH_MAX = 2_000


def fields(**values: Any) -> dict[str, Any]:
    """Return *values* as the `extra` of a log call."""
    return {"fields": values}


class JsonLines(logging.Formatter):
    """One line of JSON for each record; long values are cut."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line."""
        line = {
            "at": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **{key: _plain(value) for key, value in getattr(record, "fields", {}).items()},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-VALUE_LENGTH_MAX:]
        return json.dumps(line, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:VALUE_LENGTH_MAX]


def set_up(level: str, stream: TextIO | None = None) -> None:
    """Send all logs of *level* and above to *stream*, the standard error by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("urllib3", "tuf", "paho"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
