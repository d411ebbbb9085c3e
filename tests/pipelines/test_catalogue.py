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


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import nope", r"^pipeline 'own' can't be loaded: ModuleNotFoundError: .* \(own.py, line 1\)$"),
        ("\ndef (", r"^pipeline 'own' can't be loaded: SyntaxError: invalid syntax \(own.py, line 2\)$"),
        ("x = 1", r"^pipeline 'own' can't be loaded: AttributeError: .* 'own'"),
    ],
)
def test_a_file_that_does_not_work_is_a_sentence_and_hides_no_other_pipeline(tmp_path, monkeypatch, source, sentence):
    (tmp_path / "own.py").write_text(source)
    (tmp_path / "other.py").write_text('"""Works."""')
    monkeypatch.setattr(pipelines, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(pipelines, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "pipelines.own", raising=False)
    assert pipelines.summaries()["other"] == "Works."
    with pytest.raises(ValueError, match=sentence):
        pipelines.load("own")
