"""Run the benchmarks: every claim beside its control, as ratios.

    python benchmarks/run.py [NAME …] [--rounds N] [--quick]

A whole run writes docs/benchmarks.md; a part of one only what it has measured, with its own date. A quick one prints.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import adoption
import backfill
import cache
import capture
import change_many
import change_stalls
import change_throttle
import old_snapshot
import projection
import row_security
import sample_loading
import sealing
import session
import up
from arms import Finding, Report
from bench import Bench, running

CLAIMS: dict[str, ModuleType] = {
    "session": session,
    "row_security": row_security,
    "sample_loading": sample_loading,
    "capture": capture,
    "sealing": sealing,
    "old_snapshot": old_snapshot,
    "up": up,
    "adoption": adoption,
    "change_many": change_many,
    "change_stalls": change_stalls,
    "change_throttle": change_throttle,
    "backfill": backfill,
    "cache": cache,
    "projection": projection,
}
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
ROUNDS = 15

_HEAD = """\
# Benchmarks

Written by `make bench`. Figures with a × are ratios within one run: the arms take turns, in several rounds; what stands
here is the median of the rounds' ratios, with the quartiles. A figure of its own, such as failed statements or a
longest stall, is the worst of all rounds. A control shows what a figure means: it is the naive way, and has to lose. A
bar that is not reached says so. What takes minutes has fewer rounds.
"""


def main() -> int:
    options = _options()
    began = time.monotonic()
    with running(options.rounds, quick=options.quick) as bench:
        machine = _machine(bench)
        reports: list[Report] = []
        for name in options.names or CLAIMS:
            print(f"{name} …", file=sys.stderr, flush=True)
            reports.append(CLAIMS[name].run(bench))
            print(_section(reports[-1]), flush=True)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    if not options.quick:
        page = "\n".join([_HEAD, machine, *map(_section, reports)])
        PAGE.write_text(_with_parts(reports, machine) if options.names else page, encoding="utf-8")
    return 0


def _with_parts(reports: list[Report], machine: str) -> str:
    """The page as it is, with some of its sections measured anew, and those that it has not yet."""
    head, *sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    known = {each.partition("\n")[0]: each for each in sections}
    for each in reports:
        known[each.claim] = f"{_section(each).removeprefix('## ')}\nThis part was run by itself: {machine}"
    whole_run = head.strip().rpartition("\n")[2]  # when, and on which machine
    return "\n## ".join([f"{_HEAD}\n{whole_run}\n", *known.values()])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Every speed claim beside its control.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(CLAIMS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="to try the code; the figures say little")
    options = parser.parse_args()
    if unknown := set(options.names) - CLAIMS.keys():
        parser.error(f"no such claim: {', '.join(sorted(unknown))}; there are: {', '.join(CLAIMS)}")
    if options.quick:
        options.rounds = 3
    if options.rounds < 2:
        parser.error("a spread needs two rounds or more")
    return options


def _machine(bench: Bench) -> str:
    with bench.superuser() as connection:
        row = connection.execute("show server_version").fetchone()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    version = sys.version.split()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d} · {os.cpu_count()} processors · {memory:.0f} GiB · PostgreSQL"
        f" {str(row[0]).split()[0] if row else '?'} · Python {version} · {bench.rounds} rounds at most\n"
    )


def _section(report: Report) -> str:
    lines = [f"## {report.claim}\n"]
    if report.findings:
        lines += _table(("claim", "figure", "bar", ""), map(_row, report.findings))
    if report.figures:
        lines += _table(("", "median"), report.figures)
    if report.table:
        lines += _table(report.table[0], report.table[1:])
    lines += [f"{note}\n" for note in report.notes]
    return "\n".join(lines)


def _row(finding: Finding) -> tuple[str, ...]:
    bar = finding.bar.told(finding.ratio.unit) if finding.bar else "–"
    return finding.what, str(finding.ratio), bar, finding.verdict


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(r) + " |" for r in rows), ""]


if __name__ == "__main__":
    sys.exit(main())
