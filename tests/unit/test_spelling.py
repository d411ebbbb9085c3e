from components.spelling import did_you_mean


def test_a_slip_gets_the_near_name_and_a_stranger_gets_them_all():
    assert did_you_mean("recal", ["recall", "f1"]) == "did you mean 'recall'?"
    assert did_you_mean("zzz", ["recall", "f1"]) == "there is 'f1', 'recall'"
    assert did_you_mean("zzz", []) == "there is none yet"


def test_of_many_names_the_first_are_listed_and_the_rest_are_counted():
    assert did_you_mean("zzz", "abcdefghij").endswith("'g', 'h' and 2 more")
