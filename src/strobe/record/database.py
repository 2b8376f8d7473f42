"""A search's study in a database: which can hold it, how it is reached, and what of its URL may be written down."""

import logging
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import MetaData, NullPool, delete, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from strobe.errors import ConfigError
from strobe.machine.secrets import MASK, is_secret, learn_url

KEY = "hydra.sweeper.storage"

_ALLOWED = "must be sqlite:///<path> or postgresql+psycopg://<user>@<host>/<database>"
_DRIVERS = ("psycopg", "psycopg2")
_CONNECT_S = 5  # for each address; a name may have two
_SILENCE_S = 15  # after which a server that answers nothing is gone
_BUSY_S = 60.0  # for another process's write into an SQLite file
_ATTEMPTS = 5  # two processes may make the tables at once
_MESSAGE_LIMIT = 300
_TABLES = {
    "trials": {"trial_id", "state", "datetime_complete"},
    "trial_values": {"trial_id"},
    "trial_intermediate_values": {"trial_id"},
}  # of Optuna, with the columns that `reopen` needs


# Of each query that fails, Optuna logs the SQL; what failed is said here, in a line.
logging.getLogger("optuna.storages").setLevel(logging.ERROR)


class DatabaseError(OSError):
    """A database can't be reached, or refuses what is asked; the message is one line and holds no password."""


class Database:
    """A database that can hold studies.

    Args:
        url: As ``hydra.sweeper.storage`` gives it. Its password is masked from now on wherever it would be shown.

    Attributes:
        url: The whole, password included: not to be written down.
        shown: Without what is secret; it is enough where the password comes from ``~/.pgpass`` or ``PGPASSWORD``.

    Raises:
        ConfigError: If it is no URL, or that of a database which is not supported, or a package is missing.
    """

    def __init__(self, url: object) -> None:
        parsed = _parsed(url)
        learn_url(str(url))
        if parsed.get_backend_name() == "sqlite":
            parsed = _of_a_file(parsed)
        else:
            parsed = parsed.set(drivername=f"postgresql+{_driver(parsed)}")
        self._parsed = parsed
        self._lasting: RDBStorage | None = None
        self.url = parsed.render_as_string(hide_password=False)
        learn_url(self.url)
        self.shown = _without_secrets(parsed).render_as_string()

    def __repr__(self) -> str:
        return f"Database({self.shown!r})"

    def storage(self) -> RDBStorage:
        """Optuna's storage, for a process that works with it for long; tables are made where there are none.

        Raises:
            DatabaseError: If it can't be reached or written.
        """
        if self._lasting is None:
            with self.reached():
                self._lasting = self._made()
        return self._lasting

    def brief_storage(self) -> RDBStorage:
        """Optuna's storage for a process that looks in now and then: it keeps no connection. Nothing is made.

        Raises:
            DatabaseError: If it can't be reached, or there is none.
        """
        file = self._parsed.database if self._parsed.get_backend_name() == "sqlite" else None
        if file is not None and not Path(file).exists():  # to connect would make it
            raise DatabaseError(f"{self.shown}: there is no such file")
        settings = self._engine_settings() | {"poolclass": NullPool}
        with self.reached():
            return RDBStorage(_escaped(self.url), settings, skip_compatibility_check=True, skip_table_creation=True)

    def close(self) -> None:
        """End the connections of `storage`."""
        if self._lasting is not None:
            self._lasting.engine.dispose()
            self._lasting = None

    @contextmanager
    def reached(self) -> Iterator[None]:
        """What goes wrong with the database in this block is one line.

        Raises:
            DatabaseError: In the place of what Optuna or SQLAlchemy have raised.
        """
        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            raise DatabaseError(f"{self.shown}: {_told(error)}") from error

    def _made(self) -> RDBStorage:
        for attempt in range(_ATTEMPTS):
            try:
                return RDBStorage(_escaped(self.url), self._engine_settings() | {"pool_pre_ping": True})
            except (SQLAlchemyError, StorageInternalError) as error:
                raced = isinstance(error.__cause__ or error, IntegrityError) or "already exists" in _told(error)
                if not raced or attempt + 1 == _ATTEMPTS:
                    raise
                time.sleep(0.2 * (attempt + 1))
            except RuntimeError as error:  # of a later or an earlier Optuna
                raise DatabaseError(f"{self.shown}: {error}") from error
        raise AssertionError("the last attempt returns or raises")

    def _engine_settings(self) -> dict[str, Any]:
        if self._parsed.get_backend_name() == "sqlite":
            return {"connect_args": {"timeout": _BUSY_S}}
        # libpq's: a server that is gone without a word is noticed in seconds, not in hours.
        wanted = {
            "connect_timeout": _CONNECT_S,
            "keepalives_idle": _SILENCE_S,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 1000 * _SILENCE_S,
        }
        return {"connect_args": {key: value for key, value in wanted.items() if key not in self._parsed.query}}


