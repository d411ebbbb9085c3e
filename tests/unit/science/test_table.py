import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from components.science.table import decode, digest, need_column, parse_table, read_bytes, without_secrets

CSV = b"deny,pirat\nno,0.2\nyes,0.5\n"


@pytest.fixture
def server(tmp_path):
    """The folder `tmp_path` on loopback."""
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path))) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def refused(raw: bytes) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the caller looks at the sentence
        parse_table(raw, "/data/a.csv")
    return str(error.value)


def test_csv_and_parquet_give_the_same_table(tmp_path):
    table = parse_table(CSV, "a.csv")
    table.to_parquet(tmp_path / "a.parquet", index=False)
    pd.testing.assert_frame_equal(parse_table((tmp_path / "a.parquet").read_bytes(), "a.parquet"), table)


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    assert decode(b"\xef\xbb\xbf" + CSV, "a.csv") == decode(CSV, "a.csv") == CSV.decode()


def test_a_path_and_a_url_give_the_same_bytes(tmp_path, server):
    (tmp_path / "a.csv").write_bytes(CSV)
    assert read_bytes(str(tmp_path / "a.csv")) == read_bytes(f"{server}/a.csv") == CSV


def test_a_file_that_is_missing_is_named(tmp_path, server):
    with pytest.raises(ValueError, match=f"^there is no file at {tmp_path}/b.csv$"):
        read_bytes(str(tmp_path / "b.csv"))
    with pytest.raises(ValueError, match=f"^there is no file at {server}/b.csv, or its host doesn't answer$"):
        read_bytes(f"{server}/b.csv?token=s3cret")


def test_a_relative_path_is_refused_even_where_the_file_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_bytes(CSV)
    with pytest.raises(ValueError, match=r"^'a.csv' is a relative path: give an absolute path or a URL"):
        read_bytes("a.csv")


def test_a_folder_and_an_unknown_protocol_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=f"^{tmp_path} can't be read: Is a directory$"):
        read_bytes(str(tmp_path))
    with pytest.raises(ValueError, match=r"^gopher://x/a.csv: nothing here reads 'gopher': "):
        read_bytes("gopher://x/a.csv")


@pytest.mark.parametrize("raw", [b"", b" \n\n"])
def test_an_empty_file_is_refused(tmp_path, raw):
    (tmp_path / "a.csv").write_bytes(raw)
    with pytest.raises(ValueError, match=f"^the file {tmp_path}/a.csv is empty$"):
        read_bytes(str(tmp_path / "a.csv"))


def test_a_header_alone_is_refused():
    assert refused(b"deny,pirat\n") == "/data/a.csv has a header and no row"


def test_a_byte_that_is_not_utf8_is_shown_with_its_place():
    assert refused(b"deny,pirat\nno,0.2\nn\xf3,0.5\n") == (
        "/data/a.csv is not UTF-8: byte 0xf3 at offset 19, line 3; save it as UTF-8"
    )


def test_a_csv_that_was_cut_off_is_refused_where_pandas_would_fill_in_missing_values():
    assert refused(CSV[:-5]) == "/data/a.csv is truncated or ragged: line 3 has 1 field, the header has 2"
    assert refused(CSV + b'"no,0.1\n').startswith("/data/a.csv is truncated or no CSV: line 4: ")


def test_a_row_with_a_field_too_many_is_refused():
    assert refused(CSV + b"no,1,2\n") == "/data/a.csv is truncated or ragged: line 4 has 3 fields, the header has 2"


def test_a_blank_line_is_not_a_row():
    assert len(parse_table(CSV + b"\n", "a.csv")) == 2


def test_a_header_that_pandas_would_quietly_repair_is_refused():
    assert refused(b"deny,deny\nno,no\n").startswith("/data/a.csv: two columns are named 'deny'")
    assert refused(b"deny,\nno,no\n").startswith("/data/a.csv: column 2 has no name")


def test_a_parquet_file_that_was_cut_off_or_damaged_is_refused(tmp_path):
    parse_table(CSV, "a.csv").to_parquet(tmp_path / "a")
    raw = (tmp_path / "a").read_bytes()
    assert refused(raw[:-10]) == (
        f"the Parquet file /data/a.csv is truncated: its footer is missing after {len(raw) - 10} bytes"
    )
    assert refused(raw[:4] + raw[-4:]).startswith("the Parquet file /data/a.csv is damaged: ")


def test_a_missing_column_is_refused_with_the_near_name():
    with pytest.raises(ValueError, match=r"^the data has no target column 'denied': did you mean 'deny'\?$"):
        need_column(parse_table(CSV, "a.csv"), "denied", "target")


def test_the_digest_is_of_the_bytes():
    assert digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_what_is_shown_of_a_url_has_no_key_in_it():
    assert without_secrets("https://ana:pw@host:8443/a.csv?sig=abc#x") == "https://host:8443/a.csv"
    assert without_secrets("/data/what?.csv") == "/data/what?.csv"
    assert without_secrets("http://ana@[fd00::1]:80/a.csv") == "http://[fd00::1]:80/a.csv"


@pytest.mark.parametrize("chain", ["simplecache::", "zip://a.csv::", "zip://a.csv::simplecache::"])
def test_a_uri_that_is_chained_is_shown_without_its_secrets_too(chain):
    assert without_secrets(f"{chain}https://ana:pw@host/a.zip?sig=abc") == f"{chain}https://host/a.zip"


def test_a_code_keeps_its_zeros_and_a_number_is_a_number():
    table = parse_table(b"zip,share,count\n02134,0.5,0\n,01.5,10\n", "a.csv")
    assert table.zip.tolist()[0] == "02134"
    assert table.zip.isna().tolist() == [False, True]
    assert (table.share.tolist(), table["count"].tolist()) == ([0.5, 1.5], [0, 10])
