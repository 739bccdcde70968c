import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.models.convnova.network import ConvNova, ConvNovaConfig
from helicon.models.parts import fast_conv as module
from helicon.models.parts.fast_conv import OUTPUTS, algorithm, fast_conv, pays, plain_convolutions
from helicon.models.parts.layers import Conv, conv


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    reach = weight.shape[-1] // 2 * dilation
    return F.conv1d(x.mT, weight, bias, padding=reach, dilation=dilation).mT


def case(batch: int, length: int, taps: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    shapes = ((batch, length, 3), (4, 3, taps), (4,))
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(s, dtype=dtype, generator=generator).requires_grad_() for s in shapes]


@pytest.mark.parametrize("taps", [3, 5, 9, 17])
@pytest.mark.parametrize("dilation", [1, 4, 16])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 100, 300])
def test_is_the_convolution(taps: int, dilation: int, length: int):
    x, weight, bias = case(3, length, taps)
    got = fast_conv(x, weight, bias, dilation)
    torch.testing.assert_close(got, plain(x, weight, bias, dilation))
    assert got.is_contiguous()


@pytest.mark.parametrize("at_once", [1, 150, 400, 1000])
def test_the_batch_may_be_cut_anywhere(at_once: int, monkeypatch: pytest.MonkeyPatch):
    x, weight, bias = case(5, 90, 9)
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    got = fast_conv(x, weight, bias, 2)
    wanted = plain(x, weight, bias, 2)
    torch.testing.assert_close(got, wanted)
    gradient = torch.randn_like(wanted)
    for ours, theirs in zip(
        torch.autograd.grad(got, (x, weight, bias), gradient),
        torch.autograd.grad(wanted, (x, weight, bias), gradient),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("length", [5, 35])
def test_gradients(dilation: int, length: int):
    inputs = case(2, length, 5)
    assert torch.autograd.gradcheck(lambda *a: fast_conv(*a, dilation), inputs)
    x, weight, _ = inputs
    assert torch.autograd.gradcheck(lambda *a: fast_conv(*a, None, dilation), (x, weight))


def test_only_the_gradients_asked_for():
    x, weight, bias = case(2, 40, 5)
    fast_conv(x.detach(), weight, bias, 1).sum().backward()
    assert x.grad is None and weight.grad is not None and bias.grad is not None


def test_any_layout_of_input_and_gradient():
    x, weight, bias = case(2, 50, 5)
    turned = x.detach().mT.contiguous().mT
    torch.testing.assert_close(fast_conv(turned, weight, bias), fast_conv(x, weight, bias))
    wanted = torch.autograd.grad(plain(x, weight, bias, 1).sum(), (x, weight))
    torch.testing.assert_close(
        torch.autograd.grad(fast_conv(x, weight, bias).sum(), (x, weight)), wanted
    )


def test_number_of_products():
    how = algorithm(9, torch.float64)
    assert how.analysis.shape == (35, OUTPUTS + 8)
    assert how.filter.shape == (35, 9)
    assert how.synthesis.shape == (OUTPUTS, 35)


@pytest.fixture(scope="module")
def wide() -> tuple[Tensor, Tensor, Tensor]:
    """Float32 activations, weight and bias for which the fast way is chosen."""
    torch.manual_seed(3)
    layer = Conv(64, 64, 9)
    return torch.randn(2, 1100, 64), layer.weight.detach(), torch.randn(64)


def test_as_accurate_as_the_plain_convolution(wide: tuple[Tensor, Tensor, Tensor]):
    x, weight, bias = wide
    exact = plain(x.double(), weight.double(), bias.double(), 4)
    scale = exact.abs().max()
    assert (fast_conv(x, weight, bias, 4) - exact).abs().max() < 1e-6 * scale


def test_rounding_alone_depends_on_where_a_tile_starts(wide: tuple[Tensor, Tensor, Tensor]):
    x, weight, bias = wide
    whole = fast_conv(x, weight, bias, 4)
    for start in (1, 7, 64):
        part = fast_conv(x[:, start : start + 500], weight, bias, 4)
        torch.testing.assert_close(
            part[:, 16:-16], whole[:, start + 16 : start + 484], rtol=0, atol=3e-6
        )


def test_the_same_numbers_every_time(wide: tuple[Tensor, Tensor, Tensor]):
    x, weight, bias = wide
    results = []
    for _ in range(2):
        again = [t.clone().requires_grad_() for t in (x, weight, bias)]
        out = fast_conv(*again, 4)
        results.append([out, *torch.autograd.grad(out.square().sum(), again)])
    assert all(map(torch.equal, *results))


def test_chosen_where_it_pays(wide: tuple[Tensor, Tensor, Tensor]):
    x, weight, _ = wide
    assert pays(x, weight, 1) and pays(x, weight, 16)
    assert not pays(x.double(), weight.double(), 1), "float32 only"
    assert not pays(x[:, :1000], weight, 1), "too few positions"
    assert not pays(x, weight, 256), "tiles mostly empty"
    assert not pays(x, weight[:, :, :1], 1), "width one"
    assert not pays(x, weight[:8], 1), "few channels"
    assert not pays(x.to("meta"), weight.to("meta"), 1), "not on a CPU"
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(x, weight, 1)
    with plain_convolutions():
        assert not pays(x, weight, 1)


def test_conv_takes_it(wide: tuple[Tensor, Tensor, Tensor]):
    x, weight, bias = wide
    assert torch.equal(conv(x, weight, bias, 4), fast_conv(x, weight, bias, 4))
    with plain_convolutions():
        assert not torch.equal(conv(x, weight, bias, 4), fast_conv(x, weight, bias, 4))


def test_network_and_its_gradients_agree():
    torch.manual_seed(0)
    net = ConvNova(ConvNovaConfig(d_model=64, blocks=4))
    ids = torch.randint(0, 5, (2, 1100))
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 1050:] = False

    def run() -> list[Tensor]:
        features = net(ids, mask)[mask]
        loss = features.square().mean()
        return [features, *torch.autograd.grad(loss, list(net.parameters()))]

    fast = run()
    with plain_convolutions():
        wanted = run()
    assert not torch.equal(fast[0], wanted[0])
    for ours, theirs in zip(fast, wanted, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
