"""Screenshots: kind I."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator

import pytest
from PIL import Image

from runner.pages.screenshot import bounded
from runner.wire import MAX_SCREENSHOT_AREA, MAX_SCREENSHOT_HEIGHT, MAX_SCREENSHOT_WIDTH, PageResult
from tests.fakes.site import Site
from tests.runner.asking import case, fetch, page
from tests.runner.harness import RunnerProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

RED, BLUE, GREEN, WHITE = (255, 0, 0), (0, 0, 255), (0, 128, 0), (255, 255, 255)


def png(red: bytes = b"\xff\0\0") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    head = struct.pack("!IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" + red)) + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module", autouse=True)
def picture(site: Site) -> Iterator[None]:
    site.pages["/red.png"] = lambda query: (200, {"Content-Type": "image/png"}, png())
    yield
    del site.pages["/red.png"]


def image(found: PageResult) -> Image.Image:
    assert found.screenshot_png_b64 is not None
    return Image.open(io.BytesIO(base64.b64decode(found.screenshot_png_b64))).convert("RGB")


async def shot(runner: RunnerProcess, url: str, *, full_page: bool) -> Image.Image:
    return image(await fetch(runner, url, formats=["screenshot"], full_page=full_page))


async def test_a_viewport_is_shown_as_it_is_scrolled(runner: RunnerProcess, site: Site) -> None:
    with case(site, "16-fragment-viewport-shot") as url:
        seen = await shot(runner, f"{url}#sec", full_page=False)
        whole = await shot(runner, f"{url}#sec", full_page=True)
    assert (seen.size, seen.getpixel((100, 100))) == ((1512, 862), BLUE)
    assert (whole.size, whole.getpixel((100, 100)), whole.getpixel((100, 4000))) == ((1512, 5000), RED, BLUE)


async def test_a_viewport_that_a_script_has_scrolled(runner: RunnerProcess, site: Site) -> None:
    body = "<body style='margin:0;background:blue'><div style='height:3000px;background:red'></div><p>"
    with page(
        site, "/scrolled", f"{body * 1}<div style='height:3000px'></div><script>scrollTo(0, 3500)</script>"
    ) as url:
        assert (await shot(runner, url, full_page=False)).getpixel((700, 400)) == BLUE


async def test_lazy_images_are_loaded(runner: RunnerProcess, site: Site) -> None:
    with case(site, "17-lazy-image") as url:
        seen = await shot(runner, url, full_page=True)
    assert (seen.size, seen.getpixel((250, 6250))) == ((1512, 6500), RED)


async def test_what_an_observer_waits_to_see_is_loaded(runner: RunnerProcess, site: Site) -> None:
    body = """<style>body{margin:0}.gap{height:2500px}img{display:block;width:500px;height:500px}</style>
      <div class=gap></div><img data-src=/red.png><div class=gap></div><img data-src=/red.png><script>
      const seen = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting)
        .forEach(({target}) => { target.src = target.dataset.src; seen.unobserve(target); }));
      document.querySelectorAll('img').forEach(image => seen.observe(image));</script>"""
    with page(site, "/observed", body) as url:
        seen = await shot(runner, url, full_page=True)
    assert [seen.size, seen.getpixel((250, 2750)), seen.getpixel((250, 5750))] == [(1512, 6000), RED, RED]


async def test_a_page_that_grows_without_end_has_a_picture(runner: RunnerProcess, site: Site) -> None:
    body = """<body style='margin:0'><div style='height:2000px'></div><script>
      onscroll = () => document.body.append(Object.assign(document.createElement('div'), {style: 'height:2000px'}));
      </script>"""
    with page(site, "/grows", body) as url:
        width, height = (await shot(runner, url, full_page=True)).size
    assert width == 1512 and 2000 < height <= MAX_SCREENSHOT_HEIGHT


async def test_a_wide_page_is_cut_in_width(runner: RunnerProcess, site: Site) -> None:
    with case(site, "18-wide-page") as url:
        whole = await shot(runner, url, full_page=True)
        seen = await shot(runner, url, full_page=False)
    assert (whole.size, whole.getpixel((16_000, 100))) == ((MAX_SCREENSHOT_WIDTH, 862), GREEN)
    assert seen.size == (1512, 862)


async def test_a_page_that_is_wide_and_high_is_cut_in_both(runner: RunnerProcess, site: Site) -> None:
    with page(site, "/plane", "<body style='margin:0'><div style='width:60000px;height:60000px'>") as url:
        size = (await shot(runner, url, full_page=True)).size
    assert size == bounded(60_000, 60_000) == (16_384, MAX_SCREENSHOT_AREA // 16_384)


async def test_bounds() -> None:
    assert bounded(1512, 800) == (1512, 800)
    assert bounded(1512, 60_000) == (1512, MAX_SCREENSHOT_HEIGHT)
    assert bounded(200_000, 862) == (MAX_SCREENSHOT_WIDTH, 862)
