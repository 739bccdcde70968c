"""Self-distillation beside a plain NumPy transcription of the paper's equations."""

import copy
import math

import numpy as np
import pytest
import torch

from helicon.alphabet import DNA, PROTEIN
from helicon.errors import InputError
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM
from helicon.models.parts.blanks import at_blanks, with_blanks
from helicon.models.registry import FAMILIES, configured
from helicon.objectives.augmentations.augment import draw_numbers, two_views
from helicon.objectives.masked_lm import IGNORE
from helicon.objectives.self_distillation import (
    Distillation,
    SelfDistillation,
    cls_probabilities,
    teacher_momentum,
)

TINY = {
    "convnova": ("convnova-tiny", {"d_model": 8, "blocks": 2, "kernel": 3}),
    "bytenet": ("carp-600k", {"d_model": 8, "blocks": 2}),
    "chordmixer": ("findna-tiny", {"group": 2, "groups": 4, "layers": 2, "blocks": 2, "hidden": 8}),
    "transformer": ("transformer-tiny", {"d_model": 8, "blocks": 2, "heads": 2}),
}


def network(architecture="chordmixer", seed=0, **changed):
    torch.manual_seed(seed)
    name, fields = TINY[architecture]
    return HeliconForMaskedLM(HeliconConfig.of(configured(name, **fields | changed)))


def distillation(architecture="chordmixer", **settings):
    """A student and a teacher that differ, and a centre that is not zero."""
    found = SelfDistillation(
        network(architecture), Distillation(**{"cls_tokens": 3, "mask_rate": 0.4} | settings)
    )
    with torch.no_grad():
        torch.manual_seed(1)
        for weight in found.teacher.parameters():
            weight += 0.3 * torch.randn_like(weight)
        found.center += 0.2 * torch.randn_like(found.center)
    return found.train()


def drawn(found, rows=4, width=24, alphabet=DNA, seed=0):
    rng = np.random.default_rng(seed)
    ids = torch.from_numpy(rng.integers(0, 4, (rows, width)).astype(np.uint8))
    count = sum(chain.numbers for chain in found.settings.chains)
    return ids, draw_numbers(rng, rows, count)


# The equations, in NumPy.


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def transcribed(settings, logits, targets, student, teacher, centre):
    """Equations 1 to 8: both losses of a batch, and what is watched."""
    masked, tokens, entropies, same = [], [], [], []
    if settings.cls_softmax != "tokens":  # each token has a distribution, as a channel has here
        student, teacher, centre = (np.swapaxes(a, -1, -2) for a in (student, teacher, centre))
    taught = softmax((teacher - centre) / settings.teacher_temperature, 1)
    learned = softmax(student / settings.student_temperature, 1)
    for b in range(len(logits)):
        hidden = [i for i in range(targets.shape[1]) if targets[b, i] != IGNORE]
        p = softmax(logits[b], 1)
        masked.append(-np.mean([np.log(p[i, targets[b, i]]) for i in hidden]))
        channels = range(teacher.shape[2])
        crossed = [-np.sum(taught[b, :, i] * np.log(learned[b, :, i])) for i in channels]
        tokens.append(np.mean(crossed))
        entropies.append([-np.sum(t[b] * np.log(t[b])) / t.shape[2] for t in (taught, learned)])
        same.append(np.mean(taught[b].argmax(0) == learned[b].argmax(0)))
    loss = settings.alpha * np.mean(masked) + (1 - settings.alpha) * np.mean(tokens)
    teacher_entropy, student_entropy = np.mean(entropies, 0)
    measures = (
        np.mean(masked), np.mean(tokens), teacher_entropy, student_entropy,
        np.log(teacher.shape[1]), np.mean(same), taught.std(0).mean(), np.sqrt(np.mean(centre**2)),
    )  # fmt: skip
    return loss, measures


def outputs(found, ids, numbers):
    """What the two networks give, by the plainest way, in float64 arrays."""
    views = two_views(found.settings.chains, ids, numbers)
    given = []
    for net, view in zip((found.student, found.teacher), views, strict=True):
        x, mask, columns = with_blanks(view.inputs, None, 3, DNA)
        features, _ = net.features(x, mask)
        blanks = at_blanks(features, columns)
        over_letters = found.settings.cls_softmax == "letters"
        given.append((features, net.lm_head(blanks) if over_letters else blanks))
    logits = found.student.lm_head(given[0][0][:, : ids.shape[1]])
    arrays = [t.detach().double().numpy() for t in (logits, given[0][1], given[1][1])]
    return arrays[0], views[0].targets.numpy(), arrays[1], arrays[2]


