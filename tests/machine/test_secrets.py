"""Which keys hold secrets, and that what a process knows as one is shown nowhere."""

import pytest

from strobe.machine.secrets import (
    is_masked,
    is_secret,
    learn,
    learn_all,
    learn_typed,
    masked,
    masked_assignments,
    masked_override,
    redacted,
    to_give_again,
)

SECRET = [
    *(
        "api_key",
        "apikey",
        "API_KEY",
        "x-api-key",
        "apiKey",
        "token",
        "hf_token",
        "authToken",
        "WANDB_API_KEY",
        "password",
        "db_password",
        "passwd",
        "secret",
    ),
    *(
        "client_secret",
        "secrets",
        "credential",
        "credentials",
        "private_key",
        "access_key",
        "aws_secret_access_key",
        "auth",
        "Authorization",
        "bearer",
    ),
    *("signing_key", "passphrase"),
]
HARMLESS = [
    *(
        "tokens",
        "num_tokens",
        "token_dim",
        "tokenizer",
        "max_tokens",
        "token_type",
        "pad_token",
        "eos_token",
        "author",
        "authors",
        "secretary",
        "key",
        "keys",
    ),
    *("monkey_key", "password_file", "api_key_env", "secret_name", "token_size", "keypoints", "passwordless"),
]


@pytest.mark.parametrize("key", SECRET)
def test_a_key_that_looks_like_a_secrets_is_seen(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize("key", [*HARMLESS, "", "_", "1"])
def test_a_key_that_only_sounds_like_one_is_left_alone(key: str) -> None:
    assert not is_secret(key)


def test_secrets_are_masked_wherever_they_are_nested() -> None:
    tracker = {
        "_target_": "a.B",
        "api_key": "abc",
        "auth": ["user", "word"],
        "credentials": {"_target_": "a.C", "user": "me", "more": [{"pin": 1234, "on": True, "none": None}]},
    }
    assert masked({"logger": {"x": tracker}, "parts": [{"password": 1}]}) == {
        "logger": {
            "x": {
                "_target_": "a.B",
                "api_key": "***",
                "auth": ["***", "***"],
                "credentials": {"_target_": "a.C", "user": "***", "more": [{"pin": "***", "on": True, "none": None}]},
            }
        },
        "parts": [{"password": "***"}],
    }


def test_numbers_of_tokens_and_what_is_not_there_are_no_secrets() -> None:
    settings = {"token": 5, "secret": None, "auth": False, "password": "", "model": {"token": {"dim": 64, "kind": "x"}}}
    assert masked(settings) == settings


def test_a_reference_is_no_secret_but_the_default_beside_it_is() -> None:
    assert masked({"password": "${oc.env:WORD}", "token": "${other.key}"}) == {
        "password": "${oc.env:WORD}",
        "token": "${other.key}",
    }
    assert masked({"password": "${oc.env:WORD,hunter2}"}) == {"password": "${oc.env:WORD,***}"}
    assert masked({"password": "${oc.env:WORD,null}"}) == {"password": "${oc.env:WORD,null}"}
    assert masked({"folder": "${oc.env:DATA,/data}"}) == {"folder": "${oc.env:DATA,/data}"}


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("api_key=abc", "api_key=***"),
        ("+logger.x.api_key='a b'", "+logger.x.api_key=***"),
        ("++logger.x.secrets.of.mine=a", "++logger.x.secrets.of.mine=***"),
        ("token=a,b", "token=***"),
        ("auth=[a,b]", "auth=***"),
        ("password=1234", "password=***"),
        ("hydra.job.env_set.WANDB_API_KEY=abc", "hydra.job.env_set.WANDB_API_KEY=***"),
        ("password=${oc.env:WORD,hunter2}", "password=${oc.env:WORD,***}"),
        *((text, text) for text in ("api_key=${oc.env:KEY}", "password=null", "~api_key", "token=5", "auth=true")),
        *((text, text) for text in ("optimizer.lr=1e-3", "model=cnn", "-m", "--config-dir=x", "password=", "=")),
    ],
)
def test_what_was_typed_is_shown_without_its_secrets(typed: str, shown: str) -> None:
    assert masked_override(typed) == shown
    assert masked_override(shown) == shown


