"""The Python of docs/schema-change.md works as it stands: from a program, and from migrations of Alembic and Django."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.sql import SQL, Identifier

from fix_database import as_installer
from fix_product import OWNER, PASSWORD, as_owner, make_roles
from fix_samples import child_environment
from kos.schema_change import find_open
from kos.tenancy import Store

PAGE = (Path(__file__).parents[2] / "docs/schema-change.md").read_text(encoding="utf-8")
PYTHON, LINT, ALEMBIC, DJANGO = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SIZES = """
-- kos: fill {table}.size = length(body)
alter table {table} add column size integer not null;
"""
CONFIGURATION = "[alembic]\nscript_location = migrations\npath_separator = os\n"
ENVIRONMENT = """
import os, sqlalchemy
from alembic import context

with sqlalchemy.create_engine(os.environ["TEST_URL"]).connect() as connection:
    context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
FIRST_REVISION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "0001", None

def upgrade():
    op.create_table("note", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("body", sa.Text))
    op.execute("insert into note (body) select 'body ' || g from generate_series(1, 20) g")
"""
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
FIRST_MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True)), ("body", models.TextField())]),
        migrations.RunSQL("insert into shop_note (body) select 'body ' || g from generate_series(1, 20) g"),
    ]
"""


def finishing(text: str) -> str:
    """The migration of the next release, as the page says."""
    text = re.sub(r'"start", "changes/sizes.sql"', '"finish"', text)
    return text.replace('"0002", "0001"', '"0003", "0002"')


@pytest.fixture
def product(store: Store, tmp_path: Path) -> dict[str, str]:
    """What a migration tool needs, as the product's own role; and kos beside it."""
    server = store.topology.control.primary
    with as_installer(store.topology, server.database) as administrator:
        make_roles(administrator)
        administrator.execute(SQL("grant create on schema public to {}").format(Identifier(OWNER)))
    (tmp_path / "changes").mkdir()
    address = f"{OWNER}:{PASSWORD.replace(' ', '%20')}@{server.host}:{server.port}/{server.database}"
    return {
        **child_environment(store.topology, tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TEST_URL": f"postgresql+psycopg://{address}",
        "TEST_HOST": server.host,
        "TEST_PORT": str(server.port),
        "TEST_NAME": server.database,
        "TEST_USER": OWNER,
        "TEST_PASSWORD": PASSWORD,
    }


def sizes(store: Store, table: str) -> tuple[object, ...] | None:
    """Whether the column is required, and how many rows have a right one; None without the column."""
    required = "select attnotnull from pg_attribute where attrelid = %s::regclass and attname = 'size'"
    with as_owner(store.topology) as connection:
        row = connection.execute(required, (table,)).fetchone()
        if row is None:
            return None
        rows = connection.execute(
            SQL("select count(*) from {} where size = length(body)").format(Identifier(table))
        ).fetchone()
        assert rows is not None
        return row[0], rows[0]


def test_from_a_program(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in child_environment(store.topology, tmp_path).items():
        monkeypatch.setenv(name, value)
    exec(compile(PYTHON, "page", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.splitlines() == ["1 ['add atoms.colour']", "waiting"]


def test_lint_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(LINT, "lint", "exec"), {})
    assert capsys.readouterr().out.startswith("1 ")


@pytest.mark.long
def test_from_alembic(store: Store, product: dict[str, str], tmp_path: Path) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text(CONFIGURATION)
    (tmp_path / "migrations" / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "changes" / "sizes.sql").write_text(SIZES.format(table="note"))
    for number, text in enumerate((FIRST_REVISION, ALEMBIC, finishing(ALEMBIC)), 1):
        (versions / f"{number:04}.py").write_text(text)

    def alembic(*arguments: str) -> None:
        done = subprocess.run(
            ["alembic", *arguments], cwd=tmp_path, env=product, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    alembic("upgrade", "0002")
    assert sizes(store, "note") == (False, 20)
    alembic("downgrade", "0001")
    assert sizes(store, "note") is None
    alembic("upgrade", "head")
    assert sizes(store, "note") == (True, 20)
    assert find_open(store) is None


@pytest.mark.long
def test_from_django(store: Store, product: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "shop" / "migrations"
    folder.mkdir(parents=True)
    (tmp_path / "manage.py").write_text(MANAGE)
    (tmp_path / "changes" / "sizes.sql").write_text(SIZES.format(table="shop_note"))
    for each in (tmp_path / "shop", folder):
        (each / "__init__.py").touch()
    last = re.sub(r"\n +state_operations=.*\n", "\n", finishing(DJANGO)).replace("0001_initial", "0002_sizes")
    for name, text in (("0001_initial", FIRST_MIGRATION), ("0002_sizes", DJANGO), ("0003_sizes", last)):
        (folder / f"{name}.py").write_text(text)

    def migrate(name: str) -> None:
        command = [sys.executable, "manage.py", "migrate", "shop", name]
        done = subprocess.run(command, cwd=tmp_path, env=product, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    migrate("0002")
    assert sizes(store, "shop_note") == (False, 20)
    migrate("0001")
    assert sizes(store, "shop_note") is None
    migrate("0003")
    assert sizes(store, "shop_note") == (True, 20)
    assert find_open(store) is None
