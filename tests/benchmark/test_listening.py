"""``avbench listen``: hand-made maps with known answers, a plain loop beside it, and what it refuses."""

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.audio_sets import audio_sets, off_screen_of
from avbench.cli import main
from avbench.data.splits import Sample, Split
from avbench.errors import AvbenchError, UsageError
from avbench.hearing import _shares
from avbench.listening import Listening, Plan, listen, read_listening
from avbench.metrics.negative_audio import map_agreement, share_above
from avbench.parts import Part, read_part, write_part
from avbench.request import PART
from avbench.store import hash_json
from avbench.stored import Stored, find_stored, write_stored
from avbench.truth import read_truth, write_truth

KINDS = ("true", "silent", "noise", "offscreen")
QUICK = Plan(resamples=200)
HALVES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))


def split_of(count: int, name: str = "mine", *, unboxed=(), pictures: int | None = None) -> Split:
    """Boxes on the left and the right half in turn; none for the samples ``unboxed``."""
    samples = tuple(
        Sample(
            f"s{n:03d}",
            None,
            None,
            () if n in unboxed else (HALVES[n % 2],),
            "kind",
            sounding=n not in unboxed,
            image_name=f"p{n % (pictures or count)}",
        )
        for n in range(count)
    )
    return Split(name, name, samples, hash_json([name, count]), count, has_media=False, source="")


def keep(runs: Path, split: Split, maps: torch.Tensor, audio: str = "true", **changes) -> Stored:
    """Store ``maps`` as a method's predictions."""
    needs = changes.pop("needs", ["image", "audio"])
    command, method = changes.pop("command", ""), changes.pop("method", "m")
    inputs = {"checkpoint": None, "overrides": {}, "audio_rate": 16000, "code": "c", "method": method, **changes}
    inputs |= {"audio": audio, "split": split.sha256, "embeddings": changes.get("embeddings", False)}
    key = hash_json(inputs)
    stored = Stored(
        folder=runs / "predictions" / split.name / f"{method}-{key[:12]}",
        key=key,
        method=method,
        control=not needs,
        audio=audio,
        split=split.name,
        split_sha256=split.sha256,
        truth=write_truth(split, runs).name,
        expected=split.n,
        missing=(),
        resolved={"method": {"name": method, "info": {"control": not needs, "needs": needs}}},
        inputs=inputs,
        asked={"command": command, "device": "cpu"},
    )
    write_stored(stored)
    ids = [sample.id for sample in split.samples]
    for number, start in enumerate(range(0, len(ids), PART)):
        write_part(stored.folder, number, Part(ids[start : start + PART], {"map": maps[start : start + PART]}))
    return stored


def keep_all(runs: Path, split: Split, maps: dict[str, torch.Tensor], **changes) -> None:
    for audio, values in maps.items():
        keep(runs, split, values, audio, **changes)


def ask(runs: Path, plan: Plan = QUICK) -> list[Listening]:
    return list(listen(find_stored([runs]), plan).found)


def boxes_as_maps(split: Split, inside: float = 1.0) -> torch.Tensor:
    """``[n, 2, 2]`` maps that are ``inside`` the box and 0 elsewhere."""
    left = torch.tensor([n % 2 == 0 for n in range(split.n)])[:, None, None]
    columns = torch.stack([left.expand(-1, 2, 1), ~left.expand(-1, 2, 1)], dim=2)[..., 0]
    return columns * inside


def random_maps(count: int, seed: int, size: int = 5) -> torch.Tensor:
    return torch.randn(count, size, size, generator=torch.Generator().manual_seed(seed))


def test_a_method_that_ignores_the_audio(tmp_path):
    split, maps = split_of(8), random_maps(8, 0)
    keep_all(tmp_path, split, dict.fromkeys(KINDS, maps))
    found = ask(tmp_path)[0]
    assert list(found.drops) == list(found.unchanged) == ["silent", "noise", "offscreen"]
    for drop in found.drops.values():
        assert (drop.value, drop.low, drop.high, drop.p, drop.p_holm) == (0, 0, 0, 1, 1)
    assert set(found.unchanged.values()) == set(found.unchanged_nearly.values()) == {1}
    assert set(found.scores["maxq3"].agreement.values()) == {1}
    assert len({tuple(ends.values()) for ends in found.extremes.values()}) == 1
    assert len({rate.value for rate in found.success.values()}) == 1


