"""What a page holds: kinds D (text), E (raw answers), F (documents that are no pages) and H (shadow roots, frames)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.site import Site, html
from tests.runner.asking import case, fail, fetch, page, whole
from tests.runner.harness import RunnerProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module", autouse=True)
def framed(site: Site) -> Iterator[None]:
    """What the frames here show."""
    inner = {
        "/inner": "<p>Inner <a href=relative>x</a></p>",
        "/outer": f"<p>Outer</p><iframe src='{site.url('/inner')}'></iframe>",
    }
    for path, body in inner.items():
        site.pages[path] = lambda query, body=body: html(body)  # type: ignore[misc]
    yield
    for path in inner:
        del site.pages[path]


async def text_of(runner: RunnerProcess, url: str) -> str | None:
    return (await fetch(runner, url, formats=["text"])).text


# D: text does not depend on what is painted just now


async def test_text_of_the_cases(runner: RunnerProcess, site: Site) -> None:
    with case(site, "12-body-display-none") as url:
        assert await text_of(runner, url) == "Shown later\n\npara"
    with case(site, "23-flicker-visibility") as url:
        assert await text_of(runner, url) == "Headline\n\nStory text\n\nf"


SECTIONS = "".join(f"<section>Section {number}<div style='height:900px'></div></section>" for number in range(8))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<style>html{opacity:0}</style><p>Story</p>", "Story"),
        ("<style>html{display:none}</style><p>Story</p><style>p{}</style>", "Story"),
        ("<body hidden><p>Story</p><template><p>x</p></template><noscript>y</noscript>", "Story"),
        ("<div id=app style='display:none'><p>Story</p><script>var x</script></div>", "Story"),
        (f"<p>Loading…</p><main style='display:none'>{'Story. ' * 50}</main>", f"Loading…\n\n{'Story. ' * 49}Story."),
        (f"<style>section{{content-visibility:auto}}</style>{SECTIONS}", "\n".join(f"Section {n}" for n in range(8))),
        ("<p>Shown</p><div style='display:none'>A menu</div><p hidden>Unseen</p><dialog>Dialog</dialog>", "Shown"),
        ("<details><summary>Q</summary>A</details>", "Q\nA"),
    ],
)
async def test_text_is_what_a_page_has_to_say(runner: RunnerProcess, site: Site, body: str, expected: str) -> None:
    with page(site, "/says", body) as url:
        assert await text_of(runner, url) == expected


async def test_text_is_laid_out_in_lines(runner: RunnerProcess, site: Site) -> None:
    body = """<h1>A   title</h1><p>one <b>two</b>
      three<br>four</p><ul><li>x</li><li>y</li></ul><table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>
      <pre>  kept
        so</pre><span>a</span><span>b</span> <select><option>c<option>d</select>"""
    with page(site, "/lines", body) as url:
        text = await text_of(runner, url)
    assert text == "A title\n\none two three\nfour\n\nx\ny\n1\t2\n3\n  kept\n        so\nab\nc\nd"


# E: answers as they were sent


@pytest.mark.parametrize("name", ["30-robots-text-html", "32-robots-attachment", "33-robots-204"])
async def test_a_body_is_what_was_sent_whatever_it_is_called(runner: RunnerProcess, site: Site, name: str) -> None:
    with case(site, name) as url:
        found = await fetch(runner, url, formats=["body"])
    rules = "User-agent: *\nDisallow: /private/\n"
    assert (found.http_status, found.body) == ((204, "") if name == "33-robots-204" else (200, rules))


@pytest.mark.parametrize(
    ("kind", "sent", "body"),
    [
        ("application/octet-stream", b"a\r\nb", "a\r\nb"),
        ("application/pdf", b"\xef\xbb\xbfx", "x"),
        ("text/plain; charset=iso-8859-1", b"\xe9", "é"),
        ("image/png", "é<b>\0".encode(), "é<b>\0"),
        ("nonsense", b"\xff", "\ufffd"),
    ],
)
async def test_a_body_of_any_type(runner: RunnerProcess, site: Site, kind: str, sent: bytes, body: str) -> None:
    head = f"HTTP/1.1 503 Busy\r\nContent-Type: {kind}\r\nContent-Length: {len(sent)}\r\nConnection: close\r\n\r\n"
    with whole(site, "/any", head.encode() + sent) as url:
        found = await fetch(runner, site.url(f"/redirect?to={url}"), formats=["body"])
    assert (found.url, found.http_status, found.body) == (url, 503, body)


async def test_a_body_is_requested_as_the_identity_and_within_the_policy(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/raw", "x" * 5000) as url:
        assert (await fetch(runner, url, formats=["body"], max_chars=10, os_family="windows")).body == "x" * 10
    assert "Windows NT" in site.last("/raw").headers["user-agent"]
    refused = await fail(runner, site.url("/redirect?to=http://169.254.169.254/"), formats=["body"])
    assert refused.failure == "not_allowed"
    assert (await fail(runner, "http://name.invalid/", formats=["body"])).message == "net::ERR_NAME_NOT_RESOLVED"


# F: documents that Chromium shows in viewers


async def test_the_feed_of_the_case_is_the_feed(runner: RunnerProcess, site: Site) -> None:
    with case(site, "11-text-xml-feed") as url:
        found = await fetch(runner, url, formats=["html", "text", "links", "flat"])
    assert found.text is not None and found.text.startswith('<?xml version="1.0" encoding="UTF-8"?><rss version="2.0">')
    assert found.text.endswith("</rss>") and "First &amp; best" in found.text
    assert (found.html, found.flat, found.links, found.content_type) == (found.text, found.text, [], "text/xml")


DOCUMENTS = [
    ("application/json", '{"a": "<b>"}'),
    ("application/ld+json; charset=utf-8", "[1,\n2]"),
    ("text/plain", "a <b> & c\n\n  d"),
    ("text/plain", "é"),
    ("text/markdown", "# é"),
    ("text/csv", "a,b\n1,2\n"),
    ("application/atom+xml", '<feed xmlns="http://www.w3.org/2005/Atom"><title>é</title></feed>'),
    ("application/xml", "<urlset><url><loc>http://a.test/</loc></url></urlset>"),
    ("text/xml", "<rss><channel><title>not closed</channel></rss>"),
]


@pytest.mark.parametrize(("kind", "sent"), DOCUMENTS)
async def test_a_document_that_is_no_page_is_its_source(
    runner: RunnerProcess, site: Site, kind: str, sent: str
) -> None:
    with page(site, "/document", sent, headers={"Content-Type": kind}) as url:
        found = await fetch(runner, url, formats=["html", "text"])
    assert (found.html, found.text, found.content_type) == (sent, sent, kind.partition(";")[0])


async def test_a_second_answer_that_is_no_xml_does_not_count(runner: RunnerProcess, site: Site) -> None:
    answers = iter([(200, "text/xml", "<a>first</a>"), (404, "text/html", "gone")])

    def answer(query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        status, kind, body = next(answers)
        return status, {"Content-Type": kind}, body.encode()

    site.pages["/once"] = answer
    found = await fetch(runner, site.url("/once"), formats=["text"])
    del site.pages["/once"]
    assert (found.text, found.http_status) == ("<a>first</a>", 200)


@pytest.mark.parametrize("kind", ["application/xhtml+xml", "application/xml", "image/svg+xml"])
async def test_xml_that_is_a_page_is_one(runner: RunnerProcess, site: Site, kind: str) -> None:
    names = {"image/svg+xml": "svg xmlns='http://www.w3.org/2000/svg'"}
    root = names.get(kind, "html xmlns='http://www.w3.org/1999/xhtml'")
    body = f"<{root}><text>Words</text></{root.split()[0]}>"
    with page(site, "/xhtml", body, headers={"Content-Type": kind}) as url:
        found = await fetch(runner, url, formats=["text", "html"])
    assert (found.text, found.content_type) == ("Words", kind)


# H: all documents of a page


async def test_the_shadow_root_and_the_picture_of_the_cases(runner: RunnerProcess, site: Site) -> None:
    with case(site, "13-shadow-root") as url:
        found = await fetch(runner, url, formats=["html", "text", "links", "flat"])
    assert found.text == "Light\n\nShadow price 42\n\nshadow link"
    assert found.links == [site.url("/final")]
    assert found.html is not None and '<my-el><template shadowrootmode="open"><p>Shadow price 42</p>' in found.html
    assert found.flat is not None and "<p>Shadow price 42</p>" in found.flat
    with case(site, "15-svg-links") as url:
        links = (await fetch(runner, url, formats=["links"])).links
    assert links == [site.url("/region1"), site.url("/region2"), "http://127.0.0.1:19150/region3", site.url("/final")]


async def test_declarative_and_nested_shadow_roots_and_slots(runner: RunnerProcess, site: Site) -> None:
    body = """<my-card><template shadowrootmode=open><h2><slot name=t>none</slot></h2>
      <my-inner><template shadowrootmode=open><p>Deep <a href=/deep>d</a></p></template></my-inner>
      <slot></slot></template>
      <a slot=t href=/title>Title</a><p>Light</p></my-card>"""
    with page(site, "/slots", f"<!doctype html>{body}") as url:
        found = await fetch(runner, url, formats=["html", "text", "links"])
    assert found.text == "Title\n\nDeep d\n\nLight"
    assert sorted(found.links or []) == [site.url("/deep"), site.url("/title")]
    assert found.html is not None and found.html.count("<template shadowrootmode=") == 2
    assert found.html.startswith("<!DOCTYPE html>\n<html>") and found.html.endswith("</body></html>")


async def test_frames_of_this_site_and_of_others_stand_in_their_places(runner: RunnerProcess, site: Site) -> None:
    other = f"http://localhost:{site.port}"
    body = f"""<p>Top</p><iframe src=/inner></iframe><p>Middle</p><iframe src={other}/outer></iframe>
      <iframe srcdoc='<p>Own</p><a href=/own>o</a>'></iframe><iframe sandbox src=/inner></iframe><p>End</p>
      <iframe src={other}/inner style='display:none'></iframe>"""
    with page(site, "/frames", body) as url:
        found = await fetch(runner, url, formats=["text", "links", "flat"])
    lines = [line for line in (found.text or "").split("\n") if line]
    assert lines == ["Top", "Inner x", "Middle", "Outer", "Inner x", "Own", "o", "Inner x", "End"]
    assert found.links == [site.url("/relative"), site.url("/own"), f"{other}/relative"]
    assert found.flat is not None and found.flat.count("<p>Inner") == 3 and "<p>Outer</p>" in found.flat


async def test_a_frameset_is_its_frames(runner: RunnerProcess, site: Site) -> None:
    body = f"<frameset cols='*,*'><frame src=/inner><frame src=http://localhost:{site.port}/outer></frameset>"
    with page(site, "/set", body) as url:
        found = await fetch(runner, url, formats=["text", "links"])
    assert found.text == "Inner x\nOuter\nInner x"
    assert found.links == [site.url("/relative")]
