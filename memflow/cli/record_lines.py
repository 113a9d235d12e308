"""From blocks of bytes to numbered lines, in bounded memory.

What a line means is `record_reader`'s and `record_csv`'s. Everything here blocks and runs in a thread.
"""

from __future__ import annotations

from memflow.cli.records import InputFile
from memflow.exceptions import RecordError

__all__ = ["ADVICE", "BOM", "MAX_RECORD_BYTES", "Lines", "describe_encoding", "too_long"]

MAX_RECORD_BYTES = 64 << 20
"""The longest line that is read: one without a break must not fill the memory."""
BOM = b"\xef\xbb\xbf"
"""What some programs put before UTF-8; no part of the first record."""
ADVICE = "mend it, or go on past bad records with --on-bad-record skip"
"""How to go on behind a bad record."""


class Lines:
    """Lines of a file with their numbers, a block at a time; a line too long to keep is None.

    Args:
        file: Where the bytes come from.
        passed: Lines to pass over first; they are counted, and not given out.
    """

    def __init__(self, file: InputFile, *, passed: int = 0) -> None:
        self._file = file
        self._passed = passed
        self._carry: list[bytes] = []
        self._carried_bytes = 0
        self.number = 0
        """Lines given out so far."""
        self.cut = False
        """True when the file ended without a line break, so the last line may be half-written."""

    def read_block(self) -> list[bytes | None] | None:
        """The lines completed by the next block, without their breaks; None at the end."""
        block = self._file.read_block()
        if not block:
            return self._read_last()
        first, *rest = block.split(b"\n")
        self._keep(first)
        if not rest:
            return []
        lines: list[bytes | None] = [self._joined(), *rest[:-1]]
        self._keep(rest[-1])
        return self._behind_passed(lines) if self._passed else lines

    def _read_last(self) -> list[bytes | None] | None:
        if not self._carried_bytes:
            return None
        self.cut = True
        return self._behind_passed([self._joined()])

    def _behind_passed(self, lines: list[bytes | None]) -> list[bytes | None]:
        passed = min(self._passed, len(lines))
        self._passed -= passed
        self.number += passed
        return lines[passed:]

    def _keep(self, piece: bytes) -> None:
        self._carried_bytes += len(piece)
        if self._carried_bytes <= MAX_RECORD_BYTES:
            self._carry.append(piece)
        else:
            self._carry.clear()

    def _joined(self) -> bytes | None:
        line = b"".join(self._carry) if self._carried_bytes <= MAX_RECORD_BYTES else None
        self._carry, self._carried_bytes = [], 0
        return line


def too_long(path: str, number: int) -> RecordError:
    """The error for a line that is not kept."""
    return RecordError(path, number, f"the line is longer than {MAX_RECORD_BYTES >> 20} MiB", ADVICE)


def describe_encoding(error: UnicodeDecodeError) -> str:
    """Name the byte that is not UTF-8."""
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start + 1}"
