"""The linter reads what migration tools print: Django's sqlmigrate and Alembic's offline mode."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kos.schema_change.lint import lint
from kos.topology.model import Topology

MANAGE = """
import os, sys
from django.conf import settings
from django.core.management import execute_from_command_line

names = ("HOST", "PORT", "NAME", "USER", "PASSWORD")
server = {name: os.environ[f"TEST_{name}"] for name in names}
settings.configure(
    INSTALLED_APPS=["shop"],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **server}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
execute_from_command_line(sys.argv)
"""
MIGRATIONS = {
    "0001_initial": """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Author", [("id", models.BigAutoField(primary_key=True))]),
        migrations.CreateModel(
            "Note",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("body", models.TextField(null=True, db_index=True)),
                ("author", models.ForeignKey("shop.Author", models.CASCADE)),
            ],
        ),
    ]
""",
    "0002_more": """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("Note", "title", models.CharField(max_length=20, default="none")),
        migrations.AddField("Note", "editor", models.ForeignKey("shop.Author", models.CASCADE, "edits", null=True)),
        migrations.AlterField("Note", "body", models.TextField(default="")),
        migrations.RenameField("Note", "author", "writer"),
        migrations.AddConstraint(
            "Note", models.CheckConstraint(condition=models.Q(title__gt=""), name="note_has_title")
        ),
        migrations.RunPython(migrations.RunPython.noop),
    ]
""",
    "0003_concurrently": """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0002_more")]
    operations = [AddIndexConcurrently("Note", models.Index(fields=["title"], name="note_title"))]
""",
}


def sqlmigrate(topology: Topology, folder: Path, name: str) -> str:
    app = topology.control.app
    assert app.password is not None
    server = topology.control.primary
    environment = {
        "TEST_HOST": server.host,
        "TEST_PORT": str(server.port),
        "TEST_NAME": server.database,
        "TEST_USER": app.user,
        "TEST_PASSWORD": app.password.read(),
    }
    command = [sys.executable, "manage.py", "sqlmigrate", "shop", name]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, env=environment).stdout


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop" / "migrations"
    folder.mkdir(parents=True)
    (tmp_path / "manage.py").write_text(MANAGE)
    for each in (tmp_path / "shop", folder):
        (each / "__init__.py").touch()
    for name, text in MIGRATIONS.items():
        (folder / f"{name}.py").write_text(text)
    return tmp_path


@pytest.mark.long
def test_django(database: Topology, shop: Path) -> None:
    found = {name: [each.rule for each in lint(sqlmigrate(database, shop, name))] for name in MIGRATIONS}
    assert found == {
        "0001_initial": [],
        "0002_more": [
            "lock-timeout",
            "drop-default",  # Django gives a value for the rows that are there, and takes the default away again
            "write-under-lock",
            "not-null",
            "drop-default",
            "rename-column",
            "check",
            "index",
        ],
        "0003_concurrently": [],
    }


VERSIONS = {
    "0001": """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "0001", None

def upgrade():
    op.create_table("note", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("body", sa.Text))
    op.create_index("note_body", "note", ["body"])
""",
    "0002": """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "0002", "0001"

def upgrade():
    op.add_column("note", sa.Column("author", sa.Text, nullable=False, server_default="nobody"))
    op.create_index("note_author", "note", ["author"])
    op.alter_column("note", "body", nullable=False)
    op.create_check_constraint("note_short", "note", "length(body) < 1000")
    with op.get_context().autocommit_block():
        op.create_index("note_both", "note", ["author", "body"], postgresql_concurrently=True)
    op.execute("UPDATE note SET author = 'x' WHERE author = 'nobody'")
""",
}
ENVIRONMENT = """
from alembic import context

context.configure(dialect_name="postgresql", literal_binds=True)
with context.begin_transaction():
    context.run_migrations()
"""


def alembic(folder: Path, revisions: str) -> str:
    command = [Path(sys.executable).with_name("alembic"), "upgrade", revisions, "--sql"]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout


def test_alembic(tmp_path: Path) -> None:
    pytest.importorskip("alembic")
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\npath_separator = os\n")
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "migrations" / "env.py").write_text(ENVIRONMENT)
    for name, text in VERSIONS.items():
        (versions / f"{name}.py").write_text(text)
    found = [each.rule for each in lint(alembic(tmp_path, "0001:0002"))]
    assert found == ["lock-timeout", "index", "not-null", "check"]
    # From nothing, all tables are the file's own.
    assert lint(alembic(tmp_path, "head")) == []
