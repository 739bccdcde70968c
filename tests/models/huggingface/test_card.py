"""A model card shows names as they are, whatever stands in them."""

from pathlib import Path

import pytest
import yaml
from markdown import markdown
from small_networks import language_model

from helicon.models.hub import Metric, ModelCard, load, save, with_head
from helicon.models.huggingface.card import card_text, plain

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b",
    "`code` and ```",
    "two\nlines\n\n# title",
    "[x](javascript:alert(1))",
    "*bold* _thin_ __x__ snake_case",
    "&lt; & \\",
    "<!-- ",
    "---",
]


def shown(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", HOSTILE)
def test_text_is_shown_as_it_is(name: str):
    page = markdown(f"x {plain(name)} y").removeprefix("<p>").removesuffix("</p>")
    for code, letter in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        assert letter == "&" or letter not in page
        page = page.replace(code, letter)
    assert page.replace("\\$", "$").replace("\\|", "|").replace("\\~", "~") == f"x {shown(name)} y"


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_adds_to_a_card(name: str, tmp_path: Path):
    names = [name, f"{name}2"]
    model = with_head(language_model(), "sequence", "single_label", names)[0]

    def text(word: str) -> str:
        metrics = (Metric(f"mcc {word}", 0.5, word),)
        recipe = f"name = {word!r}"
        return card_text(model, ModelCard(word, word, (word,), 3, metrics, recipe, base_model=word))

    hostile, tame = text(name), text("tame")
    assert "<" not in hostile.split("## Recipe")[0].split("\n---\n", 1)[1]
    assert len([x for x in hostile.splitlines() if x.startswith("|")]) == len(
        [x for x in tame.splitlines() if x.startswith("|")]
    )
    titles = [[x for x in t.splitlines() if x.startswith("#")] for t in (hostile, tame)]
    assert len(titles[0]) == len(titles[1])
    front = yaml.safe_load(hostile.split("---\n", 1)[1].split("\n---\n\n#", 1)[0])
    assert front["library_name"] == "helicon"
    folder = save(model, tmp_path / "model", ModelCard(name=name))
    assert load(folder).config.labels == names
