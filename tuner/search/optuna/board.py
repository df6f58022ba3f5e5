"""Optuna's dashboard over studies that are made from stored trials, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from search_space.errors import TuneError, UsageError
from tuner.records.trial_record import TrialRecord
from tuner.search.optuna.rebuilt import in_memory

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the page asks again every few seconds."""


def application(records: Sequence[TrialRecord]) -> Application:
    """The dashboard as a WSGI application; raises UsageError where it is not installed."""
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        extra = "pip install 'diffusers-autotune[dashboard]'"
        raise UsageError(f"optuna-dashboard is not installed: {extra}") from error
    app: Application = wsgi(in_memory(records))
    return app


def serve(records: Sequence[TrialRecord], port: int, ready: Callable[[str], object]) -> None:
    """Serve it to this machine alone until Ctrl-C; ``ready`` is told the address."""
    app = application(records)
    try:
        server = make_server("127.0.0.1", port, app, handler_class=_Quiet)
    except OSError as error:
        reason = error.strerror or error
        raise TuneError(f"port {port} cannot be used ({reason}): give another --port") from error
    with server:
        ready(f"http://127.0.0.1:{server.server_port}/dashboard/")
        server.serve_forever()
