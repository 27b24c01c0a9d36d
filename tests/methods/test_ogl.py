"""The object-guided map against torchvision and the goldens."""

import pytest
import torch
from torchvision.models import resnet18

from avbench.methods.ogl import OGL, OGLConfig


@pytest.fixture(scope="module")
def built(made_up, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    net = made_up(resnet18()).eval()
    torch.save(net.state_dict(), path)
    return OGL(OGLConfig(weights=str(path))).double(), net.double()


def test_the_map_is_the_mean_activation_of_the_last_block(built, random_batch):
    method, net = built
    batch = random_batch((1, 1), size=2, side=96, dtype=torch.float64)
    features = torch.nn.Sequential(*list(net.children())[:-2])(batch.image)
    wanted = sum(features[:, c].detach().abs() for c in range(512)) / 512
    torch.testing.assert_close(method.localize(batch).map, wanted, rtol=1e-12, atol=0)


def test_one_sample_at_hand(built, sample0, relative):
    assert relative(built[0].localize(sample0.batch("ezvsl")).map, sample0.wanted["ogl_map"]) < 1e-9


def test_four_samples(built, golden, relative):
    official = golden("ogl_resnet18")
    found = built[0].localize(official.batch("ezvsl", 4, torch.float64)).map
    assert relative(found, official.arrays["eval4_f64/heatmap"]) < 1e-9


def test_it_stands_still_and_hears_nothing(built):
    method = built[0]
    assert sum(p.numel() for p in method.parameters()) == 11_176_512
    assert not any(p.requires_grad for p in method.parameters())
    assert not method.training
    assert method.frontend is None
    assert method.info.needs == ("image",)
    assert (method.info.control, method.info.trainable) == (True, False)
