"""A clock that jumps while a run is at work."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial

from tests.faults.fault import FAULTS
from tests.faults.lab import Lab

DAY_S = 86_400
SHIFTED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

/* The wall clock, shifted by the seconds in the file that FAULT_CLOCK names. */
static long shift(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("FAULT_CLOCK"), "r");
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += shift();
    return status;
}
time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}
"""


def no_compiler() -> str | None:
    return None if shutil.which("gcc") else "a clock of our own needs gcc"


def jump(lab: Lab, seconds: int) -> None:
    source, library = lab.folder / "clock.c", lab.folder / "clock.so"
    source.write_text(SHIFTED)
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    shift = lab.folder / "shift"
    environment = {"LD_PRELOAD": str(library), "FAULT_CLOCK": str(shift)}
    running = lab.run(environment=environment)
    lab.until_phase("steady", 1)
    shift.write_text(str(seconds))
    lab.expect(running.end(), 0)
    lab.expect_emitted()
    dates = {stored.trial.started_at[:10] for stored in lab.stored()}
    if len(dates) < 2:
        lab.wrong.append(f"the clock did not jump: {dates}")


for name, shift_s in (("a day ahead", DAY_S), ("ten years back", -3650 * DAY_S)):
    FAULTS.add(
        "clock", f"the clock jumps {name}", partial(jump, seconds=shift_s), lacks=no_compiler
    )
