"""What a site's robots.txt allows (RFC 9309). Pure.

Our product token is `Browsa`; where no group names it, the group for `*` holds. A site without one (4xx) allows
everything; one whose robots.txt cannot be loaded (5xx, no connection) allows nothing (section 2.3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from protego import Protego

PRODUCT_TOKEN = "Browsa"  # noqa: S105  RFC 9309's word for a crawler's name

# Section 2.5: at least 500 KiB must be parsed.
MAX_CHARS = 512 * 1024


@dataclass(frozen=True, slots=True)
class Robots:
    """`rules` is None where everything is allowed, or where nothing is, because of `closed`."""

    rules: Protego | None = None
    closed: str = ""

    @classmethod
    def found(cls, http_status: int, text: str) -> Robots:
        """From the answer to `/robots.txt`, redirects followed, of any type: `text` is its body."""
        if http_status >= 500:
            return cls(closed=f"its robots.txt answers {http_status}")
        if http_status >= 300:
            return cls()
        return cls(rules=Protego.parse(text.removeprefix("\ufeff")[:MAX_CHARS]))

    @classmethod
    def unreachable(cls, why: str) -> Robots:
        return cls(closed=f"its robots.txt cannot be loaded ({why})")

    def refusal(self, url: str) -> str | None:
        """Why `url`, a canonical one, may not be fetched; None when it may."""
        if self.closed:
            return self.closed
        if self.rules is not None and not self.rules.can_fetch(url, PRODUCT_TOKEN):
            return f"its robots.txt does not allow {PRODUCT_TOKEN} this address"
        return None


ALLOWED = Robots()


def address(origin: tuple[str, str, int]) -> str:
    """Where the rules of an origin are."""
    scheme, host, port = origin
    name = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{name}{'' if port == usual else f':{port}'}/robots.txt"
