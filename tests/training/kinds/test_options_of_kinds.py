"""Every option means something for the data, or is refused by name; and kinds from outside."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from contact_cases import model_folder as protein_folder
from contact_cases import rule_file
from small_cases import gene_genome, model_folder, motif_rows, write_csv

from helicon.cli import main
from helicon.data.tables.tables import read_table
from helicon.errors import HeliconError, InputError
from helicon.training.evaluate.evaluate import evaluate
from helicon.training.finetune import finetune as module
from helicon.training.finetune.finetune import finetune
from helicon.training.kinds.known import KINDS
from helicon.training.kinds.sequences import Sequences

#: A value of every option that is not its default.
VALUES = {
    "target": "label", "valid": None, "test": None, "sequence": "sequence", "task": "regression",
    "validation_fraction": 0.3, "pool": "max", "reverse_complement": True, "both_strands": True,
    "labels": None, "mask": None, "feature": "gene", "sites": True, "by": "name", "length": 64,
    "context": 4, "labelled_windows": 5, "intervals": None, "valid_chromosomes": ["chr"],
    "test_chromosomes": ["chr"], "split_block": 700, "separation": 7, "pair_crop": 40,
    "pair_width": 8, "pair_blocks": 2, "network": "teacher", "scratch": True, "freeze": True,
    "lora": 2, "head": "mlp", "dropout": 0.3, "backbone_dropout": 0.3, "steps": 3, "epochs": 2.0,
    "minutes": 1.0, "accumulate": 2, "lr": 0.1, "weight_decay": 0.3, "schedule": "linear",
    "warmup": 0.4, "floor": 0.2, "clip": 2.0, "eval_every": 2, "patience": 3, "seed": 5,
    "batch_size": 4, "monitor": "loss", "class_weights": "balanced", "seeds": 2,
    "precision": "bfloat16", "accelerator": "cpu", "devices": 2, "nodes": 2, "strategy": "ddp",
}  # fmt: skip
#: What must be refused, as it once had no effect.
TABLE = {"feature", "sites", "by", "length", "context", "split_block", "labelled_windows",
         "separation", "pair_width", "valid_chromosomes"}  # fmt: skip
PROBE = {"steps", "epochs", "minutes", "lr", "accumulate", "weight_decay", "schedule", "warmup",
         "floor", "clip", "eval_every", "patience", "dropout", "backbone_dropout", "seed",
         "reverse_complement", "precision", "devices", "nodes", "strategy"}  # fmt: skip
REFUSED = {
    "sequences": TABLE,
    "probe": TABLE | PROBE,
    "positions": {"pool", "target", "sequence", "validation_fraction", "task", "by"},
    "residues": {"pool", "feature", "both_strands", "reverse_complement", "task", "target"},
    "contacts": {"pool", "head", "target", "sequence", "both_strands", "feature"},
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """By name, a model and what says the data."""
    folder = tmp_path_factory.mktemp("kinds")
    dna, protein = str(model_folder(folder / "dna")), str(protein_folder(folder / "protein"))
    rows = write_csv(folder / "rows.csv", motif_rows(60))
    fasta, gff = gene_genome(folder, 8_000)
    proteins, labels = folder / "p.fasta", folder / "l.fasta"
    texts = ["MKVLAGGW", "AKVLAGGM", "MKMLAGGW", "MKVLWWGW", "MKVLAGGA", "MMVLAGGW"]
    proteins.write_text("".join(f">p{i}\n{s}\n" for i, s in enumerate(texts)))
    labels.write_text("".join(f">p{i} SET=train\n00011101\n" for i in range(len(texts))))
    contacts = rule_file(folder / "c.json", 8, 3)
    return {
        "sequences": (dna, {"data": rows}),
        "probe": (dna, {"data": rows, "freeze": True}),
        "positions": (dna, {"data": fasta, "labels": gff, "split_block": 500, "length": 128}),
        "residues": (protein, {"data": proteins, "labels": labels}),
        "contacts": (protein, {"data": contacts, "task": "contacts"}),
    }


@pytest.mark.parametrize("name", REFUSED)
def test_every_option_is_read_or_refused(cases, name, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_run", lambda plan, *_: plan)
    model, given = cases[name]
    usual = finetune(model, **given, out=tmp_path / "run").values
    refused = set()
    for option in inspect.signature(finetune).parameters:
        value = VALUES.get(option)
        if value is None or option in given:
            continue
        try:
            found = finetune(model, **given, **{option: value}, out=tmp_path / "run").values
        except HeliconError as error:
            assert "\n" not in str(error)
            refused.add(option)
        else:
            assert option in found, option
            assert found[option] != usual.get(option) or option in ("target", "sequence"), option
    assert REFUSED[name] <= refused
    assert not refused & {"scratch", "seeds", "batch_size", "monitor"} - {"batch_size"}


@pytest.mark.parametrize(
    "words",
    [
        "--lr inf", "--dropout 7", "--seed -1", "--warmup nan", "--accelerator tpu",
        "--steps 1.5", "--seed 1.7", "--floor 0.1 --schedule constant", "--clip -1",
        "--task regression --labels g.gff3",
    ],
)  # fmt: skip
def test_wrong_numbers_are_one_line_before_anything_starts(cases, words, tmp_path, capsys):
    model, given = cases["sequences"]
    command = ["finetune", model, str(given["data"]), "--out", str(tmp_path / "run")]
    (tmp_path / "g.gff3").write_text("##gff-version 3\n")
    split = words.replace("g.gff3", str(tmp_path / "g.gff3")).split()
    assert main([*command, *split]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1 and split[0][2:] in shown.err, shown.err
    assert not (tmp_path / "run").exists()


def test_options_of_evaluate_without_meaning_are_refused(cases, tmp_path):
    model, given = cases["positions"]
    table = cases["sequences"][1]["data"]
    tuned = str(finetune(model, table, out=tmp_path / "run", steps=1, accelerator="cpu").run)
    for name, data, option in (
        (model, given["data"], {"both_strands": True}),
        (model, given["data"], {"target": "x"}),
        (model, given["data"], {"fit_on": table}),
        (tuned, table, {"intervals": table}),
        (tuned, table, {"mask_rate": 0.2}),
        (tuned, table, {"seed": 3}),
        (tuned, table, {"length": 64}),
    ):
        with pytest.raises(InputError, match=f"{next(iter(option))}: is no option for"):
            evaluate(name, data, **option, accelerator="cpu")


@dataclass(frozen=True, kw_only=True)
class Lines(Sequences):
    """Lines of a sequence and a label, with a space between."""

    what: ClassVar[str] = "lines of a sequence and a label"

    @classmethod
    def recognises(cls, data, options, alphabet):
        """By the ending of the file."""
        return data.suffix == ".lines"

    def table(self, path, alphabet):
        """Read through a table."""
        csv = Path(f"{path}.csv")
        csv.write_text("sequence,label\n" + path.read_text().replace(" ", ","))
        return read_table(csv, target="label", alphabet=alphabet)


def test_a_kind_from_outside_is_adapted_to_and_measured_on(cases, tmp_path, monkeypatch):
    monkeypatch.setattr("helicon.training.kinds.known.KINDS", [Lines, *KINDS])
    path = tmp_path / "mine.lines"
    path.write_text("".join(f"{text} {label}\n" for text, label in motif_rows(60)))
    model = cases["sequences"][0]
    found = finetune(model, path, out=tmp_path / "run", steps=2, accelerator="cpu")
    assert found.names == ("0", "1")
    again = evaluate(str(found.run), Lines(path), accelerator="cpu")
    assert again.examples == 60
    with pytest.raises(InputError, match="feature: is no option for lines of a sequence"):
        finetune(model, path, out=tmp_path / "other", feature="gene", accelerator="cpu")
