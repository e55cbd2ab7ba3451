"""The router's heuristic, as a table: which way a task goes, and what it would scrape."""

# ruff: noqa: RUF001  the point of some rows is that their letters are not what they look like

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.jobs.auto.router import route
from tests.patience import cpu_seconds

URL = "https://example.com/a"

FETCH = ["go to", "visit", "fetch", "return", "extract", "read", "navigate to", "open"]
INTERACTIVE = [
    "click",
    "type",
    "fill",
    "submit",
    "log in",
    "sign up",
    "scroll",
    "press",
    "select",
    "choose",
    "hover",
    "search for",
    "filter",
    "sort by",
    "add to cart",
    "checkout",
]


@pytest.mark.parametrize("verb", FETCH)
@pytest.mark.parametrize("cased", [str.lower, str.upper, str.title])
def test_a_url_and_a_fetch_verb_are_a_scrape(verb: str, cased: Callable[[str], str]) -> None:
    found = route(f"Please {cased(verb)} {URL}.")

    assert (found.via, found.url) == ("scrape", URL)
    assert f"“{verb}”" in found.reason


@pytest.mark.parametrize("verb", INTERACTIVE)
@pytest.mark.parametrize(
    "sentence",
    [
        "Go to {url} and {verb} it",
        "{verb} something; open {url}",
        "Open {url}, {upper} something",
        "open {url}\n{verb}",
        "visit {url} («{verb}»)",
    ],
)
def test_any_interactive_verb_is_a_task(verb: str, sentence: str) -> None:
    found = route(sentence.format(url=URL, verb=verb, upper=verb.upper()))

    assert (found.via, found.url) == ("task", None)
    assert f"“{verb}”" in found.reason


@pytest.mark.parametrize("url", ["https://example.com/{}", "https://example.com/?q={}", "https://example.com/#{}"])
def test_an_interactive_verb_inside_the_url_is_no_verb(url: str) -> None:
    for verb in INTERACTIVE:
        address = url.format(verb.replace(" ", "-"))

        found = route(f"Go to {address} and return the title")

        assert (found.via, found.url) == ("scrape", address)


SCRAPES = [
    ("Go to https://example.com and return the h1 text.", "https://example.com"),
    ("visit:https://example.com", "https://example.com"),
    ("fetch https://example.com/login", "https://example.com/login"),
    ("open https://a.com?search=1 and return the search results", "https://a.com?search=1"),
    ("read the page at https://example.com!", "https://example.com"),
    ("Read https://example.com's title", "https://example.com"),
    ('open "https://example.com/x".', "https://example.com/x"),
    ("open 'https://example.com/x'", "https://example.com/x"),
    ("open “https://example.com/x”", "https://example.com/x"),
    ("open <https://example.com/x>", "https://example.com/x"),
    ("[the site](https://example.com/x): read it", "https://example.com/x"),
    ("read (https://en.wikipedia.org/wiki/A_(b)).", "https://en.wikipedia.org/wiki/A_(b)"),
    ("**https://example.com/x** — open", "https://example.com/x"),
    ("Open https://example.com… now", "https://example.com"),
    ("HTTPS://EXAMPLE.com/X visit", "HTTPS://EXAMPLE.com/X"),
    ("http://127.0.0.1:8080/x?y=1&z=2, fetch it", "http://127.0.0.1:8080/x?y=1&z=2"),
    ("fetch https://example.com and https://EXAMPLE.com:443/", "https://example.com"),
    ("Go to https://example.com and return the title of example.com", "https://example.com"),
    (
        "fetch https://web.archive.org/web/2020/https://example.com/",
        "https://web.archive.org/web/2020/https://example.com/",
    ),
    ("Extract the following data: title, price from https://example.com/p/1", "https://example.com/p/1"),
    ("Return the prototype from https://example.com", "https://example.com"),
    ("Fetch https://example.com and describe the typeface", "https://example.com"),
    ("Fetch https://example.com, return the expressions", "https://example.com"),
    ("Fetch https://example.com: is it fulfilling?", "https://example.com"),
    ("Return all clickable links of https://example.com", "https://example.com"),
    ("goto https://example.com", "https://example.com"),
    ("go\n  to https://example.com", "https://example.com"),
    ("ＧＯ ＴＯ https://example.com", "https://example.com"),
    ("请fetch「https://example.com/a」谢谢", "https://example.com/a"),
    ("请 fetch https://example.com/a。", "https://example.com/a"),
    ("fetch https://example.com/a，谢谢！", "https://example.com/a"),
    ("visit https://пример.рф/путь и верни заголовок", "https://пример.рф/путь"),
    ("Fetch https://example.com/wiki/中国 please", "https://example.com/wiki/中国"),
]


