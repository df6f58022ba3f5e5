"""Where a store is: a file, memory or a server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from platformdirs import user_data_dir
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from search_space.errors import StoreError

ENVIRONMENT_VARIABLE = "DIFFUSERS_AUTOTUNE_STORE"
# SQLAlchemy before 2.1 would take psycopg2, which is no longer developed.
DEFAULT_DRIVERS = {"postgresql": "postgresql+psycopg"}


def default_url() -> str:
    """The store of this user; the variable DIFFUSERS_AUTOTUNE_STORE names another."""
    folder = user_data_dir("diffusers-autotune")
    return os.environ.get(ENVIRONMENT_VARIABLE) or f"sqlite:///{folder}/history.db"


@dataclass(frozen=True)
class Place:
    """The address of a store; ``str`` of it is what a user is shown, without a password."""

    url: URL

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place at an SQLAlchemy URL or a bare file name; raises StoreError."""
        if "://" not in text:
            return cls(URL.create("sqlite", database=os.path.expanduser(text) or "."))
        try:
            url = make_url(text)
        except (ArgumentError, ValueError) as error:
            safe_text = re.sub("//[^/]*@", "//***@", text)
            raise StoreError(
                f"{safe_text!r} names no store: give a file such as history.db or a URL such as "
                "postgresql://user@host/name"
            ) from error
        return cls(url.set(drivername=DEFAULT_DRIVERS.get(url.drivername, url.drivername)))

    def __str__(self) -> str:
        return str(self.file or self.url.set(query={}))

    @property
    def noun(self) -> str:
        """The word for it in an error: ``file`` or ``database``."""
        return "file" if self.is_sqlite else "database"

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path | None:
        """The file, or None for a server or memory."""
        name = self.url.database or ":memory:"
        if self._is_uri:
            name = unquote(urlsplit(name).path)
        in_memory = name == ":memory:" or self.url.query.get("mode") == "memory"
        return None if in_memory or not self.is_sqlite else Path(name)

    @property
    def forbids_writing(self) -> bool:
        """Whether the URL itself asks SQLite for reading only."""
        query = self.url.query
        return self._is_uri and (query.get("mode") == "ro" or query.get("immutable") == "1")

    @property
    def read_only(self) -> Place:
        """The same file, which SQLite then never writes to; itself if it is not a file."""
        return self._with_option("mode", "ro")

    @property
    def immutable(self) -> Place:
        """The same file, for a folder in which SQLite cannot make its lock files."""
        return self._with_option("immutable", "1")

    @property
    def unknown_options(self) -> set[str]:
        """Options of the URL that SQLite's driver does not know, or that we set ourselves."""
        return set(self.url.query) - {"timeout"} if self.is_sqlite and not self._is_uri else set()

    @property
    def _is_uri(self) -> bool:
        return self.is_sqlite and self.url.query.get("uri") in ("true", "1")

    def _with_option(self, name: str, value: str) -> Place:
        if self.file is None:
            return self
        address = self.url.set(database=self.file.absolute().as_uri())
        return Place(address.update_query_dict({name: value, "uri": "true"}))
