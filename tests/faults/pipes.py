"""Output that nobody reads any more, or that has no room."""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults.fault import FAULTS
from tests.faults.history import fill
from tests.faults.lab import Lab
from tests.faults.remains import expect_nothing_left

READING = (("trials",), ("trials", "--json"), ("show", "2"), ("best", "--json"))


@FAULTS.fault("pipes", "the reader of the output stops reading (| head)", quick=True)
def reader_gone(lab: Lab) -> None:
    fill(Path(lab.store))
    for command in READING:
        read_end, write_end = os.pipe()
        os.close(read_end)
        ended = lab.start(*command, "--store", lab.store, stdout=write_end)
        os.close(write_end)
        lab.expect(ended.end(), 0)


@FAULTS.fault("pipes", "the output is full (> /dev/full)", quick=True)
def output_full(lab: Lab) -> None:
    fill(Path(lab.store))
    for command in (*READING, ("--help",), ("machine",)):
        with open("/dev/full", "wb") as full:
            stored = () if command[0] in ("--help", "machine") else ("--store", lab.store)
            running = lab.start(*command, *stored, stdout=full.fileno())
        lab.expect(running.end(), 1, "error: ")


@FAULTS.fault("pipes", "no output at all (>&- 2>&-)", quick=True)
def outputs_closed(lab: Lab) -> None:
    fill(Path(lab.store))
    for closed in ((1,), (2,), (1, 2)):

        def close(closed: tuple[int, ...] = closed) -> None:
            for number in closed:
                os.close(number)

        ended = lab.start("trials", "--store", lab.store, before=close).end()
        lab.expect_no_traceback(ended)
        if ended.code not in (0, 1):
            lab.wrong.append(f"exit code {ended.code} with {closed} closed: {ended.said}")
        lab.last = ended


@FAULTS.fault("pipes", "the reader of a run's JSON has gone when the run ends")
def reader_of_a_run_gone(lab: Lab) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    running = lab.run(stdout=write_end)
    os.close(write_end)
    ended = running.end()
    lab.last = ended
    lab.expect_no_traceback(ended)
    lab.expect_emitted()


@FAULTS.fault("pipes", "the terminal of a run goes away (its window is closed)")
def terminal_gone(lab: Lab) -> None:
    import fcntl
    import pty
    import termios

    controller, terminal = pty.openpty()

    def take_terminal() -> None:
        for number in (0, 1, 2):
            os.dup2(terminal, number)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    lab.run(before=take_terminal)
    os.close(terminal)
    lab.until_phase("steady", 1)
    os.close(controller)
    expect_nothing_left(lab)
    lab.resume()
