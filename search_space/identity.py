"""Identity: the hash of canonical JSON."""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> str:
    """Sorted keys and no spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(value: object) -> str:
    """``b2:`` and 32 hexadecimal digits; the tag names the form, so that a change of it is seen."""
    digest = hashlib.blake2b(canonical_json(value).encode(), digest_size=16)
    return f"b2:{digest.hexdigest()}"
