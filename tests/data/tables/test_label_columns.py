"""One rule for labels: the right values from every format, or a line that names the row."""

import csv
import io
import re
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.alphabet import DNA, PROTEIN
from helicon.data.tables.labels import decide_task, label_codes
from helicon.data.tables.tables import read_table
from helicon.errors import InputError
from helicon.metrics.targets import find_target


def text_table(folder, values, *, separator=",", name="t.csv", coding="utf-8", top="", end="\n"):
    out = io.StringIO(newline="")
    out.write(top)
    writer = csv.writer(out, delimiter=separator, lineterminator=end)
    writer.writerows([["sequence", "label"], *(["ACGT", value] for value in values)])
    path = folder / name
    path.write_bytes(out.getvalue().encode(coding))
    return path


def parquet(folder, values, dtype=None, name="t.parquet"):
    labels = pl.Series(values, dtype=dtype, strict=False)
    pl.DataFrame({"sequence": ["ACGT"] * len(values), "label": labels}).write_parquet(folder / name)
    return folder / name


def labels(path):
    return read_table(path, target="label").labels


def refused(path):
    with pytest.raises(InputError) as caught:
        decide_task(read_table(path, target="label"))
    text = str(caught.value)
    assert "\n" not in text and text.startswith(str(path))
    return text.removeprefix(str(path))


def test_decimals_are_numbers(tmp_path):
    path = parquet(tmp_path, [Decimal("0.55"), Decimal("1.25")], pl.Decimal(10, 2))
    assert labels(path).tolist() == [0.55, 1.25]
    assert find_target(read_table(path, target="label")).problem == "regression"


MISSING = ["", "None", "<NA>", "NA", "na", "n/a", "NaN", "nan", "NAN", "null", "NULL", "-", "?"]


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("others", [["0.5", "1.5"], ["1", "2"], ["true", "false"]])
def test_what_is_missing_among_numbers_is_refused_by_row(tmp_path, missing, others):
    said = refused(text_table(tmp_path, [*others, missing, missing]))
    assert said.startswith(", line 4: the label in 'label' is missing")
    assert said.endswith("(2 rows are like this); fill it in or remove the row")
    assert (f"({missing})" in said) == bool(missing)
    path = parquet(tmp_path, [0.5, None])
    assert refused(path).startswith(", row 2: the label in 'label' is missing; fill")


def test_words_may_be_what_is_missing_among_numbers(tmp_path):
    words = ["-", "+", "?", "None", "na", "."]
    assert labels(text_table(tmp_path, words)).tolist() == words
    assert labels(parquet(tmp_path, words)).tolist() == words


def test_a_word_among_fractions_is_refused_by_row(tmp_path):
    said = refused(text_table(tmp_path, ["0.5", "0.25", "high", "1"]))
    assert said.startswith(", line 4: the label 'high' in 'label' stands among numbers")
    for words in (["1", "2", "X"], ["1e400", "x"]):
        table = read_table(text_table(tmp_path, words), target="label")
        assert table.labels.tolist() == words and decide_task(table).kind == "classification"


@pytest.mark.parametrize(
    ("separator", "values", "wanted"),
    [
        (";", ["0,5", "1", "-2,25"], [0.5, 1, -2.25]),
        ("\t", ["0,5", "1,5E-3"], [0.5, 0.0015]),
        (";", ["0,5", "0.5"], ", line 2: '0,5' in the column 'label' has a decimal comma, while"),
        (",", ["2", "0,5"], ", line 3: '0,5' in the column 'label' has a decimal comma, which is"),
        (";", ["0,5", "a"], ", line 3: the label 'a' in 'label' stands among numbers"),
    ],
)
def test_decimal_commas(tmp_path, separator, values, wanted):
    path = text_table(tmp_path, values, separator=separator)
    if isinstance(wanted, list):
        assert labels(path).tolist() == wanted
    else:
        assert refused(path).startswith(wanted)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["0", "1", "2"], None),
        (["0.0", "1.0", "2.0"], None),
        (["0,0", "1,0", "2,0"], None),
        ([0, 1, 2], pl.UInt8),
        ([0.0, 1.0, 2.0], pl.Float32),
        ([Decimal(0), Decimal(1), Decimal(2)], pl.Decimal(5, 1)),
    ],
)
def test_whole_numbers_are_the_same_classes_however_they_are_written(tmp_path, values, dtype):
    paths = [parquet(tmp_path, values, dtype)] if dtype else []
    if not dtype:
        paths = [text_table(tmp_path, values, separator=";")]
    for path in paths:
        table = read_table(path, target="label")
        assert find_target(table).names == ("0", "1", "2")
        for names in [("2", "1", "0"), ("2.0", "1.0", "0.0")]:
            assert label_codes(table, names).tolist() == [2, 1, 0]


