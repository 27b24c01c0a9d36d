"""Official sets from the command to the numbers: boxes of several annotators, masks without boxes, mixed sounds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image

from avbench import preparing
from avbench.cli import main
from avbench.data import splits
from avbench.data.batches import RawBatch, hear
from avbench.data.coverage import coverage
from avbench.data.decoding import cut, decode_audio
from avbench.data.readers import Wanted
from avbench.data.splits import Sample, Split, SplitSummary, load_split, split_summary
from avbench.errors import AvbenchError
from avbench.metrics.consensus_iou import consensus_iou
from avbench.metrics.ground_truth import consensus_map, union_map
from avbench.metrics.maps import upsample
from avbench.metrics.masks import rank_mask
from avbench.metrics.protocols import PROTOCOLS
from avbench.metrics.scoring import RawMaps, Row, measure_rows, score
from avbench.parts import read_part
from avbench.records import Record, read_record
from avbench.request import truth_kinds
from avbench.stored import find_stored
from avbench.truth import read_truth, write_truth
from avbench.types import Window

COUNT = 12
NAMES = [str(10_000_130_166 + n) for n in range(COUNT)]
LEFT, MIDDLE = (0.0, 0.0, 0.5, 1.0), (0.25, 0.0, 0.75, 1.0)


def split_of(*samples: Sample, **changes) -> Split:
    return replace(Split("mine", "Mine", samples, "f" * 64, len(samples), has_media=False, source=""), **changes)


def sample(name: str, *boxes, **changes) -> Sample:
    return Sample(name, None, None, boxes, image_name=name, **changes)


def with_mask(name: str, path: Path, pixels, *boxes, **changes) -> Sample:
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path / f"{name}.png")
    return sample(name, *boxes, mask=path / f"{name}.png", **changes)


def test_a_pixel_weighs_what_the_annotators_agree_on(tmp_path: Path) -> None:
    boxes = [[(0, 0, 128, 256)], [(0, 0, 128, 256), (64, 0, 192, 256)], [(0, 0, 99, 9)] * 3, [(9, 9, 9, 9)]]
    fractions = [tuple(tuple(v / 256 for v in box) for box in some) for some in boxes]
    plain = sample("plain", LEFT, MIDDLE)
    agreed = [sample(f"s{n}", *some, consensus=True) for n, some in enumerate(fractions)]
    came = read_truth(write_truth(split_of(plain, *agreed), tmp_path))
    assert (came.consensus, came.positive.tolist()) == ((False, True, True, True, True), [True] * 5)
    maps = came.union_maps(slice(None))
    assert maps.dtype == torch.float32
    assert torch.equal(maps[0].double(), union_map([LEFT, MIDDLE]))
    for drawn, some in zip(maps[1:], boxes, strict=True):
        assert torch.equal(drawn.double(), consensus_map(some))
    assert [sorted(set(drawn.flatten().tolist())) for drawn in maps[1:]] == [[0, 0.5], [0, 0.5, 1], [0, 1], [0]]
    assert came.union_maps(slice(0, 1)).dtype == torch.uint8
    assert torch.equal(came.union_maps(slice(1, 3)), maps[1:3])


def test_the_truth_of_a_family_moves_the_key_and_comes_back(tmp_path: Path) -> None:
    paths = [write_truth(split_of(sample("a", LEFT), family=family), tmp_path) for family in ("vggss", "flickr")]
    assert [read_truth(path).family for path in paths] == ["vggss", "flickr"]
    both = [write_truth(split_of(sample("a", LEFT, consensus=flag)), tmp_path) for flag in (False, True)]
    assert both[0] != both[1]


def test_a_mask_stands_for_boxes_that_are_not_there(tmp_path: Path) -> None:
    pixels = np.zeros((224, 224))
    pixels[:56] = 255
    boxed, masked, silent = (
        with_mask("boxed", tmp_path, pixels, LEFT),
        with_mask("masked", tmp_path, pixels),
        with_mask("silent", tmp_path, 0 * pixels, sounding=False),
    )
    came = read_truth(write_truth(split_of(boxed, masked, silent, sample("off", sounding=False)), tmp_path))
    assert came.positive.tolist() == [True, True, False, False]
    maps = came.union_maps(slice(None))
    assert maps.sum(dim=(1, 2)).tolist() == [112 * 224, 56 * 224, 0, 0]
    assert torch.equal(maps[1], torch.from_numpy((pixels > 0).astype(np.uint8)))
    assert torch.equal(came.union_maps(slice(1, 2)), maps[1:2])


def test_a_sounding_sample_without_any_truth_is_no_negative(tmp_path: Path) -> None:
    with pytest.raises(AvbenchError, match=r"b of mine sounds, and has neither boxes nor a mask .*: expected .*b.png"):
        write_truth(split_of(sample("a", LEFT), sample("b")), tmp_path)


def test_what_samples_can_be_scored_against(tmp_path: Path) -> None:
    masked = with_mask("m", tmp_path, np.ones((4, 4)))
    assert truth_kinds([sample("a", LEFT), sample("b", sounding=False)]) == {"boxes"}
    assert truth_kinds([masked]) == {"boxes", "masks"}
    assert truth_kinds([masked, sample("a", LEFT)]) == {"boxes"}
    assert truth_kinds([sample("b", sounding=False)]) == {"boxes"}
    assert truth_kinds([sample("b")]) == set()


@pytest.fixture
def shrunk(monkeypatch, tmp_path: Path) -> Path:
    """A folder of short files in the place of official ones: the first dozen of each split is all there is."""
    metadata = tmp_path / "meta"
    (metadata / "Annotations").mkdir(parents=True)
    rows = {
        "flickr_test_250.csv": "".join(f"{n},0\n" for n in NAMES),
        "flickr_test_plus_silent.csv": "".join(
            f"{n},{m},non-sounding\n" for n, m in zip(NAMES, NAMES[::-1], strict=True)
        ),
        "vgginstruments_test.csv": "".join(f"sample{n:04d},banjo\n" for n in range(COUNT)),
    }
    for name, text in rows.items():
        (metadata / name).write_text(text)

    def summary(name: str) -> SplitSummary:
        known = split_summary(name)
        files = {role: Wanted(file.name) for role, file in known.files.items()}
        return replace(known, n=COUNT * len(files), sha256="", files=files)

    monkeypatch.setattr(splits, "split_summary", summary)
    return metadata


@pytest.fixture
def flickr(shrunk: Path) -> tuple[Path, dict[str, list]]:
    """The same folder with three boxes of each clip, here as pixels of a 256-pixel frame."""
    rng = np.random.default_rng(7)
    starts = rng.integers(0, 120, (COUNT, 3, 2))
    corners = np.concatenate([starts, starts + rng.integers(20, 130, starts.shape)], axis=2).tolist()
    for name, some in zip(NAMES, corners, strict=True):
        inner = "".join(f"<bbox><by>{n}</by>{xml_of(box)}</bbox>" for n, box in enumerate(some))
        (shrunk / "Annotations" / f"{name}.xml").write_text(f"<annotation>{inner}</annotation>")
    return shrunk, dict(zip(NAMES, corners, strict=True))


def xml_of(box: list[int]) -> str:
    return "".join(f"<{c}>{v}</{c}>" for c, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))


def ran(tmp_path: Path, *arguments: str) -> Path:
    runs = tmp_path / "runs"
    assert main(["run", *arguments, "--runs", str(runs), "--pictures", "false", "--controls", "false"]) == 0
    return runs


def records_of(runs: Path) -> list[Record]:
    return [read_record(path) for path in sorted((runs / "records").rglob("*.json"))]


def per_sample(runs: Path, method: str, protocol: str) -> tuple[pd.DataFrame, dict]:
    (record,) = (r for r in records_of(runs) if (r.method, r.protocol) == (method, protocol))
    return pd.read_parquet(record.path.with_suffix(".parquet")), record.metrics


def test_the_boxes_of_annotators_from_the_command_to_the_numbers(flickr, tmp_path: Path) -> None:
    metadata, boxes = flickr
    how = ("--method", "disc,whole", "--split", "flickr-extended", "--metadata", str(metadata))
    runs = ran(tmp_path, *how, "--protocol", "common,alignment,jsa")
    maps = torch.stack([consensus_map(boxes[name]) for name in list(boxes)])
    table, metrics = per_sample(runs, "whole", "common")
    assert table["ciou"][:COUNT].tolist() == consensus_iou(torch.ones(COUNT, 224, 224, dtype=torch.bool), maps).tolist()
    assert table["area"].tolist() == [*maps.sum(dim=(1, 2)).tolist(), *[0.0] * COUNT]
    assert metrics["mean_ciou"] == pytest.approx(table["ciou"][:COUNT].mean())
    assert {"ap", "max_f1"} <= set(metrics)
    (stored,) = (found for found in find_stored([runs]) if found.method == "disc")
    native = read_part(stored.folder / "part-00000.safetensors").tensors["map"][:COUNT]
    for protocol in ("common", "jsa", "alignment"):
        expected = score(native, maps, PROTOCOLS[protocol].on("flickr"))
        assert per_sample(runs, "disc", protocol)[0]["ciou"][:COUNT].tolist() == expected.tolist(), protocol


def test_the_engine_on_half_weights_is_the_plain_formula() -> None:
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(40, 7, 7, generator=generator)
    truth = torch.randint(0, 3, (40, 224, 224), generator=generator).float() / 2
    truth[:5] = 0
    (found,) = measure_rows([Row(RawMaps(maps), PROTOCOLS["common"])], {"boxes": truth}, confidence=False)
    wide = upsample(maps, "bicubic", align_corners=False, keep_constant=True)
    assert torch.equal(found["ciou"], consensus_iou(rank_mask(wide, 0.5, operator=">="), truth.double()))


def test_exported_annotations_hold_the_pixels_of_a_single_annotator(flickr, tmp_path: Path) -> None:
    metadata, boxes = flickr
    runs = ran(tmp_path, "--method", "disc", "--split", "flickr", "--metadata", str(metadata))
    assert main(["export", str(runs), "-o", str(tmp_path / "coco")]) == 0
    exported = json.loads((tmp_path / "coco/annotations.json").read_text())["annotations"]
    assert [a["area"] for a in exported] == [int((consensus_map(some) > 0).sum()) for some in boxes.values()]


def test_the_hash_of_a_split_covers_the_boxes_that_were_read(flickr) -> None:
    metadata, boxes = flickr
    listed, before = (load_split("flickr", metadata=metadata, truth=flag) for flag in (False, True))
    path = metadata / "Annotations" / f"{next(iter(boxes))}.xml"
    path.write_text(path.read_text().replace("<xmin>", "<xmin>1", 1))
    after = load_split("flickr", metadata=metadata)
    assert len({listed.sha256, before.sha256, after.sha256}) == 3
    assert [s.boxes for s in listed.samples] == [()] * COUNT


def test_boxes_beside_the_media_come_first(flickr, tmp_path: Path) -> None:
    metadata, boxes = flickr
    name = next(iter(boxes))
    for folder in ("frames", "audio", "Annotations"):
        (tmp_path / "media" / folder).mkdir(parents=True)
    (tmp_path / f"media/frames/{name}.jpg").touch()
    text = "<a><bbox><xmin>0</xmin><ymin>0</ymin><xmax>128</xmax><ymax>256</ymax></bbox></a>"
    (tmp_path / f"media/Annotations/{name}.xml").write_text(text)
    found = load_split("flickr", metadata=metadata, data=tmp_path / "media").samples
    assert found[0].boxes == ((0, 0, 0.5, 1),)
    assert len(found[1].boxes) == 3


def test_masks_alone_from_the_command_to_the_numbers(shrunk: Path, tmp_path: Path) -> None:
    media, pixels = tmp_path / "media", np.zeros((28, 28), dtype=np.uint8)
    for folder in ("frames", "audio", "masks"):
        (media / folder).mkdir(parents=True)
    listed = load_split("vggsound-instruments", metadata=shrunk)
    (media / f"frames/{listed.samples[0].id}.jpg").touch()
    for number, one in enumerate(listed.samples):
        pixels[:] = 0
        pixels[: 1 + number % 27] = 255
        Image.fromarray(pixels).save(media / f"masks/{one.id}.png")
    how = ("--method", "whole", "--metadata", str(shrunk), "--data", str(media), "--protocol", "common,avsbench")
    runs = ran(tmp_path, *how, "--split", "vggsound-instruments")
    table, metrics = per_sample(runs, "whole", "common")
    expected = [(1 + number % 27) / 28 for number in range(COUNT)]
    assert table["ciou"].tolist() == pytest.approx(expected)
    assert metrics["mean_ciou"] == pytest.approx(np.mean(expected))
    assert "ap" not in metrics
    assert per_sample(runs, "whole", "avsbench")[1]["miou"] == pytest.approx(np.mean(expected))


def test_one_missing_mask_is_named(shrunk: Path, tmp_path: Path, capsys) -> None:
    for folder in ("frames", "audio", "masks"):
        (tmp_path / "media" / folder).mkdir(parents=True)
    (tmp_path / "media/frames/sample0000.jpg").touch()
    Image.fromarray(np.ones((4, 4), dtype=np.uint8)).save(tmp_path / "media/masks/sample0000.png")
    how = ["--method", "disc", "--split", "vggsound-instruments", "--metadata", str(shrunk)]
    assert main(["run", *how, "--data", str(tmp_path / "media"), "--runs", str(tmp_path)]) == 1
    assert "sample0001 of vggsound-instruments sounds, and has neither boxes nor a mask" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("split", "code", "message"),
    [
        (
            "vggsound-10k",
            2,
            "the split vggsound-10k is a list to train on, without truth to score against: name a test",
        ),
        (
            "vggsound-instruments",
            2,
            "vggsound-instruments has no boxes, and no masks were found: its masks lie with the",
        ),
        ("flickr", 1, "250 of 250 samples lack the file of their boxes (10000130166, 10007936344, 10008553263, ...): "),
    ],
)
def test_what_cannot_be_run_says_so(shared: Path, tmp_path: Path, capsys, split: str, code: int, message: str) -> None:
    how = ["--split", split, "--metadata", str(shared / "metadata"), "--runs", str(tmp_path)]
    assert main(["run", "--method", "disc,square,whole", *how]) == code
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_controls_run_on_official_files_alone(shared: Path, tmp_path: Path) -> None:
    how = ("--split", "avsbench-ms3", "--metadata", str(shared / "metadata"))
    runs = ran(tmp_path, "--method", "disc,square,whole", *how)
    found = {record.method: record for record in records_of(runs)}
    assert set(found) == {"disc", "square", "whole"}
    assert all((r.n_expected, r.n_scored, r.n_positive, r.n_nan) == (320, 320, 320, 0) for r in found.values())


def test_alignment_resizes_all_lists_of_vggss_alike(shared: Path, tmp_path: Path) -> None:
    """Its exception for VGG-SS goes by the family, whatever the list is called."""
    split = load_split("vggss-4655", metadata=shared / "metadata")
    some = replace(split, samples=split.samples[:3])
    for family, corners in (("vggss", False), ("flickr", True)):
        truth = read_truth(write_truth(replace(some, family=family), tmp_path))
        assert PROTOCOLS["alignment"].on(truth.family).upsampling.align_corners == corners


def heard(name: str, tmp_path: Path, rate: int, seconds: float) -> Path:
    path = tmp_path / f"{name}.wav"
    samples = np.random.default_rng(len(name)).uniform(-0.9, 0.9, int(rate * seconds))
    soundfile.write(path, samples, rate)
    return path


WINDOW = Window(0.5, "centre-seconds")


def test_two_sounds_are_cut_and_added(tmp_path: Path) -> None:
    one, two = heard("a", tmp_path, 16_000, 2.0), heard("bb", tmp_path, 22_050, 0.3)
    duet = sample("x", LEFT, mixed=two)
    duet = replace(duet, audio=one)
    found, rate = hear(duet, [WINDOW], rate=16_000)
    parts = [cut(decode_audio(path, rate=16_000)[0], 16_000, WINDOW) for path in (one, two)]
    assert (rate, found[WINDOW].tolist()) == (16_000, (parts[0] + parts[1]).tolist())
    assert np.abs(found[WINDOW]).max() > 1
    with pytest.raises(AvbenchError, match=r"bb.wav has 22050 Hz and .*a.wav, which it is mixed with, 16000: name an"):
        hear(duet, [WINDOW], rate=None)


def test_silence_and_noise_stand_for_both_sounds(tmp_path: Path) -> None:
    one = heard("a", tmp_path, 16_000, 1.0)
    alone = replace(sample("x", LEFT), audio=one)
    duet = replace(alone, mixed=heard("bb", tmp_path, 16_000, 1.0))
    for mode in ("silent", "noise", "quiet-noise"):
        both = [hear(each, [WINDOW], rate=16_000, mode=mode, key="x")[0][WINDOW].tolist() for each in (alone, duet)]
        assert both[0] == both[1], mode
    assert not np.any(hear(duet, [WINDOW], rate=16_000, mode="silent", key="x")[0][WINDOW])


def test_a_second_sound_that_is_missing_is_missed(tmp_path: Path) -> None:
    duet = replace(sample("x", LEFT), audio=heard("a", tmp_path, 16_000, 1.0), mixed=tmp_path / "none.wav")
    split = split_of(duet, has_media=True)
    assert coverage(split, ["audio"]).missing == ("x",)
    assert coverage(split, ["image"]).missing == ()


def test_training_is_told_what_the_annotators_agree_on() -> None:
    agreed = sample("a", LEFT, MIDDLE, consensus=True)
    samples = [agreed, replace(agreed, consensus=False), sample("none", consensus=True)]
    whole, right = (0.0, 0.0, 1.0, 1.0), (0.5, 0.0, 1.0, 1.0)
    raw = RawBatch([0, 1, 0, 2], ["a", "b", "a", "none"], torch.zeros(4, 3, 8, 8), places=[whole, whole, right, whole])
    truth, annotated = preparing._truth(raw, samples, None, 1.0)
    assert annotated.tolist() == [True, True, True, False]
    columns = truth[:, 100, [10, 80, 130, 200]]
    assert columns.tolist() == [[0.5, 1, 0.5, 0], [1, 1, 1, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 0]]
