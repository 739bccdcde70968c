"""The best path of states through millions of positions, exactly, in bounded memory.

A position has a log-probability for every state, and the step into it a matrix of log costs, one of
a few: which one is said by a code for each position (what the sequence allows there, say).

Positions are cut in chunks that are worked on side by side. Nobody knows in which state a chunk is
entered, so the first pass finds the best score from every entry state to every exit state; these
small matrices are put together one after the other, which gives the score of every state at the
start of each chunk. The second pass, from the right, starts from those scores, keeps the best
predecessors of one block of chunks at a time, and traces the path back.

Scores are rounded to multiples of 2**-16 and added as float64, in which such sums are exact: the
path does not depend on how positions are cut. Of equally good predecessors the one with the lowest
number is taken, of equally good last states too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helicon.errors import InputError

Scores = NDArray[np.float64]
States = NDArray[np.uint8]

#: Parts of one nat that scores are rounded to.
RESOLUTION = 2.0**16
#: Steps of a chunk, and chunks that are worked on side by side.
STEPS, CHUNKS = 1024, 512

_NEVER = -np.inf


class Block(NamedTuple):
    """What is known of some positions.

    Attributes:
        scores: log-probability of every state at each, (n, S) floats; -inf where it cannot be.
        codes: which matrix of `Graph.steps` leads into each, (n,).
    """

    scores: NDArray[np.floating]
    codes: NDArray[np.integer]


#: Gives what is known of the positions from the first to before the second argument.
Reader = Callable[[int, int], Block]


@dataclass(frozen=True, eq=False)
class Graph:
    """Which steps between states are possible, and their log costs; -inf where a step is not.

    Attributes:
        start: log cost of each state at the first position, by the code there, (codes, S).
        end: log cost of each state at the last position, by the code behind it, (codes, S).
        steps: log cost of the step from one state to another, (codes, S, S).
    """

    start: Scores
    end: Scores
    steps: Scores

    @property
    def size(self) -> int:
        """Number of states S."""
        return self.start.shape[1]

    @cached_property
    def edges(self) -> list[list[tuple[int, Scores]]]:
        """For each state the states that may come before it, ascending, and their costs (codes,).

        Costs are in units of 1 / `RESOLUTION`.
        """
        whole = _rounded(self.steps)
        return [
            [
                (s, whole[:, s, t].copy())
                for s in range(self.size)
                if (whole[:, s, t] > _NEVER).any()
            ]
            for t in range(self.size)
        ]


def viterbi(
    read: Reader, length: int, graph: Graph, *, behind: int = 0, out: States | None = None
) -> tuple[States, float]:
    """Find the best path.

    Memory is that of one block of `STEPS * CHUNKS` positions, of the scores at the starts of
    chunks, and of `out`.

    Args:
        read: gives scores and codes of any positions; it is asked for each twice, first from the
            left and then from the right, for at most `STEPS * CHUNKS` at a time.
        length: number of positions, at least 1.
        graph: the states and steps.
        behind: code of the position behind the last.
        out: where to write the path, (length,), a memory-mapped file say; an array if not given.

    Returns:
        The state at every position, (length,), and the log-probability of the path.

    Raises:
        InputError: no path is possible.
    """
    path = np.empty(length, dtype=np.uint8) if out is None else out
    first = read(0, 1)
    scores = _rounded(graph.start[first.codes[0]]) + _rounded(first.scores[0])
    entries = []
    pieces = list(_pieces(1, length))
    for start, chunks, steps in pieces:
        entered = _forward(_arranged(read, start, chunks, steps, graph), graph, scores)
        entries.append(entered[:-1])
        scores = entered[-1]
    scores = scores + _rounded(graph.end[behind])
    best = float(scores.max())
    if best == _NEVER:
        raise InputError(
            f"no path through {length:,} positions is possible with these transitions; allow more"
        )
    state = int(scores.argmax())
    for (start, chunks, steps), entered in zip(reversed(pieces), reversed(entries), strict=True):
        before = _backward(_arranged(read, start, chunks, steps, graph), graph, entered)
        state, found = _traced(before, state)
        path[start : start + chunks * steps] = found
    path[0] = state
    return path, best / RESOLUTION


def _rounded(values: NDArray[np.floating]) -> Scores:
    return np.rint(values * RESOLUTION, dtype=np.float64)


def _pieces(start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Cut positions in pieces of chunks of equal length: first position, chunks, steps of each."""
    while start < end:
        chunks = min((end - start) // STEPS, CHUNKS)
        steps = STEPS if chunks else end - start
        yield start, max(chunks, 1), steps
        start += max(chunks, 1) * steps


class _Piece(NamedTuple):
    """Scores (steps, S, chunks) in units of 1 / `RESOLUTION`, and codes (steps, chunks)."""

    scores: Scores
    codes: NDArray[np.intp]


def _arranged(read: Reader, start: int, chunks: int, steps: int, graph: Graph) -> _Piece:
    """A piece with its chunks side by side, so that one step of all is one row of memory."""
    block = read(start, start + chunks * steps)
    scores = block.scores.reshape(chunks, steps, graph.size)
    codes = block.codes.reshape(chunks, steps)
    return _Piece(
        np.ascontiguousarray(_rounded(scores).transpose(1, 2, 0)),
        np.ascontiguousarray(codes.T).astype(np.intp),
    )


def _forward(piece: _Piece, graph: Graph, scores: Scores) -> Scores:
    """Scores (chunks + 1, S) before each chunk and behind the last, from those (S,) before it."""
    chunks = piece.codes.shape[1]
    every = np.where(np.eye(graph.size, dtype=bool)[:, :, None], 0.0, _NEVER)
    # (state, entry state, chunk): every row of one state lies together
    found = np.repeat(every, chunks, axis=2)
    other = np.empty_like(found)
    candidate = np.empty_like(found[0])
    for emitted, codes in zip(piece.scores, piece.codes, strict=True):
        for t, edges in enumerate(graph.edges):
            _best(found, other[t], candidate, edges, codes)
            other[t] += emitted[t]
        found, other = other, found
    entered = np.empty((chunks + 1, graph.size))
    entered[0] = scores
    through = np.ascontiguousarray(found.transpose(2, 1, 0))  # (chunk, entry state, exit state)
    for chunk in range(chunks):
        entered[chunk + 1] = (entered[chunk][:, None] + through[chunk]).max(axis=0)
    return entered


def _best(
    before: Scores,
    out: Scores,
    candidate: Scores,
    edges: list[tuple[int, Scores]],
    codes: NDArray[np.intp],
) -> None:
    """Best score of one state, (..., chunks), over the states that may come before it."""
    if not edges:
        out.fill(_NEVER)
        return
    (first, cost), *others = edges
    np.add(before[first], cost[codes], out=out)
    for state, cost in others:
        np.add(before[state], cost[codes], out=candidate)
        np.maximum(out, candidate, out=out)


def _backward(piece: _Piece, graph: Graph, entered: Scores) -> NDArray[np.uint8]:
    """Best predecessor of every state, (steps, S, chunks), from the scores before each chunk."""
    steps, size, chunks = piece.scores.shape
    before = np.zeros((steps, size, chunks), dtype=np.uint8)
    found = np.ascontiguousarray(entered.T)
    other = np.empty_like(found)
    for step in range(steps):
        codes = piece.codes[step]
        for t, edges in enumerate(graph.edges):
            if not edges:
                other[t] = _NEVER
                continue
            (first, cost), *others = edges
            best, chosen = found[first] + cost[codes], before[step, t]
            chosen.fill(first)
            for state, cost in others:
                candidate = found[state] + cost[codes]
                np.copyto(chosen, np.uint8(state), where=candidate > best)
                np.maximum(best, candidate, out=best)
            np.add(best, piece.scores[step, t], out=other[t])
        found, other = other, found
    return before


def _traced(before: NDArray[np.uint8], last: int) -> tuple[int, States]:
    """Follow predecessors (steps, S, chunks) back from the last state.

    Returns:
        The state before the piece, and those of its positions, (chunks * steps,).
    """
    steps, size, chunks = before.shape
    column = np.arange(chunks)
    # Where each exit state of each chunk comes from, then the true ones, from the right.
    entry = np.repeat(np.arange(size)[:, None], chunks, axis=1)
    for step in reversed(range(steps)):
        entry = before[step].ravel()[entry * chunks + column].astype(np.intp)
    state = np.empty(chunks, dtype=np.intp)
    for chunk in reversed(range(chunks)):
        state[chunk] = last
        last = int(entry[last, chunk])
    path = np.empty((steps, chunks), dtype=np.uint8)
    for step in reversed(range(steps)):
        path[step] = state
        state = before[step].ravel()[state * chunks + column].astype(np.intp)
    return last, path.T.ravel()
