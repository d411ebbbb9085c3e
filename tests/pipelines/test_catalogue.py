import subprocess
import sys

import pytest

import pipelines


def test_every_pipeline_has_a_line_that_says_what_it_does():
    assert pipelines.summaries()["training"].startswith("From a table to a model in service")


def test_the_names_come_without_importing_kfp_which_takes_a_while():
    script = "import sys, pipelines; pipelines.summaries(); sys.exit('kfp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_an_unknown_pipeline_is_refused_with_the_near_name():
    with pytest.raises(ValueError, match="there is no pipeline 'trainin': did you mean 'training'"):
        pipelines.load("trainin")
