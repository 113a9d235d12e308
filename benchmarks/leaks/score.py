"""From what was told while programs ran to figures. *Pure*: no clock, no process, no memory.

An alarm is an issue of `ALARMS`. On a program that leaks it counts from where the leak begins, and before that as a
false one; on a clean program every alarm is false. A suspicion on a program that may be suspected is forgiven where
it was taken back before the end: figures are given with and without forgiving.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["ALARMS", "Event", "Figures", "Outcome", "Truth", "figures"]

ALARMS = frozenset({"growth", "leak", "suspected_leak", "cyclic_garbage", "results_piling_up"})
"""Kinds of issues that allege a leak."""
SUSPICIONS = frozenset({"growth", "suspected_leak"})
"""Those of them that may be taken back."""
TOP = 3
"""Suspects that are looked at."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is right to say about a program."""

    leaks: bool
    """It leaks."""
    begins: float = 0.0
    """Share of the run after which it begins to leak; more than 0.0 is "late"."""
    suspect_words: tuple[str, ...] = ()
    """Words of which a right suspect contains one, in any case."""
    message_words: tuple[str, ...] = ()
    """Words of which a right suspect, kind, message or advice contains one, where no Python object is to blame."""
    may_suspect: bool = False
    """Clean, but nothing tells it from a leak for a while."""


@dataclass(frozen=True, slots=True)
class Event:
    """What was told of one issue."""

    batch: int
    """Batches that were finished when it came."""
    event: str
    """"opened", "updated" or "resolved"."""
    id: str
    """The issue's id."""
    kind: str
    """The issue's kind."""
    leaked_bytes: int = 0
    """What the program had leaked by then."""
    suspects: tuple[str, ...] = ()
    """Who was named, the gravest first."""
    message: str = ""
    """What was said."""
    advice: str = ""
    """What was recommended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run."""

    program: str
    """The program's name."""
    seed: int
    """Its seed."""
    truth: Truth
    """What would have been right."""
    batches: int
    """Batches that it ran."""
    items: int
    """Items that it ran."""
    events: tuple[Event, ...] = ()
    """What was told, in order."""
    wall_s: float = 0.0
    """Seconds that it took."""
    leaked_bytes: int = 0
    """What it had leaked at its end."""
    error: str = ""
    """What it failed with; such a run counts for nothing else."""

    @property
    def begins_at(self) -> float:
        """Batches before the leak began."""
        return self.truth.begins * self.batches

    @property
    def alarm(self) -> Event | None:
        """The first event that rightly or wrongly alleges a leak: of a program that leaks, once it does."""
        return next((each for each in self._alleged() if not self.truth.leaks or each.batch >= self.begins_at), None)

    @property
    def false_alarms(self) -> int:
        """Issues that alleged a leak where there was none (yet)."""
        ids = {each.id for each in self._alleged() if not self.truth.leaks or each.batch < self.begins_at}
        return len(ids)

    @property
    def is_retracted(self) -> bool:
        """True when alarms there were, all suspicions, and the last event of each took it back."""
        last = {each.id: each for each in self.events if each.kind in ALARMS}
        kinds = {each.kind for each in self._alleged()}
        return bool(last) and kinds <= SUSPICIONS and all(each.event == "resolved" for each in last.values())

    @property
    def is_forgiven(self) -> bool:
        """True when what was alleged may be alleged, and was taken back."""
        return self.truth.may_suspect and self.is_retracted

    @property
    def names_culprit(self) -> bool | None:
        """Whether what was last told names the culprit; None where no alarm came, or nobody is to be named."""
        if self.alarm is None or not (self.truth.suspect_words or self.truth.message_words):
            return None
        told = [each for each in self._alleged() if each.batch >= self.begins_at]
        named = next((each for each in reversed(told) if each.suspects), told[-1])
        suspects = " ".join(named.suspects[:TOP])
        return _has(suspects, self.truth.suspect_words) or _has(
            f"{suspects} {told[-1].kind} {told[-1].message} {told[-1].advice}", self.truth.message_words
        )

    def _alleged(self) -> Iterable[Event]:
        return [each for each in self.events if each.kind in ALARMS and each.event != "resolved"]


def _has(text: str, words: Sequence[str]) -> bool:
    return any(word.lower() in text.lower() for word in words)


@dataclass(frozen=True, slots=True)
class Figures:
    """What many runs say together; a ratio without a case is None."""

    runs: int
    """Runs that ended well."""
    failed: int
    """Runs that did not."""
    leaking: tuple[int, int]
    """Alarmed, and all, of those that leak from the beginning."""
    late: tuple[int, int]
    """Alarmed, and all, of those that begin to leak later."""
    clean: tuple[int, int]
    """Alarmed, and all, of those that are clean."""
    false_runs: int
    """Runs with a false alarm: clean ones, and late ones that were alarmed too early."""
    forgiven: int
    """Clean runs of them whose suspicion was allowed, and taken back."""
    false_alarms: int
    """Issues on clean runs that alleged a leak, forgiven ones left out."""
    clean_items: int
    """Items of clean runs."""
    delay_batches: float | None
    """Median of batches from the beginning of a leak to its alarm."""
    delay_bytes: float | None
    """Median of bytes leaked by then."""
    culprits: tuple[int, int]
    """Named, and to be named, of all leaking runs where somebody is to blame: one without alarm names nobody."""
    retracted: tuple[int, int]
    """Taken back, and all, of clean runs that were alarmed."""

    @property
    def precision(self) -> float | None:
        """Right alarms among all, by runs; forgiven ones count as false here."""
        right = self.leaking[0] + self.late[0]
        return _ratio(right, right + self.false_runs)

    @property
    def forgiving_precision(self) -> float | None:
        """The same without those that are forgiven."""
        right = self.leaking[0] + self.late[0]
        return _ratio(right, right + self.false_runs - self.forgiven)

    @property
    def recall(self) -> float | None:
        """Leaks found among those from the beginning."""
        return _ratio(*self.leaking)

    @property
    def false_per_100k_items(self) -> float | None:
        """False alarms in 100,000 items of clean runs."""
        return 1e5 * self.false_alarms / self.clean_items if self.clean_items else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def figures(outcomes: Iterable[Outcome]) -> Figures:
    """Put runs together."""
    every = list(outcomes)
    well = [each for each in every if not each.error]
    leaking = [each for each in well if each.truth.leaks and not each.truth.begins]
    late = [each for each in well if each.truth.leaks and each.truth.begins]
    clean = [each for each in well if not each.truth.leaks]
    alarms = [(each, each.alarm) for each in (*leaking, *late)]
    delays = [alarm.batch - each.begins_at for each, alarm in alarms if alarm is not None]
    to_name = [each for each in (*leaking, *late) if each.truth.suspect_words or each.truth.message_words]
    return Figures(
        runs=len(well),
        failed=len(every) - len(well),
        leaking=_alarmed(leaking),
        late=_alarmed(late),
        clean=_alarmed(clean),
        false_runs=sum(each.false_alarms > 0 for each in well),
        forgiven=sum(each.is_forgiven for each in clean),
        false_alarms=sum(each.false_alarms for each in clean if not each.is_forgiven),
        clean_items=sum(each.items for each in clean),
        delay_batches=median(delays) if delays else None,
        delay_bytes=median(alarm.leaked_bytes for _, alarm in alarms if alarm is not None) if delays else None,
        culprits=(sum(each.names_culprit is True for each in to_name), len(to_name)),
        retracted=(sum(each.is_retracted for each in clean), _alarmed(clean)[0]),
    )


def _alarmed(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    return sum(each.alarm is not None for each in outcomes), len(outcomes)
