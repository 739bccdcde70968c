"""What the line on the data tells of how its labels were taken."""

import pytest

from helicon.data.tables.tables import read_table
from helicon.metrics.targets import find_target
from helicon.training.kinds.sequences import described


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["0.0", "1.0", "2.0"], "3 classes (0, 1, 2), named by whole numbers (--task regression"),
        (["0", "1", "1"], "2 classes (0, 1)"),
        (["a", "b", "c"], "3 classes (a, b, c)"),
        (["0.5", "1", "2"], "regression of label"),
    ],
)
def test_the_line_on_the_data(tmp_path, labels, said):
    path = tmp_path / "t.csv"
    path.write_text("sequence,label\n" + "".join(f"ACGT,{label}\n" for label in labels))
    table = read_table(path, target="label")
    line = described(table, find_target(table))
    assert line.startswith(f"data: 3 sequences of 4 letters, {said}")
    assert ("--task" in line) == ("--task" in said)
