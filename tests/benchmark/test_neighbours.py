"""Neighbours: exact, the same however they are searched, kept with all that they depend on."""

import json

import numpy as np
import pytest
import soundfile
import torch
import torchvision
from PIL import Image
from safetensors.numpy import load_file, save_file

from avbench import neighbours as module
from avbench.cli import main
from avbench.data.splits import load_split
from avbench.encoders import Encoder, Machine, colours, encoder_called, spectrum, vectors_of
from avbench.errors import AvbenchError, UsageError
from avbench.neighbours import Search, find_neighbours, load_table, nearest, neighbour_table

CPU = Machine(torch.device("cpu"))


def brute_force(vectors, k):
    """One pair at a time, cosines rounded far above the precision of either computation."""
    table = []
    for i, a in enumerate(vectors):
        others = [j for j in range(len(vectors)) if j != i]
        cosine = {j: round(float(a @ vectors[j] / np.sqrt((a @ a) * (vectors[j] @ vectors[j]))), 6) for j in others}
        table.append(sorted(others, key=lambda j: (-cosine[j], j))[:k])
    return np.array(table)


def vectors_with_ties(n=60, dimensions=7):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((n, dimensions))
    vectors[rng.integers(n, size=20)] = vectors[rng.integers(n, size=20)] * 4  # the same directions several times
    return vectors


@pytest.mark.parametrize("k", [1, 5, 59])
def test_the_search_is_exact(k):
    found = nearest(vectors_with_ties(), k)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, brute_force(vectors_with_ties(), k))


@pytest.mark.parametrize("rows", [1, 7, 59, 60, 1000])
def test_the_size_of_a_chunk_changes_nothing(rows):
    vectors = np.random.default_rng(0).standard_normal((60, 512)).astype(np.float32).astype(np.float64)
    vectors[40:] = vectors[:20]
    np.testing.assert_array_equal(nearest(vectors, 30, rows=rows), nearest(vectors, 30))


def test_of_equals_the_lower_index_comes_first_and_none_is_its_own():
    vectors = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [1.0, 1.0]])
    assert nearest(vectors, 3).tolist() == [[1, 3, 4], [0, 3, 4], [4, 0, 1], [0, 1, 4], [0, 1, 2]]
    assert nearest(np.ones((5, 3)), 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]


def test_opposite_vectors_are_the_farthest():
    vectors = np.array([[1.0, 0.1], [-1.0, 0.0], [1.0, -0.1], [0.0, 1.0]])
    assert nearest(vectors, 3)[0].tolist() == [2, 3, 1]


def test_length_does_not_count():
    vectors = np.random.default_rng(1).standard_normal((20, 4))
    scale = 10.0 ** np.linspace(-200, 200, 20)[:, None]
    np.testing.assert_array_equal(nearest(vectors * scale, 6), nearest(vectors, 6))


def test_products_are_exact():
    """Whole numbers that float64 adds up without error: in no order of summation do they differ."""
    whole = module._whole_numbers(np.random.default_rng(2).standard_normal((20, 2048)))
    expected = whole.astype(np.int64).astype(object) @ whole.T.astype(np.int64).astype(object)
    assert (np.rint(whole) == whole).all()
    assert ((whole @ whole.T).astype(object) == expected).all()
    assert ((whole[:, ::-1] @ whole[:, ::-1].T).astype(object) == expected).all()


