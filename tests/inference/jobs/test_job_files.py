"""Every verb looks at the places it would write before it does anything else."""

import os

import pytest

from helicon.errors import InputError
from helicon.inference.embed import embed
from helicon.inference.mutagenesis.mutagenesis import mutagenesis
from helicon.inference.mutants.mutants import mutants
from helicon.inference.predict import predict
from helicon.inference.tracks.track import track
from helicon.inference.variants.variants import variants

#: Verbs by what they write, with their inputs: `IN` is one, and there are others beside it.
CALLS = {
    "embed": (embed, "x.parquet", {"data": "IN"}),
    "embed-regions": (embed, "x.npy", {"data": "g.fa", "regions": "IN"}),
    "predict": (predict, "x.parquet", {"data": "IN"}),
    "predict-annotation": (predict, "x.gff3", {"data": "g.fa", "annotation": "IN"}),
    "track": (track, "x.bw", {"genome": "IN"}),
    "track-regions": (track, "x.bedgraph", {"genome": "g.fa", "regions": "IN"}),
    "variants": (variants, "x.vcf.gz", {"vcf": "IN", "reference": "g.fa"}),
    "variants-reference": (variants, "x.parquet", {"vcf": "v.vcf", "reference": "IN"}),
    "mutagenesis": (mutagenesis, "x.parquet", {"data": "IN"}),
    "mutagenesis-reference": (mutagenesis, "x.bw", {"data": "r.bed", "reference": "IN"}),
    "mutants": (mutants, "x.csv", {"table": "IN", "wild_type": "w.fa"}),
    "mutants-wild-type": (mutants, "x.parquet", {"table": "t.csv", "wild_type": "IN"}),
}


@pytest.fixture(params=CALLS)
def call(request, tmp_path):
    """Calls a verb with a model that there is not: what is refused is refused before that."""
    verb, name, options = CALLS[request.param]

    def run(data, out):
        given = {key: data if value == "IN" else tmp_path / value for key, value in options.items()}
        return verb("no-such-model", **given, out=out)

    return run, tmp_path / name


@pytest.mark.parametrize("filled", [True, False])
def test_a_folder_is_never_replaced_by_a_file(call, tmp_path, filled):
    verb, out = call
    out.mkdir()
    if filled:
        (out / "part-0.parquet").write_text("of Spark")
    with pytest.raises(InputError, match="is a folder, and stays; name a file"):
        verb(tmp_path / "in.fa", out)
    assert out.is_dir() and bool(list(out.iterdir())) == filled


@pytest.mark.parametrize("way", ["itself", "link", "hard link", "link to the output"])
def test_an_input_is_never_the_output(call, tmp_path, way):
    verb, out = call
    data = out
    if way == "itself":
        out.write_text("precious")
    else:
        data = tmp_path / "in.data"
        first, second = (out, data) if way == "link to the output" else (data, out)
        first.write_text("precious")
        if way == "hard link":
            os.link(first, second)
        else:
            second.symlink_to(first)
    with pytest.raises(InputError, match="which is read; choose another output"):
        verb(data, out)
    assert out.read_text() == data.read_text() == "precious"


def test_the_figure_is_looked_at_too(tmp_path):
    data, plot = tmp_path / "in.fa", tmp_path / "x.svg"
    data.write_text(">a\nACGT\n")
    plot.mkdir()
    (plot / "other").touch()
    out = tmp_path / "x.parquet"
    with pytest.raises(InputError, match=r"x.svg: is a folder, and stays"):
        mutagenesis("no-such-model", data, out=out, plot=plot)
    with pytest.raises(InputError, match=r"x.parquet: is to be written twice"):
        mutagenesis("no-such-model", data, out=out, plot=out)
    with pytest.raises(InputError, match="which is read"):
        mutagenesis("no-such-model", data, out=out, plot=data)
    assert (plot / "other").exists()


def test_the_keys_of_a_matrix_are_looked_at_too(tmp_path):
    (tmp_path / "x.rows.parquet").mkdir()
    with pytest.raises(InputError, match=r"x.rows.parquet: is a folder, and stays"):
        embed("no-such-model", tmp_path / "in.fa", out=tmp_path / "x.npy")
