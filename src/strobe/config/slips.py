"""What was typed that is no override of Hydra's, word by word, and the override that was meant."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from strobe.config.rules import TOP_LEVEL
from strobe.config.vocabulary import FLAGS, KEYS, word
from strobe.record.find import LATEST

SHORT_FLAGS = {"--config-dir": "-cd", "--config-name": "-cn", "--config-path": "-cp", "--package": "-p", "--cfg": "-c"}
"""Hydra's flags with a value, and how they are written in short."""

PLACEHOLDER = "=<value>"
"""What is written of an override of which nobody knows the value."""

SEVERAL = "one option makes a run, several a sweep"
"""What is wrong with a list of options, unless one of them is made to be laid over another."""

TOGETHER = "several settings in one pair of quotes"
"""What is wrong with overrides that the shell was told to keep together."""

ONE_SWEEP = "sweeps are one at a time: choose one, or type the axes"
"""What is wrong with several named sweeps."""

_LONG = (*SHORT_FLAGS, "--help", "--hydra-help", "--version", "--resolve", "--run", "--multirun", "--info")
_FLAGS = (*_LONG, "--shell-completion", "--experimental-rerun", "--trust")
_IN_FULL = {**{short: flag for flag, short in SHORT_FLAGS.items()}, "-i": "--info"}
_SHORT = (*SHORT_FLAGS.values(), "-h", "-m", "-r", "-i", "-sc")
_ALONE = ("--multirun", "-m", "--run", "-r", "--help", "--version", "--resolve")
_SHOWN = ("job", "hydra", "all")  # what --cfg takes
_TOLD = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")  # what --info takes, or nothing
_KEY = re.compile(r"[A-Za-z_]\w*([./][A-Za-z_]\w*)*")
_NUMBER = re.compile(r"-?[\d.]+(e-?\d+)?")
_FREE_TEXT = ("name", "note")
_QUOTE = "'"
_TO = ("to", "until", "till", "...", "..")
_OR = ("or", "|", "vs", "vs.", "versus", *_TO)
_AND = ("and", "with", "&", "&&", "+", ";", ",")
_ONE_OPTION = ("data", "model", "optimizer", "scheduler", "loss", "task", "trainer")


@dataclass(frozen=True)
class Typed:
    """A word, or several that belong together.

    Attributes:
        shown: As typed.
        meant: The override, or the flag; None where there is none.
        why: What is wrong with how it is typed; empty for an override, right or wrong.
    """

    shown: str
    meant: str | None
    why: str = ""


def read(arguments: Sequence[str]) -> Iterator[Typed]:
    """A command line in parts: overrides, and what is none; Hydra's own flags are left out."""
    words = list(arguments)
    while words:
        first = words.pop(0)
        if takes(first, words[0] if words else None):
            value = words.pop(0) if words else None
            if in_full(first) == "--cfg" and value not in _SHOWN:
                shown = f"{first} {value or ''}".strip()
                yield Typed(shown, None, "says which part of the config is shown: job, hydra, all")
        elif first.startswith("-"):
            yield from _flag(first, words)
        else:
            yield _word(first, words)


def in_full(name: str) -> str:
    """A flag of Hydra's by its whole name, which may be typed as far as no other begins so; else what was typed."""
    begun = [flag for flag in _FLAGS if len(name) > 2 and flag.startswith(name)]
    return _IN_FULL.get(name) or (begun[0] if len(begun) == 1 else name)


def takes(typed: str, following: str | None) -> bool:
    """Whether something typed is a flag of Hydra's whose value is the word that follows, if any."""
    name = in_full(typed)
    return name in SHORT_FLAGS or (name == "--info" and following in _TOLD)


def is_flag(typed: str) -> bool:
    """Whether it begins like a flag and is none of ours; Hydra takes its own in short, ``--multi``, too."""
    name = typed.partition("=")[0]
    known = name in ("--", *_SHORT) or (len(name) > 2 and any(flag.startswith(name) for flag in _FLAGS))
    return typed.startswith("-") and not known


