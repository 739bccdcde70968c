"""The best path against a plain dynamic program, whatever the chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.errors import InputError
from helicon.inference.genes import viterbi as module
from helicon.inference.genes.viterbi import RESOLUTION, Block, Graph, viterbi


def plain(scores, codes, graph, behind=0):
    """One position after the other, with the same rules for ties."""

    def rounded(values):
        return np.rint(np.asarray(values, np.float64) * RESOLUTION)

    scores, steps = rounded(scores), rounded(graph.steps)
    best = rounded(graph.start)[codes[0]] + scores[0]
    came = []
    for i in range(1, len(scores)):
        through = best[:, None] + steps[codes[i]]
        came.append(through.argmax(axis=0))
        best = through.max(axis=0) + scores[i]
    best = best + rounded(graph.end)[behind]
    state = int(best.argmax())
    path = [state]
    for before in reversed(came):
        state = int(before[state])
        path.append(state)
    return np.array(path[::-1]), float(best.max()) / RESOLUTION


def reader(scores, codes):
    return lambda start, end: Block(scores[start:end], codes[start:end])


def case(rng, length, size, kinds, *, whole):
    """Random costs, of which many are impossible; whole numbers make many ties."""

    def some(*shape):
        drawn = rng.integers(-3, 1, shape).astype(float) if whole else -rng.random(shape) * 3
        return np.where(rng.random(shape) < 0.3, -np.inf, drawn)

    graph = Graph(some(kinds, size), some(kinds, size), some(kinds, size, size))
    scores = rng.integers(-2, 1, (length, size)) if whole else rng.normal(size=(length, size))
    return scores.astype(np.float32), rng.integers(0, kinds, length), graph


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 60),
    size=st.integers(1, 6),
    kinds=st.integers(1, 3),
    steps=st.integers(1, 9),
    chunks=st.integers(1, 4),
    whole=st.booleans(),
)
def test_equals_the_plain_program(seed, length, size, kinds, steps, chunks, whole):
    scores, codes, graph = case(np.random.default_rng(seed), length, size, kinds, whole=whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEPS", steps)
        patch.setattr(module, "CHUNKS", chunks)
        behind = seed % kinds
        wanted, score = plain(scores, codes, graph, behind)
        if score == -np.inf:
            with pytest.raises(InputError, match="no path"):
                viterbi(reader(scores, codes), length, graph, behind=behind)
            return
        path, found = viterbi(reader(scores, codes), length, graph, behind=behind)
    assert found == score
    assert path.tolist() == wanted.tolist()


def test_long_input_with_many_ties_in_chunks_of_the_usual_length():
    scores, codes, graph = case(np.random.default_rng(4), 20_000, 4, 2, whole=True)
    graph.steps[:, 0, 0] = graph.start[:, 0] = graph.end[:, 0] = 0
    wanted, score = plain(scores, codes, graph)
    path, found = viterbi(reader(scores, codes), len(scores), graph)
    assert (found, path.tolist()) == (score, wanted.tolist())


def test_ties_take_the_lowest_state():
    graph = Graph(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 3, 3)))
    path, _ = viterbi(reader(np.zeros((50, 3)), np.zeros(50, int)), 50, graph)
    assert not path.any()


def test_each_piece_is_read_twice_and_none_is_larger_than_a_block(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "STEPS", 10)
    monkeypatch.setattr(module, "CHUNKS", 4)
    scores = np.random.default_rng(1).normal(size=(333, 3))
    graph = Graph(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 3, 3)))
    asked = []

    def read(start, end):
        asked.append((start, end))
        return Block(scores[start:end], np.zeros(end - start, int))

    out = np.memmap(tmp_path / "path", np.uint8, "w+", shape=333)
    path, _ = viterbi(read, 333, graph, out=out)
    assert path is out
    assert path.tolist() == scores.argmax(axis=1).tolist()
    assert max(end - start for start, end in asked) == 40
    pieces = asked[1:]
    assert pieces[: len(pieces) // 2] == pieces[len(pieces) // 2 :][::-1]
