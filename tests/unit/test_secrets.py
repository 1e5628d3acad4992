"""Secrets: read late, named by their key, never shown."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kos.errors import SecretUnavailable
from kos.topology import secrets
from kos.topology.model import Secret

PLANTED = "correct-horse-battery-staple"


def refusal(secret: Secret) -> str:
    with pytest.raises(SecretUnavailable) as caught:
        secret.read()
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert PLANTED not in shown
    assert caught.value.key == "shards.main.app.password"
    return caught.value.reason


def from_command(*arguments: str, seconds: float = 10.0) -> Secret:
    return secrets.from_command("shards.main.app.password", arguments, seconds)


def python(code: str, seconds: float = 10.0) -> Secret:
    return from_command(sys.executable, "-c", code, seconds=seconds)


def from_file(path: Path) -> Secret:
    return secrets.from_file("shards.main.app.password", path)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = secrets.from_environment("shards.main.app.password", "APP_PASSWORD")
    monkeypatch.delenv("APP_PASSWORD", raising=False)
    assert refusal(secret) == "the environment variable APP_PASSWORD is not set"
    monkeypatch.setenv("APP_PASSWORD", "")
    assert refusal(secret) == "the environment variable APP_PASSWORD is empty"
    monkeypatch.setenv("APP_PASSWORD", PLANTED)
    assert secret.read() == PLANTED
    assert PLANTED not in f"{secret} {secret!r}"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f" {PLANTED} {ending}".encode())
    assert from_file(path).read() == f" {PLANTED} ", "only the newline at the end is not part of it"


def test_file_that_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert refusal(from_file(path)) == f"{path}: No such file or directory"
    path.write_text("\n")
    assert refusal(from_file(path)) == f"{path} is empty"
    path.write_bytes(PLANTED.encode() + b"\xff")
    assert refusal(from_file(path)) == f"{path} is not UTF-8 text"
    assert refusal(from_file(tmp_path)) == f"{tmp_path}: Is a directory"


@pytest.mark.parametrize(
    "content", [f"{PLANTED}\nof production\n", f"{PLANTED}\n\n", f"{PLANTED}\0\n", f"{PLANTED}\r\r\n"]
)
def test_a_secret_is_one_line(tmp_path: Path, content: str) -> None:
    """Else the server would be asked, and call it a wrong password."""
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    assert refusal(from_file(path)) == f"{path} is not one line of text"


def test_no_command_outlives_us(tmp_path: Path) -> None:
    """`kos status` waits for a secret in a thread that it leaves behind when its time is over."""
    told = tmp_path / "pid"
    command = [
        sys.executable,
        "-c",
        f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(60)",
    ]
    code = f"""
import pathlib, threading, time
from kos.topology import secrets
threading.Thread(target=secrets.from_command("key", {command!r}).read, daemon=True).start()
while not (told := pathlib.Path({str(told)!r})).exists() or not told.read_text():
    time.sleep(0.01)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    pid = int(told.read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the command is still running"
        time.sleep(0.01)


def test_command() -> None:
    secret = python(f"print('{PLANTED}')")
    assert secret.read() == PLANTED
    assert PLANTED not in repr(secret)


def test_command_is_run_for_every_reading(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.touch()
    secret = python(f"f = open({str(counter)!r}, 'a+'); f.write('x'); print('token', f.tell())")
    assert [secret.read(), secret.read()] == ["token 1", "token 2"]


def test_command_that_says_nothing() -> None:
    complaint = f"import sys; sys.stderr.write('{PLANTED}'); print('{PLANTED}'); sys.exit(3)"
    assert refusal(python(complaint)) == f"the command {sys.executable} ended with 3"
    assert refusal(python("pass")) == f"what the command {sys.executable} prints is empty"
    assert refusal(python("import sys; sys.stdout.buffer.write(b'\\xff')")).endswith("is not UTF-8 text")
    assert "can't be started: No such file" in refusal(from_command("no-such-program", PLANTED))


def test_the_complaint_of_a_command_is_not_echoed(capfd: pytest.CaptureFixture[str]) -> None:
    refusal(python(f"import sys; sys.stderr.write('{PLANTED}'); sys.exit(1)"))
    assert capfd.readouterr() == ("", "")


def test_a_command_has_a_deadline_and_so_have_its_children(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    began = time.monotonic()
    # A child that keeps the pipe open would hold us for as long as it lives.
    code = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(told)!r}, "w").write(str(child.pid))
print("{PLANTED}", flush=True)
time.sleep(60)
"""
    assert refusal(python(code, seconds=1.5)).endswith("took longer than 1.5 s")
    assert time.monotonic() - began < 10
    child = int(told.read_text())
    deadline = time.monotonic() + 5
    while is_running(child):
        assert time.monotonic() < deadline, "the command's child is still running"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
