"""Signals that arrive at bad moments: inside of steps that must stay whole, and where Python drops exceptions."""

import os
import signal
import sys
import threading
import time

import pytest
from ood_shared.signals import Terminated, delayed, raise_on_sigterm
from ood_shared.testing.commands import ctrl_c_is_heard

pytestmark = pytest.mark.usefixtures("heard")
SENT = [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]


@pytest.fixture
def heard():
    with ctrl_c_is_heard():
        yield


@pytest.mark.parametrize(("number", "raised"), SENT)
def test_a_delayed_signal_leaves_the_block_whole_and_is_heard_at_its_end(number, raised):
    steps = []

    def cut():
        with delayed():
            os.kill(os.getpid(), number)
            steps.append("inside")
        steps.append("after")

    with raise_on_sigterm(), pytest.raises(raised):
        cut()
    assert steps == ["inside"]


def test_a_delayed_signal_goes_to_the_handler_that_was_there_and_that_stays():
    heard = []

    def handler(signum, frame):
        heard.append(signum)

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        with delayed():
            os.kill(os.getpid(), signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGUSR2)
            assert not heard
        assert heard == [signal.SIGUSR2]
        assert signal.getsignal(signal.SIGUSR2) is handler
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_an_error_inside_a_delayed_block_is_not_lost():
    with pytest.raises(ValueError, match="of its own"), delayed():
        raise ValueError("of its own")


def test_delayed_does_nothing_in_another_thread():
    found = []

    def body():
        with delayed():
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [before]


class Dropped:
    """Sends a signal from its finaliser, where Python reports exceptions and goes on."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(("number", "raised"), SENT)
def test_a_signal_whose_exception_was_dropped_is_sent_again_and_nothing_is_printed(number, raised, capsys):
    going_on = []

    def lasting():
        dropped = Dropped(number)
        del dropped
        going_on.append("after the finaliser")
        time.sleep(20)

    with pytest.raises(raised), raise_on_sigterm():
        lasting()
    assert going_on
    assert "Exception ignored" not in capsys.readouterr().err


def test_other_dropped_exceptions_are_reported_as_ever(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: reported.append(dropped.exc_type))

    class Faulty:
        def __del__(self):
            raise OSError("in a finaliser")

    with raise_on_sigterm():
        faulty = Faulty()
        del faulty
    assert reported == [OSError]


def test_a_signal_dropped_at_the_end_of_a_command_does_not_strike_after_it():
    with raise_on_sigterm():
        dropped = Dropped(signal.SIGTERM)
        del dropped
    time.sleep(0.1)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
