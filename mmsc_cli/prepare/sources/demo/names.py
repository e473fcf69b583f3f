"""Made-up names: brands, models, and attribute values beyond those written in the shop."""

from __future__ import annotations

from hashlib import blake2b

from mmsc_cli.prepare.sources.demo.shop import ATTRIBUTES

_SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou")
_ENDINGS = ("", "n", "r", "x", "l", "s")
_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BRAND_NAMES = len(_SYLLABLES) ** 2 * len(_ENDINGS)


def syllables(number: int, count: int) -> str:
    """Return a pronounceable word of `count` syllables; different below 70^count, e.g. 'Kova'."""
    parts = []
    for _ in range(count):
        number, digit = divmod(number, len(_SYLLABLES))
        parts.append(_SYLLABLES[digit])
    return "".join(parts).capitalize()


def brand_name(number: int) -> str:
    """Return a brand's name; different for every `number` below BRAND_NAMES."""
    number, ending = divmod(number, len(_ENDINGS))
    return syllables(number, 2) + _ENDINGS[ending]


def value_name(attribute: int, value: int) -> str:
    """Return what everybody calls an attribute's value; past the written words, one of them and a new one."""
    words = ATTRIBUTES[attribute].words
    lap, word = divmod(value, len(words))
    if lap == 0:
        return words[word]
    return f"{words[word]} {syllables(attribute * 1_013 + value, 2)}"


def house_word(brand: int, attribute: int, value: int) -> str:
    """Return what one brand calls a value of an attribute, and nobody else does: 'Zanura Pado'."""
    return f"{syllables(brand * 337 + attribute, 3)} {syllables(brand * 59 + value * 7, 2)}"


def item_ids(seed: int, items: int) -> list[str]:
    """Return `items` unique ids, 'D' and nine base-32 characters, that tell nothing about the item."""
    ids: dict[str, None] = {}
    number = 0
    while len(ids) < items:
        digest = int.from_bytes(blake2b(f"{seed}/item/{number}".encode(), digest_size=6).digest(), "little")
        ids["D" + "".join(_BASE32[digest >> (5 * place) & 31] for place in range(9))] = None
        number += 1
    return list(ids)
