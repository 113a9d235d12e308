"""Keys of items: a digest to compare, a text to show. Pure.

Covers which values can be keys, and that values of different types never are the same key. Not covered: where digests
are kept (`memflow.journal.done`).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any
from uuid import UUID

from memflow.exceptions import ConfigurationError

__all__ = ["DIGEST_BYTES", "MAX_TEXT", "Key", "cut_text", "make_key"]

Key = tuple[bytes, str]
"""A digest of `DIGEST_BYTES`, and a text of at most `MAX_TEXT` characters."""

DIGEST_BYTES = 16
MAX_TEXT = 200

_LONG_BITS = 4096


def make_key(value: object) -> Key:
    """Make the key of an item from what `key=` returned.

    Args:
        value: text, bytes, a number, a truth value, None, a UUID, or a tuple of those.

    Raises:
        ConfigurationError: it is of another type.
    """
    if type(value) is str and len(value) <= MAX_TEXT and value.isascii():  # nearly always, and twice as fast
        return blake2b(b"s" + value.encode(), digest_size=DIGEST_BYTES).digest(), value
    text = value if isinstance(value, str) else _show(value)
    return blake2b(_encode(value), digest_size=DIGEST_BYTES).digest(), cut_text(text)


def cut_text(text: str) -> str:
    """Cut a key's text to what is kept of it, and escape what UTF-8 cannot hold."""
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace").decode()[:MAX_TEXT]


def _encode(value: Any) -> bytes:
    """Spell a value with its type in front, so that 1, 1.0, True and "1" differ."""
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool) or value is None:
        return repr(value).encode()
    if isinstance(value, int):
        return b"i" + format(value, "x").encode()
    if isinstance(value, float):
        return b"f" + float(value).hex().encode()
    if isinstance(value, bytes):
        return b"y" + value
    if isinstance(value, UUID):
        return b"u" + value.bytes
    if isinstance(value, tuple):
        parts = [_encode(each) for each in value]
        return b"t" + b"".join(b"%d:%b" % (len(part), part) for part in parts)
    kind = type(value)
    raise ConfigurationError(
        f"key= returned a {kind.__module__}.{kind.__qualname__}; a key is a str, bytes, int, float, bool, None, UUID "
        "or a tuple of those, so return one of them, such as str(...) of what tells the item from all others"
    )


def _show(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > _LONG_BITS:  # Python refuses to print very long numbers
        return format(value, "x")
    if isinstance(value, tuple):
        return f"({', '.join(_show(each) for each in value)})"
    return str(value) if isinstance(value, UUID) else repr(value)
