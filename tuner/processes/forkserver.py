"""A process that has imported torch and diffusers, used neither, and forks the trials' processes.

A new interpreter needs seconds for these imports, a fork milliseconds. The server speaks JSON lines
over a socket: it is told ``{"preload": [...]}`` or ``{"task": "module:function", "folder": path,
"before_start": {variable: value}}`` and tells ``{"pid": …}`` and, when the child has ended, with
it ``"status"``, the exit code or minus the signal. A child that needs variables before it
starts becomes a new interpreter, and so does every child if an import has touched a GPU all the
same. When its controller goes, the server kills its children with all their descendants, removes
the folder of the run and goes too.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tuner.processes.folders import remove
from tuner.processes.gpu_answers import Gpus, answering, driver_started_before_fork, gpus_of_machine
from tuner.processes.tree import (
    be_first_to_go,
    die_with_parent,
    interpreter,
    kill_orphans,
    kill_tree,
)

TELLING = ("openvino_telemetry",)
"""What OpenVINO and NNCF tell their makers with, unless asked by a file in the user's home not to.
Where it cannot be imported they go without."""

ALWAYS = ("torch", "diffusers", "diffusers:DiffusionPipeline", "tuner.measuring.worker")


def preload(names: Sequence[str], gpus: Gpus = MappingProxyType({})) -> None:
    """Import ``module`` or ``module:Class``; what cannot be imported fails later, in the trial.

    What is asked of the ``gpus`` meanwhile is answered for them.
    """
    with answering(gpus):
        for name in names:
            module, _, attribute = name.partition(":")
            with contextlib.suppress(Exception, SystemExit):
                getattr(importlib.import_module(module), attribute or "__name__")


def serve(control: socket.socket, gpus: Gpus) -> None:
    """Answer requests until the controller closes the socket."""
    unread = b""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake)
    children: dict[int, str] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if woken in ready:
                os.read(woken, 4096)
                reap(control, children)
            if control.fileno() in ready:
                received = b""
                # A controller that was killed with answers unread.
                with contextlib.suppress(ConnectionResetError):
                    received = control.recv(65536)
                if not received:
                    break
                # Several requests may arrive at once, and the last may be cut off.
                *lines, unread = (unread + received).split(b"\n")
                for line in lines:
                    answer(control, json.loads(line), children, gpus)
    for child, folder in children.items():
        abandon(child, folder)


def abandon(child: int, folder: str) -> None:
    """The controller has gone: leave nothing of its trial at work."""
    kill_tree(child)
    kill_orphans(folder)
    os.waitpid(child, 0)


def answer(
    control: socket.socket,
    request: dict[str, Any],
    children: dict[int, str],
    gpus: Gpus,
) -> None:
    """Serve one request; a new child is added to ``children`` with its folder."""
    if "preload" in request:
        preload(request["preload"], gpus)
        return
    child = fork(control, request, gpus)
    children[child] = request["folder"]
    tell(control, {"pid": child})


def fork(control: socket.socket, request: dict[str, Any], gpus: Gpus) -> int:
    """Fork a child that does the task and exits, as a new interpreter where it needs one."""
    server = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        control.close()
        die_with_parent(server)
        if request["before_start"] or driver_started_before_fork(gpus):
            log_to(request["folder"])
            command = interpreter("once", json.dumps(request))
            os.execve(command[0], command, os.environ | request["before_start"])
        status = run_task(request)
    finally:
        os._exit(status)


def run_task(request: dict[str, Any]) -> int:
    """Do a task in this process, its output going to the log in its folder; the exit code."""
    folder = Path(request["folder"])
    log_to(folder)
    be_first_to_go()
    os.environ.update(request["environment"])
    try:
        module, _, function = request["task"].partition(":")
        getattr(importlib.import_module(module), function)(folder)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def log_to(folder: Path | str) -> None:
    """Send what this process prints to the log in the folder."""
    log = os.open(Path(folder) / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)


def reap(control: socket.socket, children: dict[int, str]) -> None:
    """Tell the controller the exit codes of children that have ended."""
    for child in list(children):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            del children[pid]
            tell(control, {"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def tell(control: socket.socket, message: dict[str, Any]) -> None:
    """Send one line; a controller that has gone is noticed by the next read."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        control.sendall(json.dumps(message).encode() + b"\n")


def main() -> None:
    """Serve on the socket that was inherited, or do a single task where forking is not safe."""
    sys.modules.update(dict.fromkeys(TELLING))  # type: ignore[arg-type]
    if sys.argv[1] == "once":
        sys.exit(run_task(json.loads(sys.argv[2])))
    gpus = gpus_of_machine()
    preload(ALWAYS, gpus)
    serve(socket.socket(fileno=int(sys.argv[1])), gpus)
    remove(Path(sys.argv[2]))
    # Without the second that taking down the imported frameworks would need.
    os._exit(0)


if __name__ == "__main__":
    main()
