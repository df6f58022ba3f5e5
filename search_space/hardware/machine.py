"""This computer: device, memory and versions, as facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from search_space.identity import fingerprint


@dataclass(frozen=True)
class Machine:
    """This computer; every field is plain JSON.

    ``host_bytes`` and ``cores`` (the logical ones) are what this process may use of the computer,
    ``threads`` are those that torch takes by itself. ``native_dtypes`` are those whose matrix
    products run on hardware of their own, ``int8_saturates`` says that sums of int8 are cut off.
    ``probes`` maps the name of a probe to None (works) or to the sentence that says why not.
    """

    device: str
    device_name: str
    device_bytes: int
    host_bytes: int
    cores: int
    system: str
    native_dtypes: tuple[str, ...] = ()
    device_count: int = 1
    threads: int = 0
    int8_saturates: bool = False
    packages: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def rocm(self) -> bool:
        """Whether what torch calls ``cuda`` is a GPU of AMD."""
        return "rocm" in self.packages

    @property
    def hardware(self) -> dict[str, Any]:
        """What does not change when a package is installed."""
        facts = asdict(self)
        del facts["packages"], facts["probes"]
        return facts

    @property
    def fingerprint(self) -> str:
        """The identity of the hardware; memory in whole GiB, for kernels count it differently."""
        facts = self.hardware
        for name in ("device_bytes", "host_bytes"):
            facts[name] = round(facts[name] / 2**30)
        # These came later: the usual machine keeps the identity that it had before.
        if self.device_count == 1:
            del facts["device_count"]
        if self.threads in (0, self.cores):
            del facts["threads"]
        if not self.int8_saturates:
            del facts["int8_saturates"]
        return fingerprint(facts)

    @property
    def software_fingerprint(self) -> str:
        """The identity of the installed versions."""
        return fingerprint(dict(self.packages))

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Machine:
        """The inverse of ``dataclasses.asdict``."""
        return cls(**{**facts, "native_dtypes": tuple(facts["native_dtypes"])})
