"""The parts that make the demo world equal everywhere: chance, waves, file bytes, shapes."""

import io
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image

from avbench.data.demo_dice import SINE, Dice, exp2, floats, sine, turn
from avbench.data.demo_drawing import HEIGHT, WIDTH, background, finish, paint, rgb
from avbench.data.demo_files import frame_png, mask_png, wav
from avbench.data.demo_shapes import STYLES
from avbench.data.demo_sound import RATE, decay, glide, tone


def test_chance_is_pinned():
    dice = Dice(101, 7)
    assert [dice.below(1000) for _ in range(4)] == [525, 472, 437, 568]
    assert Dice(101, 8).below(1 << 30) != Dice(101, 7).below(1 << 30)


def test_uniform_covers_its_range():
    dice = Dice(1)
    values = [dice.uniform(-2, 3) for _ in range(4000)]
    assert -2 <= min(values) < -1.95
    assert 2.95 < max(values) < 3
    assert abs(np.mean(values) - 0.5) < 0.1


def test_below_shuffled_and_coin():
    dice = Dice(2)
    assert {dice.below(3) for _ in range(100)} == {0, 1, 2}
    orders = {tuple(dice.shuffled("abc")) for _ in range(200)}
    assert len(orders) == 6
    assert abs(np.mean([dice.coin(0.2) for _ in range(4000)]) - 0.2) < 0.03
    assert all(0.5 <= dice.factor(1) < 2 for _ in range(200))


def test_noise_is_uniform_and_of_the_shape_asked():
    noise = Dice(3).noise(50, 41)
    assert noise.shape == (50, 41)
    assert noise.dtype == np.float32
    assert -1 <= noise.min() < -0.99
    assert 0.99 < noise.max() < 1
    assert abs(noise.std() - 1 / math.sqrt(3)) < 0.02


@pytest.mark.parametrize("x", [-20.3, -1.0, -0.5, 0.0, 0.25, 1.0, 7.7])
def test_exp2_is_the_power_of_two(x):
    assert exp2(x) == pytest.approx(2.0**x, rel=1e-14)


def test_sine_is_the_sine():
    assert np.abs(SINE - np.sin(np.arange(4096) * 2 * np.pi / 4096)).max() < 1e-7
    turns = floats(np.linspace(-3, 3, 1001))
    assert np.abs(sine(turns) - np.sin(2 * np.pi * turns)).max() < 0.002


def test_turn_is_the_angle():
    angles = np.linspace(-np.pi, np.pi, 721)[1:-1]
    came = turn(floats(np.sin(angles)), floats(np.cos(angles)))
    assert np.abs(came - angles / (2 * np.pi)).max() < 2e-4
    assert turn(floats([0]), floats([0]))[0] == 0


def test_tone_and_glide_have_their_pitch():
    for clip in (tone(440, RATE), glide(np.full(RATE, 440.0))):
        assert np.abs(np.fft.rfft(clip)).argmax() == 440


def test_decay_halves():
    curve = decay(RATE, 0.25)
    assert curve[[0, RATE // 4, RATE // 2]] == pytest.approx([1, 0.5, 0.25], rel=1e-5)


@pytest.mark.parametrize("size", [(180, 240), (1, 1), (15, 1456), (30, 1456)])
def test_frame_png_is_read_back(size):
    """The third size fills one stored block of 65,535 bytes to the last byte, the fourth two."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(frame_png(pixels))) as image:
        assert np.array_equal(np.asarray(image), pixels)


def test_mask_png_is_read_back():
    mask = np.random.default_rng(0).random((17, 13)) < 0.5
    with Image.open(io.BytesIO(mask_png(mask))) as image:
        assert image.mode == "1"
        assert np.array_equal(np.asarray(image), mask)
        assert np.array_equal(np.asarray(image.convert("L")), mask * np.uint8(255))


def test_wav_is_read_back():
    samples = np.array([0, 1, -1, 32767, -32768], dtype=np.int16)
    back, rate = soundfile.read(io.BytesIO(wav(samples, 16_000)), dtype="int16")
    assert rate == 16_000
    assert np.array_equal(back, samples)


def test_rgb_of_the_main_hues():
    assert rgb(0, 1, 1) == pytest.approx([255, 0, 0])
    assert rgb(1 / 3, 1, 1) == pytest.approx([0, 255, 0], abs=1e-9)
    assert rgb(2 / 3, 1, 0.5) == pytest.approx([0, 0, 127.5], abs=1e-9)
    assert rgb(0.3, 0, 1) == [255, 255, 255]


@pytest.mark.parametrize("kind", STYLES)
@pytest.mark.parametrize("box", [(0, 0, 110, 150), (30, 90, 230, 170), (200, 10, 236, 44)])
def test_objects_fill_their_boxes(kind, box):
    canvas = background(Dice(1))
    before = canvas.copy()
    covered = paint(canvas, kind, box, Dice(2))
    rows, columns = np.nonzero(covered)
    came = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    limit = 1 + 0.04 * max(box[2] - box[0], box[3] - box[1])
    assert all(abs(a - b) <= limit for a, b in zip(came, box, strict=True))
    assert covered.sum() > 0.4 * (box[2] - box[0]) * (box[3] - box[1])
    assert np.abs(canvas - before)[:, ~covered].max(initial=0) < 256
    outside = np.ones((HEIGHT, WIDTH), dtype=bool)
    outside[box[1] : box[3], box[0] : box[2]] = False
    assert np.array_equal(canvas[:, outside], before[:, outside])


def test_backgrounds_are_textured_and_differ():
    first, second = (finish(background(Dice(n))) for n in (1, 2))
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert first.std(axis=(0, 1)).min() > 3
    assert np.abs(first.astype(int) - second).mean() > 10


def test_looks_are_told_apart_by_colour_and_texture():
    """Classes are not one colour each: the two hues and the pattern make up the look."""
    looks = {}
    for kind in STYLES:
        canvas = np.full((3, HEIGHT, WIDTH), 128, dtype=np.float32)
        paint(canvas, kind, (40, 30, 200, 150), Dice(9))
        looks[kind] = canvas
    for a in STYLES:
        assert all(a == b or np.abs(looks[a] - looks[b]).mean() > 8 for b in STYLES)


def test_drawing_does_not_depend_on_the_vector_units():
    code = (
        "import hashlib; from avbench.data.demo_world import draw, read_split\n"
        "drawn = [draw(read_split('demo-duet'), i) for i in range(4)]\n"
        "print(hashlib.sha256(b''.join(d.frame.tobytes() + d.sound.tobytes() for d in drawn)).hexdigest())"
    )
    seen = set()
    for features in ("", "X86_V4 AVX512_ICL X86_V3 AVX512F AVX512_SKX AVX2 FMA3"):
        settings = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features}
        command = [sys.executable, "-W", "ignore", "-c", code]
        seen.add(subprocess.run(command, env=settings, check=True, capture_output=True, text=True).stdout)
    assert len(seen) == 1
