import numpy as np
import polars as pl
import pytest
from small_cases import CONFIG, gene_genome, model_folder

from helicon.alphabet import DNA
from helicon.data.annotation.annotation import read_annotation
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, split_blocks
from helicon.errors import InputError
from helicon.forward.outputs import logits, position_outputs, training_tiling
from helicon.forward.tiles import Tiling
from helicon.metrics import measures as metrics
from helicon.metrics.targets import Target
from helicon.models.hub import load
from helicon.models.parts.heads import IGNORE
from helicon.training.adaptation.adapt import HeadSettings, adapt
from helicon.training.kinds.genome_measures import Runs, measure_genome
from helicon.training.kinds.labelled_genome import LabelledGenome, labelled_windows


def region_outputs(network, data, start, end, opposite=None):
    """Outputs of a token model for one stretch."""
    stretch = Intervals.of(data.genome.names, [0], [start], [end])
    tiling = training_tiling(network, data.length, data.context)
    assert tiling.size < end
    found = position_outputs(network, data.genome, stretch, tiling, opposite=opposite)
    return np.concatenate([tile.values.numpy() for tile in found])


@pytest.fixture
def data(tmp_path):
    fasta, gff = gene_genome(tmp_path)
    genome = Genome.open(fasta, cache=tmp_path / "cache")
    parts = split_blocks(genome, (0.6, 0.2, 0.2), 1_000)
    return LabelledGenome(
        genome=genome,
        annotation=read_annotation(gff, genome),
        train=parts["train"],
        valid=parts["validation"],
        test=parts["test"],
        length=128,
        context=10,
    )


@pytest.fixture
def model(tmp_path):
    source = load(model_folder(tmp_path / "source"))
    target = Target.plain("single_label", ("intergenic", "forward", "reverse"))
    return adapt(source, "token", target, HeadSettings(), scratch=False, seed=0), target


def test_windows_are_a_pure_function_of_seed_step_and_rank(data):
    first = data.draw(4, seed=3, step=7, rank=1)
    again = data.draw(4, seed=3, step=7, rank=1)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    for other in ((4, 7, 1), (3, 8, 1), (3, 7, 0)):
        seed, step, rank = other
        assert (data.draw(4, seed, step, rank)[0] != first[0]).any()


def test_labels_belong_to_their_bases_on_both_strands_and_stay_in_the_interval(data):
    ids, labels = data.draw(64, seed=0, step=1, rank=0)
    assert ids.shape == labels.shape == (64, 148)
    assert (labels[:, :10] == IGNORE).all()
    assert (labels[:, -10:] == IGNORE).all()
    assert (labels[:, 10:-10] != IGNORE).all()
    # Genes are rich in A on their own strand, whichever strand a window is read from.
    a, t = (ids == DNA.letters.index(letter) for letter in "AT")
    assert a[labels == 1].mean() > 0.6
    assert t[labels == 2].mean() > 0.6
    assert 0.2 < a[labels == 0].mean() < 0.3


def test_a_short_interval_has_no_labels_beyond_its_end(data):
    short = Intervals.of(data.genome.names, [0], [500], [540])
    few = LabelledGenome(
        data.genome, data.annotation, short, data.valid, None, data.length, data.context
    )
    _, labels = few.draw(32, seed=0, step=1, rank=0)
    assert ((labels != IGNORE).sum(axis=1) == 40).all()
    assert {tuple(np.flatnonzero(row != IGNORE)[[0, -1]]) for row in labels} == {
        (10, 49),
        (98, 137),
    }


def test_labelled_windows_are_a_budget_that_does_not_overlap(data):
    chosen = labelled_windows(data.train, 100, 20, seed=1)
    assert (chosen.lengths == 100).all()
    assert len(chosen) == 20
    covered = np.zeros(data.genome.total, int)
    inside = np.zeros(data.genome.total, bool)
    for interval in chosen:
        covered[interval.start : interval.end] += 1
    for interval in data.train:
        inside[interval.start : interval.end] = True
    assert covered.max() == 1
    assert inside[covered > 0].all()
    assert (labelled_windows(data.train, 100, 20, seed=2).start != chosen.start).any()
    with pytest.raises(InputError, match="labelled windows of 100"):
        labelled_windows(data.train, 100, 1_000, seed=1)


def test_tiles_cover_every_position_once(data):
    places = Tiling(10, 300).cut(data.valid)
    covered = np.zeros(data.genome.total, int)
    for start, end in zip(places.start, places.end, strict=True):
        covered[start:end] += 1
    assert covered.max() == 1
    assert covered.sum() == data.valid.lengths.sum()


def test_tiles_give_what_the_whole_chromosome_gives(data, model):
    network, _ = model
    network.eval()
    context = network.backbone.receptive_field // 2
    assert context == 8
    end = data.genome.total
    whole = data.genome.fetch(0, 0, end)[None]
    device = next(network.parameters()).device
    expected = logits(network, whole, whole != DNA.pad_id, device)[0]
    found = region_outputs(network, data, 0, end)
    assert found == pytest.approx(expected, abs=1e-5)
    part = region_outputs(network, data, 700, 1_700)
    assert part == pytest.approx(expected[700:1_700], abs=1e-5)


def test_scores_and_runs_agree_with_all_positions_at_once(data, model):
    network, target = model
    runs = Runs(data.genome.names, target, [])
    found = measure_genome(network, data, data.test, target, watch=runs.add)
    truth, predicted = [], []
    for part in data.test:
        outputs = region_outputs(network, data, part.start, part.end)
        predicted.append(outputs.argmax(axis=1))
        truth.append(data.annotation.windows([0], [part.start], part.end - part.start)[0])
    truth, predicted = np.concatenate(truth), np.concatenate(predicted)
    assert (found.confusion == metrics.confusion_matrix(truth, predicted, 3)).all()
    assert found.metrics["mcc"] == pytest.approx(metrics.mcc(found.confusion))
    frame = runs.frame()
    sizes = (frame["end"] - frame["start"]).to_numpy()
    assert sizes.sum() == len(truth)
    names = np.array(target.names)
    assert (np.repeat(frame["label"].to_numpy(), sizes) == names[truth]).all()
    assert (np.repeat(frame["prediction"].to_numpy(), sizes) == names[predicted]).all()
    changes = (truth[1:] != truth[:-1]) | (predicted[1:] != predicted[:-1])
    assert len(frame) <= changes.sum() + len(data.test)
    assert frame["probability"].is_between(1 / 3, 1).all()
    assert frame.schema["chrom"] == pl.String


def test_both_strands_give_equal_answers_read_either_way(data, model):
    network, _ = model
    found = region_outputs(network, data, 0, 2_000, data.opposite)
    forward = region_outputs(network, data, 0, 2_000)
    assert not np.allclose(found, forward, atol=1e-3)
    ids = data.genome.fetch(0, 0, 2_000 + 8, strand="-")[None]
    device = next(network.parameters()).device
    backward = logits(network.eval(), ids, ids != DNA.pad_id, device)[0, 8:][::-1]
    expected = (forward + backward[:, data.opposite]) / 2
    assert found[8:] == pytest.approx(expected[8:], abs=1e-5)


def test_class_counts_and_the_small_network_are_what_the_tests_think(data):
    counts = data.class_counts()
    assert counts.sum() == data.train.lengths.sum()
    assert (counts > 100).all()
    assert CONFIG.d_model == 8
