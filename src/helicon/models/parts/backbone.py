"""What every backbone is: the contract that heads, objectives, training and inference rely on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from helicon.alphabet import ALPHABETS, Alphabet
from helicon.models.parts.substitutions import Cropped, Substitutions

#: Token ids, or a soft one-hot over the alphabet's letters.
Tokens = Integer[Tensor, "batch length"] | Float[Tensor, "batch length letters"]
Mask = Bool[Tensor, "batch length"]
Features = Float[Tensor, "batch length channels"]


class Backbone(nn.Module, ABC):
    """A network from tokens to one feature vector a position.

    Activations are channels-last, `(batch, length, channels)`, throughout. Padding (positions
    where `mask` is false) never changes the result at a real position, whichever side it is on.

    Attributes:
        architecture: the name under which the registry knows the class.
        config: the frozen dataclass that the network was built from.
    """

    architecture: ClassVar[str]
    config: Any

    @property
    def alphabet(self) -> Alphabet:
        """The alphabet whose ids and one-hot columns the network reads: the config names it."""
        return ALPHABETS[self.config.alphabet]

    @property
    @abstractmethod
    def d_model(self) -> int:
        """Channels of the output."""

    @property
    @abstractmethod
    def receptive_field(self) -> int | None:
        """Width of the smallest centred window that holds all that a position's output depends on.

        `None` where the network sees the whole sequence.
        """

    @property
    def causal(self) -> bool:
        """Whether a position sees itself and what stands before it alone."""
        return False

    @property
    def mask_letter(self) -> str | None:
        """The letter that the mask symbol reads as; `None` where it is a symbol of its own."""
        return None

    @property
    def cell(self) -> int:
        """Grid on which the network stands: a sequence cut at its multiples is seen the same way.

        One for all networks but those that pool positions.
        """
        return 1

    @property
    @abstractmethod
    def layers(self) -> int:
        """Number of layers, for `forward`'s `layer`."""

    @abstractmethod
    def forward(
        self,
        x: Tokens,
        mask: Mask | None = None,
        layer: int | None = None,
        layers: list[Features] | None = None,
    ) -> Features:
        """Run the network.

        Args:
            x: token ids `(B, L)`, or a soft one-hot `(B, L, V)` of floats over the letters.
            mask: true at real positions, `(B, L)`; `None` where all are real.
            layer: stop after so many layers (0: after the stem) and give what they made; `None`
                gives the network's output, which may pass through more than the last layer.
            layers: a list that takes up what every layer of this pass made, from 0.

        Returns:
            Features `(B, L, D)`. Values at padded positions have no meaning.
        """

    def language_head(self) -> nn.Module:
        """A new head that maps features (B, L, D) to logits (B, L, V) of the alphabet's letters.

        A linear layer, where a network has no better one (a strand-equivariant one has, whose head
        keeps the symmetry). A head that shares weights with the backbone holds them unregistered:
        a parameter has one name in a file.
        """
        return nn.Linear(self.d_model, self.alphabet.size)

    def uncounted(self, length: int) -> int:
        """Floating-point operations of a pass over one sequence that torch's counter does not see.

        It sees matrix products, convolutions and attention, and `helicon.models.info` adds Fourier
        transforms; a scan, for one, is neither.
        """
        return 0

    @classmethod
    def pretrained_at(cls, config: Any, length: int) -> Any:
        """A config with what it takes over from a pretraining length: nothing, for most networks.

        Args:
            config: of this class, for new weights.
            length: positions of a sequence in pretraining at most, CLS tokens included.
        """
        return config

    def substitutions(self) -> Substitutions:
        """The cheapest exact way to the features of sequences with substitutions."""
        return Cropped(self, self.receptive_field, align=self.cell, channels=self.d_model)

    @property
    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(p.numel() for p in self.parameters())


def keep(layers: list[Features] | None, made: Features) -> None:
    """Put what a layer made on the list of `Backbone.forward`, if it was asked for."""
    if layers is not None:
        layers.append(made)


def one_hot(x: Tokens, letters: int, dtype: torch.dtype) -> Float[Tensor, "batch length letters"]:
    """Soft one-hot rows of token ids; ids behind the letters (mask, padding) give rows of zeros."""
    if x.is_floating_point():
        return x.to(dtype)
    return (x.unsqueeze(-1) == torch.arange(letters, device=x.device)).to(dtype)
