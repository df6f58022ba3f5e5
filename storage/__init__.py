"""The ledger: every machine, workload, study and trial, in one database."""

from storage.place import default_url
from storage.rows import StoredTrial
from storage.store import Store

__all__ = ["Store", "StoredTrial", "default_url"]
