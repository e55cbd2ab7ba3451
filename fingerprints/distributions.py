"""The figures of `distributions.json`, and a weighted choice that is the same for a seed for life. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from fingerprints.families import OsFamily


class ScreenRow(NamedTuple):
    """CSS pixels. `cores`: the only numbers that machines with this built-in display have; empty: any.

    `top` is the menu bar beside a camera housing, None where it is the system's.
    """

    width: int
    height: int
    scale: float
    share: int
    color_depth: int
    cores: tuple[int, ...] = ()
    top: int | None = None

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}@{self.scale:g}"


class SystemRow(NamedTuple):
    """A version of the operating system as client hints have it, and its desktop's bars in CSS pixels."""

    version: str
    top: int
    bottom: int
    share: int

    @property
    def name(self) -> str:
        return f"{self.version} {self.top} {self.bottom}"


class CoresRow(NamedTuple):
    cores: int
    share: int

    @property
    def name(self) -> str:
        return str(self.cores)


class FamilyTables(NamedTuple):
    screens: tuple[ScreenRow, ...]
    systems: tuple[SystemRow, ...]
    cores: tuple[CoresRow, ...]


class Phone(NamedTuple):
    """A phone that `screen_resolution` names. `hint_platform` is empty where its browser has no client hints."""

    width: int
    height: int
    scale: float
    color_depth: int
    physical: tuple[int, int]
    cores: int
    platform: str
    user_agent: str
    hint_platform: str = ""
    hint_version: str = ""
    model: str = ""


def _load() -> tuple[dict[OsFamily, FamilyTables], dict[str, Phone]]:
    data: dict[str, Any] = json.loads(Path(__file__).with_name("distributions.json").read_text())
    tables = {
        family: FamilyTables(
            screens=tuple(ScreenRow(**{**row, "cores": tuple(row.get("cores", ()))}) for row in found["screens"]),
            systems=tuple(SystemRow(**row) for row in found["systems"]),
            cores=tuple(CoresRow(**row) for row in found["cores"]),
        )
        for family, found in data["families"].items()
    }
    phones = {name: Phone(**{**row, "physical": tuple(row["physical"])}) for name, row in data["phones"].items()}
    return tables, phones


TABLES, PHONES = _load()


class WeightedRow(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def share(self) -> int: ...


AnyRow = TypeVar("AnyRow", bound=WeightedRow)


def pick(key: str, what: str, rows: Sequence[AnyRow]) -> AnyRow:
    """One of the rows, each with its share of all keys.

    Each row gets an exponential waiting time from a hash of the key and the row; the first one wins (rendezvous
    hashing with weights). When a later release adds a row or changes a share, only the keys that must move do, and the
    choice of one thing does not depend on that of another.
    """
    return min(rows, key=lambda row: -math.log(fraction(f"{key}\0{what}\0{row.name}")) / row.share)


def fraction(text: str) -> float:
    """A number from 0 to 1, without 0, evenly distributed over texts."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) + 0.5) / 2**48