def reopen(database: Database, trial_ids: Collection[int]) -> None:
    """Make trials unfinished that have finished, without what they have reported: all of them, or none.

    Optuna has no call for that, so its tables are changed; what they have to look like is checked before.

    Args:
        database: No other process works with these trials.
        trial_ids: Theirs, in the database.

    Raises:
        ConfigError: If the tables are not as this function knows them.
        DatabaseError: If it can't be written.
    """
    storage = database.storage()
    with database.reached():
        known = MetaData()
        known.reflect(storage.engine, only=lambda name, _: name in _TABLES)
        columns = {name: set(table.c.keys()) for name, table in known.tables.items()}
        if not all(needed <= columns.get(name, set()) for name, needed in _TABLES.items()):
            raise ConfigError(
                f"{database.shown}: the tables of this Optuna are not known, so trials that have ended can't be run "
                "again: leave sweep.rerun out, or choose another sweep.name"
            )
        trials = known.tables["trials"]
        with storage.engine.begin() as connection:
            for name in ("trial_values", "trial_intermediate_values"):
                table = known.tables[name]
                connection.execute(delete(table).where(table.c.trial_id.in_(trial_ids)))
            unfinished = {"state": TrialState.RUNNING.name, "datetime_complete": None}
            connection.execute(update(trials).where(trials.c.trial_id.in_(trial_ids)).values(unfinished))


def _parsed(url: object) -> URL:
    # Where the password is in what is no URL, nobody knows.
    value = re.sub(r"^(.*?//)?.*@", rf"\1{MASK}@", str(url), flags=re.DOTALL)
    try:
        parsed = make_url(url) if isinstance(url, str) else None
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None:
        raise ConfigError(f"{KEY}={value!r}: {_ALLOWED}")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError(f"{KEY}={value!r}: {_ALLOWED}, not {parsed.get_backend_name()}")
    return parsed


def _of_a_file(url: URL) -> URL:
    """The URL with an absolute path: it is given to processes that work elsewhere."""
    name = url.database or ""
    if url.drivername not in ("sqlite", "sqlite+pysqlite") or url.host or name in ("", ":memory:") or "file:" in name:
        raise ConfigError(f"{KEY}={_without_secrets(url).render_as_string()!r}: must be sqlite:///<path>, of a file")
    return url.set(drivername="sqlite", database=str(Path(name).expanduser().absolute()))


def _driver(url: URL) -> str:
    """The package that speaks to PostgreSQL: the one that the URL names, else one that is there."""
    named = url.drivername.partition("+")[2]
    wanted = (named,) if named else _DRIVERS
    if named and named not in _DRIVERS:
        raise ConfigError(f"{KEY}: its driver must be {' or '.join(_DRIVERS)}, not {named}: {_ALLOWED.split()[-1]}")
    for driver in wanted:
        if find_spec(driver) is not None:
            return driver
    package = "psycopg2-binary" if named == "psycopg2" else "psycopg[binary]"
    raise ConfigError(f"{KEY}: for PostgreSQL the package {wanted[0]} is needed: pip install '{package}'")


def _without_secrets(url: URL) -> URL:
    without = URL.create(url.drivername, url.username, None, url.host, url.port, url.database, url.query)
    return without.difference_update_query([key for key in url.query if is_secret(key) or key.endswith("password")])


def _escaped(url: str) -> str:
    return url.replace("{", "{{").replace("}", "}}")  # Optuna fills templates


def _told(error: BaseException) -> str:
    """What the database said, in a line."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SQLAlchemyError):
        cause = cause.__cause__
    said = str(cause.orig if isinstance(cause, DBAPIError) else cause or error)
    return " ".join(said.split())[:_MESSAGE_LIMIT] or type(error).__name__
