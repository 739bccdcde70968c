"""Labels: which task they ask for, their codes, and training data that teaches nothing."""

import numpy as np
import pytest

from helicon.data.tables.labels import check_trainable, decide_task, label_codes, label_values
from helicon.data.tables.tables import read_table
from helicon.errors import InputError


def table(folder, *columns, target="a", name="table.csv"):
    header = ",".join(["sequence", "a", "b", "c"][: 1 + len(columns)])
    rows = ["ACGT," + ",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return read_table(path, target=target)


@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        (["b", "a", "c", "a"], "classification", ("a", "b", "c")),
        ([10, 2, 2, 1], "classification", ("1", "2", "10")),
        (["1.0", "0.0", "1.0"], "classification", ("0", "1")),
        (["1.0", "0.0", "2.0"], "classification", ("0", "1", "2")),
        ([f"{i}.0" for i in range(51)], "regression", ("a",)),
        (["True", "false", "TRUE"], "classification", ("0", "1")),
        (["1", "2", "X"], "classification", ("1", "2", "X")),
        (["-", "+", "?"], "classification", ("+", "-", "?")),
        ([0.5, 1, 2], "regression", ("a",)),
        (range(50), "classification", tuple(map(str, range(50)))),
        (range(51), "regression", ("a",)),
        (["x1", "x2", "x3"], "classification", ("x1", "x2", "x3")),
    ],
)
def test_the_task_follows_from_the_labels(tmp_path, values, kind, names):
    task = decide_task(table(tmp_path, values))
    assert (task.kind, task.names) == (kind, names)


def test_several_columns(tmp_path):
    both = table(tmp_path, [0, 1], [1, 0], target="a,b")
    assert decide_task(both).kind == "multilabel"
    assert decide_task(both).names == ("a", "b")
    assert label_values(both).tolist() == [[0, 1], [1, 0]]
    assert decide_task(table(tmp_path, [0, 1], [1, 0.5], target="a,b")).kind == "regression"


def test_names_of_rows_are_no_classes(tmp_path):
    with pytest.raises(InputError, match="holds 30 different texts in 30 rows: no classes"):
        decide_task(table(tmp_path, [f"gene{i}" for i in range(30)]))


def test_codes_follow_the_training_classes(tmp_path):
    train = decide_task(table(tmp_path, ["1.0", "0.0"]))
    assert label_codes(table(tmp_path, [0, 1, 1]), train.names).tolist() == [0, 1, 1]
    words = table(tmp_path, ["b", "a", "b"])
    codes = label_codes(words, ("a", "b", "z"))
    assert codes.tolist() == [1, 0, 1]
    assert codes.dtype == np.int64


@pytest.mark.parametrize(("values", "bad"), [(["a", "x", "b"], "x"), ([0, 5, 7], "5")])
def test_a_class_never_seen_is_named(tmp_path, values, bad):
    data = table(tmp_path, values)
    with pytest.raises(InputError) as caught:
        label_codes(data, ("a", "b", "0"))
    assert str(caught.value).startswith(f"{data.path}, line 3: the label '{bad}' in 'a' is none of")
    assert "(a, b, 0)" in str(caught.value)


def test_numbers_where_numbers_are_wanted(tmp_path):
    assert label_values(table(tmp_path, [1, 2])).tolist() == [1, 2]
    assert label_values(table(tmp_path, [1, 2])).dtype == np.float32
    with pytest.raises(InputError, match=r"line 3: the label 'high' in 'a' is no number"):
        label_values(table(tmp_path, [1, "high"]))
    for value in ("inf", "1e300"):
        with pytest.raises(InputError, match=r"line 3: the label .* in 'a' is no finite number"):
            decide_task(table(tmp_path, [1.5, value]))
    with pytest.raises(InputError, match=r"line 2: the label inf in 'b' is no finite number"):
        label_values(table(tmp_path, [1.5, 2], ["inf", 2], target="a,b"))


def test_training_data_that_teaches_nothing(tmp_path):
    for values, said in [(["x", "x"], "'x': one class only"), ([2.5, 2.5], "'2.5': nothing")]:
        data = table(tmp_path, values)
        with pytest.raises(InputError, match=f"every label in 'a' is {said}"):
            check_trainable(data, decide_task(data))
    both = table(tmp_path, [0, 1], [1, 1], target="a,b")
    with pytest.raises(InputError, match="every label in 'b' is '1'"):
        check_trainable(both, decide_task(both))
    good = table(tmp_path, [0, 1])
    check_trainable(good, decide_task(good))


def test_a_table_without_labels(tmp_path):
    data = table(tmp_path, [0, 1], target=None)
    with pytest.raises(InputError, match="read without labels"):
        decide_task(data)


def test_one_column_for_classes(tmp_path):
    with pytest.raises(InputError, match="one label column is wanted, not a, b"):
        label_codes(table(tmp_path, [0, 1], [1, 0], target="a,b"), ("0", "1"))
