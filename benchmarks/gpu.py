"""Everything that a GPU is asked, in one run: the same numbers, the same files, and how fast.

    HELICON_CONVNOVA_REPO=CHECKOUT HELICON_CARP_PACKAGE=FOLDER python benchmarks/gpu.py

It downloads nothing, is to end within eight minutes on one Hopper GPU, and writes what it has after
each part, so that a run that is stopped loses nothing. Without the two variables the published
codes are left out. `--toy` runs the same at the size of a test, on a CPU too.

1. Every family against the CPU in float32 (TF32 off), and in bfloat16.
2. Tiles against one pass, padding, and a run that was stopped against one that was not.
3. Inference and training steps, beside the published code where it is given, eager and compiled.
4. Verbs from the command line, on the embedded genome: pretrain, finetune, track, variants,
   mutagenesis.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import (
    Logits,
    Work,
    conditions,
    interleaved,
    matmul_peak,
    said,
    speed_up,
    table,
    training_step,
    why_no_bfloat16,
    write,
)
from official_carp import OfficialCarp, package
from official_convnova import OfficialConvNova, checkout
from plain_findna import PlainFinDNA
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from helicon.alphabet import Alphabet
from helicon.data.catalogue.example import example_annotation, example_genome
from helicon.machine.precision import whole_float32
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM
from helicon.models.registry import SIZES
from helicon.objectives.masked_lm import Masking, mask_batch

SEED = 1
#: A network of each family, and how far bfloat16 may be from float32, as a share of the scale.
FAMILIES = {
    "convnova-base": 0.05,
    "carp-600k": 0.05,
    "findna-tiny": 0.05,
    "transformer-base": 0.05,
    "transformer-600k": 0.05,
}
#: How far the GPU in float32 may be from the CPU, as a share of the scale.
FLOAT32_BOUND = 1e-4


@dataclass(frozen=True)
class Timed:
    """A network to time.

    Attributes:
        name: the named size.
        batch: sequences.
        length: of each.
        other: builds what it is compared with; `None` where there is nothing.
        code: whose that is: the `official` one, or a `plain` one of ours where that does not run.
        compiled: whether `torch.compile` is measured too.
    """

    name: str
    batch: int
    length: int
    other: Callable[[Any], nn.Module] | None = None
    code: str = "official"
    compiled: bool = True


TIMED = (
    Timed("convnova-base", 128, 1024, OfficialConvNova if checkout() else None),
    Timed("carp-38m", 32, 512, OfficialCarp if package() else None),
    Timed("findna", 64, 1000, PlainFinDNA, "plain"),
    Timed("transformer-38m", 32, 512, compiled=False),
    Timed("carp-640m", 4, 512, OfficialCarp if package() else None, compiled=False),
)
TOYS = (
    Timed("convnova-tiny", 2, 64, OfficialConvNova if checkout() else None, compiled=False),
    Timed("carp-600k", 2, 64, OfficialCarp if package() else None, compiled=False),
    Timed("findna-tiny", 2, 64, PlainFinDNA, "plain", compiled=False),
)


def model(name: str) -> HeliconForMaskedLM:
    """A language model with the weights of the seed."""
    torch.manual_seed(SEED)
    return HeliconForMaskedLM(HeliconConfig.of(SIZES[name])).eval()


def letters(alphabet: Alphabet, batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Random letters with 15 % hidden (of DNA behind N), as ids and targets (B, L)."""
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, 4 if alphabet.complements else 20, (batch, length), dtype=np.uint8)
    inputs, targets, _ = mask_batch(drawn, Masking(rate=0.15), rng, alphabet)
    if alphabet.complements:
        inputs = np.where(inputs == alphabet.mask_id, alphabet.letters.index("N"), inputs)
    return torch.from_numpy(inputs).long(), torch.from_numpy(targets)


# ---------------------------------------------------------------- 1, 2: the same numbers


def parity(device: torch.device, length: int) -> list[dict[str, Any]]:
    """Every family on the device against the CPU in float32, by the scale of its logits."""
    rows = []
    for name, bound in FAMILIES.items():
        here = model(name)
        ids, _ = letters(here.backbone.alphabet, 2, length)
        with torch.no_grad():
            want = here(input_ids=ids).logits
            there = here.to(device)
            found = there(input_ids=ids.to(device)).logits.cpu()
            with torch.autocast(device.type, torch.bfloat16):
                half = there(input_ids=ids.to(device)).logits.float().cpu()
        scale = float(want.abs().max())
        rows += [
            {
                "what": f"{name}, {precision}",
                "difference": float((got - want).abs().max()) / scale,
                "bound": limit,
            }
            for precision, got, limit in (
                ("float32", found, FLOAT32_BOUND),
                ("bfloat16", half, bound),
            )
        ]
    return rows


