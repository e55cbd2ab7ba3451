"""Quick calls through the whole stack: real Chromium, real runner, API and worker, a site on loopback."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from stack.harness import Stack
from tests.fakes.site import Site, html
from tests.integration.driving import plain_http
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.integration


class Client:
    def __init__(self, http: httpx.Client, site: Site) -> None:
        self._http, self.site = http, site

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self._http.post(path, json=body)

    def get(self, path: str) -> Any:
        return self._http.get(path).json()

    def finished(self, accepted: httpx.Response) -> Any:
        assert accepted.status_code == 202, accepted.text
        path = f"/v1/jobs/{accepted.json()['id']}?wait=10"
        return until(lambda: job if (job := self.get(path))["completed_at"] else None, what="the end of the job")

    def leave(self, path: str, **body: Any) -> None:
        """Posts, and hangs up when it has had no answer a second after the site was asked for the page."""
        asked = urlsplit(body["url"]).path
        api = HTTPConnection(self._http.base_url.host, self._http.base_url.port, timeout=PATIENCE)
        with contextlib.closing(api):
            headers = {"Content-Type": "application/json", "X-API-Key": self._http.headers["X-API-Key"]}
            api.request("POST", path, json.dumps(body), headers)
            until(lambda: asked in self.site.paths(), what="a visit of the page")
            api.sock.settimeout(1)  # after half a second the call is watched more closely
            with pytest.raises(TimeoutError):
                api.sock.recv(1)

    def balance(self) -> tuple[int, int]:
        body = self.get("/v1/credits")
        return body["balance"], body["held"]


@pytest.fixture(scope="module")
def client(stack: Stack, site: Site) -> Iterator[Client]:
    with plain_http(base_url=stack.api_url, headers={"X-API-Key": stack.api_key}) as http:
        yield Client(http, site)


def test_a_scrape_in_every_format(client: Client) -> None:
    client.site.pages["/page"] = lambda query: html(
        "<!doctype html><title>A page</title><h1>Hello</h1><p style='display:none'>unseen</p>"
        "<p>Made <b id=late></b></p><a href='/x?y=1'>x</a><script>late.textContent = 'by script'</script>"
    )
    formats = ["html", "text", "links", "screenshot", "markdown"]

    reply = client.post("/v1/quick/scrape", url=client.site.url("/page"), formats=formats)

    body = reply.json()
    assert reply.status_code == 200, reply.text
    assert (body["url"], body["http_status"], body["title"]) == (client.site.url("/page"), 200, "A page")
    assert "by script</b>" in body["html"]
    assert body["text"].split() == ["Hello", "Made", "by", "script", "x"]
    assert body["links"] == [client.site.url("/x?y=1")]
    assert body["screenshot_png_b64"].startswith("iVBORw0KGgo")
    assert "# Hello" in body["markdown"] and "**by script**" in body["markdown"]
    assert client.get(f"/v1/agents/{body['agent_id']}")["status"] == "destroyed"


@pytest.mark.parametrize("body", [b"not here", b""], ids=["with a body", "empty"])
@pytest.mark.parametrize("status", [404, 500])
def test_a_page_that_answers_with_an_error_is_a_result(client: Client, status: int, body: bytes) -> None:
    path = f"/error/{status}/{len(body)}"
    client.site.pages[path] = lambda query: (status, {"Content-Type": "text/plain"}, body)

    reply = client.post("/v1/quick/scrape", url=client.site.url(path))

    assert reply.status_code == 200, reply.text
    assert reply.json()["http_status"] == status


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/download", 502, "UPSTREAM_UNAVAILABLE"),
        ("/redirect?to=http://127.0.0.2:8080/", 400, "URL_NOT_ALLOWED"),
        ("/leads?to=http://127.0.0.2:8080/", 400, "URL_NOT_ALLOWED"),
        ("/leads?to=http://name.invalid/", 502, "UPSTREAM_UNAVAILABLE"),
    ],
)
def test_pages_that_give_nothing_are_free(client: Client, path: str, status: int, code: str) -> None:
    client.site.pages["/leads"] = lambda query: html(f"<script>location = {query['to']!r}</script>")
    before, url = client.balance(), client.site.url(path)

    reply = client.post("/v1/quick/scrape", url=url)
    batch = client.finished(client.post("/v1/quick/batch", urls=[url]))
    crawl = client.finished(client.post("/v1/quick/crawl", url=url))

    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    (row,) = batch["result"]["results"]
    assert (row["status"], row["error_code"]) == ("failed", code)
    assert (crawl["status"], crawl["error_code"]) == ("failed", code)
    assert client.balance() == before


RULES = b"User-agent: *\nDisallow: /private/\n"
ROBOTS = [
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n" + RULES,
    b"HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename=r.txt\r\nConnection: close\r\n\r\n" + RULES,
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
]


@pytest.mark.parametrize("robots", ROBOTS, ids=["html", "attachment", "204"])
def test_a_crawl_obeys_robots_txt_whatever_its_type(client: Client, robots: bytes) -> None:
    site = client.site
    site.pages["/rules"] = lambda query: html("<a href=/private/1>1</a><a href=/public/1>2</a>")
    site.pages["/private/1"] = site.pages["/public/1"] = lambda query: html("<p>x")
    site.raw["/robots.txt"] = robots

    crawl = client.finished(client.post("/v1/quick/crawl", url=site.url("/rules")))

    del site.raw["/robots.txt"]
    visited = [urlsplit(row["url"]).path for row in crawl["result"]["pages"]]
    assert visited == (["/rules", "/public/1"] if RULES in robots else ["/rules", "/private/1", "/public/1"])


def test_a_feed_is_itself_in_every_format(client: Client) -> None:
    feed = '<?xml version="1.0"?><rss version="2.0"><channel><title>A &amp; b</title></channel></rss>'
    client.site.pages["/feed"] = lambda query: (200, {"Content-Type": "application/rss+xml"}, feed.encode())

    formats = ["html", "text", "markdown"]
    body = client.post("/v1/quick/scrape", url=client.site.url("/feed"), formats=formats).json()

    assert (body["html"], body["text"], body["content_type"]) == (feed, feed, "application/rss+xml")
    assert body["markdown"] == f"```xml\n{feed}\n```\n"


def test_a_client_that_goes_away_pays_nothing(client: Client) -> None:
    before = client.balance()
    release = threading.Event()
    client.site.pages["/slow"] = lambda query: html("late" if release.wait(PATIENCE) else "never")

    try:
        client.leave("/v1/quick/scrape", url=client.site.url("/slow"))
        until(lambda: client.balance() == before, what="the release of the hold")
    finally:
        release.set()
    assert client.get("/v1/jobs?limit=1")["jobs"][0]["status"] == "cancelled"


def test_a_batch_and_a_crawl(client: Client) -> None:
    site = client.site
    for number in range(20):
        link = f"/n/{number + 1}" if number < 19 else "/n/0"
        page = f"<title>{number}</title><a href='{link}'>on</a>"
        site.pages[f"/n/{number}"] = lambda query, page=page: html(page)  # type: ignore[misc]
    balance, _ = client.balance()
    asked = site.paths().count("/robots.txt")

    urls = [site.url(f"/n/{number}") for number in range(20)]
    batch = client.finished(client.post("/v1/quick/batch", urls=urls, formats=["links"]))
    crawl = client.finished(client.post("/v1/quick/crawl", url=urls[0], max_pages=5, max_depth=10))

    assert batch["status"] == "completed", batch
    assert [row["title"] for row in batch["result"]["results"]] == [str(number) for number in range(20)]
    assert crawl["status"] == "completed", crawl
    assert [row["url"] for row in crawl["result"]["pages"]] == urls[:5]
    assert site.paths().count("/robots.txt") == asked + 1
    assert client.balance() == (balance - 25, 0)