def test_a_method_that_listens_has_numbers_worked_out_by_hand(tmp_path):
    """Maps of the canvas's size, which no interpolation changes; thresholds and areas by hand."""
    split = split_of(4)
    own = read_truth(write_truth(split, tmp_path)).union_maps(slice(None)).float()
    flat = torch.ones(4, 224, 224)
    other = flat * torch.tensor([0.5, 0.5, 0.1, 0.1])[:, None, None]
    keep_all(tmp_path, split, {"true": own, "silent": 0 * flat, "noise": 0.2 * flat, "offscreen": other})
    found = ask(tmp_path)[0]
    assert {audio: rate.value for audio, rate in found.success.items()} == {
        "true": 1,
        "silent": 1,  # the whole canvas, half of which is the box: success at exactly 0.5
        "noise": 1,
        "offscreen": 1,
    }
    maxima = np.float32([0] * 4 + [0.1] * 2 + [0.2] * 4 + [0.5] * 2).astype(float)
    for rule, quantile in (("max", 1), ("max10", 0.9), ("maxq3", 0.75)):
        assert found.scores[rule].threshold == pytest.approx(np.quantile(maxima, quantile), abs=1e-12)
    third = found.scores["maxq3"]
    assert (third.ciou_uth, third.nan_ciou) == (1, 0)
    assert third.pia == {"silent": 0, "noise": 0, "offscreen": 0.5}  # 0.2 is not > 0.2
    assert third.auc_n == pytest.approx({"silent": 1, "noise": 1, "offscreen": 0.5125})
    assert third.f_loc == pytest.approx(2 * (5 / 6) / (1 + 5 / 6))
    assert third.f_loc_by_kind == pytest.approx({"silent": 1, "noise": 1, "offscreen": 2 / 3})
    area = (1 + 1 + 0.5125) / 3
    assert third.f_auc == pytest.approx(2 * area / (1 + area))
    assert third.agreement == {
        "true/silent": 0,
        "true/noise": 0,
        "true/offscreen": 0.25,  # half of the canvas where two maps are full
        "silent/noise": 1,
        "silent/offscreen": 0.5,
        "noise/offscreen": 0.5,
    }
    assert found.scores["max"].pia == {"silent": 0, "noise": 0, "offscreen": 0}
    assert found.scores["max"].f_loc == 1
    assert found.extremes["offscreen"] == pytest.approx(
        {"mean_max": 0.3, "median_max": 0.3, "mean_min": 0.3, "median_min": 0.3, "nan": 0}, abs=1e-7
    )


def test_drops_and_their_tests_by_hand(tmp_path):
    split = split_of(10)
    right, wrong = boxes_as_maps(split), boxes_as_maps(split, -1.0)
    some = torch.cat([wrong[:6], right[6:]])
    keep_all(tmp_path, split, {"true": right, "silent": some, "noise": wrong, "offscreen": right})
    found = ask(tmp_path)[0]
    assert [found.success[audio].value for audio in KINDS] == pytest.approx([1, 0.4, 0, 1])
    assert found.success["noise"].low == 0
    assert found.success["noise"].high == pytest.approx(0.2775, abs=1e-4)  # Wilson's for 0 of 10
    assert [drop.value for drop in found.drops.values()] == pytest.approx([0.6, 1, 0])
    assert [drop.p for drop in found.drops.values()] == [2 / 2**6, 2 / 2**10, 1]
    assert [drop.p_holm for drop in found.drops.values()] == [4 / 2**6, 6 / 2**10, 1]
    assert 0.2 <= found.drops["silent"].low < 0.6 < found.drops["silent"].high <= 1
    assert found.unchanged == {"silent": 0.4, "noise": 0, "offscreen": 1}


def test_a_map_that_moves_within_a_millionth_of_its_range_is_nearly_the_same(tmp_path):
    split = split_of(4)
    own = boxes_as_maps(split, 8.0)
    moved = own + torch.tensor([0.0, 4e-6, 2e-5, 1.0])[:, None, None]
    keep_all(tmp_path, split, {"true": own, "silent": moved, "noise": own, "offscreen": own})
    found = ask(tmp_path)[0]
    assert (found.unchanged["silent"], found.unchanged_nearly["silent"]) == (0.25, 0.5)


