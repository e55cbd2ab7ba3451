"""From a browser only what the address policy permits can be reached, however it is asked for."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.fakes.canary import Canary
from tests.fakes.site import Site
from tests.runner.client import Cdp, CdpRefused
from tests.runner.harness import POOL_SIZE, Lease, RunnerProcess, browsers_of, in_time

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    with Canary() as canary:
        yield canary


@pytest.fixture(scope="module")
def canary6() -> Iterator[Canary | None]:
    try:
        made = Canary("::1")
    except OSError:
        yield None
        return
    with made:
        yield made


@pytest.fixture(autouse=True)
def no_visits(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test here ends with untouched canaries."""
    canaries = [request.getfixturevalue("canary"), request.getfixturevalue("canary6")]
    yield
    visits = [visit for made in canaries if made is not None for visit in made.visits]
    assert visits == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cdp(shared: Lease) -> AsyncIterator[Cdp]:
    async with Cdp(shared.cdp_url) as cdp:
        await cdp.call("Browser.getVersion")
        yield cdp


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tab(cdp: Cdp) -> str:
    """A page in which the tests navigate one after the other."""
    return await cdp.new_page()


# PORT is the canary's. Where nothing listens, an answer would be a different error than the policy's.
INNER = [
    "http://127.0.0.1:PORT/",
    "http://localhost:PORT/",
    "http://ip6-localhost:PORT/",
    "http://127.1:PORT/",
    "http://2130706433:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://017700000001:PORT/",
    "http://0x7f.1:PORT/",
    "http://0x7f000001:PORT/",
    "http://0:PORT/",
    "http://0.0.0.0:PORT/",
    "http://127.0.0.2:PORT/",
    "http://127.255.255.254:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://127。0。0。1:PORT/",
    "http://①②⑦.⓪.⓪.①:PORT/",
    "http://localhost.:PORT/",
    "http://LOCALHOST:PORT/",
    "http://user:pass@127.0.0.1:PORT/",
    "http://[::1]:PORT6/",
    "http://[::]:PORT6/",
    "http://[0:0:0:0:0:0:0:1]:PORT6/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254.:80/",
    "http://2852039166/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://168.63.129.16/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://255.255.255.255/",
    "http://224.0.0.1/",
    "https://127.0.0.1:PORT/",
    "ws://127.0.0.1:PORT/",
    "ftp://127.0.0.1:PORT/",
]


def aimed(url: str, canary: Canary, canary6: Canary | None) -> str:
    return url.replace("PORT6", str(canary6.port if canary6 else 1080)).replace("PORT", str(canary.port))


async def test_the_site_that_the_operator_allows_is_reached(cdp: Cdp, tab: str, site: Site) -> None:
    """Without this, every other test here could pass in a browser that reaches nothing at all."""
    await cdp.open(site.url("/hello"), session=tab)

    assert await cdp.text(session=tab) == "Hello, agent"


@pytest.mark.parametrize("url", INNER)
async def test_a_page_cannot_navigate_to(cdp: Cdp, tab: str, canary: Canary, canary6: Canary | None, url: str) -> None:
    answer = await cdp.call("Page.navigate", {"url": aimed(url, canary, canary6)}, session=tab)

    assert answer.get("errorText"), answer
    assert "TIMED_OUT" not in answer["errorText"]


async def test_redirects_lead_no_further(
    cdp: Cdp, tab: str, site: Site, canary: Canary, canary6: Canary | None
) -> None:
    for url in INNER[:30]:
        target = aimed(url, canary, canary6)
        site.pages["/away"] = lambda query, to=target: (302, {"Location": to.encode().decode("latin-1")}, b"")  # type: ignore[misc]

        answer = await cdp.call("Page.navigate", {"url": site.url("/away")}, session=tab)

        assert answer.get("errorText"), (url, answer)


