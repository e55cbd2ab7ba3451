"""The order of a crawl's visits: breadth first, each address once, the same again after a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.jobs.pages.frontier import MAX_LINKS, Found, Frontier, Past, Rules, Visit
from apps.jobs.pages.globs import Glob

A = "http://a.com"


def rules(**fields: Any) -> Rules:
    return Rules(**{"start": f"{A}/", "max_pages": 100, "max_depth": 5, **fields})


def crawl(frontier: Frontier, links: Callable[[str], list[str]]) -> list[Visit]:
    """Visits one after the other; `links` says what each page names."""
    visits = []
    while visit := frontier.next():
        visits.append(visit)
        finish(frontier, visit, landed=visit.url, links=links(visit.url))
    return visits


def finish(frontier: Frontier, visit: Visit, *, landed: str, links: list[str]) -> Found:
    return frontier.finish(visit, landed=landed, links=frontier.eligible(visit, landed=landed, links=links))


def site(graph: dict[str, list[str]]) -> Callable[[str], list[str]]:
    return lambda url: graph.get(url.removeprefix(A), [])


def paths(visits: list[Visit]) -> list[str]:
    return [visit.url.removeprefix(A) for visit in visits]


GRAPH = {"/": ["/a", "/b", "/a#x"], "/a": ["/c", "/"], "/b": ["/d", "/c"], "/c": ["/e"], "/d": ["/f"]}


def test_it_goes_level_by_level_in_the_order_of_the_links() -> None:
    visits = crawl(Frontier(rules()), site(GRAPH))

    assert paths(visits) == ["/", "/a", "/b", "/c", "/d", "/e", "/f"]
    assert [visit.depth for visit in visits] == [0, 1, 1, 2, 2, 3, 3]
    assert [visit.position for visit in visits] == list(range(7))


def test_it_stops_at_its_depth_and_at_its_pages() -> None:
    assert paths(crawl(Frontier(rules(max_depth=0)), site(GRAPH))) == ["/"]
    assert paths(crawl(Frontier(rules(max_depth=1)), site(GRAPH))) == ["/", "/a", "/b"]
    assert paths(crawl(Frontier(rules(max_pages=4)), site(GRAPH))) == ["/", "/a", "/b", "/c"]


def test_the_next_level_waits_for_what_is_under_way() -> None:
    frontier = Frontier(rules())
    start = frontier.next()
    assert start is not None and frontier.next() is None and not frontier.over
    finish(frontier, start, landed=start.url, links=["/a", "/b"])
    a, b = frontier.next(), frontier.next()
    assert a is not None and b is not None and frontier.next() is None

    finish(frontier, b, landed=b.url, links=["/from-b"])
    assert frontier.next() is None
    finish(frontier, a, landed=a.url, links=["/from-a"])

    assert paths(crawl(frontier, site({}))) == ["/from-a", "/from-b"]
    assert frontier.over


def test_other_origins_only_when_asked_for() -> None:
    links = site({"/": ["http://b.com/", "https://a.com/x", "http://a.com:8080/", "/y", "mailto:x@y", "javascript:x"]})

    assert paths(crawl(Frontier(rules()), links)) == ["/", "/y"]
    everywhere = crawl(Frontier(rules(same_origin=False)), links)
    assert [visit.url for visit in everywhere[1:]] == [
        "http://b.com/",
        "https://a.com/x",
        "http://a.com:8080/",
        "http://a.com/y",
    ]


def test_globs_choose_and_the_start_is_always_visited() -> None:
    links = site({"/": ["/blog/1", "/blog/drafts/2", "/shop"]})
    chosen = rules(include=(Glob.parse("/blog/*"),), exclude=(Glob.parse("*drafts*"),))

    assert paths(crawl(Frontier(chosen), links)) == ["/", "/blog/1"]


def test_of_a_pages_links_the_first_are_looked_at() -> None:
    links = site({"/": [f"/{n}" for n in range(MAX_LINKS)] + ["/late"]})

    few = crawl(Frontier(rules(max_pages=10, include=(Glob.parse("/*99"), Glob.parse("/late")))), links)
    assert paths(few) == ["/", "/99", *(f"/{n}99" for n in range(1, 9))]
    everything = crawl(Frontier(rules(max_pages=9999)), links)
    assert paths(everything) == ["/", *(f"/{n}" for n in range(MAX_LINKS))]


def test_where_the_start_leads_is_the_same_site() -> None:
    frontier = Frontier(rules())
    start = frontier.next()
    assert start is not None

    found = finish(frontier, start, landed="https://www.a.com/", links=["/x", f"{A}/y", "http://b.com/"])

    assert found == Found("page", "https://www.a.com/", ["https://www.a.com/x", f"{A}/y"])


def test_a_page_reached_by_two_names_counts_once() -> None:
    frontier = Frontier(rules())
    start = frontier.next()
    assert start is not None
    finish(frontier, start, landed=start.url, links=["/old", "/new", "/away"])
    old = frontier.next()
    assert old is not None

    assert finish(frontier, old, landed=f"{A}/new", links=[]).verdict == "page"
    away = frontier.next()
    assert away is not None and away.url == f"{A}/away", "/new has been visited by way of /old"
    assert finish(frontier, away, landed="http://b.com/", links=["/z"]).verdict == "elsewhere"
    assert frontier.next() is None


def test_a_redirect_to_a_page_that_is_under_way_is_a_duplicate() -> None:
    frontier = Frontier(rules())
    start = frontier.next()
    assert start is not None
    finish(frontier, start, landed=start.url, links=["/new", "/old"])
    new, old = frontier.next(), frontier.next()
    assert new is not None and old is not None

    assert finish(frontier, old, landed=f"{A}/new", links=[]).verdict == "page"
    assert finish(frontier, new, landed=f"{A}/new", links=[]).verdict == "duplicate"


def test_failed_visits_count_and_skipped_ones_do_not() -> None:
    frontier = Frontier(rules(max_pages=3))
    start = frontier.next()
    assert start is not None
    finish(frontier, start, landed=start.url, links=["/1", "/2", "/3", "/4"])
    one, two = frontier.next(), frontier.next()
    assert one is not None and two is not None and frontier.next() is None
    frontier.fail(one)
    assert frontier.next() is None
    frontier.skip(two)

    assert paths(crawl(frontier, site({}))) == ["/3"]


def test_the_total_grows_with_what_is_found() -> None:
    frontier = Frontier(rules(max_pages=5))
    assert frontier.total == 1
    start = frontier.next()
    assert start is not None
    finish(frontier, start, landed=start.url, links=["/1", "/2"])
    assert frontier.total == 3
    one = frontier.next()
    assert one is not None
    finish(frontier, one, landed=one.url, links=[f"/{n}" for n in range(20)])
    assert frontier.total == 5


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    graph=st.dictionaries(
        st.integers(0, 12).map(str), st.lists(st.integers(0, 12).map(str), max_size=6), min_size=1, max_size=12
    ),
    kept=st.sets(st.integers(0, 12)),
    max_pages=st.integers(1, 13),
)
def test_a_crawl_that_resumes_ends_where_it_would_have(
    graph: dict[str, list[str]], kept: set[int], max_pages: int
) -> None:
    links = site({"/": ["/0"], **{f"/{name}": [f"/{to}" for to in found] for name, found in graph.items()}})
    wanted = rules(max_pages=max_pages, max_depth=9)
    whole = crawl(Frontier(wanted), links)
    # What was stored when it was interrupted: whatever came level by level, with some of the last level missing.
    last = max((visit.depth for visit in whole if visit.position in kept), default=0)
    past = [v for v in whole if v.depth < last or (v.depth == last and v.position in kept)]

    resumed = Frontier(wanted, [Past(v, landed=v.url, links=[A + to for to in _absolute(links(v.url))]) for v in past])
    rest = crawl(resumed, links)

    assert sorted([*past, *rest], key=lambda v: v.position) == whole


def _absolute(links: list[str]) -> list[str]:
    return list(dict.fromkeys(links))
