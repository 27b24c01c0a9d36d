"""Batch norms whose training statistics are those of the whole batch that several processes share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avbench.nets.company import gather, present_company
from avbench.nets.precision import at_least_float32


def synchronise_batch_norms(module: nn.Module) -> nn.Module:
    """``module`` with every batch norm replaced by one over all processes' elements; parameters stay the same objects.

    Where the module has parameters on a GPU the replacement is ``torch.nn.SyncBatchNorm``, which knows no other device,
    elsewhere :class:`SynchronisedBatchNorm1d` or :class:`SynchronisedBatchNorm2d`. State dicts keep their keys. Call it
    once the module is where it trains, and before DDP wraps it.

    Returns:
        ``module``, changed in place, or its replacement where it is a batch norm itself.
    """
    if any(parameter.is_cuda for parameter in module.parameters()):
        replaced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return replaced
    return _replaced(module)


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """A batch norm that, in training and in company, normalises by the mean and variance of all processes' elements.

    The gradient passes through both, to the rows of all processes. Running statistics move as a plain batch norm's of
    the whole batch: by the unbiased variance, and alike on every process. Statistics are computed in at least float32.
    In evaluation, and for a process on its own, it is the plain batch norm.
    """

    def forward(self, x: Tensor) -> Tensor:
        company = present_company()
        if company is None or company.processes == 1 or not self.training:
            return super().forward(x)
        wide = at_least_float32(x)
        mean, variance, count = self._statistics(wide, company.processes, company.process)
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        shape = (1, -1, *[1] * (x.ndim - 2))
        normal = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(x.dtype)

    def _statistics(self, x: Tensor, world: int, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mean ``[C]`` and biased variance ``[C]`` over all processes' elements, and how many there are.

        The processes' means and sums of squared differences from them are put together, which loses less than a sum of
        squares would; a process without rows adds nothing.
        """
        elsewhere = [axis for axis in range(x.ndim) if axis != 1]
        number = x.new_tensor(x.numel() // x.shape[1])
        own = x.sum(elsewhere) / number.clamp_min(1)
        spread = (x - own.view(1, -1, *[1] * (x.ndim - 2))).square().sum(elsewhere)
        found = gather(torch.cat([own, spread, number.view(1)])[None], (1,) * world, rank)
        means, spreads, numbers = torch.split(found, [len(own), len(own), 1], dim=1)
        count = numbers.sum()
        mean = (means * numbers).sum(0) / count
        return mean, (spreads + numbers * (means - mean).square()).sum(0) / count, count

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """:class:`torch.nn.BatchNorm1d` over all processes' elements."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` over all processes' elements."""


KINDS: dict[type[nn.Module], type[_Synchronised]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
}


def _replaced(module: nn.Module) -> nn.Module:
    kind = KINDS.get(type(module))
    if kind is not None:
        new = kind(1, device="meta")
        vars(new).update(vars(module))  # all that it holds, parameters and buffers included
        return new
    for name, child in module.named_children():
        setattr(module, name, _replaced(child))
    return module
