import dataclasses
import json
import tomllib
from typing import Any, ClassVar, Literal

import pytest
import tomli_w
import torch

from helicon.errors import InputError
from helicon.models import registry
from helicon.models.convnova.network import ConvNova, ConvNovaConfig
from helicon.models.parts.family import Family


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("convnova", 1_772_288),
        ("convnova-base", 1_772_288),
        ("convnova-nt", 1_688_448),
        ("convnova-genomic-benchmarks", 377_920),
        ("carp-600k", 603_760),
        ("carp-640m", 642_912_240),
        ("carp", 642_912_240),
    ],
)
def test_published_sizes_have_the_published_counts(name: str, count: int):
    with torch.device("meta"):
        assert registry.backbone(name).parameter_count == count


@pytest.mark.parametrize("name", registry.SIZES)
def test_config_round_trips_through_json_and_toml(name: str):
    config = registry.SIZES[name]
    architecture = registry.architecture_of(config)
    values = registry.config_to_dict(config)
    for again in (json.loads(json.dumps(values)), tomllib.loads(tomli_w.dumps(values))):
        assert registry.config_from_dict(architecture, again) == config


def test_overrides_change_a_named_size():
    model = registry.backbone("convnova-tiny", d_model=8, schedule="paper", dropout=0)
    assert isinstance(model, ConvNova)
    assert model.config == ConvNovaConfig(d_model=8, schedule="paper", dropout=0.0)
    assert registry.SIZES["convnova-tiny"].d_model == 32


def test_overrides_change_a_config():
    config = registry.configured(ConvNovaConfig(d_model=8), kernel=5)
    assert config == ConvNovaConfig(d_model=8, kernel=5)


def test_an_unknown_size_names_the_nearest():
    with pytest.raises(InputError, match=r"did you mean convnova-small\?"):
        registry.backbone("convnova-smal")
    with pytest.raises(InputError, match="known are convnova-tiny, "):
        registry.backbone("xyz")


def test_an_unknown_architecture_names_the_known():
    with pytest.raises(InputError, match="'nova' is unknown; known are convnova"):
        registry.config_from_dict("nova", {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 3}, "unknown key 'width'; known are d_model, blocks, "),
        ({"d_model": "64"}, "d_model must be int, not '64'"),
        ({"d_model": 64.0}, "d_model must be int, not 64.0"),
        ({"d_model": True}, "d_model must be int, not True"),
        ({"d_model": None}, "d_model must be int, not None"),
        ({"feed_forward": 1}, "feed_forward must be bool, not 1"),
        ({"dropout": "0.1"}, "dropout must be float, not '0.1'"),
        ({"schedule": "new"}, "schedule must be 'official' or 'paper', not 'new'"),
        ({"d_model": 0}, "d_model must be at least 1"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str):
    whole = registry.config_to_dict(ConvNovaConfig()) | values
    for build in (
        lambda: registry.config_from_dict("convnova", whole),
        lambda: registry.configured("convnova-tiny", **values),
    ):
        with pytest.raises(InputError, match=message) as caught:
            build()
        assert "\n" not in str(caught.value)


def test_a_lost_key_is_never_filled_with_a_default():
    values = registry.config_to_dict(ConvNovaConfig())
    del values["dilation"], values["schedule"]
    with pytest.raises(InputError, match="convnova config: dilation, schedule missing"):
        registry.config_from_dict("convnova", values)


@dataclasses.dataclass(frozen=True)
class OtherConfig:
    alphabet: ClassVar[str] = "dna"

    d_model: int = 4
    rank: int | None = None
    mode: Literal["a", 1] = "a"


def test_another_architecture_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(registry.FAMILIES, "other", Family(ConvNova, OtherConfig))
    for config in (OtherConfig(), OtherConfig(rank=3, mode=1)):
        values = registry.config_to_dict(config)
        assert registry.architecture_of(config) == "other"
        assert registry.config_from_dict("other", values) == config
    with pytest.raises(InputError, match="rank must be int or NoneType, not 'x'"):
        registry.config_from_dict("other", {"d_model": 1, "rank": "x", "mode": "a"})
