"""Checks that each class name stands once in the code, so that a name in a log, a type or a search has one meaning.

    python -m stack.class_names

Prints the names that stand more than once, with their files; the exit status is then 1. Django requires the names
`Command` and `Migration`. Nested classes, such as `Meta`, are not compared.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from stack.child import ROOT

PACKAGES = ("addresses", "apps", "browsa", "fingerprints", "runner", "stack", "tasks")
REPEATED_BY_DJANGO = frozenset({"Command", "Migration"})


def repeated(root: Path, packages: Iterable[str] = PACKAGES) -> dict[str, list[str]]:
    """Names of top-level classes that stand in more than one module, each with the paths of its modules."""
    found = defaultdict(list)
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and node.name not in REPEATED_BY_DJANGO:
                    found[node.name].append(str(path.relative_to(root)))
    return {name: paths for name, paths in sorted(found.items()) if len(paths) > 1}


def main() -> int:
    names = repeated(ROOT)
    for name, paths in names.items():
        print(f"{name}: {', '.join(paths)}")
    if names:
        print("Each of these classes needs a name of its own.")
    return 1 if names else 0


if __name__ == "__main__":
    raise SystemExit(main())
