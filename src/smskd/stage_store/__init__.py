"""The ends of stages, kept under the digest of all that determines them, so that equal stages are trained once.

``store`` reads and writes the folder, ``reservation`` lets one process at a time train a stage, ``code`` identifies the
code that a stage was trained with, and ``pruning`` lists and removes.
"""

from smskd.stage_store.store import StageKey, StageStore, StoredStage

__all__ = ["StageKey", "StageStore", "StoredStage"]
