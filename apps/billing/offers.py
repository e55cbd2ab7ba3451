"""The price of credits in money. Pure; the operator's settings give the numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

MAX_CREDITS = 10_000_000
MAX_AMOUNT = 99_999_999  # Stripe takes eight digits
_PACK_NAME = re.compile(r"[a-z0-9_-]{1,40}")

# Currencies whose smallest unit is not a hundredth (https://docs.stripe.com/currencies).
_WHOLE = frozenset(
    {
        *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
        *("pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"),
    }
)
_THOUSANDTHS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


@dataclass(frozen=True, slots=True)
class Offer:
    """`amount` in the currency's smallest unit."""

    credits: int
    amount: int


def offer_for(credits: int, *, price: Decimal) -> Offer:
    """The amount for `credits` at `price` smallest units each, rounded up. Raises ValueError above MAX_AMOUNT."""
    amount = int((credits * price).to_integral_value(ROUND_CEILING))
    if amount > MAX_AMOUNT:
        raise ValueError("costs more than one payment allows; buy fewer credits")
    return Offer(credits, amount)


def format_amount(amount: int, currency: str) -> str:
    """`10.00 USD`, `500 JPY`."""
    places = 0 if currency in _WHOLE else 3 if currency in _THOUSANDTHS else 2
    return f"{Decimal(amount).scaleb(-places):.{places}f} {currency.upper()}"


def credits_for_part(part: int, *, of: int, credits: int) -> int:
    """How many of `credits` a part of the price has bought, rounded down in the customer's favour."""
    return credits * min(part, of) // of


def parse_price(text: str) -> Decimal:
    """Smallest units for one credit, to four places. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,4})?", text) or Decimal(text) == 0:
        raise ValueError(f"must be a positive number such as 1 or 0.5, not {text!r}")
    return Decimal(text)


def parse_currency(text: str) -> str:
    """Raises ValueError."""
    if not re.fullmatch(r"[a-zA-Z]{3}", text):
        raise ValueError(f"must be an ISO code of three letters, not {text!r}")
    return text.lower()


def parse_packs(text: str) -> Mapping[str, Offer]:
    """`{"small": {"credits": 1000, "amount": 900}}`. Raises ValueError."""
    packs = json.loads(text)
    if not isinstance(packs, dict):
        raise ValueError('must be a JSON object like {"small": {"credits": 1000, "amount": 900}}')
    for name, pack in packs.items():
        if not _PACK_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid name: use 1 to 40 lower-case letters, digits, - and _")
        if not isinstance(pack, dict) or pack.keys() != {"credits", "amount"}:
            raise ValueError(f"{name!r} must have credits and amount")
        for field, most in (("credits", MAX_CREDITS), ("amount", MAX_AMOUNT)):
            value = pack[field]
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name}.{field} must be a whole number from 1 to {most}, not {value!r}")
    return {name: Offer(**pack) for name, pack in packs.items()}
