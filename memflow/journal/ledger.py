"""What went wrong with items, and what is delivered: the tables `failures` and `deaths`, and an entry of `meta`.

Covers rows to values and back. Not covered: finished items (`memflow.journal.position_book`,
`memflow.journal.key_book`), transactions (`memflow.journal.sqlite`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from memflow.journal.base import DeathRecord, FailureRecord, ItemId, Selection, Settled
from memflow.journal.keys import Key
from memflow.journal.schema import put_meta

__all__ = [
    "add_deaths",
    "add_failures",
    "clear_deaths",
    "count_failures",
    "list_failures",
    "read_deaths",
    "read_failures",
    "read_failures_of",
    "read_settled",
    "read_suspects",
    "remove_failures",
    "write_settled",
]


def add_failures(db: sqlite3.Connection, failures: Iterable[FailureRecord]) -> None:
    """Write failures."""
    rows = [
        (
            each.item,
            each.position,
            each.key_text,
            each.kind,
            _utf8(each.error_type),
            _utf8(each.message),
            each.attempts,
            each.input,
        )
        for each in failures
    ]
    db.executemany("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def read_failures(db: sqlite3.Connection) -> Iterator[FailureRecord]:
    """Give the failures in order of position."""
    yield from map(_failure, db.execute("SELECT * FROM failures ORDER BY position"))


def list_failures(db: sqlite3.Connection) -> list[ItemId]:
    """List the items that have failed, in order of position."""
    return [item for (item,) in db.execute("SELECT item FROM failures ORDER BY position")]


def read_failures_of(db: sqlite3.Connection, items: Sequence[ItemId]) -> list[FailureRecord]:
    """Read the failures of some items, in their order; those that were released meanwhile are left out."""
    query = "SELECT * FROM failures WHERE item = ?"
    rows = (db.execute(query, (item,)).fetchone() for item in items)
    return [_failure(row) for row in rows if row is not None]


def _failure(row: Sequence[Any]) -> FailureRecord:
    item, position, text, *rest = row
    return FailureRecord(position, (item, text or "") if isinstance(item, bytes) else None, *rest)


def count_failures(db: sqlite3.Connection) -> Mapping[str, int]:
    """Count the failures of each kind."""
    return dict(db.execute("SELECT kind, count(*) FROM failures GROUP BY kind"))


def remove_failures(db: sqlite3.Connection, selection: Selection) -> list[ItemId]:
    """Remove the failures that are selected, and the deaths of those items."""
    items = [each.item for each in read_failures(db) if selection.takes(each)]
    db.executemany("DELETE FROM failures WHERE item = ?", [(item,) for item in items])
    clear_deaths(db, items)
    return items


def add_deaths(db: sqlite3.Connection, items: Iterable[int | Key]) -> dict[ItemId, int]:
    """Add one death to each item; give their totals."""
    rows = [(each, None) if isinstance(each, int) else each for each in items]
    db.executemany("INSERT INTO deaths VALUES (?, ?, 1) ON CONFLICT (item) DO UPDATE SET deaths = deaths + 1", rows)
    query = "SELECT deaths FROM deaths WHERE item = ?"
    return {item: db.execute(query, (item,)).fetchone()[0] for item, _ in rows}


def read_deaths(db: sqlite3.Connection) -> dict[ItemId, int]:
    """Read at how many deaths each item was in flight."""
    return dict(db.execute("SELECT item, deaths FROM deaths"))


def read_suspects(db: sqlite3.Connection) -> list[DeathRecord]:
    """Read the same with their keys, the most deaths first."""
    rows = db.execute("SELECT item, key, deaths FROM deaths ORDER BY deaths DESC, item")
    return [
        DeathRecord(None, (item, text or ""), deaths) if isinstance(item, bytes) else DeathRecord(item, None, deaths)
        for item, text, deaths in rows
    ]


def clear_deaths(db: sqlite3.Connection, items: Iterable[ItemId]) -> None:
    """Forget the deaths of items."""
    db.executemany("DELETE FROM deaths WHERE item = ?", [(item,) for item in items])


def write_settled(db: sqlite3.Connection, settled: Settled) -> None:
    """Write what is delivered, in place of what was there."""
    data = {"items": settled.items, "offsets": dict(settled.offsets), "notes": dict(settled.notes)}
    put_meta(db, "settled", json.dumps(data))


def read_settled(meta: Mapping[str, Any]) -> Settled | None:
    """Read what is delivered from the meta data."""
    if "settled" not in meta:
        return None
    data = json.loads(meta["settled"])
    return Settled(int(data["items"]), data["offsets"], data["notes"])


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
