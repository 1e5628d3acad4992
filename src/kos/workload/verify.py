"""Hold a ledger against the databases: every acknowledged write is there once, and nothing else is.

An attempt was to leave so many traces (rows, revisions in a row's list), each with a tag of its own, and to raise its
client's counter. Then

    lost      acknowledged, and traces are missing; or half of an attempt is there that was not acknowledged
    doubled   a trace is there twice
    foreign   a trace is there that can't be: nobody attempted it, or not in this tenant, or it failed for certain, or
              its row says something else than what was written

One attempt counts once as lost and once as doubled; foreign traces are counted one by one. A counter tells of what
left no trace: one that stands too low means lost transactions, one that stands too high means foreign ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from kos import errors
from kos.tenancy import Store, Tenant, shipped_tenants
from kos.workload.ledger import Attempt, Outcome, Run, read, settled
from kos.workload.transactions import QUERIES

FINDINGS = 100  # that are told one by one; all are counted
BATCH = 5_000
LONGEST_SECONDS = 3600.0

Kind = Literal["lost", "doubled", "foreign"]
State = Literal["acknowledged", "refused", "ambiguous"]  # refused: it failed for certain


@dataclass(frozen=True)
class Finding:
    """One disagreement. `subject` is an attempt's id, or what was found."""

    kind: Kind
    tenant: str
    subject: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """What a ledger and the databases say together.

    `attempted` is `acknowledged` + `failed`; of the failed ones, `ambiguous` may have happened: the connection was
    lost in the commit, or the run was killed.
    """

    run: str
    ledger: Path
    attempted: int
    acknowledged: int
    failed: int
    ambiguous: int
    lost: int
    doubled: int
    foreign: int
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is lost, doubled or foreign."""
        return not (self.lost or self.doubled or self.foreign)


@dataclass(frozen=True)
class Trace:
    """Something that a run left in a tenant: what it is, its row's id, its tag, a counter's number, and whether
    somebody changed what the row says."""

    what: str
    row: str
    tag: str | None
    number: Decimal | None
    changed: bool


@dataclass(slots=True)
class Expected:
    """An attempt of the ledger, and the traces of it that were found, as bits."""

    tenant: str
    client: int
    items: int
    state: State = "ambiguous"
    told: bool = False  # the ledger has its outcome
    found: int = 0
    doubled: bool = False

    @property
    def whole(self) -> bool:
        return self.found == (1 << self.items) - 1

    @property
    def happened(self) -> bool:
        return self.state == "acknowledged" or (self.state == "ambiguous" and self.found > 0)


@dataclass
class Account:
    """The account of one ledger, while it is drawn up."""

    run: Run
    path: Path
    attempts: dict[str, Expected] = field(default_factory=dict)
    counters: dict[tuple[str, int], Decimal] = field(default_factory=dict)
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def note(self, kind: Kind, tenant: str, subject: str, detail: str, *, times: int = 1) -> None:
        self.counts[kind] += times
        if len(self.findings) < FINDINGS:
            self.findings.append(Finding(kind, tenant, subject, detail))


def verify(store: Store, path: Path) -> Verdict:
    """The verdict on a ledger whose run has ended, in whatever way.

    Memory grows with the attempts, by about 250 bytes each.

    Raises:
        LedgerMissing, LedgerDamaged
        LedgerBusy: the run goes on.
        StoreUnavailable
    """
    with settled(path):
        account = _open_account(path)
        for tenant in shipped_tenants(store):
            for trace in _traces(store, tenant, account.run):
                _enter(account, tenant.name, trace)
    _settle_attempts(account)
    _settle_counters(account)
    return _verdict(account)


def _open_account(path: Path) -> Account:
    records = read(path)
    run = next(records, None)
    if not isinstance(run, Run):
        raise errors.LedgerDamaged(path, 1, "it is empty")
    account = Account(run, path)
    names = {name: name for name in run.tenants}  # one text per tenant, not one per attempt
    for line, record in enumerate(records, start=2):
        match record:
            case Attempt(id=id, tenant=tenant) if id not in account.attempts and tenant in names:
                account.attempts[id] = Expected(names[tenant], record.client, record.items)
            case Outcome(attempt=id) if (expected := account.attempts.get(id)) and not expected.told:
                expected.told = True
                expected.state = "acknowledged" if record.acknowledged else "refused" if record.known else "ambiguous"
            case _:
                raise errors.LedgerDamaged(path, line, f"it does not follow from the lines before: {record}")
    return account


def _traces(store: Store, tenant: Tenant, run: Run) -> Iterator[Trace]:
    """What the run left in a tenant, in one snapshot: transactions of a run that was killed may still end."""
    entry = {"read_only": True, "isolation": "repeatable read", "timeout": LONGEST_SECONDS}
    with store.session(tenant, **entry) as session, session.connection.cursor("traces") as cursor:
        cursor.itersize = BATCH
        cursor.execute(QUERIES.traces, {"run": run.prefix, "own": tenant.name in run.tenants})
        for what, row, tag, number, changed in cursor:
            yield Trace(what, str(row), tag, number, changed)


def _enter(account: Account, tenant: str, trace: Trace) -> None:
    subject = f"{trace.what} {trace.row}"
    if trace.tag is None or not trace.tag.startswith(account.run.prefix):
        account.note("foreign", tenant, subject, "no workload wrote it")
        return
    name, _, item = trace.tag.removeprefix(account.run.prefix).partition(":")
    if name == "counter":
        _enter_counter(account, tenant, item, trace, subject)
        return
    expected = account.attempts.get(name)
    if expected is None or not item.isdecimal() or int(item) >= expected.items:
        account.note("foreign", tenant, subject, f"nobody attempted {trace.tag}")
    elif expected.tenant != tenant:
        account.note("foreign", tenant, subject, f"attempt {name} was made in {expected.tenant}")
    elif expected.found >> int(item) & 1:
        if not expected.doubled:
            account.note("doubled", tenant, name, f"its item {item} is there more than once ({subject})")
        expected.doubled = True
    else:
        expected.found |= 1 << int(item)
        if expected.state == "refused":
            account.note("foreign", tenant, subject, f"attempt {name} failed for certain")
        elif trace.changed:
            account.note("foreign", tenant, subject, f"its content is not what attempt {name} or a later one wrote")


def _enter_counter(account: Account, tenant: str, item: str, trace: Trace, subject: str) -> None:
    run = account.run
    if tenant not in run.tenants or not item.isdecimal() or int(item) >= run.clients or trace.number is None:
        account.note("foreign", tenant, subject, f"nobody opened {trace.tag}")
    elif (tenant, int(item)) in account.counters:
        account.note("doubled", tenant, subject, f"the counter of client {item} is there more than once")
    else:
        account.counters[tenant, int(item)] = trace.number


def _settle_attempts(account: Account) -> None:
    for name, expected in account.attempts.items():
        if expected.happened and not expected.whole:
            found = expected.found.bit_count()
            account.note(
                "lost", expected.tenant, name, f"{expected.state}, and {found} of its {expected.items} traces are there"
            )


def _settle_counters(account: Account) -> None:
    """Each counter stands where its client's transactions have brought it, unless the traces have told why not."""
    happened: Counter[tuple[str, int]] = Counter()
    missing: Counter[tuple[str, int]] = Counter()
    surplus: Counter[tuple[str, int]] = Counter()
    for expected in account.attempts.values():
        key = (expected.tenant, expected.client)
        happened[key] += expected.happened
        missing[key] += expected.happened and not expected.whole
        surplus[key] += expected.doubled or (expected.state == "refused" and expected.found > 0)
    for key in sorted(account.counters.keys() | happened.keys()):
        tenant, client = key
        stands = int(account.counters.get(key, 0))
        subject = f"counter of client {client}"
        detail = f"it stands at {stands}, after {happened[key]} transactions"
        if (lost := happened[key] - stands - missing[key]) > 0:
            account.note("lost", tenant, subject, detail, times=lost)
        if (foreign := stands - happened[key] - surplus[key]) > 0:
            account.note("foreign", tenant, subject, detail, times=foreign)


def _verdict(account: Account) -> Verdict:
    states = Counter(each.state for each in account.attempts.values())
    return Verdict(
        run=account.run.id,
        ledger=account.path,
        attempted=len(account.attempts),
        acknowledged=states["acknowledged"],
        failed=states["refused"] + states["ambiguous"],
        ambiguous=states["ambiguous"],
        lost=account.counts["lost"],
        doubled=account.counts["doubled"],
        foreign=account.counts["foreign"],
        findings=tuple(account.findings),
    )
