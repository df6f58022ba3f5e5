"""Secrets stay out of logs, errors and what is kept."""

from __future__ import annotations

import os
import re
from typing import Any

HIDDEN = "***"

PATTERNS = (
    (re.compile(r"\bhf_\w{8,}"), HIDDEN),  # a token of the Hugging Face Hub
    (re.compile(r"(?i)\b(bearer|basic) [\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(://[^\s/:@]*):[^\s/@]+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?i)\b(password|passwd|token|secret)=[^\s&\"']+"), rf"\1={HIDDEN}"),
)

NAMES = re.compile(r"(TOKEN|PASSWORD|PASSWD|SECRET|API_KEY|ACCESS_KEY)$")
"""How variables end that hold secrets: HF_TOKEN, PGPASSWORD, AWS_SECRET_ACCESS_KEY."""

SHORTEST = 8
"""Of a variable's value: a shorter one stands in many a text without being the secret."""


def scrubbed(text: str) -> str:
    """The text without tokens and passwords: of known forms, and of this process's variables."""
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    for name, value in os.environ.items():
        if NAMES.search(name) and len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN)
    return text


def without_secrets(value: Any) -> Any:
    """A value of JSON with its texts scrubbed."""
    if isinstance(value, dict):
        return {name: without_secrets(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(each) for each in value]
    return scrubbed(value) if isinstance(value, str) else value
