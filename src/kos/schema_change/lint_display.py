"""What people see of the linter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kos.console import say, table
from kos.schema_change.lint import LINT_RULES, NAMES, Finding


def show_findings(findings: Mapping[str, Sequence[Finding]]) -> None:
    """By file; each with its place first, as compilers write it, so that editors and CI find it."""
    for file, of_file in findings.items():
        for each in of_file:
            say(f"{file}:{each.line}: {each.rule}")
            say(f"    {each.statement}")
            say(f"  {each.danger}")
            say("  instead:")
            for line in each.instead.splitlines():
                say(f"    {line}")
            say("")
    count = sum(map(len, findings.values()))
    files = f"{len(findings)} file{'' if len(findings) == 1 else 's'}"
    say(f"{count} finding{'' if count == 1 else 's'} in {files}")


def rules() -> dict[str, bool]:
    """Every rule, and whether kos does the online form, of some statements that it finds at least."""
    return {name: any(each.by_kos for each in LINT_RULES if each.name == name) for name in NAMES}


def show_rules() -> None:
    """For people."""
    table(("rule", "kos change"), [(name, "does it online" if by_kos else "") for name, by_kos in rules().items()])
