"""A plan for people: a summary first, then what is in the way, then what would break. Fits a hundred columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kos.adoption.adopt import Adopted, AdoptPlan
from kos.adoption.model import CAPABILITIES, CLASSES, Plan
from kos.adoption.release import Released
from kos.adoption.status import Status
from kos.adoption.uninstall import Uninstalled
from kos.console import say, table

SHOWN = 12  # of a kind; --json has them all

TOLD = {
    "tenant": "has {column}",
    "root": "its rows are the tenants",
    "child": "belongs to a tenant by its references only",
    "shared": "of no tenant",
    "partition": "counted with the table that it is a part of",
    "unusable": "can't be logged as it is",
}


def show(plan: Plan) -> None:
    """All of it, shortened where there is much of one kind."""
    _summary(plan)
    _capabilities(plan)
    _blocked(plan)
    _mends(plan)
    _costs(plan)
    if plan.effects is not None:
        _effects(plan)


def script(plan: Plan, which: str) -> list[str]:
    """The SQL that mends one thing on all tables of the plan, in the order in which it has to run."""
    if which == "grants":
        return list(plan.grants)
    if which == "columns":
        # Each begins with what its parents need, which is said once.
        return list(dict.fromkeys(line for each in plan.tables for line in each.columns_sql))
    phases: list[list[str]] = [[], [], []]
    for each in plan.tables:
        for number, lines in enumerate(each.keys_sql):
            phases[number] += lines
    return list(dict.fromkeys(line for phase in phases for line in phase))


def show_script(lines: Sequence[str]) -> None:
    """Ready for psql."""
    for line in lines:
        say(line)


def show_taken(adopted: Adopted) -> None:
    """What an adoption did."""
    for name in adopted.adopted[:SHOWN]:
        say(f"{name} is logged, baseline {adopted.baseline}")
    if len(adopted.adopted) > SHOWN:
        say(f"… and {len(adopted.adopted) - SHOWN} more")
    if adopted.enforced:
        say(f"row security is on {len(adopted.enforced)}: {_short(adopted.enforced)}")
    if adopted.already:
        say(f"nothing to do for {len(adopted.already)} that are logged already: {_short(adopted.already)}")
    if adopted.left_out:
        say(f"left out: {_short([each.name for each in adopted.left_out])}   (why: kos adopt --all)")


def show_question(plan: Plan) -> None:
    """Before the question of level enforce: who and what would notice."""
    if plan.effects is not None:
        _effects(plan)
        say("")


def question(plan: AdoptPlan) -> str:
    """What is asked before tables are taken in."""
    secured = f", and put row security on {len(plan.secured)}" if plan.secured else ""
    return f"log {len(plan.tables)} tables of {plan.database}{secured}?"


def show_status(tables: Sequence[Status]) -> None:
    """One line per adopted table, then what is wrong."""
    if not tables:
        say("no table was taken in")
        return
    table(
        ("table", "level", "tenant column", "baseline", "complete", "since", "capture"),
        [
            (each.name, each.level, each.tenant_column, each.baseline, "yes" if each.complete else "no",
             f"{each.since:%Y-%m-%d %H:%M}", each.capture)
            for each in tables
        ],
    )  # fmt: skip
    for each in tables:
        for fault in each.faults:
            say(f"{fault}; {'changes are lost' if each.loses else 'changes are captured slowly'}")


def show_released(released: Released, what: str) -> None:
    """What a release did, or would do."""
    say(f"{what}: {_short(released.released)}; what was logged stays in the log")
    show_kept(released.kept)


def show_kept(policies: Sequence[str]) -> None:
    """Why row security stays on a table that is taken out."""
    if policies:
        say(f"row security stays on for policies that came since: {_short(policies)}")


def show_uninstalled(found: Uninstalled, what: str) -> None:
    """What an uninstallation did, or would do, and what it leaves to an administrator."""
    if not found.dropped:
        say(f"{found.database} has nothing of kos")
    if found.released:
        say(f"{len(found.released)} adopted tables {what.replace('dropped', 'released')}: {_short(found.released)}")
    show_kept(found.kept)
    for schema in found.dropped:
        say(f"schema {schema} {what}")
    if found.roles:
        say(f"these roles are the server's, and remain: {', '.join(found.roles)}")
        say("for an administrator, once no database needs them:")
        for line in found.sql:
            say(f"  {line}")


def _short(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def _summary(plan: Plan) -> None:
    whole = [each for each in plan.tables if each.of_class != "partition"]
    tenants = "?" if plan.tenants is None else f"{plan.tenants:,}" if plan.tenants_exact else f"about {plan.tenants:,}"
    types = ", ".join(f"{kind} in {count}" for kind, count in plan.tenant_types.items())
    say(f"{len(whole)} tables of {plan.database} on {plan.shard}")
    say(f"{tenants} tenants by {plan.tenant_column} ({types})")
    if len(plan.tenant_types) > 1:
        say("the tenant column has more than one type: what it says in one table is not what it says in another")
    if not plan.installed:
        say("kos is not installed in this database yet: kos upgrade")
    say("")
    rows = []
    for name in CLASSES:
        found = [each for each in plan.tables if each.of_class == name]
        if found:
            count = sum(each.rows or 0 for each in found)
            told = TOLD[name].format(column=plan.tenant_column)
            rows.append((name, len(found), f"{count:,}", size(sum(each.bytes for each in found)), told))
    table(("class", "tables", "rows", "size", ""), rows, numbers=("tables", "rows", "size"))


def _capabilities(plan: Plan) -> None:
    whole = [each for each in plan.tables if each.of_class != "partition"]
    say("")
    rows = []
    for capability in CAPABILITIES:
        blocked = [each for each in whole if each.blocked(capability)]
        kinds = Counter(kind for each in blocked for kind in {blocker.kind for blocker in each.blocked(capability)})
        why = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        rows.append((capability.replace("_", " "), len(whole) - len(blocked), len(blocked), why))
    table(("for", "ready", "blocked", "by"), rows, numbers=("ready", "blocked"))


def _blocked(plan: Plan) -> None:
    """Not those that lack a composite key only: these are many, and the log does without."""
    rows = [
        (each.name, blocker.kind, blocker.reason)
        for each in plan.tables
        for blocker in each.blockers
        if blocker.kind not in ("composite", "meaning", "column")
    ]
    if rows:
        say("")
        table(("blocked", "by", "because"), rows[:SHOWN])
        _more(len(rows))
    children = [(each.name, ", ".join(each.path)) for each in plan.tables if each.path]
    if children:
        say("")
        table(("without the column", "tenant found by"), children[:SHOWN])
        _more(len(children))


def _mends(plan: Plan) -> None:
    if plan.grants:
        say("")
        say("to be granted, by an administrator:")
        show_script(["  " + line for grant in plan.grants for line in grant.splitlines()])
    child = next((each for each in plan.tables if each.columns_sql), None)
    if child is not None:
        say("")
        say(f"to give {child.name} its column (for all: --sql columns):")
        show_script([f"  {line}" for statement in child.columns_sql for line in statement.splitlines()])
    keyed = sum(any(each.keys_sql) for each in plan.tables)
    if keyed:
        say("")
        say(f"{keyed} tables need composite keys for moves and distribution: --sql keys prints the SQL")


def _costs(plan: Plan) -> None:
    say("")
    since = f"since {plan.counted_since:%Y-%m-%d}" if plan.counted_since else "since the statistics began"
    per_day = "" if plan.log_bytes_per_day is None else f", {size(plan.log_bytes_per_day)} a day"
    writes = sum(each.writes for each in plan.tables if each.of_class != "partition")
    say(f"log: the {writes:,} writes {since} would have taken {size(plan.log_bytes)}{per_day}")
    how = {
        "full": "copies the rows that are there into the log: {}, at once",
        "lazy": "logs both images when a row first changes: at most {}, over time",
        "none": "starts blind: what a row was before its first change stays unknown",
    }[plan.baseline]
    say(f"baseline {plan.baseline}: {how.format(size(plan.baseline_bytes))}")
    hidden = [f"{each.name}.{column} {how}" for each in plan.tables for column, how in each.sensitive.items()]
    if hidden:
        say(f"hidden in the log: {', '.join(hidden)}")
    if plan.locks:
        say("")
        say("locks, on one table at a time; after 200 ms without one, it waits and tries again:")
        rows = [(each.statement, each.mode, each.stops, each.how_long) for each in plan.locks]
        table(("to", "lock", "stops", "for"), rows)


def _effects(plan: Plan) -> None:
    assert plan.effects is not None
    say("")
    roles = [(each.role, each.owns, each.uses, each.sessions, each.effect) for each in plan.effects.roles]
    table(("role", "owns", "uses", "sessions", "under row security"), roles, numbers=("owns", "uses", "sessions"))
    say("")
    effects = [(each.kind, each.subject, each.effect) for each in plan.effects.effects]
    table(("would notice", "", "how"), effects)
    if plan.effects.statements:
        say("")
        rows = [(each.role, f"{each.calls:,}", each.statement) for each in plan.effects.statements[:SHOWN]]
        table(("role", "calls", "statement that does not name the tenant"), rows, numbers=("calls",))
        _more(len(plan.effects.statements))


def _more(count: int) -> None:
    if count > SHOWN:
        say(f"… and {count - SHOWN} more: --json has them all")


def size(number: int) -> str:
    """Bytes for people."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "B" or value >= 10 else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"
