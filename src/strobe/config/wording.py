"""What is wrong with one override, in a line: several values, a call, a value that can't be read."""

import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from strobe.config.meant import Known
from strobe.config.slips import Typed
from strobe.machine.program import typed

_LISTS = ("hidden", "widths", "betas", "milestones", "tags", "devices", "class_weights")


def called(text: str, known: Known) -> str | None:
    """What is wrong with an option that is written as Python calls it, or a range that is none of Hydra's."""
    if (drawn := re.fullmatch(r"(.+)=(log_?)?uniform\((.+)\)", text)) is not None:
        key, logarithmic, ends = drawn.groups()
        meant = f"{key}=tag(log,interval({ends}))" if logarithmic else f"{key}=interval({ends})"
        return f"{text}: no such range; did you mean -m sweep=optuna '{meant}'?"
    call = re.fullmatch(r"(\w+)=([\w.]+)\((.*)\)", text)
    if call is None or (option := known.for_option(call[1], call[2])) is None:
        return None
    arguments = [f" {call[1]}.{each.replace(' ', '')}" for each in call[3].split(", ") if "=" in each]
    return f"{text}: what an option is made with is typed apart; did you mean {option}{''.join(arguments)}?"


def several(text: str) -> str:
    """What is wrong with several values of a single run, in a line."""
    key, _, value = text.partition("=")
    hint = ""
    if re.search(r",\s", value):
        hint = f"; one text is written {key}=\"'{value}'\""
    elif key.rpartition(".")[2] in _LISTS:
        hint = f"; a list is written {key}=[{value}]"
    elif re.fullmatch(r"\d+,\d+", value) and "." in key and key.endswith(("lr", "decay", "dropout", "momentum")):
        hint = f"; a number is written with a point: {key}={value.replace(',', '.')}"
    return f"{text}: several values make a sweep, which needs -m: {' '.join(typed('train'))} -m ...{hint}"


def misspelt_as(each: Typed, meant: str | None) -> str:
    """What is wrong with how something is typed, in a line, and what is meant by it."""
    shown = each.shown if each.meant or each.why == "no such flag" or each.shown.startswith("-") else repr(each.shown)
    separator = " " if each.why.startswith("is not") else ": "
    hint = f"; did you mean {shell(meant)}?" if meant else ""
    if not hint and each.why == "no such flag":
        hint = "; settings are typed as key=value, and --help shows them all"
    return f"{shown}{separator}{each.why}{hint}"


def shell(setting: str) -> str:
    """Overrides as they are typed in a shell: one with spaces within in quotes."""
    value = setting.partition("=")[2]
    quoted = " " in value and "=" not in value
    return f"'{setting}'" if quoted else setting


def unreadable(text: str) -> str:
    """What is wrong with an override that can't be parsed."""
    if "=" not in text:
        return f"{text!r} is not an override: write key=value"
    if re.search(r"[\w\]]\s*[,;&|]+\s*[a-z_][\w.]*=", text):
        apart = " ".join(re.split(r"\s*[,;&|]+\s*(?=[a-z_][\w.]*=)", text))
        return f"{text!r} can't be read: settings have a space between them; did you mean {apart}?"
    key, _, value = text.partition("=")
    key = re.sub(r"\[([A-Za-z_]\w*)\]", r".\1", key)
    value = re.sub(r",(\s*,)+", ",", value)
    value = re.sub(r"(?:(\d[\d.]*)\*)?10\^(-?\d+)", lambda power: f"{power[1] or 1}e{power[2]}", value)
    repaired = f"{re.sub(r'[.]+', '.', key).strip('. ')}={value.lstrip('=').strip().rstrip(',').rstrip()}"
    for setting in (repaired, _with_brackets(repaired)):
        if setting != text and setting.partition("=")[0] and _can_be_read(setting):
            return f"{text!r} can't be read; did you mean {shell(setting)}?"
    quoted = f"'{value}'"
    if (inside := re.fullmatch(r"\[([^\[\]{}'\"]+)\]", value)) is not None:
        quoted = f"[{','.join(repr(each.strip()) for each in inside[1].split(','))}]"
    return f'{text!r} can\'t be read: quote a value with special characters, as in {key}="{quoted}"'


def _with_brackets(text: str) -> str:
    """A list in the brackets that lists have here."""
    key, _, value = text.partition("=")
    if value.startswith("(") and value.endswith(")"):
        return f"{key}=[{value[1:-1].rstrip(', ')}]"
    return f"{text.rstrip(', ')}]" if value.startswith("[") and "]" not in value else text


def _can_be_read(setting: str) -> bool:
    try:
        OverridesParser.create().parse_override(setting)
    except HydraException:
        return False
    return True
