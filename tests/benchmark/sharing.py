"""What one process computes of a whole batch, and two of their shares of it: run as one of two, or imported.

``python sharing.py RANK FOLDER`` meets the other process in FOLDER and leaves ``RANK.pt`` there.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from avbench.augment import augment_images, draw_flips, mask_spectrograms, simclr_view
from avbench.methods.alignment import Alignment, AlignmentConfig
from avbench.methods.attention10k import Attention10k, Attention10kConfig
from avbench.methods.ezvsl import EZVSL, EZVSLConfig
from avbench.methods.fnac import FNAC, FNACConfig
from avbench.methods.jsa import JSA, JSAConfig
from avbench.methods.lvs import LVS, LVSConfig
from avbench.methods.slavc import SLAVC, SLAVCConfig
from avbench.nets.batch_norm import synchronise_batch_norms
from avbench.nets.company import Company, Dropout, gathered, in_company
from avbench.types import Batch

TOTAL = 6
DEALT = {"even": (3, 3), "uneven": (4, 2)}
NARROW = {"width": 1 / 16}
METHODS = {
    "ezvsl": (EZVSL, EZVSLConfig(out_dim=8, **NARROW)),
    "slavc": (SLAVC, SLAVCConfig(out_dim=8, dropout_img=0.0, supervised="corrected", **NARROW)),
    "fnac": (FNAC, FNACConfig(out_dim=8, dropout_img=0.0, **NARROW)),
    "lvs": (LVS, LVSConfig(**NARROW)),
    "alignment": (Alignment, AlignmentConfig(head_hidden=6, head_dim=4, **NARROW)),
    # four neighbours are more than either process holds rows, or all of them
    "attention10k": (Attention10k, Attention10kConfig(supervised="official", **NARROW)),
    "jsa": (JSA, JSAConfig(dim=8, iters=2, mask_ratio=0.0, reciprocal_k=4, **NARROW)),
}
FURTHER = {
    "slavc-symmetric": (SLAVC, replace(METHODS["slavc"][1], symmetric=True, supervised="off", use_momentum=False)),
    "slavc-dropout": (SLAVC, replace(METHODS["slavc"][1], dropout_img=0.5, supervised="squared")),
    "lvs-paper": (LVS, LVSConfig(loss_form="paper", **NARROW)),
    "alignment-symmetric": (Alignment, replace(METHODS["alignment"][1], symmetric=True)),
    "attention10k-squared": (Attention10k, Attention10kConfig(supervised="squared", margin=50.0, **NARROW)),
    "jsa-targets": (JSA, replace(METHODS["jsa"][1], num_slots=3, num_targets=2, lam1=0.0, decoders=False)),
}
CASES = METHODS | FURTHER


def built(name, *, alone=False):
    """A small network; ``alone``: one that rows of one process are enough for."""
    cls, config = CASES[name]
    torch.manual_seed(0)
    return cls(replace(config, reciprocal_k=1) if alone and name == "jsa" else config).double().train()


def batch(name, rows):
    """Those rows of a batch of noise."""
    made = torch.Generator().manual_seed(5)
    side, spectrogram = (224, (32, 501)) if name == "jsa" else (64, (33, 40))

    def noise(*shape):
        return torch.randn(TOTAL, *shape, generator=made, dtype=torch.float64)[rows]

    kinds = ("augmented", "conceptual")
    return Batch(
        [str(i) for i in range(TOTAL)][rows],
        noise(3, side, side),
        noise(1, *spectrogram),
        noise(16, 16).sigmoid(),
        torch.tensor([True, False, True, True, False, True])[rows],
        {kind: noise(3, side, side) for kind in kinds},
        {kind: noise(1, *spectrogram) for kind in kinds},
    )


def learnt(method, shown):
    """Terms of the loss, gradients and buffers after one pass of ``shown``, by name."""
    torch.manual_seed(1)
    terms = method(shown)
    terms["total"].backward()
    inner = method.module if isinstance(method, DistributedDataParallel) else method
    return {
        **{f"term {name}": term.detach() for name, term in terms.items()},
        **{f"gradient {name}": p.grad for name, p in inner.named_parameters() if p.requires_grad},
        **{f"buffer {name}": buffer for name, buffer in inner.named_buffers()},
    }


def shared(name, company):
    """As :func:`learnt`, of this process's rows in company; the terms are the mean over the processes."""
    gathers = company.negatives == "gathered"
    method = built(name, alone=not gathers)
    method = synchronise_batch_norms(method) if gathers else method
    with in_company(company):
        found = learnt(DistributedDataParallel(method, broadcast_buffers=False), batch(name, company.rows))
    for key in [key for key in found if key.startswith("term")]:
        dist.all_reduce(found[key])
        found[key] /= company.world
    return found