def linear(size: int) -> np.ndarray:
    """``[224, size]``: the weights of half-pixel linear interpolation, as OpenCV's INTER_LINEAR."""
    weights = np.zeros((224, size))
    for pixel in range(224):
        place = max((pixel + 0.5) * size / 224 - 0.5, 0)
        low = min(int(place), size - 1)
        high, part = min(low + 1, size - 1), place - low
        weights[pixel, low] += 1 - part
        weights[pixel, high] += part
    return weights


def test_against_a_plain_loop(tmp_path):
    """One sample and one map at a time, over two part files; samples without a box are left out by hand."""
    unboxed = set(range(0, 260, 2)) | {255, 259}
    split = split_of(260, unboxed=unboxed)
    maps = {audio: random_maps(260, seed) + 0.2 * (audio == "true") for seed, audio in enumerate(KINDS)}
    keep_all(tmp_path, split, maps)
    found, kept = ask(tmp_path)[0], [n for n in range(260) if n not in unboxed]
    weights = linear(5)
    wide = {audio: [weights @ maps[audio][n].double().numpy() @ weights.T for n in kept] for audio in KINDS}
    threshold = np.quantile([np.max(one) for audio in KINDS[1:] for one in wide[audio]], 0.75)
    box = np.arange(224)[None] >= np.full((224, 1), 112)  # of the odd samples, which have the boxes
    overlaps, shares, agreements = [], {audio: [] for audio in KINDS[1:]}, []
    for place in range(len(kept)):
        own = wide["true"][place] > threshold
        overlaps.append((own & box).sum() / (own | box).sum())
        for audio in KINDS[1:]:
            shares[audio].append((wide[audio][place] > threshold).mean())
        other = wide["noise"][place] > threshold
        either = (own | other).sum()
        agreements.append((own & other).sum() / either if either else 1.0)
    scores, near = found.scores["maxq3"], {"abs": 1e-4}
    assert (found.n, found.n_expected) == (len(kept), 260)
    assert scores.threshold == pytest.approx(threshold, abs=1e-5)
    assert scores.ciou_uth == pytest.approx(np.mean(overlaps), **near)
    assert scores.pia == pytest.approx({audio: np.mean(values) for audio, values in shares.items()}, **near)
    assert scores.agreement["true/noise"] == pytest.approx(np.mean(agreements), **near)
    rates = {a: np.mean([[s <= 0.05 * k for s in v] for k in range(21)], axis=1) for a, v in shares.items()}
    assert scores.auc_n == pytest.approx({a: np.trapezoid(rate, dx=0.05) for a, rate in rates.items()}, **near)
    silence = 1 - np.mean([np.mean(values) for values in shares.values()])
    assert scores.f_loc == pytest.approx(2 * np.mean(overlaps) * silence / (np.mean(overlaps) + silence), **near)
    highest = [np.max(one) for one in wide["silent"]]
    ends = {name: found.extremes["silent"][name] for name in ("mean_max", "median_max")}
    assert ends == pytest.approx({"mean_max": np.mean(highest), "median_max": np.median(highest)}, abs=1e-5)


def test_counted_shares_and_agreements_are_those_of_the_metrics_to_the_bit():
    maps = {audio: random_maps(20, seed, 30) for seed, audio in enumerate(KINDS)}
    maps["silent"][:5] = maps["true"][:5] = -9
    masks = {audio: values > 0.3 for audio, values in maps.items()}
    found = _shares(masks)
    assert torch.equal(found["share", "noise"], share_above(maps["noise"], 0.3))
    for pair in ("true/silent", "silent/noise"):
        one, other = pair.split("/")
        assert torch.equal(found["agreement", pair], map_agreement(masks[one], masks[other]))
    assert found["agreement", "true/silent"][:5].tolist() == [1] * 5