async def test_a_page_reaches_inner_addresses_by_no_api(
    cdp: Cdp, tab: str, site: Site, canary: Canary, canary6: Canary | None
) -> None:
    await cdp.open(site.url("/hello"), session=tab)
    targets = [aimed(url, canary, canary6) for url in INNER[:24] if url.startswith("http://")]

    outcome = await cdp.run(
        f"""(async targets => {{
          const reached = [];
          const timely = (promise, name) => Promise.race([
            promise.then(() => reached.push(name), () => null), new Promise(done => setTimeout(done, 3000))]);
          const event = (thing, good, name) => timely(new Promise((yes, no) => {{
            thing.addEventListener(good, yes); thing.addEventListener("error", no); }}), name);
          await Promise.all(targets.flatMap(url => {{
            const ws = url.replace("http", "ws"), image = new Image(), script = document.createElement("script");
            const request = new XMLHttpRequest();
            const waits = [
              timely(fetch(url, {{ mode: "no-cors" }}), "fetch " + url),
              event(new WebSocket(ws), "open", "WebSocket " + url),
              event(new EventSource(url), "open", "EventSource " + url),
              event(image, "load", "image " + url),
              event(script, "load", "script " + url),
              event(request, "load", "XMLHttpRequest " + url),
            ];
            request.open("GET", url); request.send();
            image.src = url; script.src = url; document.head.append(script);
            navigator.sendBeacon(url, "x");
            for (const rel of ["preload", "prefetch", "preconnect", "dns-prefetch"]) {{
              const link = document.createElement("link"); link.rel = rel; link.href = url; link.as = "fetch";
              document.head.append(link);
            }}
            const frame = document.createElement("iframe"); frame.src = url; document.body.append(frame);
            return waits;
          }}));
          return reached;
        }})({json.dumps(targets)})""",
        session=tab,
    )

    assert outcome == []


async def test_a_service_worker_reaches_no_more_than_its_page(cdp: Cdp, tab: str, site: Site, canary: Canary) -> None:
    script = f"""
      onmessage = async message => {{
        let answer = "refused";
        try {{ await fetch("http://127.0.0.1:{canary.port}/", {{ mode: "no-cors" }}); answer = "reached"; }}
        catch (e) {{}}
        message.source.postMessage(answer);
      }}
      oninstall = () => skipWaiting(); onactivate = event => event.waitUntil(clients.claim());
    """
    site.pages["/reach.js"] = lambda query: (200, {"Content-Type": "text/javascript"}, script.encode())
    await cdp.open(site.url("/hello"), session=tab)

    answer = await cdp.run(
        """(async () => {
          await navigator.serviceWorker.register("/reach.js");
          const worker = (await navigator.serviceWorker.ready).active;
          return await new Promise(done => {
            navigator.serviceWorker.onmessage = event => done(event.data);
            worker.postMessage("go");
          });
        })()""",
        session=tab,
    )

    assert answer == "refused"


async def test_a_page_cannot_rebind_its_own_name(cdp: Cdp, tab: str, site: Site, canary: Canary) -> None:
    """`localhost` is allowed on the site's port alone, whatever the origin of the page that asks."""
    await cdp.open(site.url("/hello", host="localhost"), session=tab)

    assert await cdp.text(session=tab) == "Hello, agent"
    with pytest.raises(CdpRefused):
        await cdp.run(f"fetch('http://localhost:{canary.port}/', {{mode: 'no-cors'}}).then(r => 1)", session=tab)


PROXIES = [
    ("direct://", ""),
    ("direct://", "*"),
    ("127.0.0.1:PORT", ""),
    ("http://127.0.0.1:PORT", "<-loopback>"),
    ("socks5://127.0.0.1:PORT", ""),
    ("socks5://localhost:PORT", "localhost,127.0.0.1"),
    ("socks5://127.0.0.1:3128", "*"),
    ("https://127.0.0.1:PORT", ""),
    ("quic://127.0.0.1:PORT", ""),
    ("10.0.0.1:80;direct://", ""),
]


@pytest.mark.parametrize(("proxy", "bypass"), PROXIES)
async def test_another_proxy_leads_nowhere(cdp: Cdp, site: Site, canary: Canary, proxy: str, bypass: str) -> None:
    options = {"proxyServer": proxy.replace("PORT", str(canary.port)), "proxyBypassList": bypass}
    try:
        context = (await cdp.call("Target.createBrowserContext", options))["browserContextId"]
    except CdpRefused:
        return
    page = await cdp.new_page(browserContextId=context)

    for url in (f"http://127.0.0.1:{canary.port}/", "http://169.254.169.254/", "http://10.0.0.1/"):
        answer = await cdp.call("Page.navigate", {"url": url}, session=page)
        assert answer.get("errorText"), answer
    if proxy.startswith("direct") or bypass == "*":
        answer = await cdp.call("Page.navigate", {"url": site.url("/hello")}, session=page)
        assert answer.get("errorText"), "even the allowed site is reached through the runner alone"
    await cdp.call("Target.disposeBrowserContext", {"browserContextId": context})


