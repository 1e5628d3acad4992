"""Whose configuration is followed, where nobody has named one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from config_texts import ALONE

from kos.errors import ConfigInvalid, ConfigUntrusted, StateDamaged
from kos.topology import config

FOREIGN = 12345


@pytest.fixture
def nested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    nested = tmp_path / "one" / "two"
    nested.mkdir(parents=True)
    return nested


@pytest.fixture
def given_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a file, or a link, somebody else's; who is not root can only be somebody else himself."""
    monkeypatch.delenv("SUDO_UID", raising=False)

    def give_away(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, FOREIGN, FOREIGN, follow_symlinks=False)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: FOREIGN)

    return give_away


def test_a_file_of_another_user_is_followed_only_if_it_is_named(
    nested: Path, given_away: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nested.parent / "kos.toml"
    path.write_text(ALONE)
    owner = path.owner() if os.geteuid() else str(FOREIGN)
    given_away(path)
    with pytest.raises(ConfigUntrusted) as caught:
        config.find(nested)
    assert (caught.value.path, caught.value.owner) == (path, owner)
    assert f"KOS_CONFIG={path}" in caught.value.next_command
    monkeypatch.setenv("KOS_CONFIG", str(path))
    assert config.find(nested).folder == nested.parent


def test_nor_is_a_link_of_another_user(nested: Path, given_away: Callable[[Path], None]) -> None:
    (nested / "mine.toml").write_text(ALONE)
    (nested.parent / "kos.toml").symlink_to(nested / "mine.toml")
    given_away(nested.parent / "kos.toml")
    with pytest.raises(ConfigUntrusted):
        config.find(nested)


def test_a_link_to_nowhere_is_a_mistake(nested: Path) -> None:
    (nested / "kos.toml").symlink_to(nested / "nothing.toml")
    with pytest.raises(ConfigInvalid, match="no such file"):
        config.find(nested)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be called by sudo")
def test_sudo_follows_its_caller(
    nested: Path, given_away: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (nested / "kos.toml").write_text(ALONE)
    given_away(nested / "kos.toml")
    monkeypatch.setenv("SUDO_UID", "1")
    with pytest.raises(ConfigUntrusted):
        config.find(nested)
    monkeypatch.setenv("SUDO_UID", str(FOREIGN))
    assert config.find(nested).folder == nested


@pytest.mark.parametrize("foreign", [".kos", ".kos/stack.json"])
def test_a_stack_of_another_user_is_not_followed_either(
    nested: Path, given_away: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, foreign: str
) -> None:
    (nested.parent / ".kos").mkdir()
    (nested.parent / ".kos" / "stack.json").write_text("{}")
    given_away(nested.parent / foreign)
    with pytest.raises(ConfigUntrusted) as caught:
        config.find(nested)
    assert "KOS_CONFIG=embedded" in caught.value.next_command
    monkeypatch.setenv("KOS_CONFIG", "embedded")
    with pytest.raises(StateDamaged):
        config.find(nested)
