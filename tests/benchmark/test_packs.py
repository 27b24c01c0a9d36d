"""Packed shards: what comes out of them is what comes out of folders; what is not of our making is refused."""

import gc
import hashlib
import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from PIL import Image

from avbench.data import packed as packed_module
from avbench.data.coverage import coverage, media_fingerprint
from avbench.data.decoding import decode_audio, decode_image, decode_image_short_side, decode_sounds
from avbench.data.layouts import index_media
from avbench.data.loader import LoaderOptions, RawBatch, iterate_batches
from avbench.data.packing import PackRequest, pack_split
from avbench.data.packing_shard import PackOptions
from avbench.data.packs import COLUMNS, PackIndex, open_pack, verify_pack
from avbench.data.places import Packed
from avbench.data.splits import Split, load_split
from avbench.data.training_set import TrainingOptions, TrainingSet, iterate_training
from avbench.errors import AvbenchError, UsageError
from avbench.types import Window

N = 8
SHORT, LONG = Window(0.1, "centre-seconds"), Window(0.2)
STEP = 1 / 32768
"""Of 16-bit samples."""


def sound(number: int, rng: np.random.Generator) -> tuple[np.ndarray, int, str]:
    """Of each kind one: samples, rate, how they are written."""
    noise = rng.uniform(-0.4, 0.4, (8000, 2))
    return [
        (noise[:, 0], 16_000, "PCM_16"),
        (noise[:, 0], 44_100, "PCM_16"),
        (noise, 22_050, "PCM_16"),
        (3 * noise[:, 0], 16_000, "FLOAT"),
        (noise, 16_000, "FLOAT"),
    ][number % 5]


