import re

from components.science.table import digest
from components.science.validation import validate_table
from tests.unit.science.conftest import MORTGAGE

README = (MORTGAGE / "README.md").read_text()


def test_the_file_is_the_one_whose_digest_the_readme_gives():
    assert re.findall(r"sha256:[0-9a-f]{64}", README) == [digest((MORTGAGE / "applications.csv").read_bytes())]


def test_the_readme_says_what_each_column_means(applications):
    assert re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE) == list(applications.columns)


def test_all_rows_keep_the_schema_and_keep_their_values(applications, schema):
    valid = validate_table(applications, schema, "deny", "yes", "afam")
    assert valid.shape == (2380, 14)
    assert (valid == applications).all(axis=None)


def test_a_number_is_read_to_its_last_bit(applications):
    assert applications.lvrat[230] == 1.9083333333333332, "the default parser of pandas gives ...328"