@pytest.mark.parametrize(("text", "url"), SCRAPES)
def test_scrapes(text: str, url: str) -> None:
    assert route(text).via == "scrape", route(text).reason
    assert route(text).url == url


TASKS = [
    ("", "no http"),
    ("Return the top five results", "no http"),
    ("go to example.com", "no http"),
    ("visit www.example.com and read it", "no http"),
    ("fetch javascript:alert(1)", "no http"),
    ("https://example.com", "no fetch verb"),
    ("What is on https://example.com?", "no fetch verb"),
    ("I already reopened the thread on https://example.com", "no fetch verb"),
    ("прочитай https://example.com", "no fetch verb"),
    ("Navigate https://example.com", "no fetch verb"),
    ("fetch ftp://example.com/x", "must begin with http"),
    ("open file:///etc/passwd", "must begin with http"),
    ("fetch https://user:secret@example.com/", "user name"),
    ("fetch https://", "no http"),
    ("open https://example.com:99999/", "is not a URL"),
    ("fetch https://a.com and https://b.com", "more than one URL"),
    ("fetch https://a.com,https://b.com", "more than one URL"),
    ("fetch http://a.com and https://a.com", "more than one URL"),
    ("fetch https://a.com/#/one and https://a.com/#/two", "more than one URL"),
    ("open https://a.com and compare with b.com", "another address"),
    ("open https://a.com, then ｈｔｔｐｓ：／／ｂ．ｃｏｍ", "the task names"),
    ("fetch https://example.com的标题", "where the URL ends"),
    ("Visit https://example.com and log-in", "log in"),
    ("Visit https://example.com, login, read mail", "login"),
    ("Visit https://example.com and log me in", "log me in"),
    ("Visit https://example.com and log into it", "log into"),
    ("Visit https://example.com and sign in", "sign in"),
    ("Visit https://example.com after signing  up", "signing up"),
    ("Read https://example.com/signup and do the sign-up", "sign up"),
    ("Return https://example.com once you are logged in", "logged in"),
    ("Read https://example.com by clicking", "clicking"),
    ("Read https://example.com; he clicks", "clicks"),
    ("Read https://example.com with the form filled", "filled"),
    ("Read https://example.com after typing", "typing"),
    ("Return the content-type of https://example.com", "type"),
    ("Open https://example.com, submitting nothing", "submitting"),
    ("Open https://example.com, choosing nothing", "choosing"),
    ("Open https://example.com with the chosen tab", "chosen"),
    ("Open https://example.com. Don't CLICK anything", "click"),
    ("open https://example.com and ｃｌｉｃｋ", "click"),
    ("open https://example.com and cl\u200bick", "click"),
    ("open https://example.com and clíck", "click"),
    ("请open https://example.com 然后click按钮", "click"),
    ("Open https://example.com and sort the results by price", "sort the results by"),
    ("Open https://example.com and search the site for shoes", "search the site for"),
    ("Open https://example.com and add two of them to my shopping cart", "add two of them to my shopping cart"),
    ("Open https://example.com and add-to-cart", "add to cart"),
    ("Check out https://example.com and read it", "check out"),
    ("Open https://example.com and proceed to check-out", "check out"),
    ("Open https://example.com, double-click", "click"),
]


@pytest.mark.parametrize(("text", "reason"), TASKS)
def test_tasks(text: str, reason: str) -> None:
    assert (route(text).via, route(text).url) == ("task", None)
    assert reason in route(text).reason


@pytest.mark.parametrize(
    "piece", ["search ", "a.b.", "https://", "add ", "sort\n", "x-", "(", "log me ", "http://a" + ")" * 50]
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (50_000 // len(piece)) + " open https://example.com" + ")" * 10_000

    assert cpu_seconds(lambda: route(text)) < 2