def test_booleans_are_the_same_classes_from_every_format(tmp_path):
    for path in [
        parquet(tmp_path, [True, False]),
        text_table(tmp_path, ["True", "False"]),
        text_table(tmp_path, ["TRUE", "false"], name="u.csv"),
    ]:
        table = read_table(path, target="label")
        assert table.labels.tolist() == [1, 0]
        assert decide_task(table).names == ("0", "1")
        assert label_codes(table, ("False", "True")).tolist() == [1, 0]
        assert label_codes(table, ("true", "false")).tolist() == [0, 1]


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("top", ["", "sep=;\r\n", '"sep=;"\r\n'])
def test_what_spreadsheets_write(tmp_path, coding, top):
    path = text_table(tmp_path, ["0,5", "1,5"], separator=";", coding=coding, top=top, end="\r\n")
    table = read_table(path, target="label")
    assert table.labels.tolist() == [0.5, 1.5]
    assert table.lines.tolist() == ([3, 4] if top else [2, 3])


def test_gaps_and_symbols_of_models_are_named_by_row_and_column(tmp_path):
    for text, at in [("MKT--AYI-AK", 4), ("MKT#YIAK", 4), ("@MKTAYIAK", 1)]:
        path = tmp_path / "p.csv"
        path.write_text(f"sequence,label\nMK*,1\n{text},0\n")
        with pytest.raises(InputError, match=rf"line 3: character .* at position {at} of the"):
            read_table(path, target="label", alphabet=PROTEIN)


# ---------------------------------------------------------------- whatever stands in a table

cells = st.one_of(
    st.sampled_from([*MISSING, "true", "0,5", "1.0", "2", "1e400", "inf", "x", "1,2", "12%", "é"]),
    st.floats(allow_nan=False).map(str),
    st.integers().map(str),
    st.text(max_size=4),
)
FIELD = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(cells, min_size=1, max_size=8),
    separator=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    coding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    form=st.sampled_from(["text", "parquet"]),
)
def test_right_values_or_a_line(tmp_path_factory, values, separator, end, coding, form):
    folder = tmp_path_factory.mktemp("t")
    values = [value.encode("utf-8", "replace").decode() for value in values]
    try:
        if form == "parquet":
            table = read_table(parquet(folder, values, pl.String), target="label")
        else:
            path = text_table(folder, values, separator=separator, end=end, coding=coding)
            table = read_table(path, target="label")
        task = decide_task(table)
        target = find_target(table)
    except InputError as error:
        assert str(error).startswith(str(folder)) and "\n" not in str(error)
        return
    assert len(table) == len(values)
    assert [DNA.decode(table.sequence(i)) for i in range(len(table))] == ["ACGT"] * len(table)
    written = [value.strip() for value in values]
    if table.labels.dtype.kind == "U":
        assert task.kind == "classification"
        assert all(FIELD.fullmatch(value) is None for value in written) or len(set(written)) > 1
        return
    for value, label in zip(written, table.labels.tolist(), strict=True):
        low = value.lower()
        wanted = {"true": 1, "false": 0}.get(low)
        assert label == (float(value.replace(",", ".")) if wanted is None else wanted)
    if task.kind == "classification":
        assert len(task.names) == len(np.unique(table.labels))
    else:
        assert np.isfinite(target.encode(table)).all()


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), data=st.data()
)
def test_no_content_ends_otherwise_than_in_a_table_or_a_line(tmp_path_factory, content, data):
    top = data.draw(
        st.sampled_from([b"", b"sequence,label\n", b"sep=,\n", b"\xff\xfe", b'"', b">a\n"])
    )
    path = tmp_path_factory.mktemp("t") / "t"
    path.write_bytes(top + content)
    try:
        table = read_table(path, target="label")
        assert len(table) > 0 and (table.lengths > 0).all()
        find_target(table)
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
