"""Secrets: named in kos.toml, kept elsewhere, read when a connection is opened.

An error names the key and never shows the value, nor what a command wrote: its complaint may hold a token.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kos.errors import SecretUnavailable
from kos.topology.model import Secret

COMMAND_SECONDS = 20.0


def from_environment(key: str, variable: str, environ: Mapping[str, str] | None = None) -> Secret:
    """The secret in an environment variable."""

    def read() -> str:
        value = (os.environ if environ is None else environ).get(variable)
        return _checked(key, value, f"the environment variable {variable} is not set")

    return Secret(read, key)


def from_file(key: str, path: Path) -> Secret:
    """The secret in a file, without the newline at its end."""

    def read() -> str:
        try:
            value = path.read_text(encoding="utf-8")
        except OSError as error:
            raise SecretUnavailable(key, f"{path}: {error.strerror}") from error
        except UnicodeDecodeError:
            # Without its cause: that carries the bytes of the file.
            raise SecretUnavailable(key, f"{path} is not UTF-8 text") from None
        return _checked(key, value, f"{path} is empty")

    return Secret(read, key, path)


def from_command(key: str, arguments: Sequence[str], seconds: float = COMMAND_SECONDS) -> Secret:
    """The secret that a command prints, without the newline at its end."""

    def read() -> str:
        return _checked(key, _output(key, arguments, seconds), f"the command {arguments[0]} printed nothing")

    return Secret(read, key)


def _checked(key: str, value: str | None, otherwise: str) -> str:
    value = (value or "").removesuffix("\n").removesuffix("\r")
    if not value:
        raise SecretUnavailable(key, otherwise)
    return value


def _output(key: str, arguments: Sequence[str], seconds: float) -> str:
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
    with process:
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise SecretUnavailable(key, f"the command {program} took longer than {seconds:g} s") from None
    if process.returncode:
        raise SecretUnavailable(key, f"the command {program} ended with {process.returncode}")
    try:
        return printed.decode("utf-8")
    except UnicodeDecodeError:
        raise SecretUnavailable(key, f"the command {program} printed no UTF-8 text") from None
