"""One run at a time measures on a device of this machine: trials of two disturb each other."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from platformdirs import user_cache_dir

from tuner.processes.locks import locked

POLL_S = 0.1
"""How often a waiting run looks: short beside a trial, and nothing beside its noise."""

# Two runs that see one GPU each call it by the same name.
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


class DeviceLock:
    """The runs of a user take turns, a trial or a round of a race each, in the order they ask in.

    Who waits for the device stands in the queue, which holds one: so whoever has just measured
    comes after it. A run that is stopped is not waited for.
    """

    def __init__(self, device: str, folder: Path | None = None) -> None:
        # Home may be shared by hosts, locks on it too.
        names = (socket.gethostname(), device, *(os.environ.get(name, "") for name in VISIBLE))
        self._name = re.sub(r"[^\w.]+", "-", " ".join(names).strip())
        self._folder = folder or Path(user_cache_dir("diffusers-autotune")) / "devices"

    @contextmanager
    def held(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the device; where it has to be waited for, that is told first."""
        with ExitStack() as stack:
            # Without a place for locks trials run as they did before there were any.
            with suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                with self._ours("queue", on_wait):
                    stack.enter_context(self._ours("lock", on_wait))
            yield

    @contextmanager
    def _ours(self, kind: str, on_wait: Callable[[], None]) -> Iterator[None]:
        path = self._folder / f"{self._name}.{kind}"
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            is_waiting = False
            while not locked(descriptor) and not _is_stopped(_read(descriptor)):
                if not is_waiting:
                    on_wait()
                is_waiting = True
                time.sleep(POLL_S)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)


def _read(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0)
    return int(text) if text.isdigit() else None


def _is_stopped(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
