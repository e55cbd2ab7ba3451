"""What a jail holds of the host, read from bubblewrap's own arguments, and Chromium's flags."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import jail
from runner.chromium_flags import full_flags, shell_flags
from runner.jail import POLICY_PATHS, JailError, JailSpec, bwrap_arguments, chromium_folder, marker_of

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
    # What covers files of the kernel.
    "/proc/sys",
    "/dev/null",
}


def arguments(browser: str = "/usr/lib/chromium", root: Path = Path("/")) -> list[str]:
    spec = JailSpec(Path(browser), marker_of(Path("/home/of/runner")), None)
    return bwrap_arguments(spec, info_fd=7, file_fds={POLICY_PATHS[0]: 8}, root=root)


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


def test_the_arguments_which_every_jailed_program_can_read_tell_no_path_of_the_runners_home() -> None:
    assert not [argument for argument in arguments() if "/home/of" in argument]
    assert marker_of(Path("/home/of/runner")) in arguments()
    assert marker_of(Path("/home/of/runner")) != marker_of(Path("/home/of/another"))


def test_every_namespace_is_new_and_the_jail_ends_with_its_parent() -> None:
    args = arguments()

    assert {"--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"} <= set(args)
    assert not [arg for arg in args if arg.startswith(("--share-", "--cap-add", "--keep-fd"))]
    assert args[-1] == "--"


def test_whatever_can_be_written_is_in_memory_and_of_bounded_size() -> None:
    args = arguments()
    writable = {args[i + 1]: args[i - 2 : i] for i, arg in enumerate(args) if arg == "--tmpfs"}

    for folder in (jail.HOME, "/tmp", "/dev/shm"):  # noqa: S108
        assert writable[folder][0] == "--size"
        assert int(writable[folder][1]) > 0
    read_only = {args[i + 1] for i, arg in enumerate(args) if arg == "--remount-ro"}
    for folder in ("/", "/dev", *(folder for folder, options in writable.items() if options[0] != "--size")):
        assert folder in read_only


def test_the_kernels_files_are_covered_where_there_are_any(tmp_path: Path) -> None:
    (tmp_path / "proc/sys").mkdir(parents=True)
    (tmp_path / "proc/acpi").mkdir()
    (tmp_path / "proc/kcore").touch()
    args = " ".join(arguments(root=tmp_path))

    assert "--ro-bind /proc/sys /proc/sys" in args
    assert "--ro-bind /dev/null /proc/kcore" in args
    assert "--tmpfs /proc/acpi --remount-ro /proc/acpi" in args
    assert "/proc/keys" not in args


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


def test_a_jail_without_a_user_namespace_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "os.write(int(sys.argv[sys.argv.index('--info-fd') + 1]), b'{\"child-pid\": 1}')\n"
        "program = sys.argv[sys.argv.index('--') + 1 :]\n"
        "program[-1] = '/usr/bin/.'\n"
        "os.execvp(program[0], program)\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(JailError, match="no separate user namespace") as caught:
        jail.probe(JailSpec(Path("/usr/bin"), "m", None))
    assert "unprivileged_userns_clone" in str(caught.value)


@pytest.mark.parametrize("name", [marker_of, str], ids=["of today", "of older code"])
def test_jails_that_an_earlier_runner_left_are_killed(tmp_path: Path, name: Callable[[Path], str]) -> None:
    script = "import sys; sys.stdin.read()"
    left, other = (
        subprocess.Popen([sys.executable, "-c", script, "--setenv", jail.MARKER, name(home)], stdin=subprocess.PIPE)
        for home in (tmp_path, tmp_path / "another")
    )
    with left, other:
        assert jail.kill_leftovers(tmp_path) == 1
        assert left.wait() == -signal.SIGKILL
        assert other.poll() is None
