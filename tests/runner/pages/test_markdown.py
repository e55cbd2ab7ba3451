"""Markdown of real pages: kind J, from the page in the browser to the text."""

from __future__ import annotations

import pytest

from apps.jobs.pages.markdown import markdown
from tests.fakes.site import Site
from tests.runner.asking import case, fetch, page
from tests.runner.harness import RunnerProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def markdown_of(runner: RunnerProcess, url: str) -> str:
    found = await fetch(runner, url, formats=["flat"])
    assert found.flat is not None
    return (await markdown(found.flat, content_type=found.content_type)).strip()


async def test_links_of_the_case_are_absolute(runner: RunnerProcess, site: Site) -> None:
    with case(site, "19-markdown-relative-links") as url:
        found = await markdown_of(runner, url)
    assert found.split("\n") == [
        f"[Guide]({site.url('/assets/guide.html')}) [q]({site.url('/assets/?q=1')}) [top]({site.url('/assets/#top')}) "
        f"![Chart]({site.url('/assets/chart.png')}) [sp]({site.url('/abs%20path/x%20y')}) [pr](http://other.example/x)"
    ]


async def test_code_of_the_case_keeps_its_lines(runner: RunnerProcess, site: Site) -> None:
    with case(site, "20-markdown-line-number-table") as url:
        found = await markdown_of(runner, url)
    assert found == (
        '````python\ndef f(x):\n    if x:\n        return "<b>"\n\n    # ```fence``` inside\n    return None\n````\n\n'
        "```\ndef g():\n    return 1\n```\n\n```\n// a\nfloat b(){\n    x = 0;\n}\n```\n\ninline ``a `b` c``"
    )


NUMBERED = {
    "rouge": "<div class='language-ruby highlighter-rouge'><table class=rouge-table><tbody><tr><td class=rouge-gutter>"
    "<pre class=lineno>1\n2\n</pre></td><td class=rouge-code><pre>a = 1\nb = 2\n</pre></td></tr></table></div>",
    "a row for each line": "<table><tr><td class=blob-num data-line-number=1></td><td class=blob-code>a = 1</td></tr>"
    "<tr><td class=blob-num data-line-number=2></td><td class=blob-code>b = 2</td></tr></table>",
    "numbers in the code": "<pre><span class=lineno>1 </span>a = 1\n<span class=lineno>2 </span>b = 2</pre>",
    "lines that are blocks": "<pre><code><div>a = 1</div><div>b = 2</div></code></pre>",
}


@pytest.mark.parametrize("kind", NUMBERED)
async def test_numbers_of_lines_are_no_code(runner: RunnerProcess, site: Site, kind: str) -> None:
    with page(site, "/numbered", NUMBERED[kind]) as url:
        found = await markdown_of(runner, url)
    assert found == f"```{'ruby' if kind == 'rouge' else ''}\na = 1\nb = 2\n```"


async def test_a_table_of_numbers_stays_a_table(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/years", "<table><tr><th>Year<th>Sales</tr><tr><td>2020<td>5</tr></table>") as url:
        assert await markdown_of(runner, url) == "| Year | Sales |\n| ---- | ----- |\n| 2020 | 5     |"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("use &lt;b&gt; or &lt;script>", "use &lt;b&gt; or &lt;script&gt;"),
        ("1 &lt; 2 &gt; 0, AT&amp;T, R&amp;D;", "1 < 2 > 0, AT&T, R&amp;D;"),
        ("&amp;lt; and &amp;#60;", "&amp;lt; and &amp;#60;"),
        ("*a* 2*3 snake_case _b_ `c` [d](e)", r"\*a\* 2\*3 snake_case \_b\_ \`c\` \[d](e)"),
        ("# a", r"\# a"),
        ("<code>&lt;b&gt; *x*</code>", "`<b> *x*`"),
    ],
)
async def test_text_stays_text(runner: RunnerProcess, site: Site, sent: str, expected: str) -> None:
    with page(site, "/text", f"<p>{sent}</p>") as url:
        assert await markdown_of(runner, url) == expected


async def test_pictures_in_the_page_itself_are_their_words(runner: RunnerProcess, site: Site) -> None:
    body = "<p>a <img src='data:image/png;base64,AAAA' alt='A chart'> b <img src='data:,x'> <img src=/p.png alt=P></p>"
    with page(site, "/pictures", body) as url:
        assert await markdown_of(runner, url) == f"a A chart b ![P]({site.url('/p.png')})"


async def test_shadow_roots_and_frames_are_in_the_markdown(runner: RunnerProcess, site: Site) -> None:
    body = f"""<my-a><template shadowrootmode=open><h2>Shadow</h2></template></my-a>
      <iframe src=http://localhost:{site.port}/hello></iframe><p style='display:none'>Hidden</p><style>p{{}}</style>"""
    with page(site, "/all", body) as url:
        assert await markdown_of(runner, url) == "## Shadow\n\n# Hello, agent"


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        ("text/plain", "# Title\n\na *b* <c>", "# Title\n\na *b* <c>"),
        ("application/json", '{"a": "```"}', '````json\n{"a": "```"}\n````'),
        ("application/rss+xml", "<rss/>", "```xml\n<rss/>\n```"),
    ],
)
async def test_documents_that_are_no_pages(
    runner: RunnerProcess, site: Site, kind: str, sent: str, expected: str
) -> None:
    with page(site, "/source", sent, headers={"Content-Type": kind}) as url:
        assert await markdown_of(runner, url) == expected