def test_rows_are_counted_as_they_are_done():
    done = []
    nearest(np.eye(7), 2, rows=3, advance=done.append)
    assert done == [3, 3, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_gpu_finds_the_same():
    vectors = np.random.default_rng(0).standard_normal((700, 512))
    vectors[500:] = vectors[:200]
    np.testing.assert_array_equal(nearest(vectors, 300, device="cuda"), nearest(vectors, 300))


def test_colours_are_shares_of_64_bins():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    images[0, :, :1] = torch.tensor([255, 64, 130], dtype=torch.uint8).view(3, 1, 1)  # levels 3, 1, 2 in a quarter
    images[1] = 191
    found = colours(images)
    assert found[0].nonzero().flatten().tolist() == [0, 3 * 16 + 1 * 4 + 2]
    assert found[0, [0, 54]].tolist() == pytest.approx([0.75**0.5, 0.25**0.5])
    assert found[1].tolist() == [0.0] * 42 + [1.0] + [0.0] * 21


def test_a_spectrum_has_the_mean_and_the_deviation_of_each_band():
    time = torch.arange(80_000) / 16_000
    tone = torch.sin(2 * torch.pi * 1000 * time)
    steady, pulsed = spectrum(torch.stack([tone, tone * (time % 1 < 0.5)]), 16_000)
    band = 32  # 1000 Hz of 31.25 Hz each
    assert steady.shape == (514,)
    assert steady[:257].argmax() == pulsed[:257].argmax() == band
    assert pulsed[257 + band] > 10 * steady[257 + band]


def paint(split, number, colour):
    Image.new("RGB", (40, 40), colour).save(split.samples[number].image)


def hum(split, number, frequency):
    wave = 0.3 * np.sin(2 * np.pi * frequency * np.arange(16_000) / 16_000)
    soundfile.write(split.samples[number].audio, wave, 16_000)


@pytest.fixture
def split(tiny_set, store):
    """Five samples: 0, 2 and 4 are red, 1 and 3 blue; 0, 1 and 4 hum low, 2 and 3 high."""
    split = load_split(str(tiny_set))
    for number in range(5):
        paint(split, number, (250, 0, 0) if number % 2 == 0 else (0, 0, 250))
        hum(split, number, 3000 if number in {2, 3} else 300)
    return split


def test_colours_and_spectra_find_what_is_alike(split):
    pictures = load_table(neighbour_table(split, Search(encoder_called("colours"), 2), CPU), split, "image")
    assert pictures.tolist() == [[2, 4], [3, 0], [0, 4], [1, 0], [0, 2]]
    sounds = load_table(neighbour_table(split, Search(encoder_called("spectrum"), 1), CPU), split, "audio")
    assert sounds[:, 0].tolist() == [1, 0, 3, 2, 0]


def test_a_table_says_what_it_is(split):
    path = neighbour_table(split, Search(encoder_called("colours"), 2), CPU)
    header, _ = module._read(path)
    assert header == {
        "split": {"name": "tiny", "sha256": split.sha256, "n": 5}, "modality": "image", "encoder": "colours", "k": 2,
    }  # fmt: skip


def test_a_table_in_the_store_needs_no_media(split, monkeypatch):
    search = Search(encoder_called("colours"), 2)
    path = neighbour_table(split, search, CPU)
    monkeypatch.setattr(module, "vectors_of", lambda *a: pytest.fail("encoded again"))
    assert neighbour_table(split, search, CPU) == path


def test_what_a_table_depends_on_is_in_its_key(split, tmp_path):
    vectors = tmp_path / "mine.npy"
    np.save(vectors, np.eye(5))

    def paths():
        encoders = [encoder_called("colours"), encoder_called("spectrum"), Encoder(str(vectors), "image")]
        searches = [Search(encoder, k) for encoder in encoders for k in (1, 2)]
        return [neighbour_table(split, search, CPU) for search in searches]

    before = paths()
    assert len(set(before)) == 6
    assert paths() == before
    paint(split, 0, (0, 250, 0))
    np.save(vectors, np.eye(5)[::-1])
    assert [a == b for a, b in zip(before, paths(), strict=True)] == [False, False, True, True, False, False]


def test_an_interrupted_search_leaves_nothing(split, store, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("avbench.encoders.colours", interrupted)
    with pytest.raises(KeyboardInterrupt):
        neighbour_table(split, Search(encoder_called("colours"), 2), CPU)
    assert list((store / "neighbours").glob("*.safetensors")) == []


@pytest.mark.parametrize("k", [0, 5, 1000])
def test_there_are_fewer_others_than_k(split, k):
    with pytest.raises(UsageError, match=rf"of tiny has 4 others to resemble, and k is {k}: choose a k of 1 to 4"):
        neighbour_table(split, Search(encoder_called("colours"), k), CPU)


def test_the_resnet_is_torchvisions(split, tmp_path):
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    found = vectors_of(split, encoder_called("resnet18", weights=tmp_path / "net.pth"), CPU)
    assert found.shape == (5, 512)
    net.fc = torch.nn.Identity()
    picture = torchvision.transforms.functional.to_tensor(Image.open(split.samples[1].image).resize((224, 224)))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = net(((picture - mean[:, None, None]) / deviation[:, None, None])[None])[0]
    np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], found[3], rtol=1e-5)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (
            np.ones((4, 3)),
            r"expected numbers \[5, D\] in .*mine.npy, a row per sample of the split, got float64 \[4, 3\]",
        ),
        (np.ones(5), r"expected numbers \[5, D\] .* got float64 \[5\]"),
        (np.array([["a"]] * 5), r"expected numbers .* got <U1 \[5, 1\]"),
        (np.ones((5, 2)) * 1j, r"got complex128 \[5, 2\]"),
        (np.array([[object()]] * 5), r"expected an array of numbers in .*mine.npy, which cannot be read as one"),
        (np.where(np.eye(5)[:, :3] > 0, np.nan, 1), r"gives 3 vectors that are not finite, of clip_000 first"),
        (np.full((5, 2), np.inf), r"vectors that are not finite"),
        (np.eye(5)[:, :3], r"gives 2 vectors that are zero, of clip_003 first"),
    ],
)
def test_vectors_that_do_not_serve(split, tmp_path, vectors, message):
    np.save(tmp_path / "mine.npy", vectors)
    with pytest.raises(AvbenchError, match=message):
        neighbour_table(split, Search(Encoder(str(tmp_path / "mine.npy"), "image"), 2), CPU)


