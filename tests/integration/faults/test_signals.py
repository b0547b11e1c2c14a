"""Every server is ended by every signal while clients ask: each answer has its row, and no row is there twice."""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass

import pytest

from tests.integration import known
from tests.integration.faults.load import ANSWERS, Load, Outcome, complaints, have_all_answered, start_quickly
from tests.integration.servers import FRAMEWORKS_SERVERS, SERVERS
from tests.integration.site import Site, wait_for

ALL = SERVERS | FRAMEWORKS_SERVERS
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL]
# Who goes on asking gets answers. uWSGI's --die-on-term changes the two: SIGTERM ends it, SIGQUIT reloads it.
SURVIVED = {
    ("uvicorn-workers", signal.SIGQUIT): "ignored",
    ("uwsgi", signal.SIGQUIT): "reload",
    ("uwsgi-lazy-apps", signal.SIGQUIT): "reload",
    ("uwsgi-threads", signal.SIGQUIT): "reload",
}
# wsgiref takes it for a failure of the request that it is serving, cheroot waits for its own threads, with and without
# us: who presses Ctrl-C again and again is obeyed.
REPEATED = {("wsgiref", signal.SIGINT), ("cheroot", signal.SIGINT)}


@dataclass
class Ended:
    """A server that was started, asked and ended by each signal, on one store."""

    label: str
    outcome: Outcome
    loads: dict[int, Load]
    logs: dict[int, str]


def end(site: Site, label: str, sent: int) -> Load:
    """Send a signal to the process that was started, SIGKILL to all, while requests are in flight."""
    with Load(site, signal.Signals(sent).name) as load:
        load.wait_for_answers(ANSWERS, lambda: have_all_answered(site, ALL[label].workers))
        load.is_ending = True
        (os.killpg if sent == signal.SIGKILL else os.kill)(site.process.pid, sent)
        if (label, sent) in SURVIVED:
            load.wait_for_answers(len(load.answered) + ANSWERS)
        elif (label, sent) in REPEATED:
            wait_for(lambda: site.process.poll() is not None or site.process.send_signal(sent))
        else:
            # A worker may miss the end while clients go on asking (granian, uWSGI): it serves on, and is killed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                site.process.wait(30)
        load.stop()
        # Children that a signal has made orphans go on serving.
        site.stop(signal.SIGKILL)
    return load


@pytest.fixture(scope="module", params=ALL)
def ended(request, tmp_path_factory):
    """A server after all signals."""
    directory = tmp_path_factory.mktemp("signals")
    loads, logs = {}, {}
    for sent in SIGNALS:
        with start_quickly(ALL[request.param], directory) as site:
            loads[sent], logs[sent] = end(site, request.param, sent), site.log
    return Ended(request.param, Outcome(site), loads, logs)


@pytest.mark.parametrize("sent", SIGNALS, ids=lambda sent: sent.name)
def test_each_answer_has_its_row(ended, sent):
    """Every request whose whole answer came has exactly one row, any other at most one."""
    ended.outcome.check(ended.loads[sent])


def test_logs_say_nothing_of_us(ended):
    """Whatever signal comes when, no traceback is ours and no record is missed."""
    assert [complaint for log in ended.logs.values() for complaint in complaints(log)] == []


def test_outcome_is_documented(ended, update_docs):
    """The page says what became of the last requests that were answered."""
    cells = [cell(ended, sent) for sent in SIGNALS]
    known.check("signals", ended.label, cells, update=update_docs, page=known.RELIABILITY)


def cell(ended: Ended, sent: int) -> str:
    """Sent, stored, twice; and what the server did where it did not end."""
    numbers = " / ".join(map(str, ended.outcome.of(ended.loads[sent].answered[-ANSWERS:])))
    survived = SURVIVED.get((ended.label, sent))
    return f"{numbers}, {survived}" if survived else numbers