def test_a_run_that_is_resumed_is_given_its_secrets_again() -> None:
    assert to_give_again(["seed=1", "+logger.x.api_key=abc", "password=${oc.env:WORD}"]) == ["logger.x.api_key=abc"]


def test_a_secret_that_is_known_is_shown_nowhere() -> None:
    learn_all({"x": {"api_key": "sk-1234"}, "lines": {"private_key": "BEGIN\nabcdefgh\nEND"}})
    learn_typed(["seed=1", "token='hunter2'", "auth=[first,second]"])
    learn("from the environment", "${oc.env:X}")
    assert redacted("refused: sk-1234!") == "refused: ***!"
    assert redacted("line abcdefgh, hunter2, first and second") == "line ***, ***, *** and ***"
    assert redacted("it is from the environment") == "it is ${oc.env:X}"
    assert masked_override("other='sk-1234'") == "other='***'"
    assert redacted(repr("BEGIN\nabcdefgh\nEND")) == "'***'"


def test_a_short_secret_is_masked_as_a_word_alone_and_a_shorter_one_not_at_all() -> None:
    learn("best")
    learn("a")
    assert redacted("a best bet, the bestseller") == "a *** bet, the bestseller"


def test_a_secret_that_is_in_another_one_leaves_nothing_of_it() -> None:
    learn("password1")
    learn("password12345")
    assert redacted("password12345 password1") == "*** ***"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('+API_KEY = "sk-12345"', '+API_KEY = "***"'),
        ('-api_key: str = "sk-12345"', '-api_key: str = "***"'),
        ('+  "password": "hunter2",', '+  "password": "***",'),
        (" os.environ['WANDB_API_KEY'] = 'abcdef'", " os.environ['WANDB_API_KEY'] = '***'"),
        ("+api_key: sk-abc123def", "+api_key: ***"),
        ("+export HF_TOKEN=hf_abcdef123", "+export HF_TOKEN=***"),
        ("+client(token='abcd1234')", "+client(token='***')"),
        *((code, code) for code in ("+token = tokenizer2.next()", '+pad_token = "<pad>"', "+password = getpass()")),
        *((code, code) for code in ("+secret = None", "+num_tokens = 12345678", "+lr = 0.00012345", "+x = 'hunter2'")),
    ],
)
def test_a_change_of_code_is_kept_without_the_secrets_in_it(line: str, shown: str) -> None:
    assert masked_assignments(f"first\n{line}\nlast") == f"first\n{shown}\nlast"


@pytest.mark.parametrize("text", ["x" * 500_000, " " * 500_000, "token='" + "1" * 500_000, "password = \n" * 40_000])
def test_a_large_change_is_read_once(text: str) -> None:
    assert masked_assignments(text) == text  # a pattern that goes back and forth would take hours


@pytest.mark.parametrize("key", ["tracking_uri", "url", "dsn", "storage", "address"])
def test_the_password_of_a_url_is_masked_whatever_its_key(key: str) -> None:
    given = {"logger": {"mine": {key: "https://me:hunter2@example.org:5000/x"}}}
    assert masked(given)["logger"]["mine"][key] == "https://me:***@example.org:5000/x"
    typed = f"+logger.mine.{key}=https://me:hunter2@example.org:5000/x"
    assert masked_override(typed) == f"+logger.mine.{key}=https://me:***@example.org:5000/x"
    assert to_give_again([typed]) == [typed.lstrip("+")]
    assert is_masked("https://me:***@example.org:5000/x")
    left = {key: "https://me:${oc.env:PASSWORD}@example.org"}
    assert masked(left) == left, "read from the environment again"
    learn_all(given)
    assert redacted("no answer from https://me:hunter2@example.org") == ("no answer from https://me:***@example.org")
