"""Stop signals are held back, and then take the course that they would have taken."""

import signal
import threading

import pytest

from hrm_rl.process.stopping import SIGNALS, Stop, postponed


@pytest.fixture
def heard():
    """The signals that reach the handlers of the caller; SIGINT also raises, as Python's does."""
    found = []

    def note(number, _) -> None:
        found.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in SIGNALS}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_for_the_end_of_the_block(heard, number) -> None:
    try:
        with postponed() as stop:
            assert not stop.requested and not stop.name
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGTERM)  # the first is what counts
            assert stop.requested and stop.name == signal.Signals(number).name and not heard
    except KeyboardInterrupt:
        assert number == signal.SIGINT
    assert heard == [number]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # handlers are those of before


def test_a_second_interrupt_is_not_held_back(heard) -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), postponed():
        signal.raise_signal(signal.SIGINT)
        steps.append(1)
        signal.raise_signal(signal.SIGINT)
        steps.append(2)
    assert steps == [1] and heard == [signal.SIGINT]


def test_an_error_in_the_block_wins(heard) -> None:
    with pytest.raises(FloatingPointError), postponed():
        signal.raise_signal(signal.SIGTERM)
        raise FloatingPointError
    assert not heard
    signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_what_is_ignored_stays_ignored(heard) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with postponed() as stop:
        signal.raise_signal(signal.SIGTERM)
    assert not stop.requested and not heard


def test_long_work_is_left_where_it_is(heard) -> None:
    done = []

    def work() -> str:
        done.append("half")
        signal.raise_signal(signal.SIGTERM)
        return "whole"

    with postponed() as stop:
        assert stop.attempt(lambda: "short") == "short"
        assert stop.attempt(work) is None and stop.attempt(work) is None
        assert done == ["half"] and stop.requested and not heard
    assert heard == [signal.SIGTERM]


def test_blocks_nest(heard) -> None:
    with postponed() as outer:
        with postponed() as inner:
            signal.raise_signal(signal.SIGTERM)
            assert inner.requested and not outer.requested
        assert outer.requested and not heard
    assert heard == [signal.SIGTERM]


def test_another_thread_sets_no_handler(heard) -> None:
    handlers, stops = [], []

    def work() -> None:
        with postponed() as stop:
            handlers.extend(signal.getsignal(number) for number in SIGNALS)
            stops.append(stop)

    before = [signal.getsignal(number) for number in SIGNALS]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == before and isinstance(stops[0], Stop) and not stops[0].requested
