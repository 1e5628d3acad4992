"""Secrets: named in kos.toml, kept elsewhere, read when a connection is opened.

An error names the key and never shows the value, nor what a command wrote: its complaint may hold a token.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kos.errors import SecretUnavailable
from kos.topology.model import Secret

COMMAND_SECONDS = 20.0


def from_environment(key: str, variable: str, environ: Mapping[str, str] | None = None) -> Secret:
    """The secret in an environment variable."""

    def read() -> str:
        value = (os.environ if environ is None else environ).get(variable)
        if value is None:
            raise SecretUnavailable(key, f"the environment variable {variable} is not set")
        return _checked(key, os.fsencode(value), f"the environment variable {variable}")

    return Secret(read, key)


def from_file(key: str, path: Path) -> Secret:
    """The secret in a file, without the newline at its end."""

    def read() -> str:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SecretUnavailable(key, f"{path}: {error.strerror}") from error
        return _checked(key, content, str(path))

    return Secret(read, key, path)


def from_command(key: str, arguments: Sequence[str], seconds: float = COMMAND_SECONDS) -> Secret:
    """The secret that a command prints, without the newline at its end."""

    def read() -> str:
        return _checked(key, _output(key, arguments, seconds), f"what the command {arguments[0]} prints")

    return Secret(read, key)


def _checked(key: str, content: bytes, source: str) -> str:
    value = content.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
    if "\ufffd" in value:
        # The decoder's own error would hold the bytes, and hang on to ours.
        raise SecretUnavailable(key, f"{source} is not UTF-8 text")
    if not value:
        raise SecretUnavailable(key, f"{source} is empty")
    if any(character in value for character in "\n\r\0"):
        # Sent as it is, or cut at the zero as libpq does, it would only be called a wrong password.
        raise SecretUnavailable(key, f"{source} is not one line of text")
    return value


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no command behind if Python ends before its deadline: `kos status` does not wait for a slow secret."""

    def end() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    atexit.register(end)
    try:
        yield
    finally:
        atexit.unregister(end)


def _output(key: str, arguments: Sequence[str], seconds: float) -> bytes:
    program = arguments[0]
    try:
        # A session of its own, so that the deadline ends what the command started as well.
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise SecretUnavailable(key, f"the command {program} can't be started: {error.strerror}") from error
    printed = None
    with process, _ended_with_us(process):
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    if printed is None:
        # Raised here, not in the except: subprocess' error holds the arguments and what was printed so far.
        raise SecretUnavailable(key, f"the command {program} took longer than {seconds:g} s")
    if process.returncode:
        raise SecretUnavailable(key, f"the command {program} ended with {process.returncode}")
    return printed
