"""Python's garbage collection, kept away from what imported libraries are made of: that stays until the process ends.

torch and Lightning leave half a million objects behind. Looking through them anew and anew while they come takes two
fifths of the time of importing them (5.3 s of CPU without this, 3.2 s with it); taking them apart as the process ends,
1.7 s (0.3 s with it); looking through them once more, half a second: in every process that is forked from this one.
"""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_off() -> Iterator[None]:
    """Collect nothing within the block, and never look at what is there when it ends: for imports, in a command.

    Whatever is made afterwards is collected as ever. Where collection is off, it is left to whoever has switched it
    off. Where Lightning was imported before, nothing is changed: what an earlier run of this process has left would
    never be collected. A process that belongs to someone else, as a notebook does, is not ours to settle: no part of
    `strobe.api` uses this.
    """
    if not gc.isenabled() or "lightning.pytorch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # or a library tells of leaks at Python's own end; `leave` has no need of it
        gc.enable()
