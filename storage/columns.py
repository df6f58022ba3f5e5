"""The kinds of columns that the tables are made of."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Column, Dialect, ForeignKey, Integer, Text, TypeDecorator


class CleanText(TypeDecorator[str]):
    """Text in which U+FFFD stands for what no database takes.

    A log is whatever a dying process printed. PostgreSQL refuses NUL and SQLite refuses lone
    surrogates; a stray byte must not cost the trial.
    """

    impl = Text
    cache_ok = True
    python_type = str

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as it is stored."""
        return None if value is None else re.sub("[\0\ud800-\udfff]", "\ufffd", value)


def numbered(name: str, comment: str) -> Column[int]:
    return Column(name, Integer, primary_key=True, autoincrement=True, comment=comment)


def identity(comment: str) -> Column[str]:
    return Column("fingerprint", CleanText, nullable=False, unique=True, comment=comment)


def reference(to: str, comment: str) -> Column[int]:
    name = to.replace(".", "_")
    return Column(name, Integer, ForeignKey(to), nullable=False, index=True, comment=comment)


def of_trial() -> Column[int]:
    # autoincrement=False: the number comes from the trial, also where it is the only key.
    return Column(
        "trial_number",
        Integer,
        ForeignKey("trial.number"),
        primary_key=True,
        autoincrement=False,
        comment="The trial.",
    )


def key(name: str, type_: Any, comment: str) -> Column[Any]:
    return Column(name, type_, primary_key=True, autoincrement=False, comment=comment)


def fact(name: str, type_: Any, comment: str) -> Column[Any]:
    return Column(name, type_, nullable=False, comment=comment)