def _flag(first: str, words: list[str]) -> Iterator[Typed]:
    name, separator, value = first.partition("=")
    if name == "--config":
        given = value or (words.pop(0) if words and _is_value(words[0]) else "")
        meant = None if not given.endswith((".yaml", ".yml")) else f"experiment={given.rpartition('.')[0]}"
        yield Typed(f"{first} {given}".strip() if not separator else first, meant, "no such flag")
        return
    if separator and name in _ALONE:
        yield Typed(first, name, "takes no value")
    if not is_flag(first):
        return
    key = word(name.lstrip("-"))
    shown = first
    if not separator and words and _is_value(words[0]):
        value = words.pop(0)
        shown = f"{first} {value}"
    if not value and first == "-M":  # and not -m, which is a flag
        yield Typed(shown, "-m", "no such flag")
    elif not value and key in FLAGS:
        yield Typed(shown, FLAGS[key], "no such flag")
    elif value:
        setting = name.lstrip("-").replace("-", "_")
        meant = f"{setting}={value}" if len(setting) > 1 else None
        yield Typed(shown, meant, "settings are typed without dashes" if meant else "no such flag")
    else:
        known = key in TOP_LEVEL or key in KEYS or "." in key
        meant = f"{key}{PLACEHOLDER}" if known else None
        yield Typed(shown, meant, "settings are typed without dashes, as key=value" if known else "no such flag")


def _is_value(text: str) -> bool:
    return "=" not in text and (not text.startswith(("-", "~")) or bool(re.fullmatch(r"-[\d.]+", text)))


def _word(first: str, words: list[str]) -> Typed:
    following = words[0] if words else None
    key, separator, value = first.partition("=")
    if not separator:
        return _without_equals(first, words)
    if value[:1] in ("[", "{") and not _balanced(value):
        parts = [first]
        for index, part in enumerate(words):
            if re.match(r"~?[\w./@]+=|--?[a-z]", part):
                break
            parts.append(part)
            if _balanced(" ".join(parts).partition("=")[2]):
                del words[: index + 1]
                return Typed(" ".join(parts), " ".join(parts), "quote what has spaces, or leave them out")
    if value and key not in _FREE_TEXT and following in _OR and len(words) > 1 and _is_value(words[1]):
        return _joined(first, words)
    if value.endswith(",") and following is not None and _is_value(following):
        return _apart(first, words, ".+", "no spaces after commas")
    if _NUMBER.fullmatch(value) and following is not None and _NUMBER.fullmatch(following):
        return _apart(first, words, _NUMBER.pattern, "several values have commas between them")
    if key in _ONE_OPTION and re.fullmatch(r"\[[\w ]+(,[\w ]+)+\]", value):
        several = ",".join(name.strip() for name in value[1:-1].split(","))
        return Typed(first, f"-m {key}={several}", SEVERAL)
    if re.fullmatch(r"[\w./]+=[^\s'\"\[{(]+(\s+[+~]*[\w./]+=[^\s'\"\[{(]+)+", first):
        return Typed(repr(first), " ".join(each.rstrip(",;") for each in first.split()), TOGETHER)
    if key == "sweep" and re.fullmatch(r"\[?\w+(,\s*\w+)+\]?", value):
        return Typed(first, "-m optimizer.lr=0.1,0.01 seed=1,2,3", ONE_SWEEP)
    if first.endswith(PLACEHOLDER):
        return Typed(first, None, "write the value itself in the place of <value>")
    if not key:
        return Typed(first, None, "is not an override: write key=value")
    if not value and following is not None and _is_value(following):
        words.pop(0)
        return Typed(f"{first} {following}", f"{key}={following}", "no spaces around =")
    if not value and key in ("hydra.run.dir", "hydra.sweep.dir"):
        return Typed(first, None, f"is empty: give a directory, as in {key}=outputs/first")
    if key != key.strip() or value != value.strip():
        meant = f"{key.strip()}={value.strip()}"
        return Typed(first, meant, "no spaces around =" if key != key.strip() else "")
    if key == "tags" and value[:1] not in ("", "[") and following is not None and _is_value(following):
        listed = _apart(first, words, ".+", "a list has brackets")
        return Typed(listed.shown, f"tags=[{(listed.meant or '').removeprefix('tags=')}]", listed.why)
    if key in _FREE_TEXT and following is not None and _is_value(following):
        first = f"{key}={value.strip(_QUOTE)}"  # a note was given quotes before it is read here
        while words and _is_value(words[0]):
            first = f"{first} {words.pop(0)}"
        return Typed(first, first, "quote what has spaces")
    return Typed(first, first)


