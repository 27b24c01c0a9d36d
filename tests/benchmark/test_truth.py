"""The truth beside the predictions: exact, found again by a key, refused when it is not what was written."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from avbench import truth
from avbench.data.annotations import Source
from avbench.data.splits import Sample, Split, load_split
from avbench.errors import AvbenchError
from avbench.metrics.ground_truth import union_map
from avbench.truth import read_truth, truth_key, truth_path, write_truth

ODD = (0.1 + 0.2, -2.8823037615171176e16, math.inf, -math.inf)
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
TWO = (Source("é", (LEFT,)), Source("é", (RIGHT,)))

SAMPLES = (
    Sample("a", None, None, (LEFT, ODD), "bell, church", image_name="x"),
    Sample("b", None, None, (), "drum", sounding=False, image_name="x", doubtful=True),
    Sample("c", None, None, (), None, sounding=False, image_name="y"),
    Sample(
        "d", None, None, (LEFT, RIGHT), "both", image_name="z", sources=(Source("é", (LEFT,)), Source("é", (RIGHT,)))
    ),
)


def split_of(*samples: Sample) -> Split:
    return Split("mine", "My own", samples, "f" * 64, len(samples), has_media=False, source="")


def with_mask(path: Path, picture: Image.Image, **changes) -> Sample:
    path.parent.mkdir(exist_ok=True)
    picture.save(path)
    return Sample(path.stem, None, None, (LEFT,), "bell", image_name=path.stem, mask=path, **changes)


def grey(pixels) -> Image.Image:
    return Image.fromarray(np.asarray(pixels, dtype=np.uint8))


def test_everything_comes_back_exactly(tmp_path: Path) -> None:
    path = write_truth(split_of(*SAMPLES), tmp_path)
    came = read_truth(path)
    assert (came.split, came.title, came.split_sha256, len(came)) == ("mine", "My own", "f" * 64, 4)
    assert came.ids == ("a", "b", "c", "d")
    assert came.labels == ("bell, church", "drum", None, "both")
    assert came.image_names == ("x", "x", "y", "z")
    assert came.sounding == (True, False, False, True)
    assert came.doubtful == (False, True, False, False)
    assert came.boxes == ((LEFT, ODD), (), (), (LEFT, RIGHT))
    assert came.sources == tuple(sample.sources for sample in SAMPLES)
    assert came.rles == (None,) * 4
    assert (came.has_masks, came.has_sources) == (False, True)
    assert came.positive.tolist() == [True, False, False, True]
    assert path == tmp_path / "truth" / path.name
    assert path.name == f"mine-{truth_key(split_of(*SAMPLES))[:12]}.parquet"


def test_it_is_written_once_and_found_again(tmp_path: Path) -> None:
    split = split_of(*SAMPLES)
    path = write_truth(split, tmp_path)
    path.write_bytes(b"left alone")
    assert write_truth(split, tmp_path) == truth_path(split, tmp_path) == path
    assert path.read_bytes() == b"left alone"
    assert [p.name for p in (tmp_path / "truth").iterdir()] == [path.name]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "e"}, {"label": None}, {"image_name": "w"}, {"sounding": False}, {"doubtful": True},
        {"boxes": (LEFT,)}, {"boxes": (LEFT, (0.3, *ODD[1:]))}, {"sources": (Source("bell", (LEFT,)),)},
    ],
)  # fmt: skip
def test_key_and_hash_move_with_every_column(tmp_path: Path, change: dict) -> None:
    one, other = split_of(*SAMPLES), split_of(replace(SAMPLES[0], **change), *SAMPLES[1:])
    assert truth_key(one) != truth_key(other)
    assert read_truth(write_truth(one, tmp_path)).sha256 != read_truth(write_truth(other, tmp_path)).sha256


def test_key_and_hash_of_a_partial_or_turned_split_are_its_own(tmp_path: Path) -> None:
    splits = [split_of(*SAMPLES), split_of(*SAMPLES[:3]), split_of(*SAMPLES[::-1])]
    assert len({truth_key(split) for split in splits}) == 3
    assert len({read_truth(write_truth(split, tmp_path)).sha256 for split in splits}) == 3


def test_the_hash_is_of_the_rows_and_not_of_the_bytes_or_the_name(tmp_path: Path) -> None:
    path = write_truth(split_of(*SAMPLES), tmp_path)
    renamed = write_truth(replace(split_of(*SAMPLES), name="other"), tmp_path)
    assert renamed.name.startswith("other-")
    assert read_truth(path).sha256 == read_truth(renamed).sha256
    packed = tmp_path / "packed.parquet"
    pq.write_table(pq.read_table(path), packed, compression="zstd")
    assert packed.read_bytes() != path.read_bytes()
    assert read_truth(packed) == read_truth(path)


def test_union_maps_are_those_of_the_metric(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    boxes = [tuple(map(float, rng.uniform(-0.2, 1.2, 4))) for _ in range(60)]
    edges = [(k / 224, 0.0, (k + 1) / 224, 1 / 3) for k in range(0, 224, 7)]
    drawn = [Sample(f"s{i}", None, None, tuple(boxes[i : i + i % 4]), sounding=i % 4 > 0) for i in range(40)]
    drawn += [Sample(f"e{i}", None, None, (box,)) for i, box in enumerate(edges)]
    came = read_truth(write_truth(split_of(*SAMPLES, *drawn), tmp_path))
    maps = came.union_maps(slice(None))
    assert (maps.dtype, tuple(maps.shape)) == (torch.uint8, (len(came), 224, 224))
    for row, boxes_of in enumerate(came.boxes):
        assert torch.equal(maps[row].double(), union_map(boxes_of)), row
    assert torch.equal(came.union_maps(slice(3, 9)), maps[3:9])
    assert came.union_maps(slice(0, 0)).shape == (0, 224, 224)


def test_union_maps_of_vggss(shared: Path, tmp_path: Path) -> None:
    split = load_split("vggss", metadata=shared / "metadata")
    came = read_truth(write_truth(split, tmp_path))
    assert came.boxes == tuple(sample.boxes for sample in split.samples)
    odd = [i for i, some in enumerate(came.boxes) if any(b[0] >= b[2] or b[1] >= b[3] for b in some)]
    assert len(odd) == 18
    for row in [*odd, *range(0, 5158, 257)]:
        assert torch.equal(came.union_maps(slice(row, row + 1))[0].double(), union_map(came.boxes[row]))
    areas = torch.cat(
        [came.union_maps(slice(i, i + 512)).mean((1, 2), dtype=torch.float64) for i in range(0, 5158, 512)]
    )
    assert round(areas.mean().item(), 3) == 0.312
    assert (areas == 0).sum() == 2


def test_source_maps(tmp_path: Path) -> None:
    came = read_truth(write_truth(split_of(*SAMPLES), tmp_path))
    maps = came.source_maps(3)
    assert torch.equal(maps.double(), torch.stack([union_map([LEFT]), union_map([RIGHT])]))
    assert maps.dtype == torch.uint8
    assert came.source_maps(0).shape == (0, 224, 224)
    single = replace(SAMPLES[3], sources=SAMPLES[3].sources[:1])
    assert not read_truth(write_truth(split_of(single), tmp_path)).has_sources


def test_masks_are_binary_whatever_the_picture(tmp_path: Path) -> None:
    values = np.zeros((224, 224), dtype=np.uint8)
    values[:10, :20], values[100:, 200:] = 1, 255
    colour = np.zeros((224, 224, 3), dtype=np.uint8)
    colour[..., 2] = values
    palette = grey(values)
    palette.putpalette([0, 0, 0] * 256)
    opaque = Image.fromarray(colour).convert("RGBA")
    pictures = [grey(values), Image.fromarray(values > 0), palette, Image.fromarray(colour), opaque,
                Image.fromarray(values.astype(np.uint16) * 200)]  # fmt: skip
    samples = [with_mask(tmp_path / f"masks/m{i}.png", picture) for i, picture in enumerate(pictures)]
    came = read_truth(write_truth(split_of(*samples), tmp_path))
    masks = came.masks(slice(None))
    assert (came.has_masks, masks.dtype, tuple(masks.shape)) == (True, torch.uint8, (6, 224, 224))
    for row in masks:
        assert torch.equal(row, torch.from_numpy((values > 0).astype(np.uint8)))
    assert torch.equal(came.masks(slice(1, 3)), masks[1:3])


def test_the_rings_around_a_mask_in_jpeg_do_not_sound(tmp_path: Path) -> None:
    place = np.arange(224) - 100
    values = 255 * (place[:, None] ** 2 + place**2 < 50**2)
    sample = with_mask(tmp_path / "masks/a.jpg", grey(values))
    stored = np.asarray(Image.open(tmp_path / "masks/a.jpg"))
    assert (stored > 0).sum() > (values > 0).sum() + 50
    came = read_truth(write_truth(split_of(sample), tmp_path)).masks(slice(None))[0]
    np.testing.assert_array_equal(came, values > 0)


@pytest.mark.parametrize("shape", [(60, 100), (500, 333)])
def test_masks_are_resized_by_the_nearest_pixel(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).integers(0, 2, shape) * 255
    came = read_truth(write_truth(split_of(with_mask(tmp_path / "masks/a.png", grey(values))), tmp_path))
    rows, columns = (((np.arange(224) + 0.5) * side / 224).astype(int) for side in shape)
    np.testing.assert_array_equal(came.masks(slice(None))[0], values[np.ix_(rows, columns)] > 0)


def test_a_negative_without_a_mask_is_empty_and_a_sounding_sample_without_one_is_an_error(tmp_path: Path) -> None:
    masked = with_mask(tmp_path / "masks/m.png", grey(np.full((9, 9), 7)))
    negatives = read_truth(write_truth(split_of(masked, *SAMPLES[1:3]), tmp_path))
    assert negatives.has_masks
    assert negatives.masks(slice(None)).sum(dim=(1, 2)).tolist() == [224 * 224, 0, 0]
    mixed = read_truth(write_truth(split_of(masked, SAMPLES[0]), tmp_path))
    assert not mixed.has_masks
    assert mixed.masks(slice(0, 1)).all()
    with pytest.raises(AvbenchError, match=r"sounding sample of mine is asked for and a has none: add masks/a.png"):
        mixed.masks(slice(None))
    assert not read_truth(write_truth(split_of(*SAMPLES[1:3]), tmp_path)).has_masks


def test_the_key_follows_size_and_time_of_masks_and_reads_none(tmp_path: Path, monkeypatch) -> None:
    sample = with_mask(tmp_path / "masks/m.png", grey(np.eye(9)))
    before, stat = truth_key(split_of(sample)), sample.mask.stat()
    os.utime(sample.mask, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert truth_key(split_of(sample)) != before
    sample.mask.write_bytes(b"another size")
    os.utime(sample.mask, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert truth_key(split_of(sample)) != before
    grey(np.eye(9)).save(sample.mask)
    os.utime(sample.mask, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert truth_key(split_of(sample)) == before
    path = write_truth(split_of(sample), tmp_path)
    monkeypatch.setattr(truth, "_rle", None)
    assert write_truth(split_of(sample), tmp_path) == path


def test_a_mask_that_cannot_be_read(tmp_path: Path) -> None:
    sample = with_mask(tmp_path / "masks/m.png", grey(np.eye(50)))
    sample.mask.write_bytes(sample.mask.read_bytes()[:60])
    with pytest.raises(AvbenchError, match=r"expected a mask at .*m.png, a picture which cannot be read"):
        write_truth(split_of(sample), tmp_path)
    assert not (tmp_path / "truth").exists()
    sample.mask.unlink()
    with pytest.raises(AvbenchError, match=r"expected a mask at .*m.png, .*No such file"):
        truth_key(split_of(sample))


def test_a_box_with_nan_is_refused(tmp_path: Path) -> None:
    for change in ({"boxes": ((0.0, math.nan, 1.0, 1.0),)}, {"sources": (Source("x", ((0.0, math.nan, 1.0, 1.0),)),)}):
        with pytest.raises(AvbenchError, match=r"a of mine: a box needs four numbers, got \[0.0, nan, 1.0, 1.0\]"):
            write_truth(split_of(replace(SAMPLES[0], **change)), tmp_path)


def rewritten(path: Path, table: pa.Table, **known: object) -> Path:
    """``path`` with other rows or columns, and with ``known`` changed in its metadata."""
    told = json.loads(pq.read_schema(path).metadata[truth.KNOWN]) | known
    pq.write_table(table.replace_schema_metadata({truth.KNOWN: json.dumps(told)}), path)
    return path


def refused(path: Path, reason: str) -> None:
    with pytest.raises(AvbenchError) as caught:
        read_truth(path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be used as the truth of a split, ")
    assert reason in message
    assert message.endswith(": delete it and run again")
    assert "\n" not in message


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_truth(split_of(*SAMPLES), tmp_path)


def test_a_file_that_is_not_whole(written: Path) -> None:
    content = written.read_bytes()
    for part in (b"", b"text\n", content[: len(content) // 2], content[:-1], content[100:]):
        written.write_bytes(part)
        refused(written, "it is no Parquet or cut off")
    written.unlink()
    with pytest.raises(AvbenchError, match=r"the truth that predictions were scored against is not at .*: restore it"):
        read_truth(written)


def test_another_parquet_file(written: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), written)
    refused(written, "it is another Parquet file")


def test_another_format(written: Path) -> None:
    refused(rewritten(written, pq.read_table(written), format=1), "it has format 1 where this avbench reads 2")


def test_missing_columns(written: Path) -> None:
    table = pq.read_table(written).drop_columns(["boxes", "mask"])
    refused(rewritten(written, table), "it lacks boxes, mask of the columns id, label, image_name")


def test_rows_that_the_hash_was_not_taken_of(written: Path) -> None:
    table = pq.read_table(written)
    for other in (
        table.slice(0, 3),
        table.take([1, 0, 2, 3]),
        table.set_column(0, "id", pa.array(["a", "b", "c", "e"])),
    ):
        refused(rewritten(written, other), "its rows are not those of hash ")
    assert len(read_truth(rewritten(written, table))) == 4


def test_the_demo_splits_are_read_with_masks_and_sources(tmp_path: Path) -> None:
    things = [{"class": c, "bbox": list(b), "sounding": True} for c, b in (("bell", LEFT), ("drum", RIGHT))]
    entry = {"file": "a", "class": "bell and drum", "bbox": [LEFT, RIGHT], "objects": things}
    (tmp_path / "boxes.json").write_text(json.dumps([entry]))
    with_mask(tmp_path / "masks/a.png", grey(np.ones((3, 4))))
    (tmp_path / "x.yaml").write_text("name: x\nformat: vggss\nannotations: boxes.json\nframes: f\naudio: a\n")
    came = read_truth(write_truth(load_split(str(tmp_path / "x.yaml")), tmp_path / "runs"))
    assert (came.has_masks, came.has_sources, came.image_names) == (True, True, ("a",))
    assert came.sources == ((Source("bell", (LEFT,)), Source("drum", (RIGHT,))),)


def test_the_module_is_cheap_to_import() -> None:
    code = "import sys, avbench.truth; print({'torch', 'numpy', 'pyarrow', 'pycocotools'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