def test_samples_without_a_box_do_not_enter(tmp_path):
    plain, longer = split_of(4), split_of(6, unboxed={4, 5})
    maps = {audio: random_maps(6, seed) for seed, audio in enumerate(KINDS)}
    maps = {audio: values[:, :2, :2] for audio, values in maps.items()} | {"true": boxes_as_maps(longer)}
    for values in maps.values():
        values[4:] = 1e6
    keep_all(tmp_path / "plain", plain, {audio: values[:4] for audio, values in maps.items()})
    keep_all(tmp_path / "longer", longer, maps)
    one, other = ask(tmp_path / "plain")[0], ask(tmp_path / "longer")[0]
    assert (one.n, other.n, other.n_expected) == (4, 4, 6)
    assert (one.scores, one.extremes, one.drops) == (other.scores, other.extremes, other.drops)
    assert one.success == other.success
    assert one.success["true"].value == 1 > one.success["noise"].value


def test_samples_of_one_picture_are_drawn_together(tmp_path):
    split = split_of(12, pictures=4)
    maps = {"true": boxes_as_maps(split), **dict.fromkeys(KINDS[1:], boxes_as_maps(split, -1.0))}
    keep_all(tmp_path, split, maps)
    found = ask(tmp_path)[0]
    assert found.clustered
    assert found.drops["noise"].p == pytest.approx(2 / 201), "the bootstrap's, not McNemar's 2 / 2**12"
    assert (found.success["true"].low, found.success["true"].high) == (1, 1)


def test_a_map_with_nan_is_counted_and_comes_back_from_the_file(tmp_path):
    split = split_of(4)
    maps = {audio: random_maps(4, seed) for seed, audio in enumerate(KINDS)}
    maps["noise"][:] = math.nan
    keep_all(tmp_path, split, maps)
    found = ask(tmp_path)[0]
    assert found.extremes["noise"]["nan"] == 4
    assert math.isnan(found.extremes["noise"]["mean_max"])
    assert found.scores["maxq3"].pia["noise"] == 0
    assert found.as_json()["extremes"]["noise"]["mean_max"] is None
    assert "NaN" not in found.path.read_text()


def test_the_threshold_may_come_from_elsewhere(tmp_path):
    here, there = split_of(4, "here"), split_of(6, "there", unboxed={5})
    keep_all(tmp_path, here, {audio: random_maps(4, seed) for seed, audio in enumerate(KINDS)})
    louder = {audio: 3 + random_maps(6, seed) for seed, audio in enumerate(KINDS)}
    keep_all(tmp_path, there, louder)
    places = tmp_path / "predictions"
    own = ask(places / "here")[0]
    lent = ask(places / "here", replace(QUICK, threshold_from=places / "there"))[0]
    assert lent.threshold_from == {"split": "there", "n": 5}
    assert own.threshold_from is None
    assert lent.path != own.path
    source = ask(places / "there")[0]
    assert [lent.scores[rule].threshold for rule in lent.scores] == [one.threshold for one in source.scores.values()]
    assert lent.scores["maxq3"].pia != own.scores["maxq3"].pia
    assert (lent.success, lent.extremes) == (own.success, own.extremes)
    same = ask(places / "here", replace(QUICK, threshold_from=places / "here"))[0]
    assert same.scores == own.scores


def test_the_off_screen_audio_is_the_official_draw_where_all_methods_have_it(tmp_path):
    split = split_of(4)
    both = (*KINDS, "swapped")
    maps = {audio: random_maps(4, seed) for seed, audio in enumerate(both)}
    keep_all(tmp_path, split, maps)
    assert ask(tmp_path)[0].off_screen == "offscreen"
    assert ask(tmp_path, replace(QUICK, off_screen="swapped"))[0].off_screen == "swapped"
    without = {audio: values for audio, values in maps.items() if audio != "offscreen"}
    keep_all(tmp_path, split, without, method="other")
    answers = ask(tmp_path)
    assert [(one.method, one.off_screen) for one in answers] == [("m", "swapped"), ("other", "swapped")]
    assert list(answers[1].success) == ["true", "silent", "noise", "swapped"]
    with pytest.raises(UsageError, match=r"true,silent,noise,offscreen audio .* other with true,silent,noise,swapped"):
        ask(tmp_path, replace(QUICK, off_screen="offscreen"))


