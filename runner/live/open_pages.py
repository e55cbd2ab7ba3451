"""Which of a browser's pages is in front: the one that was hidden and became visible last. No I/O here."""

from __future__ import annotations

from dataclasses import dataclass

# A page makes up its own title and address, of any length.
MAX_TITLE = 300
MAX_URL = 2048


@dataclass(slots=True)
class OpenPage:
    """`session` is ours; `activated` orders the pages by when they last came to the front."""

    session: str
    target_id: str
    title: str
    url: str
    activated: int
    visible: bool = False


class OpenPages:
    """All pages of one browser, by our session with each."""

    def __init__(self) -> None:
        self._by_session: dict[str, OpenPage] = {}
        self._activations = 0

    def add(self, session: str, target_id: str, *, title: str, url: str) -> None:
        page = OpenPage(session, target_id, title[:MAX_TITLE], url[:MAX_URL], self._next_activation())
        self._by_session[session] = page

    def remove(self, session: str) -> None:
        self._by_session.pop(session, None)

    def update(self, target_id: str, *, title: str, url: str) -> None:
        for page in self._by_session.values():
            if page.target_id == target_id:
                page.title, page.url = title[:MAX_TITLE], url[:MAX_URL]

    def set_visible(self, session: str, visible: bool) -> None:
        """Chromium says it again after a navigation, which brings nothing to the front."""
        page = self._by_session.get(session)
        if page is not None and page.visible != visible:
            page.visible = visible
            if visible:
                page.activated = self._next_activation()

    @property
    def active(self) -> OpenPage | None:
        """Of several windows the newest visible page; when none is visible, the newest."""
        return max(self._by_session.values(), key=lambda page: (page.visible, page.activated), default=None)

    @property
    def targets(self) -> set[str]:
        return {page.target_id for page in self._by_session.values()}

    def _next_activation(self) -> int:
        self._activations += 1
        return self._activations
