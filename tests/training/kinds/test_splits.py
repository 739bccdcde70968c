import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_cases import motif_rows, write_csv

from helicon.alphabet import PROTEIN
from helicon.data.tables.tables import read_table
from helicon.errors import InputError
from helicon.metrics.targets import Target, find_target
from helicon.training.adaptation.losses import loss_weights
from helicon.training.kinds.sequences import check_kind
from helicon.training.kinds.splits import hold_out, shared_sequences


def table(folder, rows, header="sequence,label", **options):
    path = write_csv(folder / "rows.csv", rows, header)
    return read_table(path, target=header.removeprefix("sequence,"), **options)


@given(st.integers(0, 99), st.sampled_from([0.05, 0.1, 0.3]), st.lists(st.integers(2, 30)))
@settings(max_examples=25, deadline=None)
def test_a_split_keeps_shares_and_equal_sequences_together(tmp_path_factory, seed, fraction, more):
    sizes = [20, 40, *more]
    texts = iter([text for text, _ in motif_rows(2 * sum(sizes), seed)])
    rows = [(next(texts), label) for label, size in enumerate(sizes) for _ in range(size)]
    rows += rows[:7]
    data = table(tmp_path_factory.mktemp("rows"), rows)
    target = Target.plain("single_label", tuple(map(str, range(len(sizes)))))
    labels = target.encode(data)
    train, held = hold_out(data, labels, target, fraction, seed)
    assert sorted([*train, *held]) == list(range(len(rows)))
    assert not shared_sequences(data.take(train), data.take(held))
    for label, size in enumerate(sizes):
        count = (labels[held] == label).sum()
        assert 1 <= count < (labels == label).sum()
        assert abs(count - fraction * size) <= 9  # copies go where their first one goes
    again = hold_out(data, labels, target, fraction, seed)
    assert all((a == b).all() for a, b in zip((train, held), again, strict=True))


def test_numbers_are_held_out_over_their_whole_range(tmp_path):
    rows = [(text, i) for i, (text, _) in enumerate(motif_rows(200))]
    data = table(tmp_path, rows)
    target = find_target(data, "regression")
    _, held = hold_out(data, target.encode(data), target, 0.1, seed=1)
    assert (np.bincount(held // 20) == 2).all()


def test_a_class_of_one_sequence_cannot_be_divided(tmp_path):
    data = table(tmp_path, [*motif_rows(20), ("ACGT", 2), ("ACGT", 2)])
    target = Target.plain("single_label", ("0", "1", "2"))
    with pytest.raises(InputError, match="1 different sequence of class '2'"):
        hold_out(data, target.encode(data), target, 0.1, seed=0)


def test_what_labels_mean(tmp_path):
    texts = [text for text, _ in motif_rows(60)]
    cases = [
        ("single_label", ("0", "1"), [(i % 2,) for i in range(60)], "y"),
        ("single_label", ("a", "b"), [("ab"[i % 2],) for i in range(60)], "y"),
        ("regression", ("y",), [(i / 7,) for i in range(60)], "y"),
        ("multi_label", ("y", "z"), [(i % 2, 0) for i in range(60)], "y,z"),
        ("regression", ("y", "z"), [(i % 2, i / 7) for i in range(60)], "y,z"),
    ]
    for problem, names, labels, header in cases:
        rows = [(text, *label) for text, label in zip(texts, labels, strict=True)]
        found = find_target(table(tmp_path, rows, f"sequence,{header}"))
        assert (found.problem, found.names) == (problem, names)


def test_numbers_are_standardised_and_back(tmp_path):
    rows = [(text, 100 + i) for i, (text, _) in enumerate(motif_rows(60))]
    data = table(tmp_path, rows)
    target = find_target(data, "regression")
    values = target.encode(data)
    inner = target.standardised(values)
    assert abs(inner.mean()) < 1e-5
    assert inner.std() == pytest.approx(1)
    assert target.natural(inner) == pytest.approx(values)


def test_nucleotides_are_refused_by_a_protein_model(tmp_path):
    rows = motif_rows(80)
    with pytest.raises(InputError, match="holds nucleotides, but the model reads proteins"):
        check_kind(table(tmp_path, rows, alphabet=PROTEIN))
    check_kind(table(tmp_path, [*rows, ("MKVLAAG", 1)], alphabet=PROTEIN))
    check_kind(table(tmp_path, rows))


def test_balanced_weights_give_every_class_the_same_total():
    counts = np.array([900, 90, 10, 0])
    weights = loss_weights("single_label", counts, 1000, "balanced").numpy()
    assert (weights * counts)[:3] == pytest.approx([1000 / 3] * 3)
    assert weights[3] == 1
    milder = loss_weights("single_label", counts, 1000, "sqrt").numpy()
    assert milder[1] / milder[0] == pytest.approx(np.sqrt(10))
    positives = loss_weights("multi_label", counts, 1000, "balanced").numpy()
    assert positives == pytest.approx([1 / 9, 91 / 9, 99, 1], rel=1e-2)
    with pytest.raises(InputError, match="do not exist"):
        loss_weights("regression", counts, 1000, "balanced")
