"""The layers of the code and their sizes: printed by `make check` and shown in docs/architecture.md.

    python -m stack.layer_map [--check | --write]

Without an option it prints the map. `--check` fails when the document's map differs, `--write` rewrites it.
The packages come from the file tree, their levels from the `layers` contracts in pyproject.toml. The
document has the packages and levels exactly. Its sizes are a guide: line counts are rounded to hundreds, and
a size counts as different only after it has changed by a quarter. So most commits do not touch the document.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.child import ROOT

DOCUMENT = ROOT / "docs" / "architecture.md"
WRITE_COMMAND = ".venv/bin/python -m stack.layer_map --write"

_BEGIN, _END = f"<!-- layer map: {WRITE_COMMAND} -->", "<!-- end of the layer map -->"
_BLOCK = re.compile(f"{re.escape(_BEGIN)}\n```text\n(.*?)\n```\n{re.escape(_END)}", re.DOTALL)
_LINE = re.compile(r"^ *(?P<level>\S+)  (?P<package>\S+) +(?P<files>\d+) +(?P<lines>\d+)$", re.MULTILINE)
# Folders that are a layer of an app or hold no code of their own. They count as part of their package.
_NOT_A_PART = frozenset({"management", "migrations", "services"})
_TOLERANCE = 0.25
_SMALLEST_CHANGE = {"files": 4, "lines": 400}


class MapError(Exception):
    """The map cannot be made, or differs from the document. The text says what to do."""


@dataclass(frozen=True)
class PackageSize:
    """One package with everything below it. `level` is empty when no contract orders the package."""

    package: str
    level: str
    files: int
    lines: int


def rows(root: Path, importlinter: Mapping[str, Any]) -> list[PackageSize]:
    """The map of the tree at `root`, ordered by level. Raises MapError when an app has no level."""
    tops = [name for name in importlinter["root_packages"] if name != "apps"]
    levels = _levels(importlinter, None)
    apps = [f"apps.{name}" for name in _subpackages(root / "apps")]
    missing = [name for name in apps if name not in levels]
    if missing:
        raise MapError(f"No contract in pyproject.toml orders {', '.join(missing)}. Add it to the layers of apps.")
    found = []
    for package in sorted([*apps, *tops], key=lambda name: (levels.get(name, 99), name)):
        folder = root.joinpath(*package.split("."))
        found.append(_measure(folder, package, levels.get(package)))
        parts = [name for name in _subpackages(folder) if name not in _NOT_A_PART]
        inner = _levels(importlinter, package)
        for part in sorted(parts, key=lambda name: (inner.get(name, 99), name)):
            level = f"{levels[package]}.{inner[part]}" if part in inner else None
            found.append(_measure(folder / part, f"{package}.{part}", level))
    return found


def render(found: Sequence[PackageSize]) -> str:
    """The map as text, line counts rounded to hundreds."""
    width = max(len(row.package) for row in found)
    head = f"level  {'package':<{width}}  files  lines"
    body = []
    for row in found:
        lines = max(100, round(row.lines, -2)) if row.lines else 0
        body.append(f"{row.level or '-':>5}  {row.package:<{width}}  {row.files:>5}  {lines:>5}")
    return "\n".join([head, *body])


def differences(found: Sequence[PackageSize], document: str) -> list[str]:
    """What differs between the tree's map and the one in `document`, one sentence each."""
    block = _BLOCK.search(document)
    if block is None:
        return ["the document has no map"]
    shown = {
        match["package"]: PackageSize(
            match["package"], match["level"].strip("-"), int(match["files"]), int(match["lines"])
        )
        for match in _LINE.finditer(block[1])
    }
    texts = [f"{package} is not in the code" for package in shown if package not in {row.package for row in found}]
    for row in found:
        before = shown.get(row.package)
        if before is None:
            texts.append(f"{row.package} is not in the document")
        elif before.level != row.level:
            texts.append(f"{row.package} has level {row.level or '-'}, not {before.level or '-'}")
        else:
            for name, smallest in _SMALLEST_CHANGE.items():
                now, then = getattr(row, name), getattr(before, name)
                if abs(now - then) > max(smallest, _TOLERANCE * then):
                    texts.append(f"{row.package} has {now} {name}, not {then}")
    return texts


def with_map(document: str, found: Sequence[PackageSize]) -> str:
    """`document` with its map replaced. Raises MapError when it has no markers."""
    if not _BLOCK.search(document):
        raise MapError(f"The document has no {_BEGIN} … {_END} around a text block.")
    return _BLOCK.sub(lambda _: f"{_BEGIN}\n```text\n{render(found)}\n```\n{_END}", document)


def current() -> list[PackageSize]:
    """The map of this project."""
    return rows(ROOT, tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"])


def _levels(importlinter: Mapping[str, Any], container: str | None) -> dict[str, int]:
    """Levels from 1 (the top) of the packages in the `layers` contract of one container, or of the whole project.

    A contract with several containers says what each app looks like inside; it orders no packages.
    """
    for contract in importlinter["contracts"]:
        if contract["type"] == "layers" and contract.get("containers", []) == ([container] if container else []):
            return {
                name.strip(" ()").removesuffix(".urls"): level
                for level, names in enumerate(contract["layers"], 1)
                for name in names.split("|")
            }
    return {}


def _subpackages(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/__init__.py"))


def _measure(folder: Path, package: str, level: int | str | None) -> PackageSize:
    files = [path for path in folder.rglob("*.py") if "migrations" not in path.parts]
    lines = sum(path.read_text().count("\n") for path in files)
    return PackageSize(package, "" if level is None else str(level), len(files), lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m stack.layer_map", description="The layers and their sizes.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="fail when docs/architecture.md shows another map")
    mode.add_argument("--write", action="store_true", help="rewrite the map in docs/architecture.md")
    options = parser.parse_args(arguments)
    try:
        found = current()
        if options.write:
            DOCUMENT.write_text(with_map(DOCUMENT.read_text(), found))
        elif options.check:
            texts = differences(found, DOCUMENT.read_text())
            if texts:
                raise MapError("\n".join([*texts, f"Rewrite the map in docs/architecture.md: {WRITE_COMMAND}"]))
        else:
            print(render(found))
    except MapError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
