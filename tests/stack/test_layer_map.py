from __future__ import annotations

from pathlib import Path

import pytest

from stack import layer_map
from stack.layer_map import MapError, PackageSize, differences, render, rows, with_map

LINTER = {
    "root_packages": ["apps", "web", "runner"],
    "contracts": [
        {"type": "forbidden", "source_modules": ["runner"]},
        {"type": "layers", "layers": ["web.urls", "apps.jobs", "apps.core | apps.money"]},
        {"type": "layers", "containers": ["apps.jobs"], "layers": ["urls | admin", "pages", "(worker)"]},
        {"type": "layers", "containers": ["apps.jobs", "apps.core"], "layers": ["views", "models"]},
    ],
}
FOUND = [PackageSize("web", "1", 2, 250), PackageSize("apps.jobs", "2", 20, 2_000), PackageSize("runner", "", 1, 20)]
DOCUMENT = f"# Layers\n\n{layer_map._BEGIN}\n```text\n\n```\n{layer_map._END}\n\nThe end.\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for package in ("web", "runner/egress", "apps/jobs/worker", "apps/jobs/pages", "apps/jobs/services"):
        for folder in (tmp_path / package, *(tmp_path / package).parents):
            if folder == tmp_path:
                break
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "__init__.py").touch()
    for app in ("core", "money"):
        (tmp_path / "apps" / app / "migrations").mkdir(parents=True)
        (tmp_path / "apps" / app / "__init__.py").touch()
        (tmp_path / "apps" / app / "migrations" / "0001_initial.py").write_text("x\n" * 500)
    (tmp_path / "apps" / "jobs" / "pages" / "views.py").write_text("x\n" * 30)
    return tmp_path


def test_packages_come_in_the_order_of_their_levels(tree: Path) -> None:
    found = rows(tree, LINTER)

    assert [(row.level, row.package) for row in found] == [
        ("1", "web"),
        ("2", "apps.jobs"),
        ("2.2", "apps.jobs.pages"),
        ("2.3", "apps.jobs.worker"),
        ("3", "apps.core"),
        ("3", "apps.money"),
        ("", "runner"),
        ("", "runner.egress"),
    ]


def test_a_package_counts_everything_below_it_but_migrations(tree: Path) -> None:
    found = {row.package: row for row in rows(tree, LINTER)}

    assert (found["apps.jobs"].files, found["apps.jobs"].lines) == (5, 30)
    assert (found["apps.core"].files, found["apps.core"].lines) == (1, 0)


def test_an_app_without_a_level_is_an_error(tree: Path) -> None:
    (tree / "apps" / "vault").mkdir()
    (tree / "apps" / "vault" / "__init__.py").touch()

    with pytest.raises(MapError, match=r"apps\.vault"):
        rows(tree, LINTER)


def test_the_written_map_is_the_map_of_the_code() -> None:
    document = with_map(DOCUMENT, FOUND)

    assert document.startswith("# Layers\n") and document.endswith("\n\nThe end.\n")
    assert "    2  apps.jobs     20   2000" in document
    assert differences(FOUND, document) == []
    assert with_map(document, FOUND) == document


def test_lines_are_rounded_to_hundreds() -> None:
    assert render(
        [PackageSize("web", "1", 2, 251), PackageSize("small", "1", 1, 3), PackageSize("empty", "1", 1, 0)]
    ).splitlines()[1:] == [
        "    1  web        2    300",
        "    1  small      1    100",
        "    1  empty      1      0",
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (PackageSize("apps.jobs", "1", 20, 2_000), ["apps.jobs has level 1, not 2"]),
        (
            PackageSize("apps.tasks", "2", 20, 2_000),
            ["apps.jobs is not in the code", "apps.tasks is not in the document"],
        ),
        (PackageSize("apps.jobs", "2", 26, 2_000), ["apps.jobs has 26 files, not 20"]),
        (PackageSize("apps.jobs", "2", 20, 1_400), ["apps.jobs has 1400 lines, not 2000"]),
        (PackageSize("apps.jobs", "2", 24, 2_450), []),
    ],
)
def test_levels_must_be_equal_and_sizes_similar(changed: PackageSize, said: list[str]) -> None:
    assert differences([FOUND[0], changed, FOUND[2]], with_map(DOCUMENT, FOUND)) == said


def test_a_document_without_markers_is_an_error() -> None:
    assert differences(FOUND, "# Layers\n") == ["the document has no map"]
    with pytest.raises(MapError, match="layer map"):
        with_map("# Layers\n", FOUND)
