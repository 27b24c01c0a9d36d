"""Parts of a list for several processes: never overlapping, together the whole, whatever their number."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from avbench.data.batches import RawBatch
from avbench.data.loader import LoaderOptions, iterate_batches
from avbench.data.sharding import ALONE, Shard, batches_of
from avbench.data.splits import Sample, Split
from avbench.data.training_set import TrainingOptions, TrainingSet, iterate_training
from avbench.errors import UsageError
from avbench.types import Window

WINDOW = Window(0.1)
N = 13


def shards(world):
    return [Shard(rank, world) for rank in range(world)]


@given(n=st.integers(0, 500), world=st.integers(1, 97))
def test_parts_are_the_whole_in_order_and_alike_in_size(n, world):
    parts = [shard.of(range(n)) for shard in shards(world)]
    assert [i for part in parts for i in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [1, 7, 97, 5158])
def test_parts_of_any_sequence(n, world):
    names = tuple(f"clip {i}" for i in range(n))
    assert sum((shard.of(names) for shard in shards(world)), ()) == names


@given(data=st.data(), batch_size=st.integers(1, 60), world=st.integers(1, 60))
def test_batches_together_are_those_of_one_process(data, batch_size, world):
    world = min(world, batch_size)
    order = data.draw(st.permutations(range(data.draw(st.integers(batch_size, 200)))))
    alone = batches_of(order, batch_size)
    assert alone == [list(order[s * batch_size : (s + 1) * batch_size]) for s in range(len(order) // batch_size)]
    steps = zip(*(batches_of(order, batch_size, shard) for shard in shards(world)), strict=True)
    for whole, parts in zip(alone, steps, strict=True):
        assert [i for part in parts for i in part] == whole
        assert min(map(len, parts)) >= 1


def test_one_process_has_all():
    assert (ALONE.rank, ALONE.world) == (0, 1)
    assert ALONE.of("abc") == "abc"


@pytest.mark.parametrize(("rank", "world"), [(1, 1), (-1, 3), (3, 3), (0, 0)])
def test_a_rank_that_there_is_not(rank, world):
    with pytest.raises(UsageError, match=f"among {world} processes, got {rank}"):
        Shard(rank, world)


def test_a_batch_that_leaves_a_process_idle():
    with pytest.raises(UsageError, match="a batch of 2 leaves some of 3 processes without a sample"):
        batches_of(range(9), 2, Shard(0, 3))


@pytest.fixture
def split(tmp_path) -> Split:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(N):
        image, audio = tmp_path / f"{i}.png", tmp_path / f"{i}.wav"
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(image)
        soundfile.write(audio, rng.standard_normal(2000) * 0.1, 16000)
        samples.append(Sample(f"s{i}", image, audio, (), "bell"))
    return Split("pairs", "", tuple(samples), "", N, has_media=True, source="")


def joined(batches: list[RawBatch]) -> tuple[list[int], torch.Tensor, torch.Tensor]:
    images = [b.image for b in batches if b.image is not None]
    return [i for b in batches for i in b.indices], torch.cat(images), torch.cat([b.waveforms[WINDOW] for b in batches])


@pytest.mark.parametrize("world", [2, 3, 7])
def test_processes_train_on_the_batches_of_one(split, world):
    def epoch(shard):
        pairs = TrainingSet(split, [WINDOW], seed=3, options=TrainingOptions(shard=shard))
        return list(iterate_training(pairs, epoch=2, batch_size=7))

    steps = zip(*(epoch(shard) for shard in shards(world)), strict=True)
    for whole, parts in zip(epoch(ALONE), steps, strict=True):
        for one, other in zip(joined([whole]), joined(list(parts)), strict=True):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_processes_test_every_sample_once(split, world):
    def decoded(shard):
        options = LoaderOptions(batch_size=2)
        return list(iterate_batches(split, shard.of(range(split.n)), windows=[WINDOW], options=options))

    parts = [batch for shard in shards(world) for batch in decoded(shard)]
    for one, other in zip(joined(decoded(ALONE)), joined(parts), strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
