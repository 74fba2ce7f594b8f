"""Which parameters a target holds."""

from collections.abc import Iterable, Iterator

from torch import nn

Part = nn.Module | nn.Parameter | Iterable["Part"]


def parameters_of(part: Part) -> list[nn.Parameter]:
    """Return the parameters of a module, a parameter or several of them, each once, in order.

    Raises:
        ValueError: if there is none.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> [tuple(parameter.shape) for parameter in parameters_of([net[0].weight, net[1]])]
    [(3, 2), (1, 3), (1,)]
    """
    parameters = list(dict.fromkeys(_walk(part)))
    if not parameters:
        raise ValueError(
            f"{part!r} holds no parameter: give a module, a parameter, or a list of them (an "
            "iterator can be read only once)"
        )
    return parameters


def _walk(part: Part) -> Iterator[nn.Parameter]:
    if isinstance(part, nn.Parameter):
        yield part
    elif isinstance(part, nn.Module):
        yield from part.parameters()
    else:
        for one in part:
            yield from _walk(one)
