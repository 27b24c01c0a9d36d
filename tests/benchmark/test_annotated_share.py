"""The share of the annotated clips whose annotation a training uses."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from avbench.data.batches import WHOLE, RawBatch
from avbench.data.splits import Sample
from avbench.errors import UsageError
from avbench.preparing import prepare, within_share
from avbench.recipe import changed, load_recipe
from avbench.types import Window

NAMES = [f"clip_{number:03d}" for number in range(2000)]


def of_share(share, names=NAMES):
    return [name for name in names if within_share(name, share)]


def test_the_share_by_hand():
    """Fractions by ``printf avbench-annotated:clip_000 | sha256sum``: 6c62..., 2ac0..., 6418..., 0444..., 3884..."""
    first = ("6c62", "2ac0", "6418", "0444", "3884")
    for name, start in zip(NAMES, first, strict=False):
        assert hashlib.sha256(f"avbench-annotated:{name}".encode()).hexdigest().startswith(start)
        place = int(start, 16) / 2**16
        assert not within_share(name, place)
        assert within_share(name, place + 2**-16)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_share_is_kept_among_many(share):
    # four standard deviations of a binomial draw
    assert len(of_share(share)) == pytest.approx(share * 2000, abs=4 * (share * (1 - share) * 2000) ** 0.5)
    assert of_share(1.0) == NAMES


def test_smaller_shares_are_within_larger_ones():
    shares = [set(of_share(share)) for share in (0.01, 0.1, 0.25, 0.9, 1)]
    assert all(one < other for one, other in pairwise(shares))


def test_another_process_says_the_same():
    code = "from avbench.preparing import within_share; print([n for n in range(50) if within_share(str(n), 0.3)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([n for n in range(50) if within_share(str(n), 0.3)])


class Seeing:
    """What :func:`prepare` asks of a method."""

    wants_truth = True

    class frontend:  # noqa: N801
        window = Window(seconds=0.1)

        def __new__(cls, waveforms, rate):
            return waveforms[:, None, None]


def test_beyond_the_share_a_clip_has_neither_boxes_nor_a_mark():
    boxed = Sample("clip_000", None, None, ((0.0, 0.0, 0.5, 1.0),))
    samples = [
        boxed,
        replace(boxed, id="clip_001"),
        replace(boxed, id="clip_003", boxes=()),
        replace(boxed, id="clip_004"),
    ]
    raw = RawBatch(
        list(range(4)),
        [sample.id for sample in samples],
        torch.zeros(4, 3, 224, 224, dtype=torch.uint8),
        {Seeing.frontend.window: torch.zeros(4, 10)},
        rate=100,
        places=[WHOLE] * 4,
    )
    found = {}
    for share in (0.1, 0.2, 0.25, 1.0):
        recipe = replace(load_recipe("slavc", "demo"), annotated=share, augment=())
        batch = prepare(raw, Seeing(), recipe, samples)
        found[share] = batch.annotated.tolist()
        assert [float(truth.sum()) for truth in batch.truth] == [224 * 112 * use for use in found[share]]
    assert found == {
        0.1: [False, False, False, False],
        0.2: [False, True, False, False],
        0.25: [False, True, False, True],
        1.0: [True, True, False, True],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", r"the recipe slavc-demo expects annotated above 0, got 0: "),
        ("-0.1", r"expects annotated above 0, got -0.1"),
        ("1.01", r"the recipe slavc-demo expects annotated of at most 1, got 1.01: it is a share"),
        ("nan", r"expects a finite number under annotated, got nan"),
        ("some", r"expects a finite number under annotated, got 'some'"),
    ],
)
def test_what_is_no_share_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        changed(load_recipe("slavc", "demo"), [f"annotated={text}"])


def test_shares_of_the_recipes():
    assert changed(load_recipe("slavc", "demo"), ["annotated=0.3"]).annotated == 0.3
    assert load_recipe("slavc", "demo").annotated == 1.0
    for method in ("slavc", "attention10k"):
        assert load_recipe(method, "semi-demo").annotated == 0.1
        assert load_recipe(method, "flickr-10k-supervised").annotated == 1.0
