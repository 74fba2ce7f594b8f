"""Digests of values of any type: two values share one only if they are the same, bit for bit.

One rule holds for all: the name of a value's type, then its content by the protocol that the type
follows (as an array, a sequence, a mapping, a set), then its `__dict__`, then its slots, and last,
if its type is not written in Python, what a pickle of it holds. Order counts, and so does whether
two parts are one object. A class is compared by its name and, unless a library made it, by the
data that it holds for all of its objects.
"""

import gc
import hashlib
import random
import struct
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from enum import Enum
from functools import lru_cache, partial
from io import BytesIO
from logging import Logger
from pathlib import Path
from types import (
    CodeType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, Literal
from weakref import CallableProxyType, ProxyType, ReferenceType

import numpy as np
import torch

SCALARS: dict[type, Callable[[Any], object]] = {
    **dict.fromkeys((str, bytes, bool, type(None), type(Ellipsis)), repr),
    int: hex,
    float: lambda number: struct.pack("<d", number),  # by its bits, since NaNs differ in theirs
    complex: lambda number: struct.pack("<dd", number.real, number.imag),
}
COMPLETE = frozenset({dict, list, tuple, set, frozenset})  # a protocol shows all that they hold
ARRAYS = (np.ndarray, np.generic)
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: not one of the interpreter's own types

Opaque = Literal["refused", "by class"]


def digest_of(value: object, name: str, opaque: Opaque = "refused") -> bytes:
    """Return the digest of a value.

    Args:
        value: of any type.
        name: of the value, for errors.
        opaque: what happens to an object that has neither attributes nor a pickle, such as a lock.

    Raises:
        ValueError: if it holds an opaque object, and these are refused.
    """
    digester = _Digester(name, opaque)
    digester.add(value)
    return digester.hash.digest()


class _Digester:
    """Adds values to one hash: each part with its type, and its length or its end.

    Attributes:
        hash: of all parts so far.
    """

    def __init__(self, name: str, opaque: Opaque) -> None:
        self.hash = hashlib.blake2b(digest_size=16)
        self.name, self.opaque = name, opaque
        self.known: dict[int, tuple[int, object]] = {}  # what was added, by its id, and kept alive

    def mark(self, *words: object) -> None:
        """Add words that begin a part."""
        self.hash.update(("\0".join(map(str, words)) + "\0\0").encode("utf-8", "surrogatepass"))

    def add(self, value: Any) -> None:  # noqa: ANN401
        """Add a value of any type."""
        kind: Any = type(value)
        if kind in SCALARS:
            return self.mark(kind.__name__, SCALARS[kind](value))
        if issubclass(kind, type):
            return self._add_class(value)
        if self._is_known(value):
            return None
        self._add_class(kind)
        read = _reader(kind)
        if read is not None:
            return self.add(read(value))
        has_content = self._add_content(kind, value)
        self._add_attributes(kind, value)
        if not (kind in COMPLETE or issubclass(kind, (*ARRAYS, torch.Tensor)) or _is_plain(kind)):
            self._add_pickled(value, is_needed=not has_content)
        return None

    def _is_known(self, value: object) -> bool:
        """Return whether an object was added before, which also ends what contains itself."""
        if id(value) in self.known:
            self.mark("again", self.known[id(value)][0])
            return True
        self.known[id(value)] = len(self.known), value
        return False

    def _add_class(self, kind: type) -> None:
        """Add the name of a class, and what it and its bases hold for all of their objects."""
        self.mark("class", path_of(kind))
        if id(kind) in self.known or not is_own(kind):
            return
        self.known[id(kind)] = len(self.known), kind
        opaque, self.opaque = self.opaque, "by class"
        for each in filter(is_own, kind.__mro__):
            held = vars(each).items() if _is_local(each) else data_of_class(each).items()
            self._add_all(path_of(each), (part for pair in held for part in pair), len(held))
        self.opaque = opaque

    def _add_content(self, kind: type, value: Any) -> bool:  # noqa: ANN401
        """Add what a value shows by the protocol of its type, and return whether it has one."""
        if issubclass(kind, torch.Tensor):
            return self._add_tensor(value)
        if issubclass(kind, ARRAYS):
            self._add_array(value)
        elif issubclass(kind, list | tuple | deque):
            self._add_all("sequence", value, len(value))
        elif issubclass(kind, Mapping):
            self._add_all("mapping", (part for pair in _items(value) for part in pair), len(value))
        elif issubclass(kind, Set):  # has no order
            self._add_all("set", sorted(map(self._digest_alone, value)), len(value))
        else:
            if issubclass(kind, BaseException):
                self.add([value.__cause__, value.__context__])
            return False
        return True

    def _add_all(self, word: str, parts: Iterable[object], number: int) -> None:
        self.mark(word, number)
        for part in parts:
            self.add(part)

    def _add_array(self, array: Any) -> None:  # noqa: ANN401 (of NumPy)
        self.add(array.dtype.__reduce__()[1:])  # fields that overlap have no other description
        self.mark(array.shape)
        bare = np.asarray(array)
        if bare.dtype.hasobject:
            self.add(bare.ravel().tolist())
        else:
            self.hash.update(np.ascontiguousarray(bare).tobytes())

    def _add_tensor(self, tensor: torch.Tensor) -> bool:
        """Add a tensor, and return whether its elements are known."""
        self.mark(tensor.dtype, tensor.layout, tuple(tensor.shape), tensor.requires_grad)
        if tensor.is_leaf:  # others warn of a question about their gradients
            self.add([tensor.grad, tensor._backward_hooks])
        bare = tensor.detach()
        if bare.layout != torch.strided:  # a pickle has the indices and the values
            self._add_pickled(bare, is_needed=True)
        elif bare.device.type != "meta":
            bare = bare.dequantize() if bare.is_quantized else bare
            bare = bare.cpu().resolve_conj().resolve_neg().contiguous()
            bare = bare.as_strided((bare.numel(),), (1,))
            self.hash.update(bare.view(torch.uint8).numpy().tobytes())
        return True

    def _add_attributes(self, kind: type, value: Any) -> None:  # noqa: ANN401
        found = list(vars(value).items()) if hasattr(value, "__dict__") else []
        for name, slot in _slots(kind):
            try:
                found.append((name, slot.__get__(value)))
            except AttributeError:  # it is empty
                continue
        if found:
            self._add_all("attributes", (part for pair in found for part in pair), len(found))

    def _add_pickled(self, value: Any, *, is_needed: bool) -> None:  # noqa: ANN401
        """Add what a pickle would hold, which is needed if nothing else is known of a value."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reduced = value.__reduce_ex__(4)
        except Exception as error:  # classes raise what they like
            if is_needed and self.opaque == "refused":
                raise ValueError(
                    f"{self.name} holds an object of {path_of(type(value))}, which cannot be "
                    "compared bit for bit: give numbers, strings, arrays, or objects that can be "
                    "pickled"
                ) from error
            return
        parts = reduced if isinstance(reduced, tuple) else (reduced,)
        listed = [list(each) if isinstance(each, Iterator) else each for each in parts]
        self._add_all("pickle", listed, len(listed))

    def _digest_alone(self, value: object) -> bytes:
        """Return the digest of an element of a set, which knows what is around the set only."""
        outer, self.hash = self.hash, hashlib.blake2b(digest_size=16)
        number = len(self.known)
        self.add(value)
        digest, self.hash = self.hash.digest(), outer
        while len(self.known) > number:
            self.known.popitem()
        return digest


def _items(mapping: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """Return keys and values; the entry `t` of an episode, beside `r` and `l`, is a duration.

    Monitors measure it. It is compared by its type.
    """
    if not {"r", "l", "t"} <= set(mapping.keys()) or not _is_number(mapping["t"]):
        return list(mapping.items())
    return [(key, type(value) if key == "t" else value) for key, value in mapping.items()]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) or (
        isinstance(value, np.ndarray) and value.dtype.kind == "f"
    )


@lru_cache(maxsize=4096)
def _slots(kind: type) -> list[tuple[str, Any]]:
    """Return the slots of a class and its bases, also private ones, by their names."""
    declaring = [vars(each) for each in kind.__mro__ if "__slots__" in vars(each)]
    entries = [entry for held in declaring for entry in held.items()]
    return [(name, slot) for name, slot in entries if isinstance(slot, MemberDescriptorType)]


@lru_cache(maxsize=4096)
def _is_plain(kind: type) -> bool:
    """Return whether all that an object of a class holds are its attributes.

    So it is for classes that are written in Python, down to `object`.
    """
    if kind is object:
        return True
    has_attributes = bool({"__dict__", "__slots__"} & vars(kind).keys())
    return (
        bool(kind.__flags__ & HEAP_TYPE)
        and (has_attributes or kind.__bases__ != (object,))
        and all(map(_is_plain, kind.__bases__))
    )


def path_of(kind: type) -> str:
    """Return the name of a class with that of its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


FRAMEWORKS = {
    *("gymnasium", "minigrid", "stable_baselines3"),
    *("oversight", "envs", "agents", "lm", "configs"),
}
"""Packages whose classes an environment and a learner are made of, wherever they are installed."""
DATA = (*SCALARS, list, tuple, dict, set, frozenset, deque, *ARRAYS, torch.Tensor)


@lru_cache(maxsize=16384)
def is_own(kind: Any) -> bool:  # noqa: ANN401 (mypy does not take a class as hashable)
    """Return whether a class is none of the installed libraries, which count and cache in theirs.

    Those of the frameworks are looked at as well.
    """
    return not _is_library(str(getattr(kind, "__module__", "")).partition(".")[0])


@lru_cache(maxsize=4096)
def _is_library(package: str) -> bool:
    """Return whether a package is of the standard library, or is installed and no framework."""
    if package in FRAMEWORKS or package == "__main__":
        return False
    module = sys.modules.get(package)
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    installed = any(not SITES.isdisjoint(Path(place).parts) for place in places)
    return installed or package in sys.stdlib_module_names


SITES = {"site-packages", "dist-packages"}
"""Names of the folders of installed libraries."""


def data_of_class(kind: type) -> dict[str, Any]:
    """Return the values that a class holds for all of its objects, without its code."""
    return {
        name: value
        for name, value in vars(kind).items()
        if isinstance(value, DATA) and not (name.startswith("_") and name.endswith("_"))
    }


def _is_local(kind: type) -> bool:
    """Return whether a class cannot be imported, so that a pickle of it holds its code as well."""
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is not kind


def _parts_of_function(value: FunctionType) -> list[object]:
    """Return what a function computes with, as far as a pickle by value would hold it."""
    cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
    attributes = {k: v for k, v in vars(value).items() if k != "__wrapped__"}
    defaults = [value.__defaults__, value.__kwdefaults__]
    return [value.__module__, value.__qualname__, value.__code__, *defaults, cells, attributes]


def _is_filled(cell: Any) -> bool:  # noqa: ANN401 (of a closure)
    try:
        return cell.cell_contents is not None or True
    except ValueError:  # it is empty
        return False


def _parts_of_member(value: Enum) -> list[object]:
    """Return the name, the value and the attributes of a member of an enumeration."""
    further = {k: v for k, v in vars(value).items() if not (k.startswith("_") and k.endswith("_"))}
    return [value.name, value.value, further]


def _is_figure(kind: type) -> bool:
    """Return whether objects of a class are figures of Matplotlib, which need not be installed."""
    return any(path_of(each) == "matplotlib.figure.Figure" for each in kind.__mro__)


def _drawn(figure: Any) -> bytes:  # noqa: ANN401 (a class that need not be installed)
    """Return the pixels of a figure."""
    pixels = BytesIO()
    figure.savefig(pixels, format="rgba")
    return pixels.getvalue()


def _state_of_generator(generator: np.random.Generator) -> dict[str, Any]:
    """Return the state of a generator, and how many others it has spawned."""
    bits = generator.bit_generator
    return {**bits.state, "spawned": getattr(bits.seed_seq, "n_children_spawned", 0)}


GENERATOR_STATES: dict[type, Callable[[Any], object]] = {
    random.SystemRandom: lambda generator: None,  # the system's
    random.Random: lambda generator: generator.getstate(),
    np.random.RandomState: lambda generator: generator.get_state(legacy=False),
    np.random.Generator: _state_of_generator,
    np.random.BitGenerator: lambda generator: generator.state,
    torch.Generator: lambda generator: generator.get_state(),
}
"""How the state of a random generator is read."""


def generator_state(value: object) -> object | None:
    """Return the state of a random generator, or None if the value is something else.

    >>> generator_state(np.random.default_rng(0))["bit_generator"]
    'PCG64'
    """
    for kind, read in GENERATOR_STATES.items():
        if isinstance(value, kind):
            return read(value)
    return None


def _generator_with_attributes(generator: Any) -> list[object]:  # noqa: ANN401
    return [generator_state(generator), getattr(generator, "__dict__", None)]


CODE = (
    *("co_name", "co_code", "co_consts", "co_names", "co_varnames", "co_freevars", "co_cellvars"),
    *("co_filename", "co_firstlineno", "co_flags", "co_argcount", "co_kwonlyargcount"),
)

READERS: dict[tuple[type, ...], Callable[[Any], object]] = {
    (ModuleType,): lambda module: module.__name__,
    (torch.dtype, torch.layout, torch.memory_format, torch.device): repr,
    (Logger,): lambda logger: logger.name,  # the tree of loggers is not a part of it
    # no pickle and no copy reaches through a weak reference
    (ReferenceType, ProxyType, CallableProxyType): lambda reference: None,
    (Enum,): _parts_of_member,
    (FunctionType,): _parts_of_function,
    (partial,): lambda call: [call.func, call.args, call.keywords, vars(call)],
    (MethodType,): lambda method: [method.__func__, method.__self__],
    (CodeType,): lambda code: [getattr(code, name) for name in CODE],
    tuple(GENERATOR_STATES): _generator_with_attributes,
}
"""What is added for a value whose attributes are not what it holds."""


@lru_cache(maxsize=4096)
def _reader(kind: type) -> Callable[[Any], object] | None:
    if _is_figure(kind):
        return _drawn
    return next((read for kinds, read in READERS.items() if issubclass(kind, kinds)), None)


def generators_within(value: object, known: set[int]) -> Iterator[object]:
    """Yield the states of all random generators that a value holds, however deep.

    Args:
        value: of any type; neither classes nor modules are looked into.
        known: the ids of objects that are passed over, to which all that are met are added.
    """
    waiting = [value]
    while waiting:
        held = waiting.pop()
        if id(held) in known or isinstance(held, type | ModuleType | Logger):
            continue
        known.add(id(held))
        if isinstance(held, tuple(GENERATOR_STATES)):
            yield generator_state(held)
        elif isinstance(held, FunctionType):  # whose globals are no part of it
            waiting += reversed([held.__closure__, held.__defaults__, held.__kwdefaults__])
        else:
            waiting += reversed(gc.get_referents(held))