def _apart(first: str, words: list[str], pattern: str, why: str) -> Typed:
    """Values of a sweep with spaces between them."""
    parts = [first]
    while words and _is_value(words[0]) and re.fullmatch(pattern, words[0]) and not "".join(words[1:2]).startswith("="):
        parts.append(words.pop(0))
    return Typed(" ".join(parts), ",".join(part.strip(",") for part in parts), why)


def _joined(first: str, words: list[str]) -> Typed:
    """Values of a sweep with a word between them, as in `model=mlp or cnn` and `seed=1 to 5`."""
    parts, values = [first], [first.partition("=")[2]]
    between = words[0]
    while len(words) > 1 and words[0] in _OR and _is_value(words[1]):
        parts += words[:2]
        values.append(words[1])
        del words[:2]
    key = first.partition("=")[0]
    if between in _TO and len(values) == 2 and all(value.isdigit() for value in values):
        meant = f"-m '{key}=range({values[0]},{int(values[1]) + 1})'"
    else:
        meant = f"-m {key}={','.join(value.strip(',') for value in values)}"
    return Typed(" ".join(parts), meant, "several values have commas between them")


def _without_equals(first: str, words: list[str]) -> Typed:
    following = words[0] if words else None
    if first.startswith("~"):
        return Typed(first, first)
    if following == "=" and len(words) > 1:
        parts = [first, "=", words[1]]
        del words[:2]
        while not _balanced(" ".join(parts[2:])) and words and _is_value(words[0]):
            parts.append(words.pop(0))
        return Typed(" ".join(parts), f"{first}={' '.join(parts[2:])}", "no spaces around =")
    if following is not None and following.startswith("=") and len(following) > 1 and _KEY.fullmatch(first):
        words.pop(0)
        return Typed(f"{first} {following}", f"{first}{following}", "no spaces around =")
    if first.endswith(":") and following is not None and _is_value(following):
        words.pop(0)
        return Typed(f"{first} {following}", f"{first[:-1]}={following}", "write key=value")
    if (colon := re.fullmatch(r"([A-Za-z_][\w.]*):([^/\\]+)", first)) is not None:
        return Typed(first, f"{colon[1]}={colon[2]}", "write key=value")
    is_key = _KEY.fullmatch(first) and ("." in first or first in TOP_LEVEL or word(first) in KEYS)
    if is_key and following is not None and _is_value(following) and not following.startswith("="):
        words.pop(0)
        return Typed(f"{first} {following}", f"{first}={following}", "write key=value")
    if first in _AND:
        return Typed(first, None, "is not an override: settings have a space between them, leave it out")
    if first == LATEST:
        return Typed(repr(first), f"resume={LATEST}", "is not an override")
    if is_key and following is None:
        return Typed(repr(first), f"{first}{PLACEHOLDER}", "is not an override: write key=value")
    if first == "train":
        return Typed(first, None, "is not an override: the command is there already, leave it out")
    if first in ("help", "version"):
        return Typed(f"{first!r}", f"--{first}", "is not an override")
    return Typed(first, None, "is not an override: write key=value")


def _balanced(text: str) -> bool:
    return all(text.count(opening) <= text.count(closing) for opening, closing in ("[]", "{}", "()"))
