"""Who holds objects of the program's is counted for as long as it lasts."""

import pytest

from memflow.memory.pins import Pins


def test_each_holder_counts_until_it_lets_go() -> None:
    pins = Pins()
    with pins.held():
        with pins.held():
            assert pins.holding == 2
        assert pins.holding == 1
    assert (pins.holding, pins.times) == (0, 2)


def test_whoever_fails_lets_go_too() -> None:
    pins = Pins()
    with pytest.raises(KeyError), pins.held():
        raise KeyError
    assert (pins.holding, pins.times) == (0, 1)
