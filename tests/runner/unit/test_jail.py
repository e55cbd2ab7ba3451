"""What a jail holds of the host, read from bubblewrap's own arguments, and Chromium's flags."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import jail
from runner.chromium import full_flags, shell_flags
from runner.jail import JailError, JailSpec, bwrap_arguments, chromium_folder

# How many values follow an option; what is bound comes first.
BINDS = {"--ro-bind": 2, "--ro-bind-try": 2, "--bind": 2, "--bind-try": 2, "--dev-bind": 2, "--dev-bind-try": 2}

ALLOWED_SOURCES = {
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/fonts",
    "/etc/ssl/certs",
    "/etc/ld.so.cache",
    "/var/cache/fontconfig",
    "/usr/local/share/fonts",
}


def arguments(browser: str = "/usr/lib/chromium", root: Path = Path("/")) -> list[str]:
    spec = JailSpec(Path(browser), "/home/of/runner", None)
    return bwrap_arguments(spec, info_fd=7, policy_fd=8, root=root)


def bound(args: list[str]) -> dict[str, str]:
    """What of the host is visible: option by source."""
    return {args[i + 1]: option for i, option in enumerate(args) if option in BINDS}


def test_of_the_host_only_programs_fonts_and_certificates_are_visible_and_read_only() -> None:
    assert set(bound(arguments())) <= ALLOWED_SOURCES
    assert {option for option in bound(arguments()).values()} <= {"--ro-bind", "--ro-bind-try"}


def test_a_browser_outside_usr_is_visible_by_its_own_folder_alone() -> None:
    args = arguments("/home/me/.cache/ms-playwright/chromium-1187/chrome-linux")

    assert set(bound(args)) - ALLOWED_SOURCES == {"/home/me/.cache/ms-playwright/chromium-1187/chrome-linux"}
    assert chromium_folder(Path("/home/me/.cache/x")) == "/opt/chromium"
    assert chromium_folder(Path("/usr/lib/chromium")) == "/usr/lib/chromium"


def test_local_additions_to_usr_are_hidden() -> None:
    args = arguments()

    for folder in ("/usr/local", "/usr/src"):
        assert args.index("/usr") < args.index(folder)
        assert args[args.index(folder) - 1] == "--tmpfs"


def test_every_namespace_is_new_and_the_jail_ends_with_its_parent() -> None:
    args = arguments()

    assert {"--unshare-all", "--die-with-parent", "--new-session", "--clearenv"} <= set(args)
    assert not [arg for arg in args if arg.startswith(("--share-", "--cap-add", "--keep-fd"))]
    assert args[-1] == "--"


def test_whatever_can_be_written_is_in_memory_and_of_bounded_size() -> None:
    args = arguments()
    writable = {args[i + 1]: args[i - 2 : i] for i, arg in enumerate(args) if arg == "--tmpfs"}

    for folder in (jail.HOME, "/tmp", "/dev/shm"):  # noqa: S108
        assert writable[folder][0] == "--size"
        assert int(writable[folder][1]) > 0


def test_a_merged_usr_is_linked_and_a_split_one_bound(tmp_path: Path) -> None:
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "lib").mkdir()
    args = arguments(root=tmp_path)

    assert args[args.index("/bin") - 2 :][:3] == ["--symlink", "usr/bin", "/bin"]
    assert args[args.index("/lib") - 1] == "--ro-bind"
    assert "/lib64" not in args


@pytest.mark.parametrize("flags", [full_flags, shell_flags])
def test_chromium_keeps_its_own_sandbox_and_goes_out_through_the_proxy_alone(
    flags: Callable[[str, str], list[str]],
) -> None:
    args = flags("socks5://127.0.0.1:3128", "/p")

    assert not [arg for arg in args if "no-sandbox" in arg or "disable-setuid" in arg or "single-process" in arg]
    assert "--enable-automation" not in args
    assert not [arg for arg in args if arg.startswith(("--remote-allow-origins", "--disable-web-security"))]
    assert "--proxy-server=socks5://127.0.0.1:3128" in args
    assert "--proxy-bypass-list=<-loopback>" in args


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a jail a uid of its own")
def test_as_root_every_jail_has_a_uid_that_no_account_has() -> None:
    uids = jail.uids()
    first, second = next(uids), next(uids)

    assert first is not None
    assert second is not None
    assert first != second
    assert first >= jail.FIRST_UID


def test_a_machine_without_bubblewrap_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(JailError, match="apt install bubblewrap") as caught:
        jail.probe(JailSpec(Path("/usr/bin"), "m", None))
    assert "BROWSA_JAIL=off" in str(caught.value)


def test_a_machine_without_user_namespaces_is_told_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(JailError, match="No permissions to create new namespace") as caught:
        jail.probe(JailSpec(Path("/usr/bin"), "m", None))
    assert "unprivileged_userns_clone" in str(caught.value)
