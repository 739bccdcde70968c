"""Pretraining by self-distillation: two networks in a run, resumed exactly, on two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import helicon.training.pretrain.pretrain as module
from helicon.errors import InputError
from helicon.models.hub import load
from helicon.training.pretrain.pretrain import PretrainResult, pretrain

HERE = Path(__file__).parents[2] / "support"
SMALL = {
    "model": "findna-tiny",
    "backbone": {"group": 2, "groups": 5, "layers": 1, "blocks": 3, "hidden": 8},
    "objective": "self-distillation",
    "cls_tokens": 4,
    "steps": 6,
    "length": 64,
    "batch_size": 4,
    "validation_windows": 8,
    "test_windows": 8,
    "split_block": 500,
    "accelerator": "cpu",
    "precision": "float32",
}


@pytest.fixture
def fasta(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "genome.fa"
    unit = "".join(rng.choice(list("ACGT"), 7))
    chromosomes = [unit * 900, "".join(rng.choice(list("ACGTNacgt"), 3000))]
    path.write_text("".join(f">chr{i}\n{s}\n" for i, s in enumerate(chromosomes, start=1)))
    return path


def run(fasta, out, **options):
    return pretrain(fasta, out=out, **SMALL | options)


def rows(folder, kind="train"):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timing = ("seconds", "bases_per_second")
    return [{k: v for k, v in r.items() if k not in timing} for r in found if r["kind"] == kind]


def test_a_run_holds_teacher_and_student(fasta, tmp_path):
    out = tmp_path / "run"
    result = run(fasta, out, teacher_momentum=0.5, lr=0.01, steps=40)
    teacher, student = load(out), load(out / "student")
    assert teacher.config.cls_tokens == student.config.cls_tokens == 4
    assert teacher.backbone.config.circle == student.backbone.config.circle == 64 + 4
    assert result.student.model == out / "student"
    assert result.student.test["loss"] != result.test["loss"]
    assert result.parameters == sum(p.numel() for p in teacher.parameters())
    apart = [
        (a - b).abs().max().item()
        for a, b in zip(teacher.parameters(), student.parameters(), strict=True)
    ]
    assert 0 < max(apart) < 0.5
    assert "teacher" in (out / "model" / "README.md").read_text()
    assert "student" in (out / "student" / "README.md").read_text()
    assert "student" in result.summary
    assert PretrainResult.read(out).as_dict() == result.as_dict()
    first = rows(out)[0]
    watched = {"masked_loss", "cls_loss", "teacher_entropy", "student_entropy", "agreement"}
    assert watched | {"spread", "center_norm"} < set(first)
    assert first["loss"] == pytest.approx((first["masked_loss"] + first["cls_loss"]) / 2, rel=1e-5)
    assert 0 <= first["agreement"] <= 1 and first["teacher_entropy"] <= np.log(4)
    recipe = (out / "recipe.toml").read_text()
    assert 'views = "MDIT+NR"' in recipe and "mask_rate = 0.3" in recipe
    assert "replacement" not in recipe


def test_a_run_that_broke_off_ends_as_one_that_did_not(fasta, tmp_path, monkeypatch):
    options = {"eval_every": 2, "accumulate": 2, "steps": 8}
    run(fasta, tmp_path / "alone", **options)

    class Broken(module.SelfDistillation):
        def follow(self, step, total, summed):
            if step == 6:
                raise KeyboardInterrupt
            super().follow(step, total, summed)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "SelfDistillation", Broken)
        run(fasta, tmp_path / "broken", **options)
    assert not (tmp_path / "broken" / "model").exists()
    run(fasta, tmp_path / "broken", resume=True, **options)
    for part in ("model", "student", "checkpoints/step-00000008"):
        one, two = (tmp_path / name / part / "model.safetensors" for name in ("alone", "broken"))
        assert one.read_bytes() == two.read_bytes()
    kept = load_file(tmp_path / "alone" / "checkpoints/step-00000008/model.safetensors")
    assert "center" in kept and any(key.startswith("teacher.") for key in kept)
    assert rows(tmp_path / "alone") == rows(tmp_path / "broken")


def test_two_processes_end_as_one_with_the_joined_batch(fasta, tmp_path):
    """Weights of both networks and the centre, after steps of the optimiser."""
    two = tmp_path / "two"
    options = SMALL | {"batch_size": 2, "devices": 2, "strategy": "ddp", "steps": 4}
    program = (
        "import json, sys, torch, helicon\n"
        "torch.set_num_threads(1)\n"
        "helicon.pretrain(sys.argv[1], out=sys.argv[2], **json.loads(sys.argv[3]))\n"
    )
    script = tmp_path / "two.py"
    script.write_text(
        f"if __name__ == '__main__':\n    {program.replace(chr(10), chr(10) + '    ')}"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, str(script), str(fasta), str(two), json.dumps(options)],
        capture_output=True,
        text=True,
        env=clean | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr

    class Joined(module.GenomeCorpus):
        """The batches of both processes as one."""

        @property
        def task(self):
            task = super().task
            each = task.batch

            def joined(step, micro, rank, world):
                parts = [each(step, micro, r, 2) for r in range(2)]
                return {
                    "input_ids": np.concatenate([p["input_ids"] for p in parts]),
                    "numbers": np.concatenate([p["numbers"] for p in parts]),
                }

            task.batch = joined
            return task

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "GenomeCorpus", Joined)
        run(fasta, tmp_path / "one", batch_size=2, steps=4)
    found = [
        load_file(tmp_path / name / "checkpoints/step-00000004/model.safetensors")
        for name in ("one", "two")
    ]
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=1e-3, atol=1e-5)
    losses = [[r["loss"] for r in rows(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_proteins_are_distilled_too(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "proteins.fasta"
    residues = list("ACDEFGHIKLMNPQRSTVWY")
    lengths = rng.integers(30, 90, 60)
    found = ["".join(rng.choice(residues, n)) for n in lengths]
    path.write_text("".join(f">p{i}\n{s}\n" for i, s in enumerate(found)))
    options = {
        "model": "carp-600k", "backbone": {"d_model": 8, "blocks": 2}, "max_tokens": 600,
        "objective": "self-distillation", "cls_tokens": 3, "steps": 4, "accelerator": "cpu",
    }  # fmt: skip
    result = pretrain(path, out=tmp_path / "run", **options)
    assert result.unit == "residues" and result.student is not None
    assert load(tmp_path / "run").config.cls_tokens == 3
    assert 'views = "MDIT+N"' in (tmp_path / "run" / "recipe.toml").read_text()
    with pytest.raises(InputError, match="complement"):
        pretrain(path, out=tmp_path / "other", **options | {"views": "MDIT+NR"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": "masked-lm", "cls_tokens": None, "views": "M+N"}, "views: is an option of"),
        ({"replacement": "mask"}, "replacement: is an option of the objective masked-lm"),
        ({"soft_weight": 0.5}, "soft_weight: is an option of the objective masked-lm"),
        ({"views": "XY+Z"}, "views: 'X'"),
        ({"strategy": "fsdp"}, "strategy: self-distillation"),
        ({"objective": "contrastive"}, "objective"),
    ],
)
def test_wrong_options_are_one_line(fasta, tmp_path, options, said):
    with pytest.raises(InputError, match=said) as error:
        run(fasta, tmp_path / "run", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
