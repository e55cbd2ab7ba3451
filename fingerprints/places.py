"""Time zone, locale and position of each country: its most populous time zone, its usual browser locale, its city.

Sources: IANA tz database for zones (zone1970.tab) and the coordinates of their cities (zone.tab), both in the public
domain; CLDR likely subtags for locales, or English or the majority's language where most browsers use that.
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """`latitude` and `longitude`, in degrees, are those of the time zone's city. Each of `PLACES` has them."""

    timezone: str
    locale: str
    latitude: float = 0.0
    longitude: float = 0.0


PLACES: dict[str, Place] = {
    "ae": Place("Asia/Dubai", "ar-AE", 25.3, 55.3),
    "ar": Place("America/Argentina/Buenos_Aires", "es-AR", -34.6, -58.45),
    "at": Place("Europe/Vienna", "de-AT", 48.22, 16.33),
    "au": Place("Australia/Sydney", "en-AU", -33.87, 151.22),
    "bd": Place("Asia/Dhaka", "bn-BD", 23.72, 90.42),
    "be": Place("Europe/Brussels", "nl-BE", 50.83, 4.33),
    "bg": Place("Europe/Sofia", "bg-BG", 42.68, 23.32),
    "br": Place("America/Sao_Paulo", "pt-BR", -23.53, -46.62),
    "ca": Place("America/Toronto", "en-CA", 43.65, -79.38),
    "ch": Place("Europe/Zurich", "de-CH", 47.38, 8.53),
    "cl": Place("America/Santiago", "es-CL", -33.45, -70.67),
    "co": Place("America/Bogota", "es-CO", 4.6, -74.08),
    "cz": Place("Europe/Prague", "cs-CZ", 50.08, 14.43),
    "de": Place("Europe/Berlin", "de-DE", 52.5, 13.37),
    "dk": Place("Europe/Copenhagen", "da-DK", 55.67, 12.58),
    "ee": Place("Europe/Tallinn", "et-EE", 59.42, 24.75),
    "eg": Place("Africa/Cairo", "ar-EG", 30.05, 31.25),
    "es": Place("Europe/Madrid", "es-ES", 40.4, -3.68),
    "fi": Place("Europe/Helsinki", "fi-FI", 60.17, 24.97),
    "fr": Place("Europe/Paris", "fr-FR", 48.87, 2.33),
    "gb": Place("Europe/London", "en-GB", 51.51, -0.13),
    "gr": Place("Europe/Athens", "el-GR", 37.97, 23.72),
    "hk": Place("Asia/Hong_Kong", "zh-HK", 22.28, 114.15),
    "hr": Place("Europe/Zagreb", "hr-HR", 45.8, 15.97),
    "hu": Place("Europe/Budapest", "hu-HU", 47.5, 19.08),
    "id": Place("Asia/Jakarta", "id-ID", -6.17, 106.8),
    "ie": Place("Europe/Dublin", "en-IE", 53.33, -6.25),
    "il": Place("Asia/Jerusalem", "he-IL", 31.78, 35.22),
    "in": Place("Asia/Kolkata", "en-IN", 22.53, 88.37),
    "it": Place("Europe/Rome", "it-IT", 41.9, 12.48),
    "jp": Place("Asia/Tokyo", "ja-JP", 35.65, 139.74),
    "ke": Place("Africa/Nairobi", "en-KE", -1.28, 36.82),
    "kr": Place("Asia/Seoul", "ko-KR", 37.55, 126.97),
    "kz": Place("Asia/Almaty", "ru-KZ", 43.25, 76.95),
    "lt": Place("Europe/Vilnius", "lt-LT", 54.68, 25.32),
    "lu": Place("Europe/Luxembourg", "fr-LU", 49.6, 6.15),
    "lv": Place("Europe/Riga", "lv-LV", 56.95, 24.1),
    "ma": Place("Africa/Casablanca", "fr-MA", 33.65, -7.58),
    "mx": Place("America/Mexico_City", "es-MX", 19.4, -99.15),
    "my": Place("Asia/Kuala_Lumpur", "en-MY", 3.17, 101.7),
    "ng": Place("Africa/Lagos", "en-NG", 6.45, 3.4),
    "nl": Place("Europe/Amsterdam", "nl-NL", 52.37, 4.9),
    "no": Place("Europe/Oslo", "nb-NO", 59.92, 10.75),
    "nz": Place("Pacific/Auckland", "en-NZ", -36.87, 174.77),
    "pe": Place("America/Lima", "es-PE", -12.05, -77.05),
    "ph": Place("Asia/Manila", "en-PH", 14.59, 120.97),
    "pk": Place("Asia/Karachi", "en-PK", 24.87, 67.05),
    "pl": Place("Europe/Warsaw", "pl-PL", 52.25, 21.0),
    "pt": Place("Europe/Lisbon", "pt-PT", 38.72, -9.13),
    "ro": Place("Europe/Bucharest", "ro-RO", 44.43, 26.1),
    "rs": Place("Europe/Belgrade", "sr-RS", 44.83, 20.5),
    "sa": Place("Asia/Riyadh", "ar-SA", 24.63, 46.72),
    "se": Place("Europe/Stockholm", "sv-SE", 59.33, 18.05),
    "sg": Place("Asia/Singapore", "en-SG", 1.28, 103.85),
    "si": Place("Europe/Ljubljana", "sl-SI", 46.05, 14.52),
    "sk": Place("Europe/Bratislava", "sk-SK", 48.15, 17.12),
    "th": Place("Asia/Bangkok", "th-TH", 13.75, 100.52),
    "tr": Place("Europe/Istanbul", "tr-TR", 41.02, 28.97),
    "tw": Place("Asia/Taipei", "zh-TW", 25.05, 121.5),
    "ua": Place("Europe/Kyiv", "uk-UA", 50.43, 30.52),
    "us": Place("America/New_York", "en-US", 40.71, -74.01),
    "uy": Place("America/Montevideo", "es-UY", -34.91, -56.21),
    "vn": Place("Asia/Ho_Chi_Minh", "vi-VN", 10.75, 106.67),
    "za": Place("Africa/Johannesburg", "en-ZA", -26.25, 28.0),
}
