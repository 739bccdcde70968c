"""A chromosome in tiles equals the chromosome in one pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_networks import CONFIG, language_model, token_model

from helicon.alphabet import DNA
from helicon.data.genome.intervals import Intervals, whole_genome
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.forward.tiles import Tiling, outputs_over


def untiled(network, genome, chrom, *, reverse=False):
    ids = genome.fetch(chrom, 0, int(genome.lengths[chrom]), strand="-" if reverse else "+")[None]
    found = network.outputs(network.features(ids))[0]
    return found.flip(0)[:, torch.from_numpy(network.opposite)] if reverse else found


def gathered(pieces, stretches):
    rows = [[] for _ in range(len(stretches))]
    at = stretches.start.copy()
    for piece in pieces:
        assert piece.start == at[piece.row]
        at[piece.row] += len(piece.values)
        rows[piece.row].append(piece.values)
    assert (at == stretches.end).all()
    return [torch.cat(row) for row in rows]


@pytest.mark.parametrize("window", [30, 31, 64, 200, 1000, None])
@pytest.mark.parametrize("both", [False, True])
def test_whole_chromosomes(random_genome, window, both):
    genome = random_genome([700, 5, 28, 29, 30, 1201], unknown=[(0, 100, 160), (5, 0, 40)])
    network = Network(token_model())
    found = gathered(
        outputs_over(network, genome, whole_genome(genome), window=window, both_strands=both),
        whole_genome(genome),
    )
    for chrom, values in enumerate(found):
        wanted = untiled(network, genome, chrom)
        if both:
            wanted = (wanted + untiled(network, genome, chrom, reverse=True)) / 2
        assert torch.allclose(values, wanted, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, downsample=True),
        replace(CONFIG, downsample=True, blocks=5, dilation=3, gate="single"),
        replace(CONFIG, stacks=2, gate="none", schedule="paper"),
        replace(CONFIG, final_conv=True, feed_forward=False),
    ],
    ids=["cells", "cells-of-3", "stacks", "final"],
)
@pytest.mark.parametrize("both", [False, True])
def test_every_kind_of_network(random_genome, config, both):
    network = Network(language_model(config))
    genome = random_genome([1000, 333])
    window = 2 * network.halo + 3 * network.model.backbone.cell + 40
    stretches = whole_genome(genome)
    pieces = outputs_over(network, genome, stretches, window=window, both_strands=both)
    for chrom, values in enumerate(gathered(pieces, stretches)):
        wanted = untiled(network, genome, chrom)
        if both:
            wanted = (wanted + untiled(network, genome, chrom, reverse=True)) / 2
        assert torch.allclose(values, wanted, atol=1e-5)


def test_stretches_and_layers(random_genome):
    genome = random_genome([900, 40])
    network = Network(language_model())
    stretches = Intervals.of(genome.names, [0, 0, 1, 0], [0, 500, 3, 880], [1, 731, 40, 900])
    for layer in (0, 2, None):
        whole = [
            network.features(genome.fetch(c, 0, n)[None], layer=layer)[0]
            for c, n in ((0, 900), (1, 40))
        ]
        pieces = outputs_over(network, genome, stretches, what="features", layer=layer, window=80)
        for row, values in zip(stretches, gathered(pieces, stretches), strict=True):
            wanted = whole[genome.index(row.chrom)][row.start : row.end]
            assert torch.allclose(values, wanted, atol=1e-5)


def test_layers_lead_to_the_output(random_genome):
    network = Network(language_model())
    ids = random_genome([100]).fetch(0, 0, 100)[None]
    backbone = network.model.backbone
    last = network.features(ids, layer=backbone.layers)
    assert torch.allclose(last + backbone.mlp(last), network.features(ids), atol=1e-6)
    with pytest.raises(InputError, match="layers 0 to 4, not 5"):
        network.check_layer(5)


def test_a_network_without_an_end_needs_an_overlap(random_genome):
    network = Network(language_model(replace(CONFIG, branch="reverse_complement")))
    assert network.halo is None
    genome = random_genome([500])
    tiling = Tiling.of(network, 500, window=200, overlap=60)
    assert (tiling.halo, tiling.size, tiling.width) == (30, 140, 200)
    first = next(iter(outputs_over(network, genome, whole_genome(genome), window=200, overlap=60)))
    wanted = network.outputs(network.features(genome.fetch(0, 0, 200)[None]))[0, :140]
    assert torch.allclose(first.values, wanted, atol=1e-5)
    with pytest.raises(InputError, match="overlap: must be shorter"):
        Tiling.of(network, 500, window=60, overlap=60)


def test_wrong_windows(tiny_language):
    with pytest.raises(InputError, match="longer than 28 letters"):
        Tiling.of(tiny_language, 500, window=28)
    with pytest.raises(InputError, match="overlap: follows"):
        Tiling.of(tiny_language, 500, overlap=10)


def test_the_digest_tells_models_apart():
    digests = {Network(m).digest for m in (language_model(), language_model(seed=1), token_model())}
    assert len(digests) == 3
    assert Network(language_model()).digest in digests
    assert Network.open("convnova-tiny").digest == Network.open("convnova-tiny").digest


def test_opposite_outputs():
    language, token = Network(language_model()), Network(token_model())
    assert [language.labels[k] for k in language.opposite] == list("TGCAN")
    assert token.opposite.tolist() == [0, 2, 1]
    assert np.array_equal(DNA.complement_ids, language.opposite)
