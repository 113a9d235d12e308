"""What goes on around each program: random amounts that come and go at random times, by seed, and are never kept.

Covers one coroutine; what it holds has the same mean throughout the run.
"""

from __future__ import annotations

import asyncio
from random import Random

__all__ = ["make_noise"]

_HELD = 5
_MOST_BYTES = 3 << 20
_MOST_OBJECTS = 4_000
_MEAN_WAIT_S = 0.04


async def make_noise(rng: Random, *, share: float = 1.0) -> None:
    """Allocate and free until cancelled: at most a few MB each time, and `_HELD` such amounts at once.

    Args:
        rng: Says how much, and when.
        share: Of the usual amounts; 0.0 is silence.
    """
    held: list[object] = []
    if not share:
        return
    while True:
        await asyncio.sleep(min(0.5, rng.expovariate(1 / _MEAN_WAIT_S)))
        while held and (len(held) >= _HELD or rng.random() < 0.5):
            held.pop(rng.randrange(len(held)))
        held.append(_amount(rng, share))


def _amount(rng: Random, share: float) -> object:
    if rng.random() < 0.6:
        return b"x" * int(share * 2 ** rng.uniform(10, _MOST_BYTES.bit_length()))
    return [{"number": each, "text": f"{each}"} for each in range(int(share * rng.randint(10, _MOST_OBJECTS)))]
