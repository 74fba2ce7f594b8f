"""The route table: the weight of each route's gradient at each target."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from numbers import Real
from reprlib import repr as shorten
from typing import Any, NoReturn

import torch
from torch import Tensor

Names = str | Sequence["Names"]


class RouteTable:
    """An immutable matrix of weights, named routes by named targets.

    A weight of 1 passes a route's gradient at a target, 0 blocks it, a fraction dampens it, and a
    negative number reverses it (Cloud et al. 2024, arXiv 2410.04332, section 3). A route is stored
    as an integer, the place of its row; the order of the rows is therefore part of the table.

    Args:
        weights: for each route, in order, the weight at each target. All rows name the same ones.

    Raises:
        ValueError: if the table is empty, ragged, or holds a weight that is not finite.

    >>> table = RouteTable({"observed": {"motivation": 1, "shared": 1},
    ...                     "hidden":   {"motivation": 0, "shared": 1}})
    >>> route = table.routes(["observed", "hidden", "hidden"])
    >>> table("motivation", route, ndim=2)
    tensor([[1.],
            [0.],
            [0.]], dtype=torch.float64)
    """

    __slots__ = ("_matrix", "_rows")

    _matrix: Tensor  # [routes, targets]
    _rows: dict[str, dict[str, float]]

    def __init__(self, weights: Mapping[str, Mapping[str, float]]) -> None:
        _check(weights)
        names = tuple(next(iter(weights.values())))
        rows = {route: {name: float(row[name]) for name in names} for route, row in weights.items()}
        values = [list(row.values()) for row in rows.values()]
        object.__setattr__(self, "_rows", rows)
        object.__setattr__(self, "_matrix", torch.tensor(values, dtype=torch.float64))

    @property
    def route_names(self) -> tuple[str, ...]:
        """The routes, in order: the integer of a route is its place here."""
        return tuple(self._rows)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets, in order."""
        return tuple(next(iter(self._rows.values())))

    @property
    def passed(self) -> frozenset[str]:
        """The targets at which every route has weight 1, so that they need no gate."""
        rows = self._rows.values()
        return frozenset(name for name in self.target_names if all(row[name] == 1 for row in rows))

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Return a plain dictionary, from which an equal table can be built.

        >>> RouteTable({"hidden": {"shared": 0.5}}).as_dict()
        {'hidden': {'shared': 0.5}}
        """
        return {route: dict(row) for route, row in self._rows.items()}

    def routes(self, names: Names) -> Tensor:
        """Return the integers of named routes, in a tensor shaped like the nested sequence.

        Raises:
            ValueError: if a name is no route of this table.

        >>> RouteTable({"retain": {"all": 1}, "forget": {"all": 0}}).routes(["forget", "retain"])
        tensor([1, 0])
        """
        return torch.tensor(self._number(names), dtype=torch.int64)

    def __call__(self, target: str, route: Tensor, ndim: int) -> Tensor:
        """Return the weight of each route at a target, with trailing 1s up to `ndim` axes.

        Args:
            target: one of `target_names`.
            route: int64 or int32, of any shape: one for all, one per sample, or one per token.
            ndim: how many axes the gated tensor has; those of `route` are the first of them.

        Raises:
            ValueError: if the target is unknown or the route does not fit. On an accelerator, an
                integer beyond the table is a device-side assertion instead.

        >>> table = RouteTable({"retain": {"all": 1}, "forget": {"all": -0.75}})
        >>> table("all", table.routes([["retain", "forget"]]), ndim=3).shape
        torch.Size([1, 2, 1])
        """
        names = self.target_names
        if target not in names:
            refuse_name("target", target, names)
        rows = self.rows(route)
        if route.ndim > ndim:
            raise ValueError(
                f"a route of shape {tuple(route.shape)} has more axes than the {ndim} of the gated "
                "tensor: give one route for all, one per sample or one per token"
            )
        weight = rows[..., names.index(target)]
        return weight.reshape(route.shape + (1,) * (ndim - route.ndim))

    def rows(self, route: Tensor) -> Tensor:
        """Return the weights of each route at all targets, [..., targets].

        Raises:
            ValueError: if the route is not made of this table's integers; as for a single target.

        >>> table = RouteTable({"retain": {"old": 1, "new": 0}, "forget": {"old": 0, "new": 1}})
        >>> table.rows(table.routes("forget"))
        tensor([0., 1.], dtype=torch.float64)
        """
        if not isinstance(route, Tensor) or route.dtype not in (torch.int64, torch.int32):
            given = getattr(route, "dtype", f"type {type(route).__name__}")
            raise ValueError(
                f"a route of {given} was given: use int64, as table.routes(names) does"
            )
        matrix = self._on(route.device)
        return self._pick(matrix, route).view(*route.shape, matrix.shape[1])

    def to(self, device: torch.device | str) -> "RouteTable":
        """Return an equal table whose weights lie on a device, which saves a copy per look-up.

        >>> RouteTable({"hidden": {"shared": 0}}).to("cpu").route_names
        ('hidden',)
        """
        matrix = self._on(torch.device(device))
        if matrix is self._matrix:
            return self
        table = RouteTable(self._rows)
        object.__setattr__(table, "_matrix", matrix)
        return table

    def _on(self, device: torch.device) -> Tensor:
        # float64 keeps a weight such as 0.1 exact for every network; MPS has no such type
        return self._matrix.to(device, torch.float32 if device.type == "mps" else torch.float64)

    def _pick(self, matrix: Tensor, route: Tensor) -> Tensor:
        try:
            # index_select refuses negative integers, which matrix[route] would count from the end
            return matrix.index_select(0, route.flatten())
        except IndexError:
            raise ValueError(
                f"routes from {int(route.min())} to {int(route.max())} were given, but this table "
                f"numbers its routes from 0 to {len(self._rows) - 1}: {', '.join(self._rows)}; "
                "make them with table.routes(names)"
            ) from None

    def _number(self, names: Names) -> Any:  # noqa: ANN401
        if isinstance(names, Iterable) and not isinstance(names, str):
            return [self._number(name) for name in names]
        if names not in self._rows:
            refuse_name("route", names, self._rows)
        return self.route_names.index(names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RouteTable):
            return NotImplemented
        return self.route_names == other.route_names and self._rows == other._rows

    def __hash__(self) -> int:
        return hash(tuple((route, frozenset(row.items())) for route, row in self._rows.items()))

    def __repr__(self) -> str:
        return f"RouteTable({self._rows})"

    def __reduce__(self) -> tuple[type["RouteTable"], tuple[dict[str, dict[str, float]]]]:
        return RouteTable, (self.as_dict(),)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name!r}: a route table never changes; build a new one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: a route table never changes")


def refuse_name(kind: str, name: object, known: Iterable[str]) -> NoReturn:
    """Raise for an unknown route or target, with the known ones and the nearest of them."""
    known = list(known)
    nearest = get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"unknown {kind} {name!r}: this table has {', '.join(known)}{hint}")


def _is_finite(weight: object) -> bool:
    """Return whether a weight is a number that a float holds."""
    try:
        return isinstance(weight, Real) and isfinite(weight)
    except OverflowError:  # of a huge integer
        return False


def _named_rows(weights: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the rows of a table with their routes, or raise a ValueError if they are none."""
    rows = list(weights.items()) if isinstance(weights, Mapping) else [("", weights)]
    if not all(isinstance(row, Mapping) for _, row in rows):
        raise ValueError(
            f"a table of {weights!r} was given: give a dictionary from each route to a dictionary "
            "from each target to its weight"
        )
    if not rows or not rows[0][1]:
        raise ValueError(f"an empty table was given, {weights}: name a route and a target at least")
    for name in (name for route, row in rows for name in (route, *row)):
        if not isinstance(name, str) or not name:
            raise ValueError(f"a route or target {name!r} was given: name it by a word")
    return rows


def _check(weights: Mapping[str, Mapping[str, float]]) -> None:
    rows = _named_rows(weights)
    first, names = rows[0][0], set(rows[0][1])
    for route, row in rows:
        if set(row) != names:
            raise ValueError(
                f"route {route!r} names the targets {sorted(row)}, but {first!r} names "
                f"{sorted(names)}: every row must give a weight to the same targets"
            )
        for target, weight in row.items():
            if not _is_finite(weight):
                raise ValueError(
                    f"the weight of route {route!r} at target {target!r} is {shorten(weight)}: "
                    "give a finite number (0 blocks, 1 passes)"
                )
