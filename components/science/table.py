"""Reading a table, CSV or Parquet, from an absolute path or a URL."""

import csv
import hashlib
import io
import re
from pathlib import PurePath
from urllib.parse import urlsplit

import fsspec
import pandas as pd
import pyarrow as pa

from components.spelling import did_you_mean

PARQUET = b"PAR1"
# As fsspec chains them; `::` is in an IPv6 address too.
CHAINED = re.compile(r"::(?=[\w+.-]+(?:://|::))")


def read_bytes(uri: str) -> bytes:
    """What stands at an absolute path or a URL.

    Raises:
        ValueError: nothing can be read there.
    """
    if "://" not in uri and not PurePath(uri).is_absolute():
        raise ValueError(
            f"{uri!r} is a relative path: give an absolute path or a URL, since a step runs in its own folder"
        )
    scheme = urlsplit(uri).scheme if "://" in uri else "file"
    if scheme not in (known := fsspec.available_protocols()):
        raise ValueError(f"{without_secrets(uri)}: nothing here reads {scheme!r}: {did_you_mean(scheme, known)}")
    try:
        with fsspec.open(uri, "rb") as file:
            raw: bytes = file.read()
    except FileNotFoundError as error:
        unreached = ", or its host doesn't answer" if "://" in uri else ""
        raise ValueError(f"there is no file at {without_secrets(uri)}{unreached}") from error
    except (OSError, ImportError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"{without_secrets(uri)} can't be read: {reason}") from error
    if not raw.strip():
        raise ValueError(f"the file {without_secrets(uri)} is empty")
    return raw


def without_secrets(uri: str) -> str:
    """The URI, or each in a chain, without user, password and query (a signed URL has its key there), to be shown."""
    return "::".join(_without_secrets(link) for link in CHAINED.split(uri))


def _without_secrets(uri: str) -> str:
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def digest(raw: bytes) -> str:
    """`sha256:` and the hexadecimal digest: the version of a data file or a model."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def parse_table(raw: bytes, uri: str) -> pd.DataFrame:
    """The rows in `raw`, Parquet by its first bytes, else CSV in UTF-8 with a header.

    Raises:
        ValueError: the bytes are cut off, not UTF-8, ragged, or hold no row.
    """
    where = without_secrets(uri)
    table = _parse_parquet(raw, where) if raw.startswith(PARQUET) else _parse_csv(raw, where)
    if table.empty:
        raise ValueError(f"{where} has a header and no row")
    return table


def decode(raw: bytes, where: str) -> str:
    """UTF-8, with or without a byte order mark.

    Raises:
        ValueError: names the first byte that is something else.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{where} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}, line {line}; "
            "save it as UTF-8"
        ) from error


def need_column(table: pd.DataFrame, column: str, role: str) -> None:
    """Refuse a table that lacks `column`; `role` says what it was wanted for."""
    if column not in table.columns:
        raise ValueError(f"the data has no {role} column {column!r}: {did_you_mean(column, map(str, table.columns))}")


def _parse_parquet(raw: bytes, where: str) -> pd.DataFrame:
    if not raw.endswith(PARQUET):
        raise ValueError(f"the Parquet file {where} is truncated: its footer is missing after {len(raw)} bytes")
    try:
        return pd.read_parquet(io.BytesIO(raw))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"the Parquet file {where} is damaged: {str(error).splitlines()[0]}") from error


def _parse_csv(raw: bytes, where: str) -> pd.DataFrame:
    text = decode(raw, where)
    codes = _check_rows(text, where)
    # The default float parser is off in the last bit for some numbers.
    return pd.read_csv(
        io.StringIO(text), float_precision="round_trip", low_memory=False, dtype=dict.fromkeys(codes, str)
    )


def _check_rows(text: str, where: str) -> set[str]:
    """The columns of codes: digits after a zero, as in `02134`, which pandas would read as the number 2134.

    It refuses ragged rows: pandas fills a short one with missing values, so a cut-off file would pass.
    """
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    codes: set[str] = set()
    try:
        for fields in lines:
            codes.update(name for name, field in zip(header, fields, strict=False) if _is_code(field))
            if not fields:
                continue
            if not header:
                header = fields
                _refuse_bad_header(header, where)
            elif len(fields) != len(header):
                raise ValueError(
                    f"{where} is truncated or ragged: line {lines.line_num} has {len(fields)} "
                    f"field{'' if len(fields) == 1 else 's'}, the header has {len(header)}"
                )
    except csv.Error as error:
        raise ValueError(f"{where} is truncated or no CSV: line {lines.line_num}: {error}") from error
    return codes


def _is_code(field: str) -> bool:
    return field[:1] == "0" and len(field) > 1 and field.isdecimal()


def _refuse_bad_header(header: list[str], where: str) -> None:
    for place, name in enumerate(header):
        if not name.strip():
            raise ValueError(f"{where}: column {place + 1} has no name; the first line must name each column")
        if name in header[:place]:
            raise ValueError(f"{where}: two columns are named {name!r}; each column needs a name of its own")
