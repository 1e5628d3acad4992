"""Queries made up by chance, in which every node pattern is marked: so it is known what scoping has to make of them.

They are meant to be understood by both servers, and to give the same rows however often they are asked: no LIMIT, no
identities, of shortest paths nothing but the lengths.
"""

from __future__ import annotations

from random import Random

ENTRY = "kos_scope: $kos_scope"
_MARKS = {"\1": f" {{{ENTRY}}}", "\2": f"{{{ENTRY}}}", "\3": f", {ENTRY}", "\4": ENTRY}

LABELS = ("", "", ":Atom", ":Part", ":Atom|Part", ":`Atom`")
TYPES = ("", "", ":RELATES", ":HAS", ":RELATES|HAS")
VALUES = ("1", "2", "3", "$two", "'n1'", "'n2'", "$name")
PARAMETERS = {"two": 2, "name": "n3"}


def plain(marked: str) -> str:
    """The query as a tenant writes it."""
    return "".join(letter for letter in marked if letter not in _MARKS)


def expected(marked: str) -> str:
    """The query as it has to be sent."""
    return "".join(_MARKS.get(letter, letter) for letter in marked)


class Maker:
    """Makes queries. `nodes` and `relationships` are the variables known at this point."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.nodes: list[str] = []
        self.relationships: list[str] = []
        self.named = 0

    def query(self) -> str:
        """A whole query."""
        if self.one_in(6):
            parts = [self._single("x"), self._single("x")]
            return self.pick(" UNION ", " UNION ALL ", "\nunion\n").join(parts)
        return self._single(f"c{self.chance.randrange(3)}")

    def one_in(self, number: int) -> bool:
        """True by chance."""
        return self.chance.randrange(number) == 0

    def pick(self, *choices: str) -> str:
        """One of them."""
        return self.chance.choice(choices)

    def _fresh(self, kind: str) -> str:
        self.named += 1
        return f"{kind}{self.named}"

    def _single(self, column: str) -> str:
        self.nodes, self.relationships = [], []
        clauses = [self._match()]
        for _ in range(self.chance.randrange(3)):
            clauses.append(self.pick("OPTIONAL ", "", "") + self._match())
            if self.one_in(3):
                clauses.append(self._with())
        if self.one_in(6):
            clauses.append("UNWIND [1, 2] AS u")
        return " ".join([*clauses, f"RETURN {self._result()} AS {column}"])

    def _with(self) -> str:
        kept = self.pick("*", "*, 1 AS one", "DISTINCT *")
        return f"WITH {kept} WHERE {self._truth(1)}" if self.one_in(2) else f"WITH {kept}"

    def _match(self) -> str:
        if len(self.nodes) >= 2 and self.one_in(5):
            first, second = self.chance.sample(self.nodes, 2)
            path = self._fresh("p")
            found = f"MATCH {path} = shortestPath(({first}\1)-[{self._type()}*..4]-({second}\1))"
            return f"{found} WHERE {first} <> {second} AND length({path}) < 4"
        known = list(self.nodes)
        patterns = [self._pattern(2, known)]
        if self.one_in(4):
            patterns.append(self._pattern(1, known))
        text = "MATCH " + self.pick(", ", ",\n  ").join(patterns)
        return f"{text} WHERE {self._truth(2)}" if self.one_in(2) else text

    def _pattern(self, most: int, known: list[str]) -> str:
        text = self._node(known)
        for _ in range(self.chance.randrange(most + 1)):
            text += self._relationship(binds=True) + self._node(known)
        return text

    def _node(self, known: list[str], *, binds: bool = True) -> str:
        if known and self.one_in(2):
            return f"({self.chance.choice(known)}\1)"
        variable = ""
        if binds and not self.one_in(3):
            variable = self._fresh("n")
            self.nodes.append(variable)
        head = variable + self.pick(*LABELS)
        mark = "\1" if head else "\2"
        tail = (
            f" WHERE {variable}.i {self.pick('<', '>', '=')} {self.pick('2', '3')}"
            if variable and self.one_in(8)
            else ""
        )
        if self.one_in(5):
            gap = " " if head else ""
            return f"({head}{gap}{{{self.pick('name', 'i', '`i`')}: {self.pick(*VALUES)}\3}}{tail})"
        if self.one_in(12):
            return f"({head}{{\4}}{tail})"
        return f"({head}{mark}{tail})"

    def _type(self) -> str:
        return self.pick(*TYPES)

    def _relationship(self, *, binds: bool) -> str:
        hops = self.pick("", "", "", "", "*1..2", "*2", "*..3", "*0..1")
        variable = ""
        if binds and not hops and self.one_in(3):
            variable = self._fresh("r")
            self.relationships.append(variable)
        entries = " {w: 1}" if self.one_in(8) else ""
        inner = f"{variable}{self._type()}{hops}{entries}"
        line = f"-[{inner}]-" if inner or self.one_in(2) else "--"
        return self.pick(f"{line}>", f"<{line}", line)

    def _some_node(self) -> str:
        return self.chance.choice(self.nodes) if self.nodes else ""

    def _inside(self, *, first: bool = True) -> str:
        """A pattern in an expression: it binds nothing, and begins at what is known."""
        start = self._some_node()
        text = f"({start}\1)" if start and first else self._node([], binds=False)
        for _ in range(1 + self.chance.randrange(2)):
            text += self._relationship(binds=False)
            text += self._node(self.nodes if self.one_in(3) else [], binds=False)
        return text

    def _truth(self, depth: int) -> str:
        node = self._some_node()
        if not node:
            return self.pick("true", "$two = 2", "exists { \5 }".replace("\5", self._inside()))
        if depth and self.one_in(3):
            joined = self.pick(" AND ", " OR ", " XOR ").join([self._truth(depth - 1), self._truth(depth - 1)])
            return self.pick(f"({joined})", f"NOT ({joined})")
        choices = [
            f"{node}.i {self.pick('<', '<=', '=', '<>', '>')} {self.pick('1', '2', '$two')}",
            f"{node}.i<-1",
            f"{node}.name IN ['n1', \"n2\", $name]",
            f"{node}.name STARTS WITH 'n' AND {node}.name =~ 'n[1-3]'",
            f"{node}{self.pick(':Atom', ':Part', ':!Atom')}",
            f"{node}.nothing IS NULL",
            self._inside(),
            f"NOT {self._inside()}",
            f"EXISTS {{ {self._inside()} }}",
            f"exists {{ MATCH {self._inside()} WHERE {node}.i > 0 RETURN 1 }}",
            f"COUNT {{ {self._inside()} }} > {self.pick('0', '1', '2')}",
            f"size([{self._inside()} | 1]) > 1",
            f"any(e IN [{node}.i, 2] WHERE e = $two)",
        ]
        return self.chance.choice(choices)

    def _result(self) -> str:
        node = self._some_node()
        counts = ["count(*)", f"count(DISTINCT {node})" if node else "count(*)"]
        if not node:
            return self.chance.choice(counts)
        relationship = self.chance.choice(self.relationships) if self.relationships else None
        choices = [
            *counts,
            f"count({node})",
            f"{node}.secret",
            f"{node}.name + toString({node}.i)",
            f"collect(DISTINCT {node}.secret)",
            f"min({node}.secret)",
            f"sum({node}.i)",
            f"{node} {{.name, .secret, i: {node}.i * 2}}",
            f"properties({node})",
            f"[{self._inside()} WHERE true | 1]",
            f"[{self._node([], binds=False)}-->(z\1) WHERE z:Atom | z.secret]",
            f"[q = ({node}\1)-[*1..2]->({self.pick('z', '')}:Atom\1) | [y IN nodes(q) WHERE y.i > 0 | y.secret]]",
            f"CASE WHEN {self._truth(0)} THEN {node}.secret ELSE 'none' END",
            f"COUNT {{ {self._inside()} }}",
            f"COLLECT {{ MATCH ({node}\1)--(y\1) RETURN y.secret }}",
            f"reduce(all = '', y IN [{node}.secret, 'x'] | all + y)".replace("all", "acc"),
        ]
        if relationship:
            choices.append(f"[startNode({relationship}).secret, endNode({relationship}).secret, type({relationship})]")
        return self.chance.choice(choices)