NORMS = {
    "two axes": (partial(nn.BatchNorm2d, 3), (3, 5, 4)),
    "one axis": (partial(nn.BatchNorm1d, 3), (3,)),
    "plain": (partial(nn.BatchNorm1d, 3, affine=False, track_running_stats=False), (3, 4)),
    "cumulative": (partial(nn.BatchNorm2d, 3, momentum=None, eps=0.1), (3, 2, 2)),
}


def normalised(norm, shape, rows):
    """Output, gradients and buffers of a batch norm of float64 noise far from 0, after two passes."""
    made = torch.Generator().manual_seed(2)
    noise = [torch.randn(TOTAL, *shape, generator=made, dtype=torch.float64)[rows] * 3 + 40 for _ in range(3)]
    given = noise[0].clone().requires_grad_()
    norm.double()
    came = norm(noise[1]).detach(), norm(given)
    (came[1] * noise[2]).sum().backward()
    parameters = {f"gradient {name}": p.grad for name, p in norm.named_parameters()}
    return {"first": came[0], "second": came[1].detach(), "given": given.grad, **parameters, **norm.state_dict()}


def chances(rows):
    """What is drawn for those rows, and what the generator would say next."""
    pictures = torch.rand(TOTAL, 3, 20, 20, generator=torch.Generator().manual_seed(3))[rows]
    sounds = torch.rand(TOTAL, 1, 30, 40, generator=torch.Generator().manual_seed(4))[rows] + 1
    generator = torch.Generator().manual_seed(6)
    return {
        "flips": draw_flips(len(pictures), ["flip"], generator),
        "changed": augment_images(pictures, ["flip", "blur", "jitter", "grayscale"], generator),
        "view": simclr_view(pictures, generator),
        "masked": mask_spectrograms(sounds, generator, axes="fixed"),
        "next": torch.rand(1, generator=generator),
    }


def dropped(rows, layout=torch.contiguous_format):
    """Noise after dropout by half, its gradient, and what torch's generator would say next."""
    made = torch.Generator().manual_seed(7)
    given = torch.randn(TOTAL, 4, 3, 5, generator=made)[rows].contiguous(memory_format=layout).requires_grad_()
    torch.manual_seed(8)
    came = Dropout(0.5)(given)
    came.square().sum().backward()
    return {"came": came.detach(), "gradient": given.grad, "next": torch.rand(1)}


def exchanged(company):
    """Rows of several kinds, gathered, and the gradient of process r's loss ``sum_i (i + 1) * 10 ** r * row_i``."""
    whole = torch.arange(TOTAL * 2).view(TOTAL, 2)
    found = {}
    for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool):
        own = whole[company.rows].to(kind)
        own.requires_grad_(kind.is_floating_point)
        all_rows = gathered(own)
        found[str(kind)] = all_rows.detach()
        if kind.is_floating_point:
            factors = torch.arange(1, TOTAL + 1)[:, None] * 10**company.rank
            (all_rows * factors.to(kind)).sum().backward()
            found[f"gradient {kind}"] = own.grad
    with torch.no_grad():
        found["scalars"] = gathered(whole[company.rows, 0].double())
    return found


def together(company):
    """All that two processes are asked."""
    with in_company(company):
        return {
            "exchanged": exchanged(company),
            **({"chances": chances(company.rows)} if min(company.sizes) else {}),
            "dropped": dropped(company.rows),
            "dropped, channels last": dropped(company.rows, torch.channels_last),
            **{
                f"norm {name}": normalised(synchronise_batch_norms(norm()), shape, company.rows)
                for name, (norm, shape) in NORMS.items()
            },
        }


def runs():
    """How the batch is dealt, what gathers, and the case, of each training step that two processes share."""
    gathering = [(how, "gathered", name) for how in DEALT for name in METHODS]
    further = [("uneven", "gathered", name) for name in FURTHER]
    apart = [("even", "per-device", name) for name in METHODS] + [("uneven", "per-device", "slavc")]
    return gathering + further + apart


def main(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    found = {how: together(Company(rank, sizes)) for how, sizes in {**DEALT, "none": (TOTAL, 0)}.items()}
    for how, negatives, name in runs():
        found[f"{how} {negatives} {name}"] = shared(name, Company(rank, DEALT[how], negatives))
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
