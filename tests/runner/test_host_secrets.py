"""Nothing of the host can be read or written through a browser, whatever a client or a page asks for."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes.site import Site
from tests.runner.client import Cdp, CdpRefused
from tests.runner.harness import ROOT, Lease, RunnerProcess, command_line, descendants, until
from tests.runner.inside import MARKER, needs_python, run_inside, uids

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

CANARY = "canary-3f0c9c1e-of-this-host"


@pytest.fixture(scope="module")
def canary() -> Iterator[Path]:
    """A file on the host that all users may read, where a jail would look for one."""
    with tempfile.NamedTemporaryFile("w", prefix="browsa-canary-", suffix=".html", delete=False) as file:
        file.write(f"<title>{CANARY}</title>{CANARY}")
    path = Path(file.name)
    path.chmod(0o644)
    yield path
    path.unlink()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cdp(shared: Lease) -> AsyncIterator[Cdp]:
    async with Cdp(shared.cdp_url) as cdp:
        await cdp.call("Browser.getVersion")
        yield cdp


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tab(cdp: Cdp) -> str:
    """A page in which the tests navigate one after the other."""
    return await cdp.new_page()


def secrets_of_the_host(runner: RunnerProcess) -> list[str]:
    """Words that only this host has: a browser that shows one has read the host."""
    host = Path("/etc/hostname").read_text().strip() if Path("/etc/hostname").exists() else socket.gethostname()
    words = [CANARY, str(runner.folder), runner.settings["BROWSA_RUNNER_TOKEN"], "BROWSA_RUNNER_TOKEN", "root:x:0"]
    words.append("The identity layer for AI agents")  # in the repository's own files
    return [*words, *([host] if len(host) > 3 else [])]


def assert_clean(runner: RunnerProcess, found: object) -> None:
    text = found if isinstance(found, str) else json.dumps(found)
    assert [word for word in secrets_of_the_host(runner) if word in text] == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "file:///etc/passwd",
        "file:///etc/shadow",
        "file:///etc/hosts",
        "file:///",
        "file:///tmp/",
        "file:///home/",
        "file:///root/",
        "file:///var/log/",
        "file:///proc/self/environ",
        "file:///proc/1/environ",
        "file:///proc/1/cmdline",
        "file:///proc/1/root/etc/hostname",
        "file:///proc/self/mountinfo",
        "file://localhost/etc/hostname",
        "file:////etc/hostname",
        "view-source:file:///etc/hostname",
        "CANARY",
        "view-source:CANARY",
        f"file://{ROOT}/README.md",
        "chrome://version",
        "chrome://system",
        "chrome://settings",
        "chrome://downloads",
        "chrome://net-export",
        "chrome://policy",
        "chrome://histograms",
        "chrome://crashes",
        "chrome://gpu",
        "chrome://inspect",
    ],
)
async def test_no_address_shows_anything_of_the_host(
    runner: RunnerProcess, cdp: Cdp, tab: str, canary: Path, url: str
) -> None:
    await cdp.call("Page.enable", session=tab)
    answer = await cdp.call("Page.navigate", {"url": url.replace("CANARY", canary.as_uri())}, session=tab)
    await until(lambda: cdp.holds("document.readyState == 'complete'", session=tab), what="the page")

    everything = {
        "answer": answer,
        "html": await cdp.run("document.documentElement.outerHTML", session=tab),
        "text": await cdp.text(session=tab),
        "title": await cdp.run("document.title", session=tab),
        "tree": await cdp.call("Page.getResourceTree", session=tab),
    }
    with_snapshot = await asyncio.gather(
        cdp.call("Page.captureSnapshot", session=tab),
        cdp.call("DOMSnapshot.captureSnapshot", {"computedStyles": []}, session=tab),
        return_exceptions=True,
    )

    assert_clean(runner, everything)
    assert_clean(runner, [str(snapshot) for snapshot in with_snapshot])
    if "file:" in url or "CANARY" in url:
        assert answer.get("errorText"), everything["text"]


async def test_a_page_cannot_embed_or_fetch_files(runner: RunnerProcess, cdp: Cdp, site: Site, canary: Path) -> None:
    tab = await cdp.new_page()
    await cdp.open(site.url("/hello"), session=tab)

    seen = await cdp.run(
        f"""(async () => {{
          const seen = [];
          try {{ seen.push(await (await fetch({canary.as_uri()!r})).text()); }} catch (e) {{ seen.push(String(e)); }}
          const frame = document.createElement("iframe");
          frame.src = {canary.as_uri()!r};
          document.body.append(frame);
          await new Promise(done => setTimeout(done, 200));
          try {{ seen.push(frame.contentDocument && frame.contentDocument.body.innerText); }}
          catch (e) {{ seen.push(String(e)); }}
          seen.push(String(window.open({canary.as_uri()!r})));
          return seen;
        }})()""",
        session=tab,
    )

    assert_clean(runner, seen)
    assert_clean(runner, await cdp.call("Page.getResourceTree", session=tab))


@pytest.mark.parametrize("path", ["/etc/hostname", "/etc/passwd", f"{ROOT}/pyproject.toml", "CANARY"])
async def test_a_file_input_gets_no_file_of_the_host(
    runner: RunnerProcess, cdp: Cdp, site: Site, canary: Path, path: str
) -> None:
    site.pages["/upload"] = lambda query: (200, {"Content-Type": "text/html"}, b"<input type=file>")
    tab = await cdp.new_page()
    await cdp.open(site.url("/upload"), session=tab)
    document = await cdp.call("DOM.getDocument", session=tab)
    node = await cdp.call("DOM.querySelector", {"nodeId": document["root"]["nodeId"], "selector": "input"}, session=tab)
    try:
        files = {"nodeId": node["nodeId"], "files": [str(canary) if path == "CANARY" else path]}
        await cdp.call("DOM.setFileInputFiles", files, session=tab)
    except CdpRefused:
        return

    read = await cdp.run(
        """(async () => {
          const file = document.querySelector("input").files[0];
          if (!file) return "no file";
          try { return [file.size, await file.text()]; } catch (e) { return String(e); }
        })()""",
        session=tab,
    )

    assert_clean(runner, read)
    host = canary if path == "CANARY" else Path(path)
    assert read == "no file" or read[1] != host.read_text()


@pytest.mark.parametrize("behavior", ["allow", "allowAndName"])
async def test_a_download_never_lands_on_the_host(cdp: Cdp, site: Site, tmp_path: Path, behavior: str) -> None:
    tmp_path.chmod(0o777)
    folders = [str(tmp_path), "/tmp", "/var/tmp", str(ROOT), "/root"]  # noqa: S108
    before = {folder: set(os.listdir(folder)) for folder in folders}
    names = {"loot"}
    for folder in folders:
        tab = await cdp.new_page()
        cdp.events.clear()
        try:
            await cdp.call(
                "Browser.setDownloadBehavior",
                {"behavior": behavior, "downloadPath": folder, "eventsEnabled": True},
            )
        except CdpRefused:
            continue
        await cdp.call("Page.navigate", {"url": site.url("/download")}, session=tab)
        begun = await cdp.event("Browser.downloadWillBegin")
        names.add(begun["guid"])
        await until(
            lambda: any(
                event["method"] == "Browser.downloadProgress"
                and event["params"]["guid"] == begun["guid"]  # noqa: B023
                and event["params"]["state"] != "inProgress"
                for event in cdp.events
            ),
            what="the download's end",
        )

    new = [found for folder in folders for found in set(os.listdir(folder)) - before[folder]]
    assert not [found for found in new if any(name in found for name in names)]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("Browser.getBrowserCommandLine", {}),
        ("Browser.getVersion", {}),
        ("SystemInfo.getInfo", {}),
        ("SystemInfo.getProcessInfo", {}),
        ("Target.getTargets", {}),
        ("Browser.getHistograms", {}),
        ("IO.read", {"handle": "/etc/hostname"}),
        ("IO.read", {"handle": "1"}),
        ("Tracing.getCategories", {}),
        ("Memory.getBrowserSamplingProfile", {}),
        ("Extensions.loadUnpacked", {"path": "/etc"}),
        ("Browser.executeBrowserCommand", {"commandId": "openTabSearch"}),
        ("Tethering.bind", {"port": 9999}),
        ("FileSystem.getDirectory", {"bucketFileSystemLocator": {"storageKey": "file:///", "pathComponents": []}}),
    ],
)
async def test_no_command_tells_anything_of_the_host(
    runner: RunnerProcess, cdp: Cdp, method: str, params: dict[str, object]
) -> None:
    try:
        answer = await cdp.call(method, params)
    except CdpRefused as error:
        answer = {"refused": str(error)}

    assert_clean(runner, answer)


async def test_a_trace_holds_nothing_of_the_host(runner: RunnerProcess, cdp: Cdp, site: Site) -> None:
    await cdp.call(
        "Tracing.start",
        {
            "transferMode": "ReturnAsStream",
            "traceConfig": {"includedCategories": ["startup", "browser", "navigation", "loading"]},
        },
    )
    tab = await cdp.new_page()
    await cdp.open(site.url("/hello"), session=tab)
    await cdp.call("Tracing.end")
    stream = (await cdp.event("Tracing.tracingComplete"))["stream"]
    trace = ""
    while True:
        chunk = await cdp.call("IO.read", {"handle": stream, "size": 4_000_000})
        trace += chunk["data"]
        if chunk["eof"]:
            break
    await cdp.call("IO.close", {"handle": stream})

    assert len(trace) > 1000
    assert_clean(runner, trace)


# Whatever of these a runner is given by mistake or on purpose; the values are what must not be found.
SECRETS = {
    "BROWSA_RUNNER_TOKEN": "rt-4b1f0d63c2",
    "EGRESS_COUNTRIES": '{"us": "http://user:pr0xy-1c7d@proxy.example:1", "de": "socks5://user:pr0xy-9e2a@proxy.example:1"}',
    "BROWSA_MASTER_KEYS": "1:bWFzdGVyLWtleS1vZi10aGlzLWhvc3Q=",
    "BROWSA_SECRET_KEY": "django-77ab10c9e4",
    "DATABASE_URL": "postgresql://browsa:pg-5f02d8@db.example/browsa",
    "REDIS_URL": "rediss://:redis-c4419b@redis.example/0",
    "STRIPE_SECRET_KEY": "sk-live-0d9c51",
    "BROWSA_HOME": "/srv/browsa/home",
}
NEEDLES = [
    *(word for name, value in SECRETS.items() if name != "EGRESS_COUNTRIES" for word in (name, value)),
    *("EGRESS_COUNTRIES", "pr0xy-1c7d", "pr0xy-9e2a", "proxy.example"),
]

READ_EVERYTHING = """
import os

