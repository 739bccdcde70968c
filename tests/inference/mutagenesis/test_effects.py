"""Scores of substitutions equal those of full passes over every changed sequence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import CONFIG, GENES, language_model, stir

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.forward import substitutions as differences
from helicon.forward.network import Network
from helicon.forward.substitutions import Differences
from helicon.inference.mutagenesis.effects import Effects, Wanted, known_scores
from helicon.inference.mutagenesis.mutagenesis import ALTERNATIVES
from helicon.models.hub import HeliconConfig, HeliconModel, with_head

LENGTH = 70


def sequence(seed: int = 0) -> np.ndarray:
    ids = np.random.default_rng(seed).integers(0, 4, LENGTH).astype(np.uint8)
    ids[30:34] = DNA.unknown_id
    return ids


def everything(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at = np.flatnonzero(ids < 4)
    return np.repeat(at, 3), ALTERNATIVES[ids[at]].reshape(-1)


def substituted(ids: np.ndarray, at: np.ndarray, new: np.ndarray) -> np.ndarray:
    whole = np.repeat(ids[None], len(at), axis=0)
    whole[np.arange(len(at)), at] = new
    return whole


def scores(network: Network, wanted: Wanted) -> tuple[np.ndarray, np.ndarray, ...]:
    ids = sequence()
    at, new = everything(ids)
    return Effects(network, wanted).of(ids, at, new), ids, at, new


def log_p(network: Network, ids: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(network.logits(ids))[..., :4].log_softmax(-1)


def test_language_model(tiny_language: Network):
    names = ("masked", "effect", "likelihood", "distance")
    assert known_scores(tiny_language) == names
    found, ids, at, new = scores(tiny_language, Wanted(names))
    rows = np.arange(len(at))

    hidden = log_p(tiny_language, substituted(ids, at, np.full(len(at), DNA.mask_id)))
    hidden = hidden.numpy()
    expected = hidden[rows, at, new] - hidden[rows, at, ids[at]]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)

    real, bases = ids < 4, torch.from_numpy(np.minimum(ids, 3).astype(np.int64))
    before = log_p(tiny_language, ids[None])[0].gather(-1, bases[:, None])[:, 0]
    after = log_p(tiny_language, substituted(ids, at, new))
    after = after.gather(-1, bases.expand(len(at), -1)[..., None])[..., 0]
    moved = (after - before).numpy() * real
    np.testing.assert_allclose(found[:, 2], moved.sum(1), atol=5e-5)
    moved[rows, at] = 0
    np.testing.assert_allclose(found[:, 1], moved.sum(1), atol=5e-5)

    distance = tiny_language.features(substituted(ids, at, new)) - tiny_language.features(ids[None])
    halo = tiny_language.halo
    inside = [min(LENGTH, p + halo + 1) - max(0, p - halo) for p in at]
    np.testing.assert_allclose(
        found[:, 3], distance.norm(dim=-1).sum(1).numpy() / inside, atol=1e-5
    )


@pytest.mark.parametrize("pool", ["mean", "max", "attention"])
@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_sequence_head_with_every_pooling(pool: str, head: str, score: str):
    made = with_head(
        language_model(), "sequence", "single_label", ("a", "b", "c"), pool=pool, head=head
    )
    network = Network(stir(made[0]))
    wanted = Wanted.of(network, [score], ["c", "a"], "affected")
    assert wanted.columns(network) == (f"{score}_c", f"{score}_a")
    found, ids, at, new = scores(network, wanted)
    logits = torch.from_numpy(
        network.logits(np.concatenate([ids[None], substituted(ids, at, new)]))
    )
    values = logits.softmax(-1) if score == "probability" else logits
    np.testing.assert_allclose(found, (values[1:] - values[:1])[:, [2, 0]], atol=1e-5)


def test_sequence_head_of_a_network_that_sees_everything():
    config = CONFIG.__class__(d_model=8, blocks=3, kernel=5, branch="reverse_complement")
    made = with_head(language_model(config), "sequence", "regression", ("level",))
    network = Network(stir(made[0]))
    found, ids, at, new = scores(network, Wanted.of(network, (), (), "affected"))
    values = network.logits(np.concatenate([ids[None], substituted(ids, at, new)]))
    np.testing.assert_allclose(found, values[1:] - values[:1], atol=1e-5)


@pytest.mark.parametrize("where", ["affected", "substituted"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_head_of_positions(tiny_token: Network, where: str, score: str):
    wanted = Wanted.of(tiny_token, [score], (), where)
    assert wanted.columns(tiny_token) == tuple(f"{score}_{name}" for name in GENES)
    found, ids, at, new = scores(tiny_token, wanted)
    before = torch.from_numpy(tiny_token.logits(ids[None]))
    after = torch.from_numpy(tiny_token.logits(substituted(ids, at, new)))
    if score == "probability":
        before, after = before.softmax(-1), after.softmax(-1)
    moved = after - before
    expected = moved.sum(1) if where == "affected" else moved[np.arange(len(at)), at]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_both_kinds_of_score_at_once(tiny_token: Network):
    wanted = Wanted.of(tiny_token, ["logit", "distance"], ["forward"], "substituted")
    both, ids, at, new = scores(tiny_token, wanted)
    alone = Wanted.of(tiny_token, ["logit"], ["forward"], "substituted")
    np.testing.assert_allclose(both[:, :1], Effects(tiny_token, alone).of(ids, at, new), atol=1e-5)
    assert wanted.columns(tiny_token) == ("logit_forward", "distance")


def test_other_strand_asks_for_the_other_class(tiny_token: Network):
    wanted = Wanted.of(tiny_token, (), ["forward"], "affected")
    assert wanted.opposite(tiny_token).columns(tiny_token) == ("logit_reverse",)


def test_bare_model_moves_its_features():
    network = Network(stir(HeliconModel(HeliconConfig.of(CONFIG))))
    wanted = Wanted.of(network, (), (), "affected")
    assert wanted.columns(network) == ("distance",)
    found, *_ = scores(network, wanted)
    assert (found > 0).all()


def test_chunks_change_nothing(tiny_language: Network, monkeypatch: pytest.MonkeyPatch):
    wanted = Wanted(("masked", "effect"))
    whole, *_ = scores(tiny_language, wanted)
    monkeypatch.setattr(differences, "CPU_BYTES", 20_000)
    parts, *_ = scores(tiny_language, wanted)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_several_letters_and_masks_at_once(tiny_language: Network):
    ids = sequence()
    positions = torch.tensor([0, 28, LENGTH - 3])
    tokens = torch.tensor([[1, 2, 3], [4, 4, 0], [5, 5, 5]])
    made = Differences(tiny_language)
    ((_, changed),) = made.of(made.reference(ids), positions, tokens)
    for row in range(3):
        whole = ids.copy()
        whole[positions[row] : positions[row] + 3] = tokens[row]
        full = tiny_language.features(whole[None])[0]
        inside = changed.valid[row]
        places = changed.places[row][inside]
        torch.testing.assert_close(changed.features[row][inside], full[places])
    assert changed.features.shape[1] == tiny_language.receptive_field + 2


def test_soft_masked_letters_read_as_letters(tiny_language: Network):
    ids = sequence()
    made = Differences(tiny_language)
    soft = made.reference(ids | np.uint8(0x80)).features
    assert torch.equal(soft, made.reference(ids).features)


@pytest.mark.parametrize(
    ("score", "output", "where", "message"),
    [
        (["masked"], [], "affected", "score: 'masked' is none of this model's: logit, probability"),
        ([], ["exon"], "affected", "output: 'exon' is none of this model's labels: interg"),
    ],
)
def test_wrong_choices_are_named(
    tiny_token: Network, score: list[str], output: list[str], where: str, message: str
):
    with pytest.raises(InputError, match=message):
        Wanted.of(tiny_token, score, output, where)


def test_wrong_choices_of_a_language_model(tiny_language: Network):
    with pytest.raises(InputError, match="output: this model has no labels"):
        Wanted.of(tiny_language, [], ["A"], "affected")
    with pytest.raises(InputError, match="over: only a model of positions"):
        Wanted.of(tiny_language, [], [], "substituted")


def test_bfloat16_products_are_near(tiny_language: Network):
    ids = sequence()
    at, new = everything(ids)
    half = Network(tiny_language.model, "cpu", "bfloat16")
    wanted = Wanted(("masked", "distance"))
    exact, rough = (Effects(one, wanted).of(ids, at, new) for one in (tiny_language, half))
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.1 * np.abs(exact).max()