def invariants(device: torch.device, length: int, work: Path) -> list[dict[str, Any]]:
    """Tiles against one pass, padding on either side, a stopped run against a whole one."""
    from helicon.data.genome.genome import Genome
    from helicon.data.genome.intervals import whole_genome
    from helicon.forward.network import Network
    from helicon.forward.tiles import outputs_over

    network = Network(model("convnova-tiny"), device)
    fasta = random_genome(work / "tiles.fa", length)
    genome = Genome.open(fasta)
    whole = network.features(genome.fetch("chr1", 0, length)[None])[0].cpu().numpy()
    stretches = whole_genome(genome)
    pieces = outputs_over(network, genome, stretches, what="features", window=1024)
    tiled = torch.cat([piece.values for piece in pieces]).cpu().numpy()
    rows = [relative("tiled = whole", tiled, whole, 1e-5)]
    ids, mask = np.full((2, 300), network.alphabet.pad_id), np.zeros((2, 300), bool)
    ids[:, 100:200], mask[:, 100:200] = genome.fetch("chr1", 0, 100), True
    padded = network.features(ids.astype(np.uint8), mask)[:, 100:200].cpu().numpy()
    alone = network.features(ids[:, 100:200].astype(np.uint8)).cpu().numpy()
    rows.append(relative("padding on both sides", padded, alone, 1e-5))
    return [*rows, resumed(device, work)]


def relative(what: str, got: np.ndarray, want: np.ndarray, bound: float) -> dict[str, Any]:
    """A row of the table of differences."""
    difference = float(np.abs(got - want).max() / np.abs(want).max())
    return {"what": what, "difference": difference, "bound": bound}


def resumed(device: torch.device, work: Path) -> dict[str, Any]:
    """Weights of a run that lost everything after its checkpoint, against those of a whole one."""
    words = ["--model", "convnova-tiny", "--steps", 8, "--checkpoint-every", 4, "--batch-size", 4]
    words += ["--accelerator", device.type, "--precision", "float32", "--length", 256]
    words += ["--split-block", 5_000]
    weights = []
    genome = random_genome(work / "resume.fa", 60_000)
    for name in ("whole", "stopped"):
        run = work / name
        helicon("pretrain", genome, "--out", run, *words, deterministic=True)
        if name == "stopped":
            (run / "results.json").unlink()
            shutil.rmtree(run / "model")
            for last in sorted((run / "checkpoints").iterdir())[1:]:
                shutil.rmtree(last)
            again = ["--out", run, *words, "--resume"]
            helicon("pretrain", genome, *again, deterministic=True)
        weights.append((run / "model" / "model.safetensors").read_bytes())
    same = weights[0] == weights[1]
    return {"what": "resumed = whole, byte for byte", "difference": float(not same), "bound": 0.0}


def random_genome(path: Path, length: int) -> Path:
    """A FASTA file of one random chromosome, `chr1`."""
    rng = np.random.default_rng(SEED)
    text = b"ACGT"
    bases = np.frombuffer(text, np.uint8)[rng.integers(0, 4, length)].tobytes().decode()
    path.write_text(f">chr1\n{bases}\n")
    return path


# ---------------------------------------------------------------- 3: how fast


@dataclass(frozen=True)
class Case:
    """One implementation (`official`, `plain`, `helicon`) in `float32`, `tf32` or `bfloat16`."""

    code: str
    precision: str
    compiled: bool = False

    @property
    def name(self) -> str:
        """How the tables call it."""
        return f"{self.code} {self.precision}" + " compiled" * self.compiled


def cases(timed: Timed, device: torch.device) -> list[Case]:
    """What is measured of a network; the first is what the others are compared with."""
    codes = [timed.code] * (timed.other is not None) + ["helicon"]
    found = [Case(code, "float32") for code in codes]
    if device.type == "cuda":
        found += [Case(code, "tf32") for code in codes]
    if why_no_bfloat16(device) is None:
        found += [Case(code, "bfloat16") for code in codes]
        found += [Case("helicon", "bfloat16", compiled=True)] * timed.compiled
    return found