def tell(*words):
    os.writev(4, [word if isinstance(word, bytes) else str(word).encode() for word in (*words, b"\\n")])

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return str(error).encode()

def memory(pid):
    for line in read(f"/proc/{pid}/maps").splitlines():
        low, high = (int(part, 16) for part in line.split()[0].split(b"-"))
        with open(f"/proc/{pid}/mem", "rb", 0) as file:
            try:
                file.seek(low)
                tell(file.read(high - low))
            except (OSError, OverflowError, ValueError):
                continue

mine = b"found-in-" + b"its-own-memory"
for pid in [name for name in os.listdir("/proc") if name.isdigit()] + ["self"]:
    for name in ("environ", "cmdline", "maps", "mountinfo", "cgroup", "status", "auxv"):
        tell(f"{pid}/{name}: ", read(f"/proc/{pid}/{name}"))
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            tell(f"{pid}/fd/{number}: ", os.readlink(f"/proc/{pid}/fd/{number}"))
    except OSError as error:
        tell(f"{pid}/fd: {error}")
    try:
        memory(pid)
    except OSError as error:
        tell(f"{pid}/mem: {error}")
for name in ("cmdline", "keys", "key-users", "mounts", "net/unix"):
    tell(name, read(f"/proc/{name}"))
"""


@needs_python
@uids
async def test_a_program_in_a_jail_finds_no_secret_of_its_runner(
    monkeypatch: pytest.MonkeyPatch, own_uid: bool
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    status, found = await run_inside(READ_EVERYTHING, own_uid=own_uid)

    assert status == 0
    assert b"found-in-its-own-memory" in found
    assert f"BROWSA_JAIL_OF={MARKER}".encode() in found
    assert b"\n1/cmdline: " in found
    assert [word for word in NEEDLES if word.encode() in found] == []
    descriptors = re.findall(rb"^(?:\d+|self)/fd/\d+: ([ -~]*)$", found, re.MULTILINE)
    assert descriptors
    assert not [name for name in descriptors if not name.startswith((b"pipe:", b"anon_inode:", b"/dev/", b"/proc/"))]


async def test_no_process_that_a_runner_starts_has_its_settings(runner: RunnerProcess, shared: Lease) -> None:
    looked_at = 0
    for pid in descendants(runner.pid):
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        except OSError:  # it has gone
            continue
        looked_at += 1
        for word in (
            runner.settings["BROWSA_RUNNER_TOKEN"],
            "BROWSA_RUNNER_TOKEN",
            "EGRESS_COUNTRIES",
            str(runner.home),
        ):
            assert word not in environ
            assert word not in " ".join(command_line(pid))

    assert looked_at > 5
