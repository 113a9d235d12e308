"""What is told of a call while it runs, to whoever finds it dead: a Protocol, and one that tells nobody.

Covers the face of the flight recorder (`memflow.journal.flight`) that processing uses.
"""

from __future__ import annotations

from typing import Protocol

from memflow.journal.flight_format import FlightKind

__all__ = ["NoRecorder", "Recorder"]


class Recorder(Protocol):
    """Takes what is in flight, and what happens."""

    def start(self, first: int, last: int, weight: float = ..., key: str = ..., worker: int = ...) -> int:
        """Note that items from position `first` to `last` are in flight; returns what `end` takes."""
        ...

    def end(self, slot: int) -> None:
        """Note that they are no more."""
        ...

    def note(
        self, kind: FlightKind, a: float = ..., b: float = ..., c: float = ..., d: float = ..., e: float = ...
    ) -> None:
        """Note that something happened."""
        ...

    def reading(self, in_use_bytes: int, rss_bytes: int, limit_bytes: int, level: int = ...) -> None:
        """Note how memory stands."""
        ...

    def close(self) -> None:
        """Note an orderly end."""
        ...


class NoRecorder:
    """Notes nothing: for a journal in memory, which no death leaves anything of."""

    def start(self, first: int, last: int, weight: float = 0.0, key: str = "", worker: int = 0) -> int:
        """Take no note."""
        return 0

    def end(self, slot: int) -> None:
        """Take no note."""

    def note(self, kind: FlightKind, a: float = 0, b: float = 0, c: float = 0, d: float = 0, e: float = 0) -> None:
        """Take no note."""

    def reading(self, in_use_bytes: int, rss_bytes: int, limit_bytes: int, level: int = 0) -> None:
        """Take no note."""

    def close(self) -> None:
        """Take no note."""