class Trained:
    """A network on the device, with its optimiser and what `torch.compile` makes of it."""

    def __init__(self, net: Any, device: torch.device, *, fused: bool):
        self.net = net.to(device)
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=fused or None)
        self.compiled: Any = torch.compile(self.net)


def both(timed: Timed, ours: HeliconForMaskedLM, device: torch.device) -> dict[str, Trained]:
    """Our network, and the one that it is compared with, of the same weights."""
    found = {}
    if timed.other is not None:
        net: Any = timed.other(SIZES[timed.name])
        if hasattr(net, "load_ours"):
            net.load_ours(ours.state_dict())
        else:
            head = {f"head.{k}": v for k, v in ours.lm_head.state_dict().items()}
            net.load_state_dict(ours.backbone.state_dict() | head)
        found[timed.code] = Trained(net, device, fused=False)
    return found | {"helicon": Trained(Logits(ours), device, fused=True)}


@dataclass(frozen=True)
class Bench:
    """A case at work on a batch."""

    case: Case
    trained: Trained
    ids: Tensor
    targets: Tensor

    def logits(self) -> None:
        """One pass without gradients."""
        with torch.no_grad(), self._precision() as net:
            net(self.ids)

    def train(self) -> None:
        """One training step."""
        with self._precision() as net:
            training_step(net, self.trained.optimizer, self.ids, self.targets)

    @contextlib.contextmanager
    def _precision(self) -> Iterator[nn.Module]:
        if self.case.precision == "tf32":
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        try:
            narrow = self.case.precision == "bfloat16"
            with torch.autocast(self.ids.device.type, torch.bfloat16, enabled=narrow):
                yield self.trained.compiled if self.case.compiled else self.trained.net
        finally:
            whole_float32()


def speeds(timed: Timed, device: torch.device, rounds: int, compile_until: float) -> dict[str, Any]:
    """Seconds of inference and of a training step, of all cases round by round.

    Args:
        timed: the network.
        device: where.
        rounds: how often.
        compile_until: time on the clock after which nothing is compiled any more.
    """
    ours = model(timed.name)
    ids, targets = letters(ours.backbone.alphabet, timed.batch, timed.length)
    result: dict[str, Any] = {
        "batch": timed.batch,
        "length": timed.length,
        "parameters": sum(p.numel() for p in ours.parameters()),
        "flops": flops(ours),
        "memory_mb": {},
        "seconds": {},
        "failed": {},
    }
    nets = both(timed, ours, device)
    benches = [
        Bench(case, nets[case.code], ids.to(device), targets.to(device))
        for case in cases(timed, device)
    ]
    for kind in ("inference", "training"):
        works: dict[str, Work] = {}
        result["memory_mb"][kind] = {}
        for bench in benches:
            name = bench.case.name
            if bench.case.compiled and time.perf_counter() > compile_until:
                result["failed"][f"{name}, {kind}"] = "left out, to end in time"
                continue
            work = bench.logits if kind == "inference" else bench.train
            try:
                result["memory_mb"][kind][name] = peak_memory(work, device)
                works[name] = work
            except Exception as error:  # a compiler that fails is a result, not the end of the run
                result["failed"][f"{name}, {kind}"] = str(error).splitlines()[0]
        seconds = interleaved(works, device, rounds=rounds, warm_up=2 if rounds > 3 else 1)
        result["seconds"][kind] = seconds
    del nets, benches, works
    gc.collect()
    if device.type == "cuda":
        torch._dynamo.reset()
        torch.cuda.empty_cache()
    return result