@pytest.mark.parametrize("over", ["tokens", "channels", "letters"])
@pytest.mark.parametrize("views", ["MDIT+NR", "M+NoAug", "MR+T"])
def test_the_loss_is_that_of_the_equations(views, over):
    # Channels and scores of a random network are far apart: the paper's temperatures leave one.
    temperatures = {"student_temperature": 1.0, "teacher_temperature": 0.5}
    settings = {"alpha": 0.3, "cls_softmax": over} | (temperatures if over != "tokens" else {})
    found = distillation(views=views, **settings)
    ids, numbers = drawn(found)
    loss, measures = found(ids, numbers)
    wanted, watched = transcribed(
        found.settings, *outputs(found, ids, numbers), found.center.double().numpy()
    )
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    assert [m.item() for m in measures] == pytest.approx(watched, rel=1e-4)


def test_centre_and_teacher_move_as_the_equations_say():
    found = distillation(center_momentum=0.9, teacher_momentum=0.7)
    before = [p.detach().double().numpy().copy() for p in found.teacher.parameters()]
    centre = found.center.double().numpy().copy()
    taught = []
    for seed in range(2):  # two micro-batches of a step, of different sizes
        ids, numbers = drawn(found, rows=3 + seed, seed=seed)
        taught.append(outputs(found, ids, numbers)[3])
        found(ids, numbers)
    found.follow(step=3, total=8, summed=lambda x: x)
    share = 1 - (1 - 0.7) * (1 + math.cos(math.pi * 2 / 8)) / 2
    for now, old, new in zip(
        found.teacher.parameters(), before, found.student.parameters(), strict=True
    ):
        np.testing.assert_allclose(
            now.numpy(), share * old + (1 - share) * new.detach().numpy(), rtol=1e-4, atol=1e-6
        )
    mean = np.concatenate(taught).mean(0)
    np.testing.assert_allclose(found.center, 0.9 * centre + 0.1 * mean, rtol=1e-4, atol=1e-6)


def test_the_teacher_keeps_more_and_more():
    shares = [teacher_momentum(step, 100, 0.996) for step in range(1, 101)]
    assert shares[0] == pytest.approx(0.996) and shares == sorted(shares)
    assert shares[50] == pytest.approx(0.998) and 0.99999 < shares[-1] < 1


def test_the_gradient_reaches_the_student_alone():
    found = distillation()
    loss, _ = found(*drawn(found))
    loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in found.teacher.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in found.student.parameters())


def test_two_processes_give_the_gradients_of_one():
    joined = distillation()
    halves = [copy.deepcopy(joined) for _ in range(2)]
    ids, numbers = drawn(joined, rows=6)
    joined(ids, numbers)[0].backward()
    for half, rows in zip(halves, (slice(0, 2), slice(2, 6)), strict=True):
        loss, _ = half(ids[rows], numbers[rows])
        (loss * len(ids[rows])).backward()
    for one, first, second in zip(
        joined.student.parameters(), *(h.student.parameters() for h in halves), strict=True
    ):
        torch.testing.assert_close(one.grad, (first.grad + second.grad) / 6, rtol=1e-4, atol=1e-6)
    told = []
    for half in halves:  # first each says what it has seen, then all get the sum
        half_copy = copy.deepcopy(half)
        half_copy.follow(1, 1, lambda x: told.append(x.clone()) or x)
    for half in halves:
        half.follow(1, 1, lambda x: sum(told))
    joined.follow(1, 1, lambda x: x)
    for half in halves:
        torch.testing.assert_close(half.center, joined.center)
    assert not torch.equal(joined.center, distillation().center)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_any_backbone_and_alphabet(architecture):
    protein = architecture == "bytenet"
    found = SelfDistillation(
        network(architecture), Distillation(cls_tokens=3, views="MDIT+N" if protein else "MDIT+NR")
    )
    assert found.alphabet is (PROTEIN if protein else DNA)
    assert found.student.config.cls_tokens == found.teacher.config.cls_tokens == 3
    # The first steps of a teacher that is the student: the loss can be trained down.
    optimizer = torch.optim.Adam(found.student.parameters(), lr=0.01)
    ids, numbers = drawn(found, rows=8, width=64)
    losses = []
    for step in range(1, 16):
        loss, _ = found(ids, numbers)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.follow(step, 15, lambda x: x)
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize("left", [False, True])
def test_padding_changes_nothing(architecture, left):
    """Sequences of different lengths give the losses that each gives alone."""
    found = distillation(architecture, views="MT+N")
    sizes = (24, 17)
    ids, numbers = drawn(found, rows=2)
    ids = ids[:, : max(sizes)]
    mask = torch.zeros(2, 24, dtype=torch.bool)
    for row, size in enumerate(sizes):
        mask[row, -size:] = True if left else mask[row, -size:]
        mask[row, :size] = mask[row, :size] if left else True
    padded = ids.masked_fill(~mask, found.alphabet.pad_id)
    alone = [found(padded[r : r + 1, mask[r]], numbers[r : r + 1])[0].item() for r in range(2)]
    assert found(padded, numbers, mask)[0].item() == pytest.approx(np.mean(alone), rel=1e-4)