def test_embeddings_and_copies_do_not_separate_predictions(tmp_path):
    split, maps = split_of(3), random_maps(3, 0)
    keep_all(tmp_path, split, dict.fromkeys(("true", "silent"), maps), embeddings=True)
    keep_all(tmp_path, split, dict.fromkeys(KINDS[2:], maps))
    shutil.copytree(tmp_path / "predictions", tmp_path / "copy" / "predictions")
    shutil.copytree(tmp_path / "truth", tmp_path / "copy" / "truth")
    found = find_stored([tmp_path, tmp_path / "copy"])
    assert len(audio_sets(found)) == 1
    assert off_screen_of(audio_sets(found)) == "offscreen"
    assert len(listen(found, QUICK).found) == 1


def test_several_predictions_of_a_method_are_told_apart_and_incomplete_ones_named(tmp_path):
    split = split_of(4)
    for checkpoint in ("one", "two"):
        keep_all(tmp_path, split, dict.fromkeys(KINDS, random_maps(4, len(checkpoint))), checkpoint=checkpoint)
    keep(tmp_path, split, random_maps(4, 1), checkpoint="three")
    answers = listen(find_stored([tmp_path]), QUICK)
    keys = {one.provenance["keys"]["true"][:12] for one in answers.found}
    assert {one.title for one in answers.found} == {f"m@{key}" for key in keys}
    assert len(keys) == 2
    ((title, place),) = answers.left_out
    assert place == "mine"
    assert title.endswith("(true)")


def test_what_does_not_hear_is_named_and_not_scored(tmp_path):
    split = split_of(4)
    keep_all(tmp_path, split, dict.fromkeys(KINDS, random_maps(4, 0)))
    keep(tmp_path, split, random_maps(4, 1), method="looks", needs=["image"])
    keep(tmp_path, split_of(3, "elsewhere"), random_maps(3, 1), method="disc", needs=[])
    answers = listen(find_stored([tmp_path]), QUICK)
    assert [one.method for one in answers.found] == ["m"]
    assert answers.deaf == (("mine", "looks"),)
    with pytest.raises(UsageError, match="expected predictions of a method that hears, found those of disc alone"):
        ask(tmp_path / "predictions" / "elsewhere")


def test_missing_audio_is_asked_for_by_the_command_that_makes_it(tmp_path):
    split, made = split_of(4), "avbench run --method m --audio=true --split mine --runs old --audio-rate native"
    keep_all(tmp_path, split, dict.fromkeys(("silent", "true"), random_maps(4, 0)), command=made)
    with pytest.raises(UsageError) as caught:
        ask(tmp_path)
    command = f"avbench run --method m --split mine --audio-rate native --audio {','.join(KINDS)} --runs {tmp_path}"
    assert str(caught.value) == (
        "expected predictions with true,silent,noise,offscreen audio of every method that hears, found on mine those "
        f"of m with true,silent alone: type `{command}`, or choose others by --method and --split"
    )


def test_without_a_known_command_the_shortest_is_named(tmp_path):
    keep(tmp_path, split_of(4), random_maps(4, 0))
    with pytest.raises(UsageError, match="`avbench run --method m --split mine --audio true,silent,noise,swapped --ru"):
        ask(tmp_path, replace(QUICK, off_screen="swapped"))


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"checkpoint": "other"}, "checkpoint"), ({"missing": ["s003"], "code": "d"}, "code, missing")],
)
def test_kinds_of_audio_from_different_predictions_are_refused(tmp_path, changes, what):
    split = split_of(4)
    keep_all(tmp_path, split, dict.fromkeys(KINDS[:2], random_maps(4, 0)))
    keep_all(tmp_path, split, dict.fromkeys(KINDS[2:], random_maps(4, 0)), **changes)
    sentence = rf"of m on mine that differ in the audio alone, found those with .* to differ in {what}: predict all"
    with pytest.raises(UsageError, match=sentence):
        ask(tmp_path)


def test_kinds_of_audio_with_different_truths_are_refused(tmp_path):
    one, other = split_of(4), split_of(4, unboxed={0})
    keep_all(tmp_path, one, dict.fromkeys(KINDS[:3], random_maps(4, 0)))
    keep(tmp_path, other, random_maps(4, 0), "offscreen")
    with pytest.raises(UsageError, match="to differ in truth: predict all of them alike"):
        ask(tmp_path)


