"""Parquet files, through pyarrow, which Strobe does not install by itself."""

import importlib
from collections import Counter
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from strobe.data.table_column import (
    LARGEST,
    Column,
    Mode,
    Table,
    Texts,
    cell_error,
    missing_problem,
    number_problem,
    shown,
)
from strobe.errors import ConfigError, DatasetError

MAGIC = b"PAR1"
"""The first four bytes of every Parquet file."""


def parquet_names(path: Path, file: BufferedReader) -> list[str]:
    """The names of the columns.

    Raises:
        ConfigError: If pyarrow is not installed.
        DatasetError: If the file is damaged, or two columns have one name.
    """
    names = list(_opened(path, file).schema_arrow.names)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DatasetError(f"{path}: two columns have the name {shown(twice[0])}: give each its own")
    return names


def read_parquet(path: Path, file: BufferedReader, sha256: str, modes: Mapping[str, Mode]) -> Table:
    """Read the columns that ``modes`` names; rows count from 1, because there is no header.

    Raises:
        ConfigError: If pyarrow is not installed.
        DatasetError: If the file is damaged, a column holds something else than numbers or texts, or a value is missing
            or infinite.
    """
    parquet = _opened(path, file)
    if not (rows := int(parquet.metadata.num_rows)):
        raise DatasetError(f"{path} has no rows")
    try:
        table = parquet.read(columns=list(modes))
    except (OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    columns = {name: _column(path, name, table.column(name), mode) for name, mode in modes.items()}
    return Table(path, sha256, rows, columns, first_row=1)


def _opened(path: Path, file: BufferedReader) -> Any:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigError(f"data.path={path}: a Parquet file needs the package pyarrow: pip install pyarrow") from None
    try:
        return parquet.ParquetFile(file)
    except (OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path} is damaged, or no Parquet file: {str(error).splitlines()[0]}")


def _column(path: Path, name: str, values: Any, mode: Mode) -> Column:
    types, compute = importlib.import_module("pyarrow.types"), importlib.import_module("pyarrow.compute")
    kind = values.type
    if values.null_count:
        missing = np.flatnonzero(values.is_null().to_numpy())
        raise cell_error(path, int(missing[0]) + 1, name, missing_problem("null", name))
    if types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if not (numeric or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise DatasetError(
            f"{path}, column {name!r}: it holds {kind}, neither numbers nor texts: leave it out with data.drop=[{name}]"
        )
    if numeric:
        numbers = values.cast("float64").to_numpy()
        bad = np.flatnonzero(~(np.abs(numbers) <= LARGEST))
        if len(bad):
            text = repr(float(numbers[bad[0]]))
            raise cell_error(path, int(bad[0]) + 1, name, number_problem(text, name) or f"{text} can't be used")
        if mode != "text":
            return np.ascontiguousarray(numbers, dtype=np.float64)
    elif mode == "number":
        raise DatasetError(f"{path}, column {name!r}: it holds {kind}, and has to hold numbers")
    encoded = compute.dictionary_encode(values.cast("string").combine_chunks())
    return Texts(encoded.indices.to_numpy().astype(np.int64), tuple(encoded.dictionary.to_pylist()))