def test_a_file_that_holds_no_array(split, tmp_path):
    place = tmp_path / "mine.npy"
    for content in (b"", b"\x93NUMPY", b"no array"):
        place.write_bytes(content)
        with pytest.raises(
            AvbenchError, match=r"expected an array of numbers in .*mine.npy, which cannot be read as one"
        ):
            vectors_of(split, Encoder(str(place), "image"), CPU)
    with place.open("wb") as file:
        np.savez(file, np.ones((5, 3)))
    with pytest.raises(AvbenchError, match=r"expected numbers \[5, D\] .* got an archive"):
        vectors_of(split, Encoder(str(place), "image"), CPU)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int32, np.uint8])
def test_vectors_of_any_kind_of_number(split, tmp_path, kind):
    np.save(tmp_path / "mine.npy", np.array([[3, 0], [2, 1], [0, 5], [1, 2], [9, 1]], dtype=kind))
    path = neighbour_table(split, Search(Encoder(str(tmp_path / "mine.npy"), "audio"), 1), CPU)
    assert load_table(path, split, "audio")[:, 0].tolist() == [4, 4, 3, 2, 0]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (("resnet19",), r"no encoder called 'resnet19': did you mean resnet18"),
        (("spectrum", "image"), r"spectrum encodes audio, not image: choose another encoder"),
        (("mine.npy",), r"mine.npy could hold pictures or sounds: say --modality image or --modality audio"),
        (("mine.npy", "image"), r"expected the vectors of samples in mine.npy, found no file there"),
        (("colours", None, "net.pth"), r"--weights are for resnet18, and colours has none"),
    ],
)
def test_an_encoder_that_there_is_not(request_, message):
    with pytest.raises(UsageError, match=message):
        encoder_called(*request_)


def test_the_table_of_another_split_is_refused(split, larger_set):
    path = neighbour_table(split, Search(encoder_called("colours"), 2), CPU)
    message = (
        r"holds the neighbours of tiny with 5 samples, not those of tiny with 520: make its own with avbench neigh"
    )
    with pytest.raises(AvbenchError, match=message):
        load_table(path, load_split(str(larger_set)), "image")


def test_the_table_of_other_boxes_is_refused(split, tiny_set):
    path = neighbour_table(split, Search(encoder_called("colours"), 2), CPU)
    entries = json.loads((tiny_set.parent / "annotations.json").read_text())
    (tiny_set.parent / "annotations.json").write_text(json.dumps(entries[::-1]))
    with pytest.raises(AvbenchError, match="holds the neighbours of tiny with 5 samples, not those of tiny with 5"):
        load_table(path, load_split(str(tiny_set)), "image")


def test_a_table_that_cannot_serve(split, tmp_path):
    path = neighbour_table(split, Search(encoder_called("colours"), 2), CPU)
    with pytest.raises(AvbenchError, match=r"expected neighbours by audio in .*, which holds those by image"):
        load_table(path, split, "audio")
    with pytest.raises(AvbenchError, match=r"expected a table of neighbours at .*none.safetensors, found nothing"):
        load_table(tmp_path / "none.safetensors", split, "image")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-8])
    with pytest.raises(AvbenchError, match=r"cut.safetensors cannot be read as a table of neighbours"):
        load_table(tmp_path / "cut.safetensors", split, "image")
    header, table = module._read(path)
    for spoilt in (table + 4, table - 2, table[:3], table[:, :0], table.astype(np.int64)):
        save_file({"neighbours": spoilt}, tmp_path / "x.safetensors", {"avbench": json.dumps(header)})
        with pytest.raises(AvbenchError, match=r"x.safetensors is damaged"):
            load_table(tmp_path / "x.safetensors", split, "image")
    for unlike in ([], {**header, "split": "tiny"}, {"modality": "image"}):
        save_file({"neighbours": table}, tmp_path / "z.safetensors", {"avbench": json.dumps(unlike)})
        with pytest.raises(AvbenchError, match=r"expected in the header of .*z.safetensors which split"):
            load_table(tmp_path / "z.safetensors", split, "image")
    save_file({"other": table}, tmp_path / "y.safetensors")
    with pytest.raises(AvbenchError, match=r"y.safetensors cannot be read as a table"):
        load_table(tmp_path / "y.safetensors", split, "image")