async def test_webrtc_sends_no_packet_and_knows_no_address(cdp: Cdp, tab: str, site: Site, canary: Canary) -> None:
    hosts = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)} - {"127.0.0.1", "::1"}
    await cdp.open(site.url("/hello"), session=tab)

    candidates = await cdp.run(
        f"""(async () => {{
          const candidates = [];
          for (const policy of ["all", "relay"]) {{
            const connection = new RTCPeerConnection({{ iceTransportPolicy: policy, iceServers: [
              {{ urls: ["stun:127.0.0.1:{canary.port}", "stun:localhost:{canary.port}"] }},
              {{ urls: ["turn:127.0.0.1:{canary.port}", "turn:127.0.0.1:{canary.port}?transport=tcp",
                        "turns:127.0.0.1:{canary.port}?transport=tcp"], username: "u", credential: "c" }} ] }});
            connection.onicecandidate = event => event.candidate && candidates.push(event.candidate.candidate);
            connection.createDataChannel("x");
            await connection.setLocalDescription(await connection.createOffer());
            await connection.setRemoteDescription({{ type: "answer", sdp: connection.localDescription.sdp
              .replace("a=setup:actpass", "a=setup:active").replace(/a=ice-ufrag:.*/, "a=ice-ufrag:abcd") }})
              .catch(() => null);
            await connection.addIceCandidate({{ sdpMid: "0",
              candidate: "candidate:1 1 udp 2130706431 127.0.0.1 {canary.port} typ host" }}).catch(() => null);
            await connection.addIceCandidate({{ sdpMid: "0",
              candidate: "candidate:2 1 tcp 1518280447 127.0.0.1 {canary.port} typ host tcptype passive" }})
              .catch(() => null);
            await Promise.race([new Promise(done => setTimeout(done, 1500)), new Promise(done => {{
              connection.onicegatheringstatechange = () => connection.iceGatheringState == "complete" && done(); }})]);
            connection.close();
          }}
          return candidates;
        }})()""",
        session=tab,
    )

    assert not [line for line in candidates if any(host in line for host in hosts)]
    assert not [line for line in candidates if "typ host" in line and ".local" not in line]


async def test_a_jail_has_no_route_and_only_interfaces_that_lead_to_each_other(runner: RunnerProcess, cdp: Cdp) -> None:
    """QUIC, DNS and all other traffic that would not go through the proxy ends here."""
    await runner.at_rest(warm=POOL_SIZE)
    browsers = browsers_of(runner.pid)
    assert browsers
    for pid in browsers:
        with open(f"/proc/{pid}/net/dev") as file:
            names = {line.split(":")[0].strip() for line in file.readlines()[2:]}
        with open(f"/proc/{pid}/net/route") as file:
            assert file.readlines()[1:] == []
        with open(f"/proc/{pid}/net/ipv6_route") as file:
            destinations = {line.split()[0] for line in file if line.split()[-1] != "lo"}
        with open(f"/proc/{pid}/net/if_inet6") as file:
            addressed = {line.split()[-1] for line in file}
        assert names == {"lo", "eth0", "eth1"}
        assert addressed <= {"lo"}  # an address that comes later ends the requests that run (net::ERR_NETWORK_CHANGED)
        assert all(destination.startswith("ff") for destination in destinations)  # multicast


async def test_a_name_that_does_not_exist_fails_fast(cdp: Cdp, tab: str) -> None:
    async def look_up() -> float:
        began = time.monotonic()
        answer = await cdp.call("Page.navigate", {"url": "http://no-such-name.invalid/"}, session=tab)
        assert "ERR_" in answer["errorText"]
        return time.monotonic() - began

    await in_time(15, look_up)
