"""Every option of pretraining means something for the data and the objective, or is refused."""

import inspect

import pytest
from cyclopts import Group

from helicon.cli.pretrain import command
from helicon.errors import InputError
from helicon.objectives.self_distillation import Distillation
from helicon.training.pretrain import pretrain as module
from helicon.training.pretrain.pretrain import pretrain
from helicon.training.pretrain.recipe import GenomeData, Pretraining, ProteinData

#: A value of every option that is not its default.
VALUES = {
    "mask_rate": 0.2, "replacement": "80-10-10", "soft_weight": 0.5, "views": "MD+N",
    "cls_tokens": 4, "cls_softmax": "channels", "alpha": 0.7, "student_temperature": 0.2,
    "teacher_temperature": 0.1, "teacher_momentum": 0.9, "center_momentum": 0.8, "length": 64,
    "batch_size": 4, "intervals": "some.bed", "offsets": "head", "reverse_complement": False,
    "max_unknown": 0.3, "valid_chromosomes": ["chr1"], "split_block": 700,
    "validation_windows": 8, "test_windows": 9, "max_tokens": 600, "max_sequences": 7, "crop": 30,
    "sequence": "protein", "clusters": "clusters.tsv", "cluster_by": "header",
    "validation_fraction": 0.1, "test_fraction": 0.2, "validation_sequences": 8,
    "test_sequences": 9, "steps": 3, "epochs": 2.0, "minutes": 1.0, "accumulate": 2, "lr": 0.1,
    "weight_decay": 0.3, "schedule": "linear", "warmup": 0.4, "floor": 0.2, "clip": 2.0,
    "eval_every": 2, "checkpoint_every": 3, "patience": 3, "seed": 5, "precision": "bfloat16",
    "accelerator": "cpu", "devices": 2, "nodes": 2, "strategy": "ddp",
}  # fmt: skip
#: Tried on their own below, or what the cases differ in.
APART = {"data", "out", "model", "backbone", "objective", "resume", "test_chromosomes"}
#: What each of the data has to itself, and each objective.
GENOME = {"length", "batch_size", "soft_weight", "intervals", "offsets", "reverse_complement",
          "max_unknown", "valid_chromosomes", "split_block", "validation_windows",
          "test_windows"}  # fmt: skip
PROTEINS = {"max_tokens", "max_sequences", "crop", "sequence", "clusters", "cluster_by",
            "validation_fraction", "test_fraction", "validation_sequences",
            "test_sequences"}  # fmt: skip
MASKED = {"replacement", "soft_weight"}
DISTILLED = {"views", "cls_tokens", "cls_softmax", "alpha", "student_temperature",
             "teacher_temperature", "teacher_momentum", "center_momentum"}  # fmt: skip
REFUSED = {
    ("genome", "masked-lm"): PROTEINS | DISTILLED,
    ("genome", "self-distillation"): PROTEINS | MASKED,
    ("proteins", "masked-lm"): GENOME | DISTILLED,
    ("proteins", "self-distillation"): GENOME | MASKED,
}
SMALL = {
    "genome": {"model": "convnova-tiny", "backbone": {"d_model": 8, "blocks": 1}},
    "proteins": {"model": "carp-600k", "backbone": {"d_model": 8, "blocks": 1}},
}


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """The values that a run would record; nothing is trained."""
    monkeypatch.setattr(module, "_run", lambda plan, *_: plan.values)

    def values(data, **options):
        return pretrain(tmp_path / "data", out=tmp_path / "run", **SMALL[data] | options)

    (tmp_path / "data").write_text("protein\nMKV\n")
    return values