def test_blank_tokens_stand_behind_the_letters():
    x = torch.tensor([[0, 1, 2], [3, 6, 6], [6, 6, 1]])
    mask = x != DNA.pad_id
    longer, grown, columns = with_blanks(x, mask, 2, DNA)
    hidden = DNA.mask_id
    kept = [row[real].tolist() for row, real in zip(longer, grown, strict=True)]
    assert kept == [[0, 1, 2, hidden, hidden], [3, hidden, hidden], [1, hidden, hidden]]
    assert columns.tolist() == [[3, 4], [1, 2], [3, 4]]
    assert grown.tolist() == [[True] * 5, [True] * 3 + [False] * 2, [False] * 2 + [True] * 3]
    soft = torch.rand(2, 3, PROTEIN.size)
    blank = with_blanks(soft, None, 1, PROTEIN)[0][:, 3]
    assert blank.argmax(-1).tolist() == [PROTEIN.mask_id] * 2 and blank.sum() == 2


def test_collapse_shows_in_the_measures():
    """A teacher that says the same of every sequence has no spread; one token has no entropy."""
    found = distillation()
    ids, numbers = drawn(found)
    lively = found(ids, numbers)[1]
    assert 0 < lively.teacher_entropy < math.log(3) and lively.spread > 0.01
    with torch.no_grad():
        found.center.copy_(torch.tensor([[0.0], [50.0], [50.0]]).expand_as(found.center))
    one_token = found(ids, numbers)[1]
    assert one_token.teacher_entropy < 1e-6 and one_token.spread < 1e-6
    probabilities, _ = cls_probabilities(torch.zeros(2, 3, 4), 0.1)
    torch.testing.assert_close(probabilities, torch.full((2, 3, 4), 1 / 3))


def test_the_teacher_has_no_dropout():
    found = SelfDistillation(network(dropout=0.5), Distillation(cls_tokens=3)).train()
    ids, numbers = drawn(found)
    found(ids, numbers), found(ids, numbers)
    (first, _), (second, _) = found._seen
    assert torch.equal(first, second)
    assert found.student.training and not found.teacher.training


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"views": "DIT+NR"}, "put M before"),
        ({"views": "MDIT"}, "no pair"),
        ({"alpha": 1.5}, "alpha: must be in"),
        ({"cls_tokens": 1}, "cls_tokens: must be at least 2"),
        ({"teacher_temperature": 0.0}, "teacher_temperature: must be more than 0"),
        ({"teacher_momentum": 1.0}, "teacher_momentum: must be in"),
        ({"center_momentum": -0.1}, "center_momentum: must be in"),
        ({"mask_rate": 0.0}, "mask_rate: must be between"),
    ],
)
def test_wrong_settings_are_one_line(options, said):
    with pytest.raises(InputError, match=said) as error:
        Distillation(**options)
    assert "\n" not in str(error.value)


def test_proteins_have_no_other_strand():
    with pytest.raises(InputError, match="complement"):
        SelfDistillation(network("bytenet"), Distillation(views="MDIT+NR"))
