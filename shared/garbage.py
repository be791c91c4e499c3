"""Python's garbage collection, in processes that shall not stand still for it."""

from __future__ import annotations

import gc


def spare_what_is_there() -> None:
    """Leave what there is by now, mostly modules, out of all garbage collections to come: it stays until the end.

    To be called when all is built and before the work begins, since it takes a full collection. Each one after it would
    else go through some hundred thousand objects that it can never free, for 65 ms of processor time in the server, and
    all calls wait meanwhile. What becomes garbage of these objects in cycles is not freed.
    """
    gc.collect()
    gc.freeze()
