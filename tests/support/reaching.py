"""How far the output of a network really reaches."""

import torch

from helicon.models.parts.backbone import Backbone


def reach(model: Backbone) -> int:
    """Farthest distance at which changing one letter changes the output, over all positions."""
    assert model.receptive_field is not None
    length = 3 * model.receptive_field // 2 + 2
    torch.manual_seed(0)
    x = torch.randint(0, 4, (1, length)).expand(length, length).clone()
    x.fill_diagonal_(0)
    changed = x.clone().fill_diagonal_(1)
    with torch.no_grad():
        differs = (model(x) != model(changed)).any(-1)
    at, seen = differs.nonzero(as_tuple=True)
    return int((at - seen).abs().max())