def make_media(root: Path) -> Path:
    """Samples that share pictures, and whose media have names of their own; returns the YAML file."""
    rng = np.random.default_rng(0)
    entries = []
    for folder in ("frames", "audio", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(N):
        smooth = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((320, 250))
        smooth.save(root / f"frames/p{i // 2}.png")
        samples, rate, subtype = sound(i, rng)
        soundfile.write(root / f"audio/a{i}.wav", samples, rate, subtype=subtype)
        Image.new("L", (8, 8), 255).save(root / f"masks/s{i}.png")
        entries.append({"file": f"s{i}", "class": "abc"[i % 3], "bbox": [[0, 0, 0.5, (i + 1) / N]]})
        entries[-1] |= {"image": f"p{i // 2}", "audio": f"a{i}"}
    (root / "boxes.json").write_text(json.dumps(entries))
    place = root / "world.yaml"
    place.write_text("name: world\nformat: vggss\nannotations: boxes.json\nframes: frames\naudio: audio\n")
    return place


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def packs(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packs of each kind, three shards each."""
    root = tmp_path_factory.mktemp("packs")
    kinds = {
        "16k": PackOptions(),
        "native": PackOptions(audio_rate=None),
        "flac": PackOptions("training"),
        "int16": PackOptions("training", audio="int16"),
    }
    for name, options in kinds.items():
        pack_split(load_split(str(world)), root / name, request=PackRequest(options, shard_size=3))
    return {name: root / name for name in kinds}


@pytest.fixture
def copy(packs: dict[str, Path], tmp_path: Path) -> Path:
    """A pack for evaluation that may be damaged."""
    root = tmp_path / "copy"
    root.mkdir()
    for file in packs["16k"].iterdir():
        if file.is_file():
            (root / file.name).write_bytes(file.read_bytes())
    edit_manifest(root, beside=[])
    return root


def edit_manifest(root: Path, **values) -> None:
    place = root / "pack.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **values}))


def of_file(path: Path) -> dict:
    content = path.read_bytes()
    return {"name": path.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def replace_shard(root: Path, change) -> None:
    """Write the first shard anew with what ``change`` makes of its members, and say so in ``pack.json``."""
    place = root / "shard-000000.tar"
    with tarfile.open(place) as tar:
        found = [(entry, tar.extractfile(entry).read()) for entry in tar]
    with tarfile.open(place, "w", format=tarfile.USTAR_FORMAT) as tar:
        for entry, content in change(found):
            tar.addfile(entry, io.BytesIO(content))
    shards = json.loads((root / "pack.json").read_text())["shards"]
    edit_manifest(root, shards=[of_file(place), *shards[1:]])


def replace_index(root: Path, **columns) -> None:
    """Write the index anew with these columns changed, and say so in ``pack.json``."""
    place = root / "index.parquet"
    table = pq.read_table(place).to_pydict()
    table = {key: columns[key](table[key]) if key in columns else table[key] for key in table}
    schema = pa.schema([(key, getattr(pa, kind)()) for key, kind in COLUMNS.items()])
    pq.write_table(pa.table(list(table.values()), schema=schema), place)
    edit_manifest(root, index=of_file(place))


def batches(split: Split, rate: int | None, workers: int = 0) -> list[RawBatch]:
    options = LoaderOptions(batch_size=3, workers=workers, audio_rate=rate)
    return list(iterate_batches(split, [5, 0, 1, 2, 3, 4, 6, 7, 1], windows=(SHORT, LONG), options=options))


def assert_same_bits(one: torch.Tensor | np.ndarray, two: torch.Tensor | np.ndarray) -> None:
    first, second = (np.ascontiguousarray(array) for array in (one, two))
    assert (first.shape, first.dtype) == (second.shape, second.dtype)
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("pack", "rate"), [("16k", 16_000), ("native", None), ("native", 16_000), ("native", 8_000)])
def test_batches_are_those_of_plain_folders_to_the_bit(world, packs, pack, rate, workers) -> None:
    plain, shards = load_split(str(world)), load_split(str(world), data=packs[pack])
    for one, two in zip(batches(plain, rate, workers), batches(shards, rate, workers), strict=True):
        assert (one.indices, one.ids, one.rate, one.objects) == (two.indices, two.ids, two.rate, two.objects)
        assert list(one.waveforms) == list(two.waveforms)
        for a, b in zip(one.tensors(), two.tensors(), strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize(("pack", "rate"), [("16k", 16_000), ("native", None), ("native", 16_000)])
def test_channels_can_still_be_mixed_in_every_way(world, packs, pack, rate) -> None:
    plain, shards = load_split(str(world)), load_split(str(world), data=packs[pack])
    for one, two in zip(plain.samples, shards.samples, strict=True):
        first, second = (decode_sounds(s.audio, ("mean", "pyav", "first", "each"), rate=rate) for s in (one, two))
        assert first[1] == second[1]
        for way, samples in first[0].items():
            assert_same_bits(samples, second[0][way])


def test_what_comes_out_may_be_written_to(world, packs) -> None:
    sample = load_split(str(world), data=packs["16k"]).samples[0]
    before = decode_image(sample.image).copy()
    decode_image(sample.image)[:] = 0
    decode_audio(sample.audio)[0][:] = 0
    assert_same_bits(before, decode_image(sample.image))


def test_sixteen_bits_where_they_lose_nothing_else_floats(packs) -> None:
    index = open_pack(packs["16k"])
    places = [index.sound(f"a{i}") for i in range(5)]
    assert [(p.form, p.rate, p.native, p.channels, p.mixed) for p in places] == [
        ("pcm16", 16_000, 16_000, 1, False),
        ("float32", 16_000, 44_100, 1, False),
        ("float32", 16_000, 22_050, 1, True),
        ("float32", 16_000, 16_000, 1, False),
        ("float32", 16_000, 16_000, 2, False),
    ]
    apart = places[2].apart
    assert (apart.form, apart.rate, apart.native, apart.channels, apart.mixed) == ("pcm16", 22_050, 22_050, 2, False)
    assert [p.apart for i, p in enumerate(places) if i != 2] == [None] * 4


def test_resampling_is_spared_where_the_mean_is_heard(packs, monkeypatch) -> None:
    place = open_pack(packs["16k"]).sound("a2")
    read = []
    monkeypatch.setattr(packed_module, "packed_samples", lambda p, rate: read.append((p, rate)))
    for ways, rate in (("mean", "pyav"), 16_000), (("mean", "first"), 16_000), (("mean",), None), (("mean",), 22_050):
        packed_module.packed_sound(place, ways, rate=rate)
    assert read == [(place, 16_000), (place.apart, 16_000), (place.apart, None), (place.apart, 22_050)]


@pytest.mark.parametrize("way", ["first", "each"])
def test_channels_that_a_pack_has_lost_are_refused(packs, way) -> None:
    index = open_pack(packs["flac"])
    with pytest.raises(UsageError, match=rf"a2 in .* packed as the mean of its channels and .* as '{way}'"):
        decode_audio(index.sound("a2"), channels=way)
    assert decode_audio(index.sound("a0"), channels=way)[1] == 16_000, "it has but one"


@pytest.mark.parametrize("rate", [None, 44_100, 8_000])
def test_a_rate_that_a_pack_has_lost_is_refused(packs, rate) -> None:
    index = open_pack(packs["16k"])
    with pytest.raises(UsageError, match=r"a1 in .* was packed at 16000 Hz .* pack again with --audio-rate native"):
        decode_audio(index.sound("a1"), rate=rate)
    assert decode_audio(index.sound("a0"), rate=rate)[1] == (rate or 16_000), "nothing was lost of this one"


def test_a_name_that_a_pack_lacks_is_missing(world, packs) -> None:
    index = index_media(packs["16k"])
    assert isinstance(index, PackIndex)
    assert isinstance(index.image("p0"), Packed)
    for place in (index.image("p9"), index.sound("p0")):
        assert isinstance(place, Path)
        assert packs["16k"] in place.parents
        assert not place.exists()
    split = load_split(str(world), data=packs["16k"])
    one = split.samples[3]
    partial = replace(split, samples=(*split.samples[:3], replace(one, audio=index.sound("gone")), *split.samples[4:]))
    assert coverage(split, ("image", "audio")).missing == ()
    assert coverage(partial, ("image", "audio")).missing == ("s3",)
    assert coverage(partial, ("image",)).missing == ()


def test_a_pack_serves_every_split_of_its_pictures_and_sounds(world, packs, tmp_path) -> None:
    entries = json.loads((world.parent / "boxes.json").read_text())
    (tmp_path / "some.json").write_text(json.dumps(entries[5:1:-1]))
    text = world.read_text().replace("name: world", "name: some").replace("boxes.json", f"{tmp_path}/some.json")
    (tmp_path / "some.yaml").write_text(
        text.replace("frames: ", f"frames: {world.parent}/").replace("audio: ", f"audio: {world.parent}/")
    )
    plain = load_split(str(tmp_path / "some.yaml"))
    shards = load_split(str(tmp_path / "some.yaml"), data=packs["16k"])
    assert plain.sha256 == shards.sha256
    for one, two in zip(plain.samples, shards.samples, strict=True):
        assert_same_bits(decode_image(one.image), decode_image(two.image))
        assert_same_bits(decode_audio(one.audio)[0], decode_audio(two.audio)[0])


def test_masks_come_along_as_they_are(world, packs) -> None:
    plain, shards = load_split(str(world)), load_split(str(world), data=packs["16k"])
    for one, two in zip(plain.samples, shards.samples, strict=True):
        assert two.mask.parent == packs["16k"] / "masks"
        assert one.mask.read_bytes() == two.mask.read_bytes()


def test_the_fingerprint_of_media_knows_the_shards(world, copy) -> None:
    split = load_split(str(world), data=copy)
    before = media_fingerprint(split, ("image", "audio"))
    assert before == media_fingerprint(split, ("image", "audio"))
    os.utime(copy / "shard-000001.tar", (0, 0))
    assert before != media_fingerprint(split, ("image", "audio"))
    assert before != media_fingerprint(split, ("image",))


@pytest.mark.parametrize("pack", ["flac", "int16"])
def test_training_pairs_are_those_of_plain_folders_but_for_rounding(world, packs, pack) -> None:
    windows = (LONG, Window(0.1, "random"))
    epochs = [
        list(iterate_training(TrainingSet(split, windows, seed=3), epoch=1, batch_size=4))
        for split in (load_split(str(world)), load_split(str(world), data=packs[pack]))
    ]
    for one, two in zip(*epochs, strict=True):
        assert (one.indices, one.ids, one.places, one.rate) == (two.indices, two.ids, two.places, two.rate)
        assert one.image.shape == two.image.shape
        assert (one.image.float() - two.image.float()).abs().mean() < 2
        for window in windows:
            loud = one.waveforms[window].clamp(-1, 1 - STEP)  # 16 bits end there
            torch.testing.assert_close(two.waveforms[window], loud, rtol=0, atol=STEP / 2)
    image = open_pack(packs[pack]).image("p0")
    assert (image.form, decode_image_short_side(image).shape) == ("jpeg", (3, 246, 314))


def test_flac_and_sixteen_bits_hold_the_same(packs) -> None:
    one, two = (open_pack(packs[name]) for name in ("flac", "int16"))
    for i in range(N):
        flac, whole = one.sound(f"a{i}"), two.sound(f"a{i}")
        assert (flac.form, whole.form) == ("flac", "pcm16")
        assert flac.channels == 1
        assert_same_bits(decode_audio(flac)[0], decode_audio(whole)[0])


def test_each_purpose_refuses_the_other(world, packs) -> None:
    with pytest.raises(AvbenchError, match=r"p2 in .* is packed for training, as jpeg: evaluate from plain folders"):
        batches(load_split(str(world), data=packs["flac"]), 16_000)
    cropped = TrainingSet(load_split(str(world), data=packs["16k"]), [LONG], seed=0)
    with pytest.raises(AvbenchError, match="is packed for evaluation, squashed: train from plain folders"):
        cropped.pair(0, epoch=0)
    whole = TrainingOptions(crop=False)
    plain, shards = (
        TrainingSet(load_split(str(world), data=data), [LONG], seed=0, options=whole) for data in (None, packs["16k"])
    )
    assert_same_bits(plain.pair(0, epoch=0).image, shards.pair(0, epoch=0).image)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves the last shard open
def test_other_tools_read_the_shards(world, packs) -> None:
    webdataset = pytest.importorskip("webdataset")
    urls = [str(shard) for shard in sorted(packs["16k"].glob("*.tar"))]
    read = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    gc.collect()
    plain = load_split(str(world))
    assert [row["__key__"] for row in read] == [f"{i:09d}" for i in range(N)]
    for sample, row in zip(plain.samples, read, strict=True):
        about = row["json"]
        assert (about["id"], about["image"], about["audio"]) == (sample.id, *sample.names[:2])
        assert (about["label"], about["boxes"]) == (sample.label, [list(box) for box in sample.boxes])
        assert_same_bits(row["image.npy"], decode_image(sample.image))
        way = "each" if about["channels"] > 1 else "mean"
        heard, rate = decode_audio(sample.audio, rate=about["rate"], channels=way)
        written = row["audio.npy"]
        floats = written if written.dtype == np.float32 else written * np.float32(STEP)
        assert rate == about["rate"]
        assert_same_bits(floats.T, heard)


def test_a_second_sound_is_packed_too(world, tmp_path) -> None:
    split = load_split(str(world))
    first, other = split.samples[:2]
    both = replace(first, mixed=other.audio, names=first.names._replace(mixed="second"))
    pack_split(replace(split, samples=(both,), n=1), tmp_path / "pack", request=PackRequest())
    place = open_pack(tmp_path / "pack").sound("second")
    assert_same_bits(decode_audio(place)[0], decode_audio(other.audio)[0])
    with tarfile.open(tmp_path / "pack/shard-000000.tar") as tar:
        assert tar.getnames() == [f"000000000.{end}" for end in ("image.npy", "audio.npy", "mixed.npy", "json")]
    assert verify_pack(tmp_path / "pack") == []


@pytest.mark.parametrize("pack", ["16k", "native", "flac", "int16"])
def test_nothing_is_wrong_with_a_pack_of_ours(packs, pack) -> None:
    assert verify_pack(packs[pack]) == []
    assert open_pack(packs[pack]).described.startswith("a pack of world for ")


@pytest.mark.parametrize("length", [0, 100, -512])
def test_a_shard_of_another_size_is_refused_at_once(copy, length) -> None:
    shard = copy / "shard-000001.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[:length] if length >= 0 else content + bytes(-length))
    with pytest.raises(AvbenchError, match=r"shard-000001.tar has \d+ bytes where \d+ were packed: it was replaced"):
        open_pack(copy)
    assert len(verify_pack(copy)) == 1
    shard.unlink()
    with pytest.raises(AvbenchError, match=r"expected a file of the pack at .*shard-000001.tar: No such file"):
        open_pack(copy)


def test_a_changed_byte_is_found_when_all_is_read(copy) -> None:
    place = open_pack(copy).image("p0")
    content = bytearray(place.shard.read_bytes())
    content[place.offset + 5] ^= 1
    place.shard.write_bytes(content)
    assert [p for p in verify_pack(copy) if "its hash differs" in p] == verify_pack(copy) != []


def test_a_shard_that_is_cut_off_meanwhile_is_an_error(copy) -> None:
    index = open_pack(copy)
    os.truncate(copy / "shard-000000.tar", 600)
    with pytest.raises(AvbenchError, match=r"shard-000000.tar is cut off: p0 ends behind its end"):
        decode_image(index.image("p0"))
    (copy / "shard-000001.tar").unlink()
    with pytest.raises(AvbenchError, match=r"expected a shard at .*shard-000001.tar: No such file"):
        decode_audio(index.sound("a4"))


def test_shards_are_closed_and_opened_again_beyond_a_limit(world, packs, monkeypatch) -> None:
    opened = []

    class Counting(packed_module._Open):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            opened.append(self.descriptor)

    monkeypatch.setattr(packed_module, "_Open", Counting)
    samples = load_split(str(world), data=packs["16k"]).samples
    for sample in (*samples, *samples):
        decode_audio(sample.audio)
    assert len(opened) == 3
    packed_module.close_shards()
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def entry(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
    return info


@pytest.mark.parametrize(
    "name", ["../000000000.json", "/000000000.json", "000000000.json/../../x", "a/000000000.json", "000000000.exe", "x"]
)
def test_a_tar_with_an_unsafe_name_is_refused(copy, name) -> None:
    replace_shard(copy, lambda found: [*found, (entry(name), b"")])
    assert [p for p in verify_pack(copy) if f"a member called {name!r}" in p] == verify_pack(copy) != []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_a_link_is_refused(copy, kind) -> None:
    replace_shard(copy, lambda found: [*found, (entry("000000000.json", kind), b"")])
    assert "'000000000.json', which is no plain file" in " ".join(verify_pack(copy))


def test_a_shard_that_is_no_tar_is_refused(copy) -> None:
    place = copy / "shard-000000.tar"
    place.write_bytes(np.random.default_rng(0).bytes(place.stat().st_size))
    shards = json.loads((copy / "pack.json").read_text())["shards"]
    edit_manifest(copy, shards=[of_file(place), *shards[1:]])
    assert "no uncompressed tar or is cut off" in " ".join(verify_pack(copy))


def test_members_that_the_index_does_not_meet_are_found(copy) -> None:
    replace_shard(copy, lambda found: [found[1], found[0], *found[2:]])
    assert "stands nowhere in" in " ".join(verify_pack(copy))


def test_an_array_that_is_not_what_the_index_says_is_found(copy) -> None:
    def broken(found):
        content = bytearray(found[0][1])
        content[: len(b"\x93NUMPX")] = b"\x93NUMPX"
        return [(found[0][0], bytes(content)), *found[1:]]

    replace_shard(copy, broken)
    assert "p0 in " in verify_pack(copy)[0]
    assert "has no header of an array" in verify_pack(copy)[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"offset": lambda v: [*v[:-1], 10**9]}, "points outside its shard"),
        ({"offset": lambda v: [-1, *v[1:]]}, "points outside its shard"),
        ({"size": lambda v: [*v[:-1], 2**62]}, "points outside its shard"),
        ({"size": lambda v: [*v[:-1], v[-1] + 4096]}, "points outside its shard"),
        ({"size": lambda v: [*v[:-1], -4]}, "points outside its shard"),
        ({"size": lambda v: [9, *v[1:]]}, "another size than 224 pixels"),
        ({"shard": lambda v: [99, *v[1:]]}, "shard that does not exist"),
        ({"shard": lambda v: [-1, *v[1:]]}, "shard that does not exist"),
        ({"form": lambda v: ["zip", *v[1:]]}, "'zip' is none of pixels"),
        ({"form": lambda v: ["flac", *v[1:]]}, "a picture has the form of a sound"),
        ({"kind": lambda v: ["video", *v[1:]]}, "'video' is none of image, sound"),
        ({"name": lambda v: ["../p0", *v[1:]]}, "'../p0' is no plain file name"),
        ({"name": lambda v: ["/etc/passwd", *v[1:]]}, "no plain file name"),
        ({"name": lambda v: ["..", *v[1:]]}, "no plain file name"),
        ({"name": lambda v: ["", *v[1:]]}, "no plain file name"),
        ({"name": lambda v: [None, *v[1:]]}, "a value is missing"),
        ({"name": lambda v: ["same"] * len(v)}, "a name stands there twice"),
        ({"rate": lambda v: [0] * len(v)}, "no rate or no channel"),
        ({"channels": lambda v: [0] * len(v)}, "no rate or no channel"),
        ({"mixed": lambda v: [1] * len(v)}, "said to be the mean of channels"),
    ],
)
def test_a_hostile_index_is_refused(copy, columns, message) -> None:
    replace_index(copy, **columns)
    with pytest.raises(AvbenchError, match=rf"index.parquet is damaged or not of our making \(.*{message}.*pack again"):
        open_pack(copy)


def test_an_index_that_is_none_is_refused(copy) -> None:
    place = copy / "index.parquet"
    place.write_bytes(b"X" * place.stat().st_size)
    with pytest.raises(AvbenchError, match="its hash differs: pack again"):
        open_pack(copy)
    edit_manifest(copy, index=of_file(place))
    with pytest.raises(AvbenchError, match="damaged or not of our making"):
        open_pack(copy)
    pq.write_table(pa.table({"name": ["a"]}), place)
    edit_manifest(copy, index=of_file(place))
    with pytest.raises(AvbenchError, match="expected the columns kind, name"):
        open_pack(copy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 2}, "is of the pack format 2, this avbench reads 1"),
        ({"version": None}, "is of the pack format None"),
        ({"format": "zip"}, "does not describe a pack"),
        ({"purpose": "fun"}, "purpose is 'fun' where evaluation or training is expected"),
        ({"shards": [{"name": "../shard-000000.tar", "size": 1, "sha256": "0" * 64}]}, "is none of a pack's"),
        ({"shards": [{"name": "/shard-000000.tar", "size": 1, "sha256": "0" * 64}]}, "is none of a pack's"),
        ({"shards": [{"name": "shard-000000.tar", "size": -1, "sha256": "0" * 64}]}, "lacks its size or its hash"),
        ({"shards": [{"name": "shard-000000.tar", "size": 1, "sha256": "0" * 64}] * 2}, "a shard is named twice"),
        ({"shards": 3}, "shards is 3 where a list is expected"),
        ({"shards": [3]}, "damaged or not of our making"),
        ({"index": {"name": "../index.parquet", "size": 1, "sha256": "0" * 64}}, "is none of a pack's"),
        ({"beside": [{"name": "masks/..", "size": 1, "sha256": "0" * 64}]}, "is none of a pack's"),
        ({"beside": [{"name": "masks/../../x", "size": 1, "sha256": "0" * 64}]}, "is none of a pack's"),
        ({"surplus": 1}, "damaged or not of our making"),
        ({"left_out": [1]}, "damaged or not of our making"),
    ],
)
def test_a_hostile_description_is_refused(copy, values, message) -> None:
    edit_manifest(copy, **values)
    with pytest.raises(AvbenchError, match=message):
        open_pack(copy)


@pytest.mark.parametrize("text", ["[]", "{}", "{", "\x00", ""])
def test_a_description_that_is_none_is_refused(copy, text) -> None:
    (copy / "pack.json").write_text(text)
    with pytest.raises(AvbenchError, match=r"pack\.json"):
        open_pack(copy)


def test_shards_without_a_description_are_an_unfinished_pack(copy) -> None:
    (copy / "pack.json").unlink()
    with pytest.raises(AvbenchError, match=r"a pack that is unfinished, without pack\.json: run avbench data pack"):
        index_media(copy)