@pytest.mark.parametrize(("data", "objective"), REFUSED)
def test_every_option_is_effective_or_refused(data, objective, planned):
    usual, refused = planned(data, objective=objective), set()
    for option in inspect.signature(pretrain).parameters.keys() - APART:
        value = VALUES[option]
        try:
            found = planned(data, objective=objective, **{option: value})
        except InputError as error:
            assert f"{option}: is an option " in str(error) and "\n" not in str(error)
            refused.add(option)
        else:
            assert found[option] != usual.get(option), option
    assert refused == REFUSED[data, objective]


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ("genome", {"intervals": "a.bed", "split_block": 700}, "split_block: a.bed divides"),
        ("genome", {"valid_chromosomes": ["a"], "split_block": 700}, "split_block: chromosomes"),
        ("genome", {"intervals": "a.bed", "valid_chromosomes": ["a"]}, "give intervals, whose"),
        ("genome", {"test_chromosomes": ["a"]}, "test_chromosomes: name valid_chromosomes"),
        ("genome", {"test_chromosomes": ["a"], "max_tokens": 5}, "max_tokens: is an option for"),
        ("genome", {"replacement": "carp"}, "replacement: `carp` is for proteins"),
        ("genome", {"schedule": "constant", "floor": 0.1}, "floor: a constant schedule"),
        ("proteins", {"test_fraction": 0, "test_sequences": 5}, "test_sequences: test_fraction"),
        ("proteins", {"clusters": "a", "cluster_by": "kmers"}, "give clusters, a table"),
        ("proteins", {"replacement": "official"}, "replacement: `official` is what"),
        ("proteins", {"test_chromosomes": ["a"]}, "test_chromosomes: is an option for a genome"),
        ("genome", {"seed": -1}, "seed: must not be negative"),
        ("genome", {"lr": float("inf")}, "lr: must be more than 0, and finite"),
        ("genome", {"max_unknown": 1.5}, r"max_unknown: must be in \[0, 1\]"),
        ("genome", {"patience": -1}, "patience: must not be negative"),
        ("genome", {"backbone": 3}, "backbone: must be a table"),
        ("genome", {"objective": "guessing"}, "objective: must be 'masked-lm'"),
    ],
)
def test_what_means_nothing_beside_another_option_is_refused(data, options, said, planned):
    with pytest.raises(InputError, match=said):
        planned(data, **options)


def test_a_column_of_a_file_without_columns_is_refused(planned, tmp_path):
    assert planned("proteins", sequence="protein")["sequence"] == "protein"
    (tmp_path / "data").write_text(">p\nMKV\n")
    with pytest.raises(InputError, match="sequence: names a column"):
        planned("proteins", sequence="protein")


def test_groups_stand_for_options(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_run", lambda plan, *_: plan.values)
    path, out = tmp_path / "g.fa", tmp_path / "run"
    flat = pretrain(path, out=out, **SMALL["genome"], length=64, steps=4)
    data, training = GenomeData(path, length=64), Pretraining(steps=4)
    assert pretrain(data, out=out, **SMALL["genome"], training=training) == flat
    assert flat["data"] == path and flat["length"] == 64 and flat["steps"] == 4
    with pytest.raises(InputError, match="is given as proteins, but convnova-tiny reads a genome"):
        pretrain(ProteinData(path), out=out, **SMALL["genome"])


def test_what_is_decided_is_recorded(planned):
    """An option that was not given, or given as `None`, is what the data and the objective say."""
    none = dict.fromkeys(VALUES)
    found = {(d, o): planned(d, objective=o, **none) for d, o in REFUSED}
    genome = found["genome", "masked-lm"]
    assert (genome["mask_rate"], genome["replacement"]) == (0.1, "mask")
    for (data, objective), values in found.items():
        assert not values.keys() & REFUSED[data, objective]
        assert values == planned(data, objective=objective)
    masked, distilled = (found["proteins", o] for o in ("masked-lm", "self-distillation"))
    assert (masked["mask_rate"], masked["replacement"]) == (0.15, "carp")
    assert masked["cluster_by"] == "kmers" and "soft_weight" not in masked
    assert (distilled["mask_rate"], distilled["views"]) == (0.3, "MDIT+N")
    assert found["genome", "self-distillation"]["views"] == Distillation.views


def test_the_command_line_shows_options_under_headings():
    headings = {}
    for name, parameter in inspect.signature(command).parameters.items():
        said = getattr(parameter.annotation, "__metadata__", ())
        groups = [g for one in said for g in one.group or () if isinstance(g, Group)]
        headings[name] = groups[0].name if groups else ""
    titles = {"length": "Data: a genome", "crop": "Data: proteins", "lr": "Training"}
    titles |= {"soft_weight": "Objective: hidden letters", "devices": "Machine"}
    titles |= {"alpha": "Objective: self-distillation", "checkpoint_every": "Training"}
    assert titles.items() <= headings.items()
