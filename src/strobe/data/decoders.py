"""Decodes pieces of a folder of pictures with all processors, this process among them."""

import json
import logging
import os
import selectors
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from strobe.data.pieces import READY, Decoded, Piece, Target, decode
from strobe.errors import DatasetError

log = logging.getLogger(__name__)

_AHEAD = 3  # pieces that a decoder has been given, so that it goes on while this process decodes one of its own
_END_S = 10


class _NeverBegunError(Exception):
    """A process could not be made to help."""


class _Decoder:
    """A process that decodes. Not one of `multiprocessing`, which would run a person's script anew in it."""

    def __init__(self, target: Target) -> None:
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = os.pathsep.join(str(Path(folder).resolve()) for folder in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", "strobe.data.pieces"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **alone, "PYTHONPATH": path},
            start_new_session=True,  # a Ctrl-C in the terminal goes to this process, with which its decoders end
        )
        assert self.process.stdin is not None, "it was opened as a pipe"
        assert self.process.stdout is not None, "it was opened as a pipe"
        self._questions, self.answers = self.process.stdin, self.process.stdout
        self._heard = b""
        self._ready = False
        self.has: dict[int, Piece] = {}
        self._say(asdict(target))

    def give(self, piece: Piece) -> None:
        """Ask for a piece."""
        self.has[piece.number] = piece
        self._say(asdict(piece))

    def take(self) -> Iterator[Decoded]:
        """What has come of some; there is something to be read, or will be.

        Raises:
            _NeverBegunError: If the process has ended before it could do anything.
            DatasetError: If it has ended later.
        """
        heard = self.answers.read(2**16)
        if not heard:
            raise self._died() if self._ready else _NeverBegunError
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for answer in map(json.loads, lines):
            if answer == READY:
                self._ready = True
                continue
            del self.has[answer["number"]]
            yield Decoded(**answer)

    def end(self) -> None:
        """Let it go, whatever it is at."""
        self.process.kill()
        self._questions.close()
        self.answers.close()
        self.process.wait(_END_S)

    def _say(self, what: Mapping[str, object]) -> None:
        rest = json.dumps(what).encode() + b"\n"
        try:
            while rest:
                rest = rest[self._questions.write(rest) :]
        except BrokenPipeError:
            if self._ready:
                raise self._died() from None

    def _died(self) -> DatasetError:
        code = self.process.wait(_END_S)
        names = next((piece.names for piece in self.has.values()), [])
        between = f", at one of the pictures from {names[0]} to {names[-1]}" if names else ""
        return DatasetError(
            f"a process that decodes pictures has ended (exit code {code}){between}: memory may have run out, or it is "
            "a picture that Pillow can't bear. The same command goes on where this one has stopped"
        )


def decoded(pieces: Iterable[Piece], target: Target, decoders: int) -> Iterator[Decoded]:
    """Decode pieces; what came of each, in the order in which they are done.

    Args:
        pieces: What is to be decoded.
        target: Where it belongs.
        decoders: How many processes help this one.

    Raises:
        DatasetError: If one of them dies.
    """
    todo = iter(pieces)
    with _at_work(target, decoders) as (others, answers):
        for decoder in others * _AHEAD:
            if (piece := next(todo, None)) is not None:
                decoder.give(piece)
        own = next(todo, None)
        while own is not None or any(decoder.has for decoder in others):
            if own is not None:
                yield decode(own, target)
            for key, _ in answers.select(timeout=0 if own is not None else None):
                decoder = key.data
                try:
                    for found in decoder.take():
                        if (following := next(todo, None)) is not None:
                            decoder.give(following)
                        yield found
                except _NeverBegunError:
                    log.warning("A process that was to help with decoding has ended at once; going on without it")
                    answers.unregister(key.fileobj)
                    todo = chain(list(decoder.has.values()), todo)
                    decoder.has.clear()
            own = next(todo, None)


@contextmanager
def _at_work(target: Target, number: int) -> Iterator[tuple[list[_Decoder], selectors.BaseSelector]]:
    """Processes that help, as many as can be had, and what tells which has answered."""
    decoders: list[_Decoder] = []
    with selectors.DefaultSelector() as answers:
        try:
            for _ in range(number if os.name == "posix" else 0):  # elsewhere a selector takes no pipes
                try:
                    decoders.append(_Decoder(target))
                except OSError as error:
                    log.warning("%d processes decode pictures, no more can be started: %s", len(decoders) + 1, error)
                    break
                answers.register(decoders[-1].answers, selectors.EVENT_READ, decoders[-1])
            yield decoders, answers
        finally:
            for decoder in decoders:
                decoder.end()
