"""Processes that are killed, stopped and interrupted, in each phase of a run."""

from __future__ import annotations

import signal
import time
from functools import partial

import psutil

from tests.faults.fault import FAULTS
from tests.faults.lab import RACE, SEARCH, Lab
from tests.faults.remains import expect_nothing_left

PHASES = {
    "while the model is looked at": None,
    "while the baseline loads": ("load", 0),
    "in the baseline's first call": ("first_call", 0),
    "while calls are timed": ("steady", 1),
    "while images are compared": ("check", 1),
}
"""Where in a run: the phase that is waited for, and how many trials are stored by then."""

INTERRUPTED = 128 + signal.SIGINT
KILLED = 128 + signal.SIGKILL


def reached(lab: Lab, phase: tuple[str, int] | None) -> bool:
    """Wait for the moment of a fault."""
    if phase is None:
        return lab.until(lambda: bool(list(lab.tmp.glob("tune-*"))), "the first task")
    return lab.until_phase(*phase)


def kill_controller(lab: Lab, phase: tuple[str, int] | None) -> None:
    running = lab.run()
    reached(lab, phase)
    running.signal(signal.SIGKILL)
    lab.expect(running.end(), KILLED)
    expect_nothing_left(lab)
    lab.resume()


def kill_server(lab: Lab, phase: tuple[str, int] | None, number: int) -> None:
    """The run starts another and goes on: nobody has to do anything."""
    running = lab.run()
    reached(lab, phase)
    lab.until(lambda: lab.server(running) is not None, "the fork server")
    server = lab.server(running)
    if server is None:
        lab.wrong.append("the run had no fork server")
    else:
        server.send_signal(number)
    lab.expect(running.end(), 0)
    lab.expect_emitted()


def kill_trial(lab: Lab, phase: tuple[str, int], number: int) -> None:
    """The trial becomes a failure, which is a record; the run goes on."""
    running = lab.run()
    lab.until_phase(*phase)
    trial = lab.trial(running)
    if trial is None:
        lab.wrong.append("the run had no trial")
    else:
        trial.send_signal(number)
    lab.expect(running.end(), 0)
    lab.expect_emitted()


for when, moment in PHASES.items():
    FAULTS.add(
        "processes", f"kill -9 of the controller {when}", partial(kill_controller, phase=moment)
    )
    FAULTS.add(
        "processes",
        f"kill -9 of the fork server {when}",
        partial(kill_server, phase=moment, number=signal.SIGKILL),
    )
for name in ("load", "first_call", "steady", "check"):
    FAULTS.add(
        "processes",
        f"kill -9 of a trial in its phase {name}",
        partial(kill_trial, phase=(name, 1), number=signal.SIGKILL),
    )
FAULTS.add(
    "processes",
    "segmentation fault of a trial",
    partial(kill_trial, phase=("steady", 1), number=signal.SIGSEGV),
)
FAULTS.add(
    "processes",
    "segmentation fault of the fork server",
    partial(kill_server, phase=("steady", 1), number=signal.SIGSEGV),
)


@FAULTS.fault("processes", "a trial that is stopped (SIGSTOP) and never goes on")
def stop_trial(lab: Lab) -> None:
    running = lab.run((*SEARCH, "--trial-timeout", "20s"))
    lab.until_phase("steady", 1)
    trial = lab.trial(running)
    if trial is not None:
        trial.suspend()
    lab.expect(running.end(), 0)
    lab.expect_emitted()


@FAULTS.fault("processes", "a fork server that is stopped for 10 s, then goes on")
def pause_server(lab: Lab) -> None:
    running = lab.run()
    lab.until_phase("check", 1)
    server = lab.server(running)
    if server is not None:
        server.suspend()
        time.sleep(10.0)
        server.resume()
    lab.expect(running.end(), 0)
    lab.expect_emitted()


@FAULTS.fault("processes", "the whole run is stopped (Ctrl-Z) for 10 s, then goes on")
def pause_all(lab: Lab) -> None:
    running = lab.run()
    lab.until_phase("steady", 1)
    processes = lab.processes()
    for process in processes:
        process.suspend()
    time.sleep(10.0)
    for process in processes:
        process.resume()
    lab.expect(running.end(), 0)
    lab.expect_emitted()


@FAULTS.fault("processes", "kill -9 of the process that the others' calls are compared with")
def kill_incumbent(lab: Lab) -> None:
    running = lab.run((*SEARCH, "--trials", "4"))
    lab.until_phase("first_call", 2)
    server = lab.server(running)
    if server is not None:
        staying = sorted(server.children(), key=psutil.Process.create_time)[:-1]
        for process in staying:
            process.kill()
        if not staying:
            lab.wrong.append("no trial had stayed alive")
    lab.expect(running.end(), 0)
    lab.expect_emitted()


@FAULTS.fault("processes", "kill -9 of the controller in a race, after one of its trials has ended")
def kill_controller_in_race(lab: Lab) -> None:
    running = lab.run(RACE)
    lab.until(
        lambda: any(stored.trial.race is not None for stored in lab.stored()), "a raced trial"
    )
    running.signal(signal.SIGKILL)
    lab.expect(running.end(), KILLED)
    expect_nothing_left(lab)
    lab.resume(RACE)


@FAULTS.fault("processes", "kill -9 of the fork server in a race")
def kill_server_in_race(lab: Lab) -> None:
    running = lab.run(RACE)
    lab.until(lambda: len(lab.phases()) >= 2 and "steady" in lab.phases(), "a race")
    server = lab.server(running)
    if server is not None:
        server.kill()
    lab.expect(running.end(), 0)
    lab.expect_emitted()


def polite(lab: Lab, number: int, times: int, code: int) -> None:
    """An end from outside: what is measured is kept and written."""
    running = lab.run()
    lab.until_phase("steady", 2)
    for _ in range(times):
        running.signal(number)
        time.sleep(0.2)
    ended = running.end()
    lab.expect(ended, code)
    if times == 1 and code == INTERRUPTED:
        lab.expect_emitted()
    expect_nothing_left(lab)
    lab.resume()


for count, label in ((1, "once"), (2, "twice"), (3, "three times")):
    FAULTS.add(
        "processes",
        f"Ctrl-C {label}",
        partial(polite, number=signal.SIGINT, times=count, code=INTERRUPTED),
    )
FAULTS.add(
    "processes",
    "SIGTERM of the controller",
    partial(polite, number=signal.SIGTERM, times=1, code=INTERRUPTED),
)


@FAULTS.fault("processes", "the terminal is closed (SIGHUP)")
def hang_up(lab: Lab) -> None:
    running = lab.run()
    lab.until_phase("steady", 1)
    running.signal(signal.SIGHUP)
    ended = running.end(75.0)
    lab.last = ended
    lab.expect_no_traceback(ended)
    expect_nothing_left(lab)
    lab.resume()
