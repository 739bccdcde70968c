"""Self-distillation, the objective of FinDNA: a student learns letters, and its teacher's view.

Yu et al., "Self-Distillation Improves DNA Sequence Inference", 2024 (equations 1 to 9), as the
paper defines it; its published code does something else. Two networks are alike. The student sees
one augmented view u of a batch, the teacher another one, v; each with K blank tokens behind it
(CLS), where a network gives H of K x I numbers. The student predicts the hidden letters of u, and
what the teacher makes of v at the blank tokens:

    P_s = softmax_k(H_s(u) / tau_s)        P_t = softmax_k((H_t(v) - xi) / tau_t)
    L   = alpha L_MNM + (1 - alpha) L_CL,  L_CL = - sum_k,i P_t log P_s

The softmax is over the K tokens, for each channel i. The K tokens differ in their places alone,
which most views change; so it may also be over the channels, for each token, or over the letters
that the network would predict there, as the published code has it. The teacher gets no gradient:
after each step of the optimiser its weights move towards the student's,

    theta_t <- lambda theta_t + (1 - lambda) theta_s,    lambda from 0.996 to 1 along a cosine,

and so does the centre xi, towards the mean of H_t(v) over the batch of all processes. The centre
keeps one choice from winning always, the low temperature of the teacher keeps all from being alike;
`Measures` tell whether either has happened all the same.

Both losses are means here: over the hidden letters of a sequence, and over distributions. At the
paper's scale (300 letters, 308 channels) that is the trade-off of its sums, and it is the same at
any length and width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int16
from torch import Tensor, nn

from helicon.errors import InputError
from helicon.models.huggingface.classes import HeliconForMaskedLM
from helicon.models.parts.backbone import Features, Mask, Tokens
from helicon.models.parts.blanks import at_blanks, with_blanks
from helicon.objectives.augmentations.augment import RandomMasking, parse_views, two_views
from helicon.objectives.augmentations.chain import Chain, View
from helicon.objectives.augmentations.letters import pairing
from helicon.objectives.augmentations.random import Numbers
from helicon.objectives.masked_lm import IGNORE

#: What a network gives at the blank tokens; the scores of letters stand for channels too.
Cls = Float[Tensor, "batch tokens channels"]
Centre = Float[Tensor, "tokens channels"]
#: A number for each sequence of a batch.
Each = Float[Tensor, " batch"]
#: What a softmax at the blank tokens runs over.
Over = Literal["tokens", "channels", "letters"]


@dataclass(frozen=True)
class Distillation:
    """How a student learns from its teacher; the defaults are the paper's.

    Attributes:
        views: letters of the student's augmentations, `+`, and of the teacher's; see
            `augment.parse_views`. The student's hold M.
        mask_rate: share of the letters that M hides.
        cls_tokens: blank tokens behind a sequence (K), which both networks are compared at.
        cls_softmax: what the distributions at the blank tokens are over: `tokens`, one for each
            channel, as the paper says; `channels`, one for each token; or `letters`, one for each
            token from the scores that the head gives it, as in the published code.
        alpha: share of the loss of hidden letters in the whole; the rest is that of the blank
            tokens.
        student_temperature: of the student's distributions (tau_s).
        teacher_temperature: of the teacher's (tau_t).
        teacher_momentum: share that the teacher keeps of its weights in the first step (lambda); it
            rises to 1. A run of a few hundred steps needs less.
        center_momentum: share that the centre keeps in a step.
    """

    views: str = "MDIT+NR"
    mask_rate: float = 0.3
    cls_tokens: int = 10
    cls_softmax: Over = "tokens"
    alpha: float = 0.5
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    teacher_momentum: float = 0.996
    center_momentum: float = 0.996

    def __post_init__(self) -> None:
        if not 0 < self.mask_rate < 1:
            raise InputError(f"mask_rate: must be between 0 and 1, not {self.mask_rate}")
        if self.cls_tokens < 2:
            raise InputError(f"cls_tokens: must be at least 2, not {self.cls_tokens}")
        if not 0 <= self.alpha <= 1:
            raise InputError(f"alpha: must be in [0, 1], not {self.alpha}")
        for name in ("student_temperature", "teacher_temperature"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: must be more than 0, not {getattr(self, name)}")
        for name in ("teacher_momentum", "center_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}: must be in [0, 1), not {getattr(self, name)}")
        if not any(isinstance(one, RandomMasking) for one in self.chains[0].operations):
            raise InputError(
                f"views: the student of {self.views!r} has no letter to predict; put M before the +"
            )

    @cached_property
    def chains(self) -> tuple[Chain, Chain]:
        """The student's and the teacher's augmentations."""
        return parse_views(self.views, {"M": RandomMasking(self.mask_rate)})


#: The axis of (B, K, I) that a distribution lies along.
_AXIS: dict[Over, int] = {"tokens": 1, "channels": 2, "letters": 2}


class Measures(NamedTuple):
    """What is watched of a batch, means over its sequences and over distributions.

    A distribution is over the K tokens, one for each channel, or the other way round; see
    `Distillation.cls_softmax`.

    Attributes:
        masked_loss: nats a hidden letter.
        cls_loss: nats a distribution.
        teacher_entropy: of P_t, in nats. log K: all tokens are alike; 0: one token has all.
        student_entropy: of P_s, likewise.
        most_entropy: log K, or the logarithm of the number of channels or letters.
        agreement: share of the distributions in which both views put most on the same token. One in
            K by chance.
        spread: standard deviation of P_t over the sequences of the batch, mean over tokens and
            channels. 0: the teacher says the same of every sequence, which is collapse.
        center_norm: root mean square of the centre's entries.
    """

    masked_loss: Tensor
    cls_loss: Tensor
    teacher_entropy: Tensor
    student_entropy: Tensor
    most_entropy: Tensor
    agreement: Tensor
    spread: Tensor
    center_norm: Tensor


def cls_probabilities(
    features: Cls, temperature: float, centre: Centre | None = None, *, over: Over = "tokens"
) -> tuple[Cls, Cls]:
    """Distributions over the K tokens, one for each channel (equations 4 and 5), and their logs.

    Or over channels or letters, one for each token.
    """
    shifted = features.float() if centre is None else features.float() - centre
    logs = F.log_softmax(shifted / temperature, dim=_AXIS[over])
    return logs.exp(), logs


def cls_loss(student_logs: Cls, teacher: Cls, *, over: Over = "tokens") -> Each:
    """Cross-entropy of the student's distributions under the teacher's (equation 8).

    Args:
        student_logs: log P_s, (B, K, I).
        teacher: P_t, (B, K, I).
        over: what a distribution is over.

    Returns:
        (B,): in nats, mean over distributions.
    """
    return -(teacher * student_logs).sum(_AXIS[over]).mean(1)


def masked_loss(
    logits: Float[Tensor, "batch length letters"], targets: Int16[Tensor, "batch length"]
) -> Each:
    """Cross-entropy of the hidden letters of each sequence, their mean; 0 where none is hidden."""
    losses = F.cross_entropy(
        logits.float().transpose(1, 2), targets.long(), ignore_index=IGNORE, reduction="none"
    )
    return losses.sum(1) / (targets != IGNORE).sum(1).clamp(min=1)


def teacher_momentum(step: int, total: int, first: float) -> float:
    """Share that the teacher keeps of its weights after a step: `first` at step 1, 1 at the end.

    Half a cosine, which would reach 1 at the step after the last.

    Args:
        step: number of the step, from 1 to `total`.
        total: steps of the whole run.
        first: share at the first step.
    """
    return 1 - (1 - first) * (1 + math.cos(math.pi * (step - 1) / total)) / 2


class SelfDistillation(nn.Module):
    """A student, its teacher and the centre: all that is trained, kept and resumed.

    Args:
        student: the network to train; the teacher begins as a copy of it.
        settings: how.

    Raises:
        InputError: the views have complements, and the student's alphabet has none.
    """

    def __init__(self, student: HeliconForMaskedLM, settings: Distillation):
        super().__init__()
        self.settings = settings
        self.alphabet = student.backbone.alphabet
        if any(chain.turns for chain in settings.chains):
            pairing(self.alphabet)
        student.config.cls_tokens = settings.cls_tokens
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False).eval()
        over_letters = settings.cls_softmax == "letters"
        width = self.alphabet.size if over_letters else student.backbone.d_model
        self.register_buffer("center", torch.zeros(settings.cls_tokens, width))
        # No buffer: processes copy those of the first one, and each has seen sequences of its own.
        self._seen: list[tuple[Centre, int]] = []

    center: Tensor

    def train(self, mode: bool = True) -> Self:
        """The teacher has no dropout, ever."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self, input_ids: Tokens, numbers: Numbers, attention_mask: Mask | None = None
    ) -> tuple[Tensor, Measures]:
        """Make both views of a batch and compare what the networks make of them.

        Args:
            input_ids: token ids (B, L) without soft bits, or soft rows (B, L, V).
            numbers: `augment.draw_numbers`, for the chains of both views.
            attention_mask: true at real positions.

        Returns:
            The loss, mean over sequences, and what is watched.
        """
        settings, over = self.settings, self.settings.cls_softmax
        views = two_views(
            settings.chains, input_ids, numbers, attention_mask, alphabet=self.alphabet
        )
        features, said = self._seen_by(self.student, views[0])
        targets = views[0].targets
        assert targets is not None
        letters = masked_loss(self.student.lm_head(features[:, : targets.shape[1]]), targets)
        with torch.no_grad():
            _, taught = self._seen_by(self.teacher, views[1])
            if self.training:
                self._seen.append((taught.float().sum(0), len(taught)))
            teacher, teacher_logs = cls_probabilities(
                taught, settings.teacher_temperature, self.center, over=over
            )
        student, student_logs = cls_probabilities(said, settings.student_temperature, over=over)
        tokens = cls_loss(student_logs, teacher, over=over)
        loss = settings.alpha * letters.mean() + (1 - settings.alpha) * tokens.mean()
        with torch.no_grad():
            axis = _AXIS[over]
            same = student.argmax(axis) == teacher.argmax(axis)
            measures = Measures(
                masked_loss=letters.mean(),
                cls_loss=tokens.mean(),
                teacher_entropy=_entropy(teacher, teacher_logs, axis),
                student_entropy=_entropy(student, student_logs, axis),
                most_entropy=letters.new_tensor(math.log(teacher.shape[axis])),
                agreement=same.float().mean(),
                spread=teacher.std(0, correction=0).mean(),
                center_norm=self.center.square().mean().sqrt(),
            )
        return loss, measures

    def _seen_by(self, network: HeliconForMaskedLM, view: View) -> tuple[Features, Cls]:
        """A network's features of a view, and what it gives at its blank tokens."""
        count = self.settings.cls_tokens
        x, mask, columns = with_blanks(view.inputs, view.mask, count, self.alphabet)
        features, _ = network.features(x, mask)
        blanks = at_blanks(features, columns)
        over_letters = self.settings.cls_softmax == "letters"
        return features, network.lm_head(blanks) if over_letters else blanks

    @torch.no_grad()
    def follow(self, step: int, total: int, summed: Callable[[Tensor], Tensor]) -> None:
        """Move the teacher and the centre, after a step of the optimiser.

        Args:
            step: number of the step, from 1 to `total`.
            total: steps of the whole run.
            summed: adds up a tensor over all processes.
        """
        settings = self.settings
        away = 1 - teacher_momentum(step, total, settings.teacher_momentum)
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), away)
        total_seen = torch.stack([features for features, _ in self._seen]).sum(0)
        count = total_seen.new_tensor([sum(rows for _, rows in self._seen)])
        found = summed(torch.cat([total_seen.flatten(), count]))
        mean = (found[:-1] / found[-1]).view_as(self.center)
        self.center.lerp_(mean, 1 - settings.center_momentum)
        self._seen = []


def _entropy(probabilities: Cls, logs: Cls, axis: int) -> Tensor:
    return -(probabilities * logs).sum(axis).mean()
