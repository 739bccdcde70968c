"""Augmentations of a batch: all sequences at once on their device, against a loop over them.

    python benchmarks/augmentation.py

The loop is what one writes with plain PyTorch for one sequence at a time (roll, cat, slices), with
scalars from Python's own generator. Both draw their random numbers within the time measured, and
move targets with the letters.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from common import conditions, interleaved, said, speed_up, table, write
from torch import Tensor

from helicon.alphabet import DNA
from helicon.objectives.augmentations.augment import LETTERS, Chain, draw_numbers
from helicon.objectives.masked_lm import IGNORE

SEED = 1
#: A letter of `parse_views` each, then chains; a chain of four is what the student has.
CASES = ("T", "D", "I", "V", "R", "P", "M", "N", "MDIT", "TIVR", "NR")
Pair = tuple[Tensor, Tensor | None]

COMPLEMENT = torch.from_numpy(DNA.complement_table[:7].copy())
ROWS = torch.eye(7, 5)


def _stretch(size: int) -> tuple[int, int]:
    stretch = min(random.randint(0, 20), size)
    return random.randint(0, size - stretch), stretch


def _letters(count: int) -> Tensor:
    return torch.randint(0, 4, (count,), dtype=torch.uint8)


def _unwanted(count: int) -> Tensor:
    return torch.full((count,), IGNORE, dtype=torch.int16)


def translocation(x: Tensor, targets: Tensor | None) -> Pair:
    shift = random.randint(-20, 20)
    return x.roll(shift), None if targets is None else targets.roll(shift)


def deletion(x: Tensor, targets: Tensor | None) -> Pair:
    start, size = _stretch(len(x))
    kept = torch.cat([x[:start], x[start + size :], _letters(size)])
    if targets is None:
        return kept, None
    return kept, torch.cat([targets[:start], targets[start + size :], _unwanted(size)])


def insertion(x: Tensor, targets: Tensor | None) -> Pair:
    start, size = _stretch(len(x))
    longer = torch.cat([x[:start], _letters(size), x[start : len(x) - size]])
    if targets is None:
        return longer, None
    return longer, torch.cat([targets[:start], _unwanted(size), targets[start : len(x) - size]])


def inversion(x: Tensor, targets: Tensor | None) -> Pair:
    start, size = _stretch(len(x))
    turned = x.clone()
    turned[start : start + size] = COMPLEMENT[x[start : start + size].flip(0).long()]
    return turned, targets


def reverse_complement(x: Tensor, targets: Tensor | None) -> Pair:
    return (COMPLEMENT[x.flip(0).long()] if random.random() < 0.5 else x), targets


def mutation(x: Tensor, targets: Tensor | None) -> Pair:
    chosen = (torch.rand(len(x)) < 0.05) & (x < 4)
    return torch.where(chosen, (x + torch.randint(1, 4, x.shape, dtype=x.dtype)) % 4, x), targets


def masking(x: Tensor, targets: Tensor | None) -> Pair:
    chosen, fate = (torch.rand(len(x)) < 0.3) & (x < 4), torch.rand(len(x))
    new = torch.where(fate < 0.1, _letters(len(x)), DNA.mask_id)
    hidden = torch.where(chosen & (fate < 0.9), new, x).to(torch.uint8)
    return hidden, torch.where(chosen, x, IGNORE).to(torch.int16)


def noise(x: Tensor, targets: Tensor | None) -> Pair:
    return ROWS[x.long()] + 0.2 * torch.randn(len(x), 5), targets


def soft_reverse_complement(x: Tensor, targets: Tensor | None) -> Pair:
    return (x.flip(0)[:, list(DNA.complement_ids)] if random.random() < 0.5 else x), targets


LOOPS: dict[str, Callable[[Tensor, Tensor | None], Pair]] = {
    "T": translocation,
    "D": deletion,
    "I": insertion,
    "V": inversion,
    "R": reverse_complement,
    "P": mutation,
    "M": masking,
    "N": noise,
}


def loop(letters: str, ids: Tensor, lengths: list[int]) -> Pair:
    """Augment a batch one sequence at a time; right padding stays."""
    soft, wanted = "N" in letters, "M" in letters
    out = ROWS[ids.long()] if soft else ids.clone()
    targets = torch.full(ids.shape, IGNORE, dtype=torch.int16) if wanted else None
    for row, size in enumerate(lengths):
        pair: Pair = (ids[row, :size], None)
        for letter in letters:
            turned = letter == "R" and pair[0].is_floating_point()
            pair = (soft_reverse_complement if turned else LOOPS[letter])(*pair)
        out[row, :size] = pair[0]
        if targets is not None and pair[1] is not None:
            targets[row, :size] = pair[1]
    return out, targets


def batched(
    chain: Chain, ids: Tensor, mask: Tensor | None, rng: np.random.Generator
) -> tuple[Tensor, Tensor | None]:
    """Augment a batch at once, with its random numbers drawn on the CPU."""
    numbers = draw_numbers(rng, len(ids), chain.numbers).to(ids.device)
    view = chain(ids, numbers, mask)
    return view.inputs, view.targets


def measure(rows: int, length: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Rounds of all cases, on full sequences and on padded ones."""
    random.seed(SEED)
    torch.manual_seed(SEED)
    rng = np.random.Generator(np.random.Philox(SEED))
    works: dict[str, Callable[[], object]] = {}
    for kind, shortest in (("full", length), ("padded", length // 2)):
        lengths = torch.randint(shortest, length + 1, (rows,))
        real = torch.arange(length) < lengths[:, None]
        ids = torch.randint(0, 4, (rows, length), dtype=torch.uint8)
        ids[~real] = DNA.pad_id
        mask = None if kind == "full" else real.to(device)
        for letters in CASES:
            chain = Chain(tuple(LETTERS[letter] for letter in letters))
            works[f"loop, {kind}, {letters}"] = partial(loop, letters, ids, lengths.tolist())
            works[f"helicon, {kind}, {letters}"] = partial(
                batched, chain, ids.to(device), mask, rng
            )
    return {
        "conditions": conditions(SEED, device),
        "setting": {"rows": rows, "length": length, "rounds": rounds, "device": str(device)},
        "seconds": interleaved(works, device, rounds=rounds, warm_up=3),
    }


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    seconds, where = result["seconds"], result["setting"]
    lines = [
        f"# Augmentation of a batch of {where['rows']} x {where['length']:,}\n",
        said(result["conditions"]),
    ]
    for kind, meaning in (
        ("full", "All sequences as long as the batch."),
        ("padded", f"Sequences of {where['length'] // 2:,} to {where['length']:,}, padded."),
    ):
        rows = []
        for letters in CASES:
            theirs, ours = (seconds[f"{name}, {kind}, {letters}"] for name in ("loop", "helicon"))
            ratio = speed_up(theirs, ours)
            names = [type(LETTERS[letter]).__name__ for letter in letters]
            rows.append(
                [
                    f"{letters} ({names[0]})" if len(names) == 1 else letters,
                    f"{statistics.median(theirs) * 1e3:.2f}",
                    f"{statistics.median(ours) * 1e3:.2f}",
                    f"{ratio['median']:.1f} ({ratio['low']:.1f}-{ratio['high']:.1f})",
                ]
            )
        lines += [meaning + "\n", table(["", "loop, ms", "at once, ms", "times faster"], rows)]
    lines.append(
        f"Medians of {where['rounds']} interleaved rounds (quartiles in brackets). The loop runs "
        "on the CPU. N gives soft rows, (rows, length, 5) float32; all others token ids.\n"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--length", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="9 rounds: a rehearsal")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rounds = 9 if given.quick else given.rounds
    result = measure(given.rows, given.length, rounds, torch.device(given.device))
    name = "augmentation" if given.device == "cpu" else "augmentation-gpu"
    write(f"{name}-quick" if given.quick else name, result, report(result))


if __name__ == "__main__":
    main()
