import pytest
import torch
import torch.nn.functional as F

from helicon.models.parts.heads import (
    HEAD_KINDS,
    IGNORE,
    POOLINGS,
    HeadKind,
    Pooling,
    SequenceHead,
    TokenHead,
    pooling,
    task_loss,
)

NAN = float("nan")


def padded(side: str) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Features of three sequences with NaN as padding, their mask, and each sequence alone."""
    lengths, total = [9, 4, 1], 9
    alone = [torch.randn(1, n, 6) for n in lengths]
    features = torch.full((3, total, 6), NAN)
    mask = torch.zeros(3, total, dtype=torch.bool)
    for row, (x, n) in enumerate(zip(alone, lengths, strict=True)):
        span = slice(0, n) if side == "right" else slice(total - n, total)
        features[row, span], mask[row, span] = x[0], True
    return features, mask, alone


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("how", POOLINGS)
def test_padding_never_changes_a_pooled_vector(how: Pooling, side: str):
    features, mask, alone = padded(side)
    pool = pooling(how, 6)
    out = pool(features.requires_grad_(), mask)
    torch.testing.assert_close(out, torch.cat([pool(x) for x in alone]))
    out.sum().backward()
    assert features.grad is not None and features.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in pool.parameters())


def test_mean_and_max_are_what_they_say():
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(pooling("mean", 3)(x), x.mean(1))
    assert torch.equal(pooling("max", 3)(x), x.amax(1))


def test_attention_pool_is_a_softmax_average():
    pool, x = pooling("attention", 3), torch.randn(2, 5, 3)
    weights = pool.score(x).softmax(1)
    torch.testing.assert_close(pool(x), (weights * x).sum(1))


@pytest.mark.parametrize("how", POOLINGS)
def test_a_row_of_padding_alone_pools_to_zero(how: Pooling):
    mask = torch.zeros(1, 4, dtype=torch.bool)
    assert torch.equal(pooling(how, 3)(torch.randn(1, 4, 3), mask), torch.zeros(1, 3))


@pytest.mark.parametrize("how", POOLINGS)
def test_pooling_keeps_the_precision(how: Pooling):
    x = torch.randn(2, 4, 3, dtype=torch.bfloat16)
    assert pooling(how, 3).bfloat16()(x).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", HEAD_KINDS)
@pytest.mark.parametrize("how", POOLINGS)
def test_sequence_head_shapes_and_gradients(how: Pooling, kind: HeadKind):
    head = SequenceHead(6, 3, pool=how, kind=kind, dropout=0.1)
    out = head(torch.randn(2, 5, 6))
    assert out.shape == (2, 3)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_token_head_sees_one_position_at_a_time(kind: HeadKind):
    head, x = TokenHead(6, 3, kind=kind), torch.randn(2, 5, 6)
    assert head(x).shape == (2, 5, 3)
    torch.testing.assert_close(head(x)[:, 2:4], head(x[:, 2:4]))


def test_dropout_acts_in_training_alone():
    head, x = TokenHead(6, 3, kind="mlp", dropout=0.5), torch.randn(2, 5, 6)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 5.0, 0.1])])
@pytest.mark.parametrize("rows", [(8,), (4, 6)])
def test_single_label_is_cross_entropy_over_what_is_labelled(
    rows: tuple[int, ...], weights: torch.Tensor | None
):
    logits, labels = torch.randn(*rows, 3), torch.randint(0, 3, rows)
    labels.view(-1)[::3] = IGNORE
    wanted = F.cross_entropy(logits.view(-1, 3), labels.view(-1), weights, ignore_index=IGNORE)
    torch.testing.assert_close(task_loss(logits, labels, "single_label", weights), wanted)
    narrow = task_loss(logits, labels.to(torch.int16), "single_label", weights)
    torch.testing.assert_close(narrow, wanted)


def test_multi_label_weighs_positives_and_skips_unknown():
    logits = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    labels, weights = torch.tensor([[1.0, NAN], [0.0, 1.0]]), torch.tensor([2.0, 3.0])
    terms = torch.stack(
        [
            -2 * F.logsigmoid(logits[0, 0]),
            -F.logsigmoid(-logits[1, 0]),
            -3 * F.logsigmoid(logits[1, 1]),
        ]
    )
    torch.testing.assert_close(task_loss(logits, labels, "multi_label", weights), terms.mean())
    as_ids = labels.nan_to_num(IGNORE).long()
    torch.testing.assert_close(task_loss(logits, as_ids, "multi_label", weights), terms.mean())


def test_regression_skips_unknown_and_takes_one_or_several_outputs():
    logits, labels = torch.randn(3, 2), torch.tensor([[1.0, NAN], [0.0, 1.0], [NAN, NAN]])
    known = ~labels.isnan()
    wanted = (logits[known] - labels[known]).square().mean()
    torch.testing.assert_close(task_loss(logits, labels, "regression"), wanted)
    one = task_loss(logits[:, :1], labels[:, 0], "regression")
    torch.testing.assert_close(one, task_loss(logits[:, :1], labels[:, :1], "regression"))
    tokens, track = torch.randn(2, 5, 1), torch.randn(2, 5)
    wanted = F.mse_loss(tokens[..., 0], track)
    torch.testing.assert_close(task_loss(tokens, track, "regression"), wanted)


@pytest.mark.parametrize(
    ("problem", "label"),
    [("single_label", IGNORE), ("multi_label", NAN), ("regression", NAN)],
)
def test_nothing_labelled_is_no_loss_and_no_gradient(problem, label):
    logits = torch.randn(4, 3, requires_grad=True)
    labels = torch.full((4,) if problem == "single_label" else (4, 3), label)
    loss = task_loss(logits, labels, problem)
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros(4, 3))


@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
def test_losses_are_float32_under_autocast(problem):
    logits = 4 * torch.randn(64, 3)
    labels = torch.randint(0, 2, (64,) if problem == "single_label" else (64, 3))
    with torch.autocast("cpu", torch.bfloat16):
        loss = task_loss(logits.bfloat16(), labels, problem)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, task_loss(logits.bfloat16().float(), labels, problem))


def test_unknown_labels_do_not_poison_gradients():
    logits = torch.randn(2, 2, requires_grad=True)
    task_loss(logits, torch.tensor([[NAN, 1.0], [0.0, NAN]]), "regression").backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
