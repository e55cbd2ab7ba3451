from __future__ import annotations

from pathlib import Path

from stack.class_names import repeated


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_class_name_that_stands_twice_is_found_with_its_modules(tmp_path: Path) -> None:
    write(tmp_path / "apps" / "core" / "errors.py", "class Refused(Exception): ...\nclass Lost(Exception): ...\n")
    write(tmp_path / "runner" / "wire.py", "class Refused: ...\n")
    write(tmp_path / "elsewhere" / "wire.py", "class Lost: ...\n")

    assert repeated(tmp_path, ["apps", "runner"]) == {"Refused": ["apps/core/errors.py", "runner/wire.py"]}


def test_djangos_own_names_and_nested_classes_may_repeat(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / "apps" / f"{name}.py", f"class Command:\n    class Meta: ...\nclass {name.title()}: ...\n")

    assert repeated(tmp_path, ["apps"]) == {}
