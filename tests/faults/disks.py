"""Disks that fill up or can no longer be written to, small ones of our own in memory."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from functools import cache, partial
from pathlib import Path

from tests.faults.fault import FAULTS
from tests.faults.lab import SEARCH, Lab

BALLAST = "ballast"
DISK_BYTES = 64 * 2**20
"""Room for a store, a baseline's image and the files of a trial, and quickly filled."""
PASSING_S = 2.0
"""How long a disk is full that somebody then clears: less than writes are tried again for."""


@cache
def cannot_mount() -> str | None:
    """Why this machine has no small disk for us, or None."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return "small disks need the right to mount"
        subprocess.run(["umount", folder], check=True)
    return None


def mount(lab: Lab, folder: Path) -> None:
    """Put a small disk at the folder, what lies in it included."""
    contents = list(folder.iterdir())
    assert not contents, f"{folder} is not empty"
    size = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(folder)], check=True)
    lab.later(lambda: subprocess.run(["umount", "-l", str(folder)], check=True))


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def fill_up(folder: Path) -> None:
    """Take the last free byte."""
    with (folder / BALLAST).open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 2**16)
    with (folder / BALLAST).open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x")


def free(folder: Path) -> None:
    (folder / BALLAST).unlink()


def store_full(lab: Lab, passes: bool) -> None:
    """The disk of the store is full as a trial ends: what is known is written and said."""
    folder = Path(lab.store).parent
    mount(lab, folder)
    running = lab.run()
    lab.until_phase("steady", 2)
    fill_up(folder)
    if passes:
        # Until the run has met it.
        lab.until(lambda: "steady" not in lab.phases(), "the end of the trial's calls")
        lab.pause(PASSING_S)
        free(folder)
        lab.expect(running.end(), 0)
        lab.expect_emitted()
        return
    ended = running.end()
    lab.expect(ended, 1, "the disk is full")
    lab.expect_emitted()
    if not ended.stdout.strip():
        lab.wrong.append("--json printed nothing")
    free(folder)
    lab.resume()


FAULTS.add(
    "disks",
    "the store's disk is full during a trial",
    partial(store_full, passes=False),
    lacks=cannot_mount,
)
FAULTS.add(
    "disks",
    "the store's disk is full for 2 s",
    partial(store_full, passes=True),
    lacks=cannot_mount,
)


@FAULTS.fault("disks", "the store's disk becomes read-only during a trial", lacks=cannot_mount)
def store_read_only(lab: Lab) -> None:
    folder = Path(lab.store).parent
    mount(lab, folder)
    running = lab.run()
    lab.until_phase("steady", 2)
    remount(folder, "ro")
    ended = running.end()
    remount(folder, "rw")
    lab.expect(ended, 1)
    lab.expect_emitted()
    lab.resume()


@FAULTS.fault("disks", "the store's disk is full from the start", lacks=cannot_mount)
def store_full_from_start(lab: Lab) -> None:
    folder = Path(lab.store).parent
    mount(lab, folder)
    fill_up(folder)
    lab.expect(lab.run().end(), 2, "the disk is full")
    free(folder)
    lab.resume()


@FAULTS.fault("disks", "the disk of temporary files is full during a trial", lacks=cannot_mount)
def temporary_full(lab: Lab) -> None:
    """Trials fail, each with its reason; the run says what it has."""
    mount(lab, lab.tmp)
    running = lab.run()
    lab.until_phase("steady", 1)
    fill_up(lab.tmp)
    ended = running.end()
    lab.last = ended
    lab.expect_no_traceback(ended)
    if ended.code not in (0, 1):
        lab.wrong.append(f"exit code {ended.code}: {ended.said}")
    free(lab.tmp)
    lab.resume()


@FAULTS.fault("disks", "the disk of temporary files is full from the start", lacks=cannot_mount)
def temporary_full_from_start(lab: Lab) -> None:
    """Python then takes another place for them, such as /tmp."""
    mount(lab, lab.tmp)
    fill_up(lab.tmp)
    ended = lab.run().end()
    free(lab.tmp)
    lab.expect(ended, 0)
    lab.expect_emitted()


@FAULTS.fault("disks", "the cache's disk is full during the baseline", lacks=cannot_mount)
def cache_full(lab: Lab) -> None:
    mount(lab, lab.cache)
    running = lab.run()
    lab.until_phase("load")
    fill_up(lab.cache)
    ended = running.end()
    lab.last = ended
    lab.expect_no_traceback(ended)
    if ended.code not in (0, 1, 2):
        lab.wrong.append(f"exit code {ended.code}: {ended.said}")
    free(lab.cache)
    lab.resume()


@FAULTS.fault("disks", "the output's disk is full when the winner is written", lacks=cannot_mount)
def output_full(lab: Lab) -> None:
    """Nothing is half-written, and the same command writes it once there is room."""
    mount(lab, lab.output.parent)
    running = lab.run()
    lab.until_phase("steady", 2)
    fill_up(lab.output.parent)
    lab.expect(running.end(), 1, str(lab.output), "No space left")
    if lab.output.exists() and any(lab.output.iterdir()):
        lab.wrong.append("a part of the tuned folder was written")
    free(lab.output.parent)
    lab.resume()


@FAULTS.fault("disks", "an output that is read-only", lacks=cannot_mount, quick=True)
def output_read_only(lab: Lab) -> None:
    mount(lab, lab.output.parent)
    remount(lab.output.parent, "ro")
    lab.expect(lab.tune(*lab.of_run()), 2, "cannot be written")


@FAULTS.fault("disks", "a limit on the size of files (ulimit -f)")
def limit_on_files(lab: Lab) -> None:
    """As where a quota is: writing is answered with an error, or with a signal."""
    import resource

    limit_bytes = 256 * 2**10
    running = lab.run(
        SEARCH,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)),
    )
    ended = running.end()
    lab.last = ended
    lab.expect_no_traceback(ended)
    if ended.code not in (0, 1, 2):
        lab.wrong.append(f"exit code {ended.code}: {ended.said}")
    lab.resume()
