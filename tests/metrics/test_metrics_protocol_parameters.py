"""Protocols named with a fusion weight of their own."""

import pytest
import torch

from avbench.metrics.protocols import PROTOCOLS, get_protocol
from avbench.metrics.scoring import predicted_mask, score


@pytest.mark.parametrize(
    ("base", "text", "weight"),
    [("jsa", "0.6", 0.6), ("ezvsl", "0.2", 0.2), ("jsa", "1", 1.0), ("ezvsl", "0", 0.0), ("jsa", "0.40", 0.4)],
)
def test_the_copy_differs_in_name_and_weight_alone(base, text, weight):
    found, own = get_protocol(f"{base}:av_weight={text}"), PROTOCOLS[base]
    assert found.name == f"{base}:av_weight={text}"
    assert found.fusion.av_weight == weight
    assert found.fusion.rule == own.fusion.rule
    same = ("version", "upsampling", "normalisation", "threshold", "operator", "aggregation", "test_list", "source")
    assert all(getattr(found, field) == getattr(own, field) for field in same)


def test_the_table_of_protocols_stays_as_it_is():
    before = dict(PROTOCOLS)
    get_protocol("jsa:av_weight=0.9")
    assert before == PROTOCOLS
    assert PROTOCOLS["jsa"].fusion.av_weight == 0.4


def test_the_weight_is_that_of_the_audio_visual_map():
    maps = torch.zeros(1, 224, 224)
    prior = torch.zeros(1, 224, 224)
    maps[0, :100], prior[0, 100:] = 1.0, 1.0
    for text, upper, lower in (("1", True, False), ("0.7", True, False), ("0.3", False, True), ("0", False, True)):
        mask = predicted_mask(maps, get_protocol(f"jsa:av_weight={text}"), prior=prior)[0]
        assert bool(mask[:100].all()) is bool(mask[:100].any()) is upper, text
        assert bool(mask[100:].all()) is bool(mask[100:].any()) is lower, text


def test_the_ends_are_the_single_maps_and_the_published_weight_is_the_protocol():
    generator = torch.Generator().manual_seed(0)
    maps, prior = torch.rand(2, 5, 7, 7, generator=generator).double()
    truth = (torch.rand(5, 224, 224, generator=generator) < 0.3).double()
    for base in ("jsa", "ezvsl"):
        av, fused, objects = (
            score(maps, truth, get_protocol(f"{base}:av_weight={w}"), prior=prior) for w in (1, 0.4, 0)
        )
        assert torch.equal(av, score(maps, truth, PROTOCOLS[base]))
        assert torch.equal(objects, score(prior, truth, PROTOCOLS[base]))
        assert torch.equal(fused, score(maps, truth, PROTOCOLS[base], prior=prior))


@pytest.mark.parametrize(
    "text",
    [
        "jsa:av_weight=1.01",
        "jsa:av_weight=-0.1",
        "jsa:av_weight=nan",
        "jsa:av_weight=",
        "jsa:av_weight",
        "jsa:",
        "jsa:tau=0.1",
        "jsa:av_weight=0.6:",
        "jsa:av_weight= 0.6",
        "jsa:av_weight=0,6",
        "jsa:av_weight=0.6/..",
        "jsa:x=1:av_weight=0.5",
    ],
)
def test_bad_parameters_are_refused(text):
    with pytest.raises(
        ValueError, match=r"expected a weight in \[0, 1\] for the fusion of jsa, such as jsa:av_weight=0.6; got"
    ) as told:
        get_protocol(text)
    assert repr(text) in str(told.value)


def test_protocols_without_fusion_take_no_weight():
    with pytest.raises(
        ValueError, match=r"the protocol common takes no parameter, having no fusion; got 'common:av_weight=0.5'"
    ):
        get_protocol("common:av_weight=0.5")


def test_an_unknown_protocol_with_a_weight_answers_with_the_closest():
    with pytest.raises(ValueError, match=r"called 'jsaa': did you mean jsa"):
        get_protocol("jsaa:av_weight=0.5")
