import pytest
import torch
import torch.nn.functional as F

from helicon.models.parts.layers import Conv, Pointwise, conv


@pytest.mark.parametrize("kernel", [1, 3, 9])
@pytest.mark.parametrize("dilation", [1, 4])
@pytest.mark.parametrize("length", [1, 7, 40])
def test_conv_is_conv1d_channels_last(kernel: int, dilation: int, length: int):
    x = torch.randn(2, length, 5, dtype=torch.float64)
    weight = torch.randn(6, 5, kernel, dtype=torch.float64)
    bias = torch.randn(6, dtype=torch.float64)
    reach = kernel // 2 * dilation
    wanted = F.conv1d(x.mT, weight, bias, padding=reach, dilation=dilation).mT
    got = conv(x, weight, bias, dilation)
    torch.testing.assert_close(got, wanted)
    assert got.is_contiguous()


def test_conv_takes_activations_in_any_layout():
    x = torch.randn(2, 5, 11).mT
    layer = Conv(5, 6, 3, 2)
    torch.testing.assert_close(layer(x), layer(x.contiguous()))


def test_conv_gradients():
    layer = Conv(3, 4, 5, 2).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


def test_pointwise_is_linear():
    layer = Pointwise(5, 6)
    x = torch.randn(2, 7, 5)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_layers_start_as_torch_starts_them():
    torch.manual_seed(0)
    ours = [Conv(5, 6, 9).weight, Pointwise(5, 6).weight]
    torch.manual_seed(0)
    theirs = [torch.nn.Conv1d(5, 6, 9).weight, torch.nn.Linear(5, 6).weight]
    assert all(map(torch.equal, ours, theirs))