def peak_memory(work: Work, device: torch.device) -> float:
    """MiB of the device that work takes at most, beyond what stood there; NaN on a CPU."""
    work()  # compiles, and takes what is kept
    if device.type != "cuda":
        return float("nan")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def flops(small: HeliconForMaskedLM) -> dict[str, float]:
    """Operations a letter of the plain algorithm; a training step is three passes."""
    ids, _ = letters(small.backbone.alphabet, 1, 64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        small(input_ids=ids)
    forward = counter.get_total_flops() / 64
    return {"inference": forward, "training": 3 * forward}


# ---------------------------------------------------------------- 4: from the command line


def helicon(*words: object, deterministic: bool = False) -> dict[str, Any]:
    """Run a verb in a process of its own; give its JSON."""
    code = "import sys, torch; from helicon.cli import main\n"
    if deterministic:
        code += "torch.use_deterministic_algorithms(True)\n"
    code += "sys.exit(main(sys.argv[1:]))"
    environment = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if deterministic else {}
    command = [sys.executable, "-c", code, *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=with_path(environment))
    if done.returncode:
        raise SystemExit(f"helicon {words[0]}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def with_path(more: dict[str, str]) -> dict[str, str]:
    """The environment of this process, with the modules that it found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more}


def verbs(device: torch.device, work: Path, *, toy: bool) -> Iterator[dict[str, Any]]:
    """Seconds of the verbs, with what they did; the clock is around the whole command."""
    on = ["--accelerator", device.type]
    genome, genes = example_genome(), example_annotation()
    steps, size, batch = 300, 1_000_000, 64
    if toy:
        steps, size, batch = 2, 2_000, 4
        genome, genes = beginning(genome, genes, 20_000, work)
    lm, task, block = work / "lm", work / "task", ["--split-block", 1_500 if toy else 50_000]
    named = ["--model", (TOYS if toy else TIMED)[0].name, "--steps", steps, "--batch-size", batch]
    yield verb("pretrain", genome, *named, *block, "--out", lm, *on)
    labels = ["--labels", genes, "--steps", max(2, steps // 5)]
    yield verb("finetune", lm, genome, *labels, *block, "--out", task, *on)
    part = random_genome(work / "part.fa", size)
    vcf = random_vcf(work / "part.vcf", part, 20 if toy else 20_000)
    yield verb("track", task, part, "--channel", "forward", "--out", work / "t.bw", *on)
    scored = ["--reference", part, "--score", "llr", "--window", 1024]
    yield verb("variants", lm, vcf, *scored, "--out", work / "s.vcf.gz", *on)
    cut = short(work / "short.fa", part, 200 if toy else 2_114)
    yield verb("mutagenesis", lm, cut, "--out", work / "m.parquet", *on)


def beginning(genome: Path, genes: Path, length: int, work: Path) -> tuple[Path, Path]:
    """The first bases of a genome of one chromosome, and the annotation that lies on them."""
    with gzip.open(genome, "rt") as handle:
        head, *lines = handle.read().splitlines()
    with gzip.open(genes, "rt") as handle:
        rows = [line.split("\t") for line in handle if not line.startswith("#")]
    fasta, gff = work / "genome.fa", work / "genes.gff3"
    fasta.write_text(f"{head}\n{''.join(lines)[:length]}\n")
    kept = ["\t".join(row) for row in rows if int(row[4]) <= length]
    gff.write_text("##gff-version 3\n" + "".join(kept))
    return fasta, gff


def verb(name: str, *words: object) -> dict[str, Any]:
    """Time one command."""
    began = time.perf_counter()
    found = helicon(name, *words)
    kept = ("seconds", "letters_per_second", "waited_seconds", "precision", "bases_per_second")
    kept += ("letters", "rate", "test")
    said = {key: found[key] for key in kept if key in found}
    return {"verb": name, "wall_seconds": time.perf_counter() - began, **said}


def random_vcf(path: Path, genome: Path, count: int) -> Path:
    """Substitutions at even distances."""
    bases = genome.read_text().splitlines()[1]
    rows = []
    for at in np.linspace(600, len(bases) - 600, count).astype(int):
        other = "ACGT"["ACGT".index(bases[at]) - 1]
        rows.append(f"chr1\t{at + 1}\t.\t{bases[at]}\t{other}\t.\t.\t.")
    head = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    path.write_text("\n".join(head + rows) + "\n")
    return path


def short(path: Path, genome: Path, length: int) -> Path:
    """The first bases of a genome as a FASTA file."""
    path.write_text(f">s\n{genome.read_text().splitlines()[1][:length]}\n")
    return path


# ---------------------------------------------------------------- words


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = [f"# One GPU: {result['device']}\n", said(result["conditions"])]
    lines += ["## The same numbers\n", "Largest difference over the scale of what is compared.\n"]
    rows = [
        [row["what"], f"{row['difference']:.1e}", f"{row['bound']:.0e}",
         "yes" if row["difference"] <= row["bound"] else "NO"]
        for row in result["parity"] + result["invariants"]
    ]  # fmt: skip
    lines.append(table(["", "difference", "bound", "holds"], rows))
    for name, found in result["speed"].items():
        lines.append(
            f"## {name}, {found['batch']} x {found['length']:,}, "
            f"{found['parameters'] / 1e6:.3g} M parameters\n"
        )
        for kind in ("inference", "training"):
            lines += [f"{kind.capitalize()}:\n", speed_rows(found, kind, result["matmul_peak"])]
        lines += [f"Failed: {key}: {why}\n" for key, why in found["failed"].items()]
    lines += ["## From the command line\n", "Imports and loading count.\n"]
    listed = [[row["verb"], f"{row['wall_seconds']:.1f}", words_of(row)] for row in result["verbs"]]
    lines.append(table(["", "seconds", "said"], listed))
    lines.append(f"The whole run took {result['seconds']:.0f} seconds.\n")
    return "\n".join(lines)


def speed_rows(found: dict[str, Any], kind: str, peaks: dict[str, float]) -> str:
    """The table of one network."""
    seconds = found["seconds"][kind]
    first = next(iter(seconds))
    rows = []
    for name, times in seconds.items():
        median = statistics.median(times)
        rate = found["batch"] * found["length"] / median
        share = found["flops"][kind] * rate / peaks["bfloat16"] if "bfloat16" in peaks else 0
        rows.append([
            name,
            f"{median * 1e3:.3g}",
            f"{rate:,.0f}",
            f"{speed_up(seconds[first], times)['median']:.2f}",
            f"{100 * share:.0f} %",
            f"{found['memory_mb'][kind][name]:,.0f}",
        ])  # fmt: skip
    head = ["", "ms", "letters/s", "times faster", "of bfloat16 peak", "memory, MiB"]
    return table(head, rows)


def words_of(row: dict[str, Any]) -> str:
    """What a verb said of itself."""
    numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k != "wall_seconds"}
    said = [f"{key} {value:,.4g}" for key, value in numbers.items()]
    return ", ".join([*said, *([row["precision"]] if "precision" in row else [])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--compile-for", type=float, default=240, help="seconds from the start; later nothing is"
    )
    parser.add_argument("--toy", action="store_true", help="the size of a test")
    parser.add_argument("--only", nargs="+", choices=("parity", "invariants", "speed", "verbs"))
    parser.add_argument("--out", type=Path, help="folder of the results; benchmarks/results")
    given = parser.parse_args()
    device, began = torch.device(given.device), time.perf_counter()
    compile_until = began + given.compile_for
    whole_float32()
    wanted = given.only or ["parity", "invariants", "speed", "verbs"]
    name = torch.cuda.get_device_name() if device.type == "cuda" else "none (a CPU)"
    result: dict[str, Any] = {
        "device": name, "parity": [], "invariants": [], "speed": {}, "verbs": [], "matmul_peak": {},
    }  # fmt: skip

    def keep() -> None:
        result["seconds"] = time.perf_counter() - began
        result["conditions"] = conditions(SEED, device)
        name = f"gpu{'-toy' * given.toy}"
        write(name, result, report(result), given.out, shown=False)

    with tempfile.TemporaryDirectory() as folder:
        if "parity" in wanted:
            result["parity"] = parity(device, 64 if given.toy else 1024)
            keep()
        if "invariants" in wanted:
            result["invariants"] = invariants(device, 4_000 if given.toy else 60_000, Path(folder))
            keep()
        if "speed" in wanted:
            size = 256 if given.toy else 8192
            result["matmul_peak"] = {
                name: matmul_peak(getattr(torch, name), device, size)
                for name in ("float32", "bfloat16")
            }
            for timed in TOYS if given.toy else TIMED:
                found = speeds(timed, device, 2 if given.toy else given.rounds, compile_until)
                result["speed"][timed.name] = found
                print(f"{timed.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
                keep()
        if "verbs" in wanted:
            for row in verbs(device, Path(folder), toy=given.toy):
                result["verbs"].append(row)
                keep()
    print(report(result))
    wrong = [r for r in result["parity"] + result["invariants"] if r["difference"] > r["bound"]]
    raise SystemExit(f"{len(wrong)} checks failed" if wrong else 0)


if __name__ == "__main__":
    main()
