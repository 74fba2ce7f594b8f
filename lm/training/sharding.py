"""A model of which each process holds a shard, by FSDP2.

What it needs of PyTorch takes a second to import, so whoever trains without it does not.
"""

import torch
from torch import Tensor

from lm.model.language_model import LanguageModel
from lm.training.processes import processes


def shard(model: LanguageModel) -> LanguageModel:
    """Return a copy of a model of which this process holds a shard, on the model's device.

    The model itself is moved to the CPU, where it waits for `unshard`. Blocks are gathered one at
    a time while they are computed. Gradients add up over processes.
    """
    from torch.distributed.device_mesh import init_device_mesh  # noqa: PLC0415
    from torch.distributed.fsdp import (  # noqa: PLC0415
        FSDPModule,
        fully_shard,
        register_fsdp_forward_method,
    )

    mesh = init_device_mesh(model.device.type, (processes().size,))
    shards = model.to("cpu").copied()
    for module in (*shards.layers(), shards):
        fully_shard(module, mesh=mesh)
    register_fsdp_forward_method(shards, "total_loss")  # what the training loop calls
    for module in shards.modules():
        if isinstance(module, FSDPModule):
            # the default is their mean, but losses are divided by the tokens of the whole batch
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return shards


@torch.no_grad()
def unshard(shards: LanguageModel, model: LanguageModel) -> None:
    """Give a model the weights of its shards, in every process, on the device of the shards."""
    from torch.distributed.tensor import DTensor  # noqa: PLC0415

    for part, whole in zip(shards.parameters(), model.parameters(), strict=True):
        assert isinstance(part, DTensor)
        whole.copy_(part.full_tensor())
    model.to(shards.device)


def sharded(tensor: Tensor) -> bool:
    """Return whether a tensor is shared out over processes."""
    return hasattr(tensor, "full_tensor")


def placed(whole: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor that every process has, shared out as another one is, if that is."""
    if not sharded(like):
        return whole
    from torch.distributed.tensor import DTensor, distribute_tensor  # noqa: PLC0415

    assert isinstance(like, DTensor)
    mesh, where = like.device_mesh, like.placements
    return distribute_tensor(whole.to(like.device), mesh, where, src_data_rank=None)
