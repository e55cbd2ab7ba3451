"""The open pages of a browser, and the active one: the page that became visible last. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

# A page chooses its title and URL, of any length.
MAX_TITLE = 300
MAX_URL = 2048


@dataclass(slots=True)
class OpenPage:
    """`session` is our CDP session. `activated` increases with every activation of a page."""

    session: str
    target_id: str
    title: str
    url: str
    activated: int
    visible: bool = False


class OpenPages:
    """All pages of one browser, by our CDP session."""

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
        """Chromium repeats the event after a navigation; a repeated event does not activate the page."""
        page = self._by_session.get(session)
        if page is not None and page.visible != visible:
            page.visible = visible
            if visible:
                page.activated = self._next_activation()

    @property
    def active(self) -> OpenPage | None:
        """The visible page that was activated last; when none is visible, the page that was activated last."""
        return max(self._by_session.values(), key=lambda page: (page.visible, page.activated), default=None)

    @property
    def targets(self) -> set[str]:
        return {page.target_id for page in self._by_session.values()}

    def _next_activation(self) -> int:
        self._activations += 1
        return self._activations
