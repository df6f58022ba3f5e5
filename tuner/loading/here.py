"""What is here: the devices of this computer, what is free on them, which choices work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from search_space.config import Config, probes
from search_space.errors import UsageError
from search_space.hardware.detect import KINDS, detect
from search_space.hardware.machine import Machine
from search_space.knob import Context, Tier
from search_space.pipeline.spec import read_spec
from search_space.space import Space
from search_space.workload import Workload
from tuner.discovery.free_memory import WITH_FREE_MEMORY
from tuner.discovery.models import resolve
from tuner.discovery.probing import HEAD_SIZE, probed
from tuner.loading.match import Here
from tuner.measuring.memory.limits import free_host_bytes
from tuner.processes.children import Children


def devices(kinds: Iterable[str], asked: str | None = None) -> dict[str, Here]:
    """The devices of these kinds that are here, and the best one where none is.

    They are looked at in this process, which is about to use them. Raises UsageError where the
    device ``asked`` for is not here.
    """
    if asked is not None:
        return {asked: _here(detect(asked))}
    found = {}
    for kind in kinds:
        try:
            found[kind] = _here(detect(kind))
        except UsageError:
            continue
    if not found:
        best = _here(detect(None))
        found[best.machine.device] = best
    return dict(sorted(found.items(), key=lambda item: KINDS.index(item[0])))


def _here(machine: Machine) -> Here:
    if machine.device in WITH_FREE_MEMORY:
        import torch

        free_bytes, _ = getattr(torch, machine.device).mem_get_info()
        return Here(machine, int(free_bytes))
    return Here(machine, free_host_bytes() if machine.device == "cpu" else machine.device_bytes)


def unavailable(config: Config, context: Context) -> str | None:
    """The first choice of the config that is not available in the context, and why; or None."""
    try:
        Space(context, fix=config.changes)
    except UsageError as error:
        return str(error)
    return None


@dataclass
class Choices:
    """Which choices work here; each probe is tried once, in a process that it may crash."""

    folder: str
    cache_dir: Path
    allow_pickle: bool = False
    _results: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def unavailable(self, config: Config, machine: Machine, workload: Workload) -> str | None:
        """Why the config cannot be had on the machine, or None; raises ModelError."""
        folder = resolve(self.folder, self.cache_dir, self.allow_pickle)
        spec = read_spec(folder, self.allow_pickle)
        head_size = max((part.head_size for part in spec.denoisers), default=0) or HEAD_SIZE
        tried = replace(machine, probes=self._probes(probes(config), machine.device, head_size))
        # Whoever tuned has allowed what its config does.
        return unavailable(config, Context(tried, spec, workload, Tier.LOSSY, True, True))

    def _probes(
        self, names: Iterable[str], device: str, head_size: int
    ) -> Mapping[str, str | None]:
        names = tuple(names)
        untried = [name for name in names if (name, device) not in self._results]
        if untried:
            with Children() as children:
                reasons = probed(children, untried, device, head_size)
            self._results |= {(name, device): reason for name, reason in reasons.items()}
        return {name: self._results[name, device] for name in names}
