"""What to expect of a model on this machine, before anything is measured."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Unpack

from search_space.errors import NoStoreError
from search_space.proposal import Proposal
from storage import Store, default_url
from tuner.discovery.context import discover
from tuner.discovery.free_memory import within_free_memory
from tuner.discovery.models import check_name
from tuner.processes.children import Children
from tuner.records.plan import plan_run
from tuner.records.request import Options, request_of
from tuner.search.knowledge import Knowledge, knowledge, others
from tuner.search.proposer import Proposer


def predict(
    model: str, *, store: str | None = None, **options: Unpack[Options]
) -> tuple[Proposal | None, Knowledge]:
    """The config that is expected to do best, or None where nothing is open, and what is known.

    The options are those of ``tune run``. Raises UsageError where one cannot hold.
    """
    check_name(model)
    request = request_of(model, **options)
    with ExitStack() as stack:
        ledger = None
        with suppress(NoStoreError):
            ledger = stack.enter_context(Store(store or default_url(), read_only=True))
        children = stack.enter_context(Children())
        context = discover(children, request)
        budget, _ = within_free_memory(children, context.machine, request.budget)
        known = knowledge(context, others(ledger, context) if ledger else ())
    plan = plan_run(context, replace(request, budget=budget))
    space = plan.space
    if not space.open:
        return None, known
    proposer = Proposer(space, plan.budget, plan.objective, request.workload.seed, known.prior)
    return proposer.prediction(), known