def test_a_damaged_table_in_the_store_is_made_again(split):
    search = Search(encoder_called("colours"), 2)
    path = neighbour_table(split, search, CPU)
    whole = path.read_bytes()
    path.write_bytes(b"junk")
    assert neighbour_table(split, search, CPU) == path
    assert path.read_bytes() == whole


def test_neighbours_come_from_encoders_and_from_tables(split):
    path = neighbour_table(split, Search(encoder_called("spectrum"), 3), CPU)
    found = find_neighbours(split, {"image": "colours", "audio": str(path)}, 2, CPU)
    assert found.image.tolist() == [[2, 4], [3, 0], [0, 4], [1, 0], [0, 2]]
    np.testing.assert_array_equal(found.audio, load_table(path, split, "audio")[:, :2])


def test_neighbours_that_are_missing_or_too_few(split):
    path = neighbour_table(split, Search(encoder_called("spectrum"), 3), CPU)
    with pytest.raises(UsageError, match=r"by image, and none are named: run avbench neighbours --split tiny .* -k 2"):
        find_neighbours(split, {"audio": "spectrum"}, 2, CPU)
    with pytest.raises(
        UsageError, match=r"4 neighbours are asked for, and .* holds 3 of each sample: make a table with"
    ):
        find_neighbours(split, {"image": "colours", "audio": str(path)}, 4, CPU)


@pytest.mark.parametrize(
    ("audio", "message"), [({}, "by audio, and none are named"), ({"audio": "spectre"}, "no encoder called 'spectre'")]
)
def test_both_sources_are_checked_before_a_search(split, monkeypatch, audio, message):
    monkeypatch.setattr(module, "vectors_of", lambda *a: pytest.fail("encoded for nothing"))
    with pytest.raises(UsageError, match=message):
        find_neighbours(split, {"image": "colours", **audio}, 2, CPU)


@pytest.mark.parametrize("out", [".", "", "table.npy"])
def test_a_table_goes_into_a_file_of_its_kind(capsys, split, tiny_set, store, monkeypatch, out):
    command = ["neighbours", "--split", str(tiny_set), "--encoder", "colours", "-k", "2", "--device", "cpu"]
    assert main([*command, "--out", out]) == 2
    assert f"expected --out FILE ending in .safetensors, got {out!r}" in capsys.readouterr().err
    assert not (store / "neighbours").exists()


def test_the_command_makes_a_table(capsys, split, tiny_set, tmp_path):
    out = tmp_path / "made" / "pictures.safetensors"
    command = ["neighbours", "--split", str(tiny_set), "--encoder", "colours", "-k", "2", "--device", "cpu"]
    assert main([*command, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err.splitlines()[-1]) == ("", f"neighbours: {out}")
    assert load_table(out, split, "image").tolist() == [[2, 4], [3, 0], [0, 4], [1, 0], [0, 2]]
    assert main(command) == 0
    kept = capsys.readouterr().err.splitlines()
    assert len(kept) == 1, "found in the store, nothing was encoded"
    np.testing.assert_array_equal(
        load_file(kept[0].removeprefix("neighbours: "))["neighbours"], load_file(out)["neighbours"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["-k", "5"], "a sample of tiny has 4 others to resemble, and k is 5"),
        (["-k", "0"], "expected -k of at least 1, got 0"),
        (["--modality", "smell"], "expected --modality image or audio, got 'smell'"),
        (["--encoder", "colors"], "no encoder called 'colors': did you mean colours"),
    ],
)
def test_what_the_command_refuses(capsys, split, tiny_set, change, message):
    assert main(["neighbours", "--split", str(tiny_set), "--encoder", "colours", *change]) == 2
    assert message in capsys.readouterr().err
