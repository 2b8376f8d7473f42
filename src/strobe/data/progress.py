"""How far the decoding of pictures is: a line that stands on a terminal, else one now and then."""

import logging
import time

from strobe.machine import transient

log = logging.getLogger(__name__)

_AFTER_S, _SHOWN_EVERY_S, _LOGGED_EVERY_S = 1.0, 0.2, 10.0


class Progress:
    """Tells of it while it goes on; in a ``with`` block.

    Args:
        total: How many pictures there are.
        todo: How many of them are still to be decoded.
    """

    def __init__(self, total: int, todo: int) -> None:
        self.total = total
        self.earlier = self.done = total - todo
        self._began = self._shown = self._logged = time.monotonic()

    def __enter__(self) -> "Progress":
        if self.earlier:
            log.info("%s of %s pictures were decoded before, going on from there", *self._numbers())
        return self

    def __exit__(self, *_: object) -> None:
        transient.erase()

    def advance(self, pictures: int) -> None:
        """Some more are done."""
        self.done += pictures
        now = time.monotonic()
        if now - self._began < _AFTER_S:
            return
        if transient.on_terminal():
            if now - self._shown >= _SHOWN_EVERY_S:
                self._shown = now
                transient.show(f"decoding pictures: {self._standing(now)}")
        elif now - self._logged >= _LOGGED_EVERY_S:
            self._logged = now
            log.info("Decoding pictures: %s", self._standing(now))

    def _numbers(self) -> tuple[str, str]:
        return f"{self.done:,}", f"{self.total:,}"

    def _standing(self, now: float) -> str:
        rate = (self.done - self.earlier) / max(now - self._began, 1e-9)
        done, total = self._numbers()
        left = transient.clock((self.total - self.done) / rate)
        return f"{done} of {total} ({self.done / self.total:.0%}), {rate:,.0f} a second, {left} left"