def spoil(runs: Path, what: str) -> None:
    stored = next(one for one in find_stored([runs]) if one.audio == "noise")
    part = stored.folder / "part-00000.safetensors"
    ids = read_part(part).ids
    if what == "cut":
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    elif what == "other samples":
        write_part(stored.folder, 0, Part([f"x{n}" for n in range(4)], {"map": random_maps(4, 0)}))
    elif what == "other shape":
        write_part(stored.folder, 0, Part(ids, {"map": torch.rand(4, 5)}))
    elif what == "other size":
        write_part(stored.folder, 0, Part(ids, {"map": random_maps(4, 0, 7)}))
    elif what == "no truth":
        shutil.rmtree(runs / "truth")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("cut", r"the part file .*part-00000.safetensors cannot be read .*: delete it and run again"),
        ("other samples", r"are of other samples than the truth in mine-.*\(they have x0 where it has s000\): predict"),
        ("other shape", r"expected maps \[4, h, w\] in .*, found \[4, 5\]: predict again"),
        ("other size", r"expected maps of one size .* found \[5, 5\] with true .* and \[7, 7\] with noise audio in"),
        ("no truth", r"the truth that predictions were scored against is not at"),
    ],
)
def test_broken_predictions_are_named(tmp_path, what, sentence):
    keep_all(tmp_path, split_of(4), dict.fromkeys(KINDS, random_maps(4, 0)))
    ask(tmp_path)[0].path.unlink()  # the records under common stay, so that the maps are read for listening alone
    spoil(tmp_path, what)
    with pytest.raises(AvbenchError, match=sentence):
        ask(tmp_path)


def test_a_split_without_boxes_is_refused(tmp_path):
    keep_all(tmp_path, split_of(3, unboxed={0, 1, 2}), dict.fromkeys(KINDS, random_maps(3, 0)))
    with pytest.raises(UsageError, match="whether m listens shows on samples with a box, and mine has none"):
        ask(tmp_path)


def lenders(runs: Path, what: str) -> Path:
    """A place from which thresholds cannot be taken."""
    maps, there = dict.fromkeys(KINDS, random_maps(4, 0)), split_of(4, "there")
    if what == "other method":
        keep_all(runs / what, there, maps, method="n")
    elif what == "other weights":
        keep_all(runs / what, there, maps, checkpoint="x", overrides={"tau": "1"})
    elif what == "too few":
        keep_all(runs / what, there, dict.fromkeys(("true", "silent"), maps["true"]))
    elif what == "two":
        keep_all(runs / what, there, maps)
        keep_all(runs / what, split_of(4, "third"), maps)
    elif what == "deaf":
        keep(runs / what, there, maps["true"], method="disc", needs=[])
    elif what == "no boxes":
        keep_all(runs / what, split_of(4, "there", unboxed={0, 1, 2, 3}), maps)
    return runs / what


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("other method", "expected predictions of m in .*, found those of n: name a run of m"),
        ("other weights", "cannot come from .*: the checkpoint and overrides of the predictions there differ"),
        ("too few", "expected predictions with silent,noise,offscreen audio .* on there those of m with true,silent"),
        ("two", "expected one set of m in .*, found 2: name one of .*there, .*third"),
        ("deaf", "found those of no method that hears: name a run of m"),
        ("no boxes", "thresholds come from samples with a box, and there has none: name another run"),
        ("nothing", "expected a folder of predictions or a record at .*, found nothing"),
    ],
)
def test_thresholds_from_the_wrong_place(tmp_path, what, sentence):
    keep_all(tmp_path / "own", split_of(4), dict.fromkeys(KINDS, random_maps(4, 0)))
    with pytest.raises(UsageError, match=sentence):
        ask(tmp_path / "own", replace(QUICK, threshold_from=lenders(tmp_path, what)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 0}, "expected an answer of format 1 in .*, found another form: delete it"),
        ({"success": 3}, "the answer .* is incomplete or changed .*: delete it"),
        ({"drops": {"noise": {"value": 1}}}, "the answer .* is incomplete or changed .*: delete it"),
        ({"novel": 1}, "the answer .* is incomplete or changed .*: delete it"),
    ],
)
def test_a_changed_answer_is_refused(tmp_path, change, sentence):
    keep_all(tmp_path, split_of(3), dict.fromkeys(KINDS, random_maps(3, 0)))
    path = ask(tmp_path)[0].path
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(AvbenchError, match=sentence):
        read_listening(path)


