"""Stands in for the bridge to Gaudi, which no package registry has.

The signature and the attribute are those of HabanaAI/gaudi-pytorch-bridge at 39403e4, in
``python_packages/habana_frameworks/torch/hpu/graphs.py``. Nothing here has met a Gaudi.
"""

from __future__ import annotations

from typing import Any

from torch._dynamo import register_backend


def wrap_in_hpu_graph(
    module: Any,
    asynchronous: bool = False,
    disable_tensor_cache: bool = False,
    dry_run: bool = False,
    max_graphs: int | None = None,
) -> Any:
    """Leaves on the module what the real one leaves there."""
    module.clear_cache = dict().clear
    return module


@register_backend
def hpu_backend(graph: Any, inputs: Any) -> Any:
    """The name that the real bridge registers."""
    return graph.forward
