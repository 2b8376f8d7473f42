"""What must not be written down or shown: which keys hold secrets, and the secrets that this process knows."""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

MASK = "***"
"""Stands in the place of a secret."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET = {
    *("password", "passwords", "passwd", "passphrase", "passcode", "secret", "secrets", "credential", "credentials"),
    *("auth", "authorization", "bearer", "jwt", "apikey", "apikeys", "accesskey", "privatekey", "secretkey"),
    *("authtoken", "accesstoken", "apitoken"),
}
_KEYS_TO = {
    *("api", "access", "private", "secret", "signing", "encryption", "ssh", "account", "license", "master", "deploy"),
    *("service", "subscription", "storage"),
}  # followed by the word key
_ABOUT = {
    *("path", "paths", "file", "filename", "dir", "directory", "folder", "name", "env", "var", "variable", "type"),
    *("kind", "method", "mode", "length", "len", "size", "dim", "dims", "count", "num", "limit", "ttl", "timeout"),
    *("enabled", "required", "index", "rate", "ratio", "weight"),
}  # as the last word: the value tells of the secret, it is none
_OF_TEXT = {
    *("pad", "padding", "bos", "eos", "unk", "unknown", "sep", "cls", "class", "mask", "special", "additional"),
    *("start", "end", "begin", "stop", "blank", "image", "patch", "word", "input", "output", "first", "last", "next"),
}  # before the word token: a piece of what a model reads
_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_DEFAULT = re.compile(r"(\$\{oc\.env:[^,{}]+,)(?!null\}|\})[^{}]+(?=\})")  # of a variable that is not set
_ASSIGNMENT = re.compile(
    r"(?P<before>(?<![\w.-])(?P<name>[\w.-]{1,80})[\"']?\]?[ \t]{0,20}"
    r"(?::[ \t]{0,20}\w{1,40}[ \t]{0,20})?[:=][ \t]{0,20})"
    r"(?:[rbf]?(?P<quote>[\"'])[^\"'\n]{4,}(?P=quote)|(?=\S{0,200}\d)[^\s\"'(){}\[\],;#]{8,}(?=[ \t,;]*(?:#.*)?$))",
    re.MULTILINE,
)  # in Python, YAML, JSON, TOML or shell, of a text in quotes; or of a bare word with a digit that ends its line
_URL = re.compile(r"(?P<before>[a-z][\w.+-]*://[^\s/:@]*:)(?!\$\{)[^\s@]+@", re.IGNORECASE)  # with a password
_QUERY = re.compile(r"[?&](?P<key>\w+)=[^&\s\"']+")
_SHORTEST = 4  # a text that is masked wherever it occurs
_DISTINCT = 8  # one of so many characters also within a word

_known: dict[str, str] = {}
_pattern: re.Pattern[str] | None = None


def is_secret(key: str) -> bool:
    """Whether a key, such as ``api_key``, ``hf_token`` or ``WANDB_API_KEY``, is that of a secret."""
    words = _words(key)
    if not words or words[-1] in _ABOUT:
        return False
    if _is_token(key) and words[-2:-1] and words[-2] in _OF_TEXT:
        return False
    pairs = itertools.pairwise(words)
    return _is_token(key) or not _SECRET.isdisjoint(words) or any(a in _KEYS_TO and b == "key" for a, b in pairs)


def masked(node: Any) -> Any:
    """Nested settings, the values of secret keys masked, those in lists and mappings below them too.

    Of a URL, whatever its key is, the password alone.

    What refers to another key or to the environment stays; a default that stands there in clear does not.
    """
    return _with_secrets(node, lambda secret: MASK, lambda text: _URL.sub(rf"\g<before>{MASK}@", text))


def is_masked(value: object) -> bool:
    """Whether a setting lacks a secret that was masked, all of it or the password of a URL."""
    return value == MASK or (isinstance(value, str) and f":{MASK}@" in value)


def masked_override(override: str) -> str:
    """What was typed, ``key=value``, without the value if the key is that of a secret; known secrets are masked too."""
    key, equals, value = override.partition("=")
    if not equals or not value:
        return redacted(override)
    names = re.split(r"[./@\[\]]+", key.lstrip("+~"))
    plain: Any = 0.5 if _NUMBER.fullmatch(value) else None if value in ("null", "true", "false") else value
    node: Any = plain
    for name in reversed([name for name in names if name]):
        node = {name: node}
    shown = masked(node)
    while isinstance(shown, Mapping):
        shown = next(iter(shown.values()))
    return redacted(override if shown == plain else f"{key}={shown}")


def masked_assignments(text: str) -> str:
    """Lines of code and settings without the texts that they assign to names of secrets."""
    return redacted(_ASSIGNMENT.sub(_without_value, text))


def to_give_again(overrides: Iterable[str]) -> list[str]:
    """Those that a run which is resumed needs again: it has not written their values down."""
    return [override.lstrip("+") for override in overrides if masked_override(override) != override]


def learn_typed(arguments: Sequence[str]) -> None:
    """Mask from now on what a command line gives to keys of secrets, and the passwords of URLs in it."""
    for argument in arguments:
        learn_url(argument)
        if masked_override(argument) == f"{argument.partition('=')[0]}={MASK}":
            for value in argument.partition("=")[2].strip("[]").split(","):
                learn(value.strip().strip("'\""))


def learn_url(text: str) -> None:
    """Mask from now on the passwords of the URLs in a text: in their place alone, as they may be common words."""
    for found in _URL.finditer(text):
        learn(found[0], f"{found['before']}{MASK}@")
    for found in _QUERY.finditer(text):
        if is_secret(found["key"]) or found["key"].endswith("password"):
            learn(found[0][1:], f"{found['key']}={MASK}")


def known() -> dict[str, str]:
    """What is masked, and what is shown in its place: for a process that is started by this one."""
    return dict(_known)


def learn_all(node: Any) -> None:
    """Mask from now on the values of secret keys in nested settings."""
    _with_secrets(node, learn, learn_url)


def learn(secret: object, shown: str = MASK) -> None:
    """Mask a text from now on, wherever it would be shown or logged; one of fewer than four characters can't be.

    Args:
        secret: Its spelling in messages and each of its lines are masked too.
        shown: What stands in its place.
    """
    global _pattern
    text = str(secret)
    spellings = {line.strip() for spelling in (text, repr(text)[1:-1]) for line in (spelling, *spelling.splitlines())}
    new = {spelling: shown for spelling in spellings if len(spelling) >= _SHORTEST and spelling not in (MASK, *_known)}
    if new:
        _known.update(new)
        _pattern = re.compile("|".join(map(_occurrence, sorted(_known, key=len, reverse=True))))


def redacted(text: str) -> str:
    """The text without the secrets that this process knows."""
    return text if _pattern is None else _pattern.sub(lambda match: _known[match[0]], text)


def forget_all() -> None:
    """Know no secret any more."""
    global _pattern
    _known.clear()
    _pattern = None


def _occurrence(secret: str) -> str:
    return re.escape(secret) if len(secret) >= _DISTINCT else rf"(?<!\w){re.escape(secret)}(?!\w)"


def _without_value(assignment: re.Match[str]) -> str:
    quote = assignment["quote"] or ""
    return f"{assignment['before']}{quote}{MASK}{quote}" if is_secret(assignment["name"]) else assignment[0]


def _words(key: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(key)]


def _is_token(key: str) -> bool:
    """What may be a secret, and as well the number or the kind of what a text is cut into."""
    return _words(key)[-1:] == ["token"]


def _with_secrets(node: Any, replaced: Callable[[Any], Any], of_text: Callable[[str], Any], key: str = "") -> Any:
    """Nested settings with what ``replaced`` gives in the place of each secret.

    Args:
        node: The settings.
        replaced: Is given a secret.
        of_text: Is given a text that is none, but may hold the password of a URL.
        key: That of a secret, if ``node`` stands below one.
    """
    if isinstance(node, Mapping):
        above = "" if _is_token(key) else key
        return {
            name: value
            if _is_of_hydra(str(name))
            else _with_secrets(value, replaced, of_text, _below(above, str(name)))
            for name, value in node.items()
        }
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_with_secrets(item, replaced, of_text, key) for item in node]
    if key == "" and isinstance(node, str) and "://" in node:
        return of_text(node)
    if key == "" or node is None or node == "" or isinstance(node, bool) or node in ("???", MASK):
        return node
    if isinstance(node, str) and node.startswith("${") and node.endswith("}"):
        return _DEFAULT.sub(rf"\g<1>{MASK}", node)
    return node if _is_token(key) and not isinstance(node, str) else replaced(node)


def _below(above: str, name: str) -> str:
    return above if above and not _is_token(name) else name if is_secret(name) else above


def _is_of_hydra(name: str) -> bool:
    return name in ("_target_", "_partial_", "_convert_", "_recursive_")
