from components.spelling import did_you_mean


def test_a_slip_gets_the_near_name_and_a_stranger_gets_them_all():
    assert did_you_mean("recal", ["recall", "f1"]) == "did you mean 'recall'?"
    assert did_you_mean("zzz", ["recall", "f1"]) == "there is 'f1', 'recall'"
    assert did_you_mean("zzz", []) == "there is none yet"
