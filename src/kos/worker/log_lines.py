"""What a worker tells of itself, on standard error: JSON lines, or text for people on a terminal."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

log = logging.getLogger("kos.worker")


def tell(level: int, event: str, **fields: Any) -> None:
    """One line. Fields hold no secret, and no tenant's data."""
    log.log(level, event, extra={"fields": fields})


def trace(event: str, error: Exception, **fields: Any) -> None:
    """A mistake of ours: whoever mends it needs the traceback."""
    log.error(event, exc_info=error, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, event, and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class Text(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        line = f"{moment} {record.levelname.lower():<7} {record.getMessage()}  {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def begin(stream: TextIO | None = None) -> None:
    """Tell everything on `stream` (standard error) from now on. Repeatable."""
    stream = stream or sys.stderr
    there = logging.StreamHandler(stream)
    there.setFormatter(Text() if stream.isatty() else JsonLines())
    log.handlers[:] = [there]
    log.propagate = False
    log.setLevel(logging.INFO)
