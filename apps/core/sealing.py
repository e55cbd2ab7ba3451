"""Encryption of secrets at rest: AES-256-GCM under the newest master key, bound to a context.

A sealed value is `version:nonce‖ciphertext`. The context (the owner and the purpose of the secret) is authenticated: a
row that is copied to another workspace can't be opened there. Without BROWSA_MASTER_KEYS the key is derived from
BROWSA_SECRET_KEY (HKDF, RFC 5869).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_NONCE_BYTES = 12
_DERIVED = "derived"


class Unreadable(Exception):
    """The value was sealed with an unknown key or for another context, or it is damaged."""


def seal(secret: bytes, *, context: str) -> bytes:
    version, key = next(iter(_keys().items()))
    nonce = os.urandom(_NONCE_BYTES)
    return b"%s:%s%s" % (version.encode(), nonce, key.encrypt(nonce, secret, context.encode()))


def unseal(sealed: bytes, *, context: str) -> bytes:
    """Raises Unreadable."""
    version, _, rest = sealed.partition(b":")
    key = _keys().get(version.decode("ascii", "replace"))
    if key is None:
        raise Unreadable(f"{context} was sealed with a master key that is not configured")
    try:
        return key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.encode())
    except (InvalidTag, ValueError) as error:
        raise Unreadable(f"{context} can't be opened with its master key") from error


def _keys() -> Mapping[str, AESGCM]:
    """The ciphers by version, the newest first."""
    return _ciphers(tuple(settings.MASTER_KEYS.items()), settings.SECRET_KEY)


@functools.lru_cache(maxsize=4)
def _ciphers(master_keys: tuple[tuple[str, bytes], ...], secret_key: str) -> dict[str, AESGCM]:
    derived = HKDF(SHA256(), length=32, salt=None, info=b"browsa sealing").derive(secret_key.encode())
    return {version: AESGCM(key) for version, key in (*master_keys, (_DERIVED, derived))}
