"""Pairs of views: the paper's letters, two views with numbers of their own, their dissimilarity."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from augment_cases import batch, numbers

from helicon.alphabet import PROTEIN
from helicon.errors import InputError
from helicon.objectives.augmentations.augment import (
    Chain,
    Deletion,
    GaussianNoise,
    Insertion,
    Inversion,
    PointMutation,
    RandomMasking,
    ReverseComplement,
    Translocation,
    draw_numbers,
    parse_views,
    two_views,
    view_dissimilarity,
)


def test_views_are_read_in_the_papers_letters():
    student, teacher = parse_views("MDIT+NR")
    kinds = [type(operation) for operation in student.operations]
    assert kinds == [RandomMasking, Deletion, Insertion, Translocation]
    assert teacher == Chain((GaussianNoise(0.2), ReverseComplement(0.5)))
    assert parse_views("M+NoAug") == (Chain((RandomMasking(0.3, 0.1, 0.1),)), Chain())
    assert parse_views("VP+VP")[0] == Chain((Inversion(), PointMutation()))
    fewer = parse_views("MR+X", {"M": RandomMasking(0.15), "X": PointMutation(0.5)})
    assert fewer[0].operations[0] == RandomMasking(0.15)
    assert fewer[1] == Chain((PointMutation(0.5),))


@pytest.mark.parametrize("text", ["", "MDIT", "M+", "+NR", "M+N+R"])
def test_what_is_no_pair_of_views_is_refused(text):
    with pytest.raises(InputError, match="is no pair; write the student's letters") as found:
        parse_views(text)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("text", ["MXT+NR", "M+noaug", "m+NR", "M +N"])
def test_unknown_letters_are_named(text):
    with pytest.raises(InputError, match=r"is no augmentation; there are M \(RandomM") as e:
        parse_views(text)
    assert repr(text) in str(e.value) and "\n" not in str(e.value)


def test_two_views_have_random_numbers_of_their_own():
    views = parse_views("MDIT+MDIT")
    ids, mask = batch([80, 60], 80)
    drawn = draw_numbers(np.random.default_rng(0), 2, sum(view.numbers for view in views))
    first, second = two_views(views, ids, drawn, mask)
    assert not torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.inputs, views[0](ids, drawn[:, : views[0].numbers], mask).inputs)
    assert torch.equal(second.inputs, views[1](ids, drawn[:, views[0].numbers :], mask).inputs)


def transcribed(u, v):
    """Equation 10 in NumPy, row by row."""
    softmax = [np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (u, v)]
    return (softmax[0] * np.log(softmax[0] / softmax[1])).sum(-1)


def test_the_dissimilarity_is_that_of_equation_10():
    u, v = torch.randn(2, 3, 20, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(20) < torch.tensor([20, 11, 1])[:, None]
    rows = transcribed(u.double().numpy(), v.double().numpy())
    assert float(view_dissimilarity(u, v)) == pytest.approx(rows.mean(), rel=1e-5)
    assert float(view_dissimilarity(u, v, mask)) == pytest.approx(rows[mask].mean(), rel=1e-5)
    assert float(view_dissimilarity(u, u)) == 0


def test_the_dissimilarities_that_the_docstring_names():
    letters = torch.tensor([[0, 1, 2, 5, 4]])
    found = [
        float(view_dissimilarity(letters[:, i : i + 1], letters[:, j : j + 1]))
        for i, j in ((0, 1), (3, 2), (0, 3), (4, 4))
    ]
    assert found == pytest.approx([0.256, 0.095, 0.109, 0], abs=5e-4)
    residues = torch.tensor([[3]]), torch.tensor([[7]])
    assert 0 < float(view_dissimilarity(*residues, alphabet=PROTEIN)) < 0.256
    hidden = torch.tensor([[PROTEIN.mask_id]])  # a letter as any other in CARP's alphabet
    assert view_dissimilarity(residues[0], hidden, alphabet=PROTEIN) == view_dissimilarity(
        *residues, alphabet=PROTEIN
    )


def test_stronger_views_are_further_apart():
    ids, _ = batch([500] * 20, 500, letters=4)
    found = []
    for text in ("M+NoAug", "M+DIT", "MDT+DIT"):
        views = parse_views(text)
        pair = Chain(views[0].operations + views[1].operations)
        first, second = two_views(views, ids, numbers(pair, 20))
        found.append(float(view_dissimilarity(first.inputs, second.inputs)))
    # Of M+NoAug: 24 % hidden at 0.095, and 3 % drawn at random at 0.256, a quarter as before.
    assert found[0] == pytest.approx(0.3 * (0.8 * 0.0954 + 0.1 * 0.75 * 0.2558), abs=0.002)
    assert found[0] < 0.1 < min(found[1:])


def test_the_pages_examples_run(tmp_path, monkeypatch):
    page = Path(__file__).parents[3] / "docs" / "augmentations.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.S | re.M)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile("\n".join(blocks), page.name, "exec"), found)
    assert (tmp_path / "views.svg").exists()
    ratios = [np.mean(found["found"][name]) / value for name, value in found["published"].items()]
    assert all(1 < ratio < 1.2 for ratio in ratios)  # as the page says; the pairs in order
    assert sorted(found["found"], key=lambda name: np.mean(found["found"][name])) == list(
        found["published"]
    )
    assert found["student"].inputs.shape == (8, 34) and found["teacher"].inputs.shape == (8, 34, 5)
