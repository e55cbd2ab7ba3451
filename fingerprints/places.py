"""Time zone and locale of each country: its most populous time zone and its usual browser locale.

Sources: IANA tz database (zone1970.tab) for zones; CLDR likely subtags for locales, or English or the
majority's language where most browsers use that.
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    timezone: str
    locale: str


PLACES: dict[str, Place] = {
    "ae": Place("Asia/Dubai", "ar-AE"),
    "ar": Place("America/Argentina/Buenos_Aires", "es-AR"),
    "at": Place("Europe/Vienna", "de-AT"),
    "au": Place("Australia/Sydney", "en-AU"),
    "bd": Place("Asia/Dhaka", "bn-BD"),
    "be": Place("Europe/Brussels", "nl-BE"),
    "bg": Place("Europe/Sofia", "bg-BG"),
    "br": Place("America/Sao_Paulo", "pt-BR"),
    "ca": Place("America/Toronto", "en-CA"),
    "ch": Place("Europe/Zurich", "de-CH"),
    "cl": Place("America/Santiago", "es-CL"),
    "co": Place("America/Bogota", "es-CO"),
    "cz": Place("Europe/Prague", "cs-CZ"),
    "de": Place("Europe/Berlin", "de-DE"),
    "dk": Place("Europe/Copenhagen", "da-DK"),
    "ee": Place("Europe/Tallinn", "et-EE"),
    "eg": Place("Africa/Cairo", "ar-EG"),
    "es": Place("Europe/Madrid", "es-ES"),
    "fi": Place("Europe/Helsinki", "fi-FI"),
    "fr": Place("Europe/Paris", "fr-FR"),
    "gb": Place("Europe/London", "en-GB"),
    "gr": Place("Europe/Athens", "el-GR"),
    "hk": Place("Asia/Hong_Kong", "zh-HK"),
    "hr": Place("Europe/Zagreb", "hr-HR"),
    "hu": Place("Europe/Budapest", "hu-HU"),
    "id": Place("Asia/Jakarta", "id-ID"),
    "ie": Place("Europe/Dublin", "en-IE"),
    "il": Place("Asia/Jerusalem", "he-IL"),
    "in": Place("Asia/Kolkata", "en-IN"),
    "it": Place("Europe/Rome", "it-IT"),
    "jp": Place("Asia/Tokyo", "ja-JP"),
    "ke": Place("Africa/Nairobi", "en-KE"),
    "kr": Place("Asia/Seoul", "ko-KR"),
    "kz": Place("Asia/Almaty", "ru-KZ"),
    "lt": Place("Europe/Vilnius", "lt-LT"),
    "lu": Place("Europe/Luxembourg", "fr-LU"),
    "lv": Place("Europe/Riga", "lv-LV"),
    "ma": Place("Africa/Casablanca", "fr-MA"),
    "mx": Place("America/Mexico_City", "es-MX"),
    "my": Place("Asia/Kuala_Lumpur", "en-MY"),
    "ng": Place("Africa/Lagos", "en-NG"),
    "nl": Place("Europe/Amsterdam", "nl-NL"),
    "no": Place("Europe/Oslo", "nb-NO"),
    "nz": Place("Pacific/Auckland", "en-NZ"),
    "pe": Place("America/Lima", "es-PE"),
    "ph": Place("Asia/Manila", "en-PH"),
    "pk": Place("Asia/Karachi", "en-PK"),
    "pl": Place("Europe/Warsaw", "pl-PL"),
    "pt": Place("Europe/Lisbon", "pt-PT"),
    "ro": Place("Europe/Bucharest", "ro-RO"),
    "rs": Place("Europe/Belgrade", "sr-RS"),
    "sa": Place("Asia/Riyadh", "ar-SA"),
    "se": Place("Europe/Stockholm", "sv-SE"),
    "sg": Place("Asia/Singapore", "en-SG"),
    "si": Place("Europe/Ljubljana", "sl-SI"),
    "sk": Place("Europe/Bratislava", "sk-SK"),
    "th": Place("Asia/Bangkok", "th-TH"),
    "tr": Place("Europe/Istanbul", "tr-TR"),
    "tw": Place("Asia/Taipei", "zh-TW"),
    "ua": Place("Europe/Kyiv", "uk-UA"),
    "us": Place("America/New_York", "en-US"),
    "uy": Place("America/Montevideo", "es-UY"),
    "vn": Place("Asia/Ho_Chi_Minh", "vi-VN"),
    "za": Place("Africa/Johannesburg", "en-ZA"),
}