def test_an_answer_is_found_again_without_torch_or_maps(tmp_path):
    split = split_of(4)
    keep_all(tmp_path, split, {audio: random_maps(4, seed) for seed, audio in enumerate(KINDS)})
    first = ask(tmp_path, Plan())[0]
    assert first.path.parent == tmp_path / "records" / "mine"
    assert first.path.name.startswith("m.listening-")
    for part in (tmp_path / "predictions").rglob("part-*"):
        part.write_bytes(b"")
    code = "import sys\nfrom avbench.cli import main\nprint(main(sys.argv[1:]), 'torch' in sys.modules)"
    command = [sys.executable, "-c", code, "listen", str(tmp_path), "--out", str(tmp_path / "out.md")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert "does it listen?" in done.stdout
    assert "| m " in (tmp_path / "out.md").read_text()
    assert ask(tmp_path, Plan()) == [first]
    assert ask(tmp_path / "predictions", Plan(seed=0)) == [first]
    with pytest.raises(AvbenchError, match="cannot be read"):  # another seed is another answer
        ask(tmp_path, Plan(seed=1))


def listen_json(capsys, *arguments) -> dict:
    assert main(["listen", *map(str, arguments), "--resamples", "100", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_predicting_first_and_then_from_what_is_stored(capsys, plugin_file, tiny_set, tmp_path):
    runs, method = tmp_path / "runs", f"{plugin_file}:Tiny"
    how = ["--method", f"{method},disc", "--split", tiny_set, "--runs", runs, "--device", "cpu"]
    made = listen_json(capsys, *how)
    (answer,) = made["listening"]
    assert (answer["method"], answer["split"], answer["n"]) == ("tiny-plugin", "tiny", 5)
    assert list(answer["success"]) == list(KINDS)
    assert made["not_hearing"] == [{"split": "tiny", "method": "disc"}]
    assert Path(answer["record"]).is_file()
    assert answer["unchanged"]["silent"] == 0
    shutil.rmtree(tiny_set.parent)
    assert listen_json(capsys, runs) == made
    assert listen_json(capsys, runs, "--method", "tiny-plugin")["not_hearing"] == []


def test_what_a_run_lacks_is_made_by_the_command_named(capsys, plugin_file, tiny_set, tmp_path):
    how = ["--split", str(tiny_set), "--runs", str(tmp_path / "runs"), "--controls", "false", "--pictures", "false"]
    assert main(["run", "--method", f"{plugin_file}:Tiny", *how]) == 0
    assert main(["listen", str(tmp_path / "runs")]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert main(told.split("`")[1].split()[1:]) == 0
    assert main(["listen", str(tmp_path / "runs"), "--resamples", "50"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "expected a RUN with predictions, or --method and --split to predict first: give either"),
        (["--method", "disc"], "expected a RUN with predictions, or --method and --split to predict first"),
        (["RUNS", "--checkpoint", "x.pth"], "--checkpoint is for predicting, and .* holds predictions: leave out one"),
        (["RUNS", "--allow-missing"], "--allow-missing is for predicting"),
        (["RUNS", "--off-screen", "noise"], "expected --off-screen offscreen or swapped, got 'noise'"),
        (["RUNS", "--out", "table.txt"], r"expected --out FILE ending in .md, .csv or .tex, got 'table.txt'"),
        (["RUNS", "--resamples", "0"], "expected --resamples of at least 1, got 0"),
        (["RUNS", "--method", "mm"], "expected one method among the predictions .m., got 'mm'"),
        (["nowhere"], "expected a folder of predictions or a record at nowhere, found nothing"),
    ],
)
def test_wrong_requests(capsys, tmp_path, arguments, sentence):
    keep(tmp_path, split_of(3), random_maps(3, 0))
    assert main(["listen", *(str(tmp_path) if word == "RUNS" else word for word in arguments)]) == 2
    assert re.search(sentence, capsys.readouterr().err)
