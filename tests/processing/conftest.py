"""What the tests of calls share."""

from __future__ import annotations

from pathlib import Path

import pytest

from memflow.journal.base import Journal
from memflow.journal.memory import MemoryJournal
from memflow.journal.sqlite import SqliteJournal


@pytest.fixture(params=["memory", "file"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    """A journal in memory, and one in a file."""
    return MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal")
