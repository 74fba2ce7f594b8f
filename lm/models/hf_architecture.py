"""Where the layers of a causal model of Hugging Face are, found by structure.

No family is listed. One forward pass of a few tokens shows what each module maps to what:
- a block maps the residual stream, [B, T, D], to itself, and the next block reads what it returns;
- the MLP of a block maps each token by itself: linear maps of its input give hidden units, and one
  linear map of these writes D features;
- the other linear maps of a block belong to its attention, and the last of them is its output;
- the final norm reads the last block, and the output head reads the final norm.
A model of another structure is refused with the reason; `RoutedCausalLM` checks what was found.

Shape suffixes: b batch, t tokens, d features of the residual stream, v vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lm.models.hf_loading import first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """The names of the layers of a model that get gates or are expanded."""

    layers: str
    """The list of blocks, within the model."""
    attention_output: str
    """The output projection of attention, within a block."""
    mlp: str
    """The MLP, within a block."""
    up_projs: tuple[str, ...]
    """The input projections of hidden units, within the MLP; gated units have two, or a fused one
    of twice as many outputs."""
    down_proj: str
    """The output projection of hidden units, within the MLP."""
    norm: str
    """The norm before the output head, within the model."""
    head: str
    """The output head, within the model."""
    heads_first: tuple[str, ...] = ()
    """Modules within a block that read [B, heads, T, features], such as norms of queries."""

    def blocks(self, model: "PreTrainedModel") -> nn.ModuleList:
        """Return the blocks of a model."""
        blocks = model.get_submodule(self.layers)
        assert isinstance(blocks, nn.ModuleList)
        return blocks


class Call(NamedTuple):
    """The values that a module was called with, and what it returned."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    @property
    def read(self) -> Tensor | None:
        """The first tensor that was read."""
        values = (*self.args, *self.kwargs.values())
        return next((each for each in values if isinstance(each, Tensor)), None)

    @property
    def written(self) -> Tensor | None:
        """The tensor that was returned, or the first one of a tuple."""
        first = self.output[0] if isinstance(self.output, tuple) else self.output
        return first if isinstance(first, Tensor) else None


class Trace(NamedTuple):
    """What the modules of a model computed in one forward pass."""

    tokens_bt: Tensor
    calls: dict[nn.Module, list[Call]]
    """The calls of each module; modules are in the order in which they first returned."""

    def only_call(self, module: nn.Module) -> Call | None:
        """Return the call of a module, or None if it was not called just once."""
        calls = self.calls.get(module, [])
        return calls[0] if len(calls) == 1 else None

    def is_rows(self, x: Tensor) -> bool:
        """Return whether a tensor is of shape [B, T, ...]."""
        return x.shape[:2] == self.tokens_bt.shape


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is a linear map and no more, as a subclass may be."""
    return type(module) is nn.Linear or is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Return whether a linear map holds its matrix as [inputs, outputs], as those of GPT-2 do."""
    kind = type(module)  # compared by name, since transformers is slow to import
    return (kind.__module__, kind.__name__) == ("transformers.pytorch_utils", "Conv1D")


def matrix_of(linear: nn.Module) -> Tensor:
    """Return the matrix of a linear map, [outputs, inputs]."""
    assert isinstance(linear.weight, Tensor)
    return linear.weight.T if is_transposed(linear) else linear.weight


def architecture_of(model: "PreTrainedModel") -> Architecture:
    """Return where the layers of a plain model are. A model on the device `meta` will do.

    Raises:
        ValueError: if the model has another structure than this module describes.
    """
    try:
        with _evaluation(model):
            return _architecture(model, _trace(model))
    except ValueError as reason:
        refuse(model, str(reason), reason)


def refuse(model: "PreTrainedModel", reason: str, cause: Exception | None = None) -> NoReturn:
    """Raise a ValueError that says why a model cannot be routed."""
    raise ValueError(
        f"{type(model).__name__} of type {model.config.model_type!r} cannot be routed, since "
        f"{reason}: give a causal model of text whose blocks are attention and one MLP, such as "
        "GPT-2, Pythia, Llama, Mistral, Qwen, Gemma, Phi or OLMo"
    ) from cause


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode within the context."""
    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in trained:
            module.training = True


def _trace(model: "PreTrainedModel") -> Trace:
    _require_decoder(model)
    calls: dict[nn.Module, list[Call]] = {}

    def read(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: object) -> None:
        calls.setdefault(module, []).append(Call(args, kwargs, out))

    handles = [each.register_forward_hook(read, with_kwargs=True) for each in model.modules()]
    # without weights there are no values, which the code of most models looks at otherwise
    fake = model.device.type == "meta"
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) if fake else nullcontext():
            tokens_bt = few_tokens(model)
            logits_of(model, tokens_bt)
    except Exception as error:  # any code of the model may fail
        raise ValueError(f"it cannot read tokens alone ({first_line(error)})") from error
    finally:
        for handle in handles:
            handle.remove()
    return Trace(tokens_bt, calls)


def _require_decoder(model: "PreTrainedModel") -> None:
    config = model.config
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError("it has an encoder beside its decoder")
    if config.get_text_config() is not config:
        raise ValueError("it reads more than text, and holds its text model as a part")
    for module in model.modules():
        convolution = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if not convolution and any(p.ndim > 2 for p in module.parameters(recurse=False)):
            raise ValueError(
                f"{type(module).__name__} holds stacked matrices, as those of a mixture of "
                "experts, to which a router gives tokens out of their order"
            )


def few_tokens(model: "PreTrainedModel") -> Tensor:
    """Return tokens in numbers of rows and of columns that no other axis in a model has."""
    config = model.config
    used = {size for parameter in model.parameters() for size in parameter.shape}
    used |= {value for value in config.to_dict().values() if isinstance(value, int)}
    length, batch = [size for size in range(2, len(used) + 4) if size not in used][:2]
    drawn = torch.arange(batch * length, device=model.device).remainder(config.vocab_size)
    return drawn.view(batch, length)


def logits_of(model: "PreTrainedModel", tokens_bt: Tensor) -> Tensor:
    """Return the logits of a plain model in evaluation mode."""
    with _evaluation(model), torch.enable_grad():
        logits_btv: Tensor = model(input_ids=tokens_bt, use_cache=False).logits
    return logits_btv.detach()


def _architecture(model: "PreTrainedModel", traced: Trace) -> Architecture:
    names = {module: name for name, module in model.named_modules()}
    blocks = next((each for each in model.modules() if _are_blocks(each, traced)), None)
    head = model.get_output_embeddings()
    reading = None if head is None else traced.only_call(head)
    if not isinstance(blocks, nn.ModuleList) or reading is None or type(head) is not nn.Linear:
        raise ValueError("it has no list of blocks that map [B, T, D], or no linear output head")
    described = [_Block(block, traced).described() for block in blocks]
    if any(each != described[0] for each in described):
        raise ValueError("its blocks differ from each other")
    for module in model.modules():
        if 0 < len(list(module.parameters(recurse=False))) < len(list(module.parameters())):
            raise ValueError(f"{type(module).__name__} holds parameters beside those of its layers")
    last = traced.only_call(blocks[-1])
    norms = [
        name
        for module, name in names.items()
        if (call := traced.only_call(module))
        and last
        and _same(call.read, last.written)
        and _same(call.written, reading.read)
        and not _same(call.read, call.written)
    ]
    if len(norms) != 1:
        raise ValueError("no single norm stands between its last block and its output head")
    return Architecture(layers=names[blocks], norm=norms[0], head=names[head], **described[0])


def _are_blocks(module: nn.Module, traced: Trace) -> bool:
    """Return whether a module is a list of blocks, each of which reads what the last one wrote."""
    if not isinstance(module, nn.ModuleList) or not len(module):
        return False
    calls = [traced.only_call(block) for block in module]
    stream = [(call.read, call.written) for call in calls if call is not None]
    return len(stream) == len(module) and all(
        isinstance(read, Tensor)
        and isinstance(written, Tensor)
        and traced.is_rows(read)
        and read.shape == written.shape
        and (number == 0 or _same(read, stream[number - 1][1]))
        for number, (read, written) in enumerate(stream)
    )


class _Block:
    """A block, whose layers are found in a trace."""

    def __init__(self, block: nn.Module, traced: Trace) -> None:
        self.block, self.traced, self.kind = block, traced, type(block).__name__
        self.names = {module: name for name, module in block.named_modules()}
        call = traced.only_call(block)
        assert call is not None
        assert call.written is not None
        self.width = call.written.shape[-1]

    def described(self) -> dict[str, Any]:
        """Return the fields of an `Architecture` that are about blocks."""
        mlp, ups, down = self._mlp()
        inside = {module: name for name, module in mlp.named_modules()}
        return {
            "mlp": self.names[mlp],
            "up_projs": tuple(inside[up] for up in ups),
            "down_proj": inside[down],
            "attention_output": self.names[self._attention_output(mlp)],
            "heads_first": tuple(self._heads_first()),
        }

    def _mlp(self) -> tuple[nn.Module, list[nn.Module], nn.Module]:
        """Return the MLP, its input projections and its output projection."""
        found: dict[nn.Module, tuple[nn.Module, list[nn.Module], nn.Module]] = {}
        for module in self.names:  # from the outside to the inside
            if projections := self._projections(module):
                found[projections[1]] = (module, *projections)
        if len(found) > 1:
            raise ValueError(f"{self.kind} holds {len(found)} MLPs")
        if found:
            return next(iter(found.values()))
        if any(is_linear(child) for child in self.block.children()):
            raise ValueError(
                f"the linear maps of the MLP are in {self.kind} itself, not in a module of the MLP"
            )
        raise ValueError(
            f"{self.kind} holds no MLP of plain linear maps; a state-space model has none"
        )

    def _projections(self, module: nn.Module) -> tuple[list[nn.Module], nn.Module] | None:
        """Return the projections of hidden units, if a module is an MLP."""
        call = self.traced.only_call(module)
        if call is None or call.read is None or not isinstance(call.output, Tensor):
            return None
        maps = [each for each in module.modules() if is_linear(each)]
        ups = [each for each in maps if self._reads(each, call.read)]
        downs = [each for each in maps if each not in ups]
        own = {id(parameter) for each in maps for parameter in each.parameters()}
        if (
            module in maps
            or not ups
            or len(downs) != 1
            or own != {id(parameter) for parameter in module.parameters()}
            or call.output.shape != call.read.shape
        ):
            return None
        outputs, hidden = matrix_of(downs[0]).shape
        # attention may look like an MLP, but reads queries, keys and values
        fused = [matrix_of(up).shape[0] / hidden for up in ups]
        if outputs != self.width or fused not in ([1], [1, 1], [2]) or _mixes(module, call):
            return None
        return ups, downs[0]

    def _reads(self, module: nn.Module, x: Tensor) -> bool:
        call = self.traced.only_call(module)
        return call is not None and _same(call.read, x)

    def _attention_output(self, mlp: nn.Module) -> nn.Module:
        inside = set(mlp.modules())
        maps = [each for each in self.traced.calls if each in self.names and each not in inside]
        maps = [each for each in maps if is_linear(each)]
        layers = {self.names[each].split(".")[0] for each in maps}
        if len(layers) != 1 or matrix_of(maps[-1]).shape[0] != self.width:
            raise ValueError(
                f"{self.kind} has linear maps in {', '.join(sorted(layers)) or 'its MLP only'}, "
                "not in one attention layer that writes to the residual stream"
            )
        return maps[-1]

    def _heads_first(self) -> Iterator[str]:
        """Yield the names of modules that read [B, heads, T, features].

        Raises:
            ValueError: if parameters are read other than token by token.
        """
        length = self.traced.tokens_bt.shape[1]
        for module, name in self.names.items():
            if next(module.parameters(recurse=False), None) is None:
                continue
            call = self.traced.only_call(module)
            if call is None or call.read is None or not isinstance(call.output, Tensor):
                raise ValueError(
                    f"{name or self.kind} holds parameters, and does not map one tensor once"
                )
            x = call.read
            if self.traced.is_rows(x):
                continue
            heads_first = x.ndim == 4 and len(x) == len(self.traced.tokens_bt)
            if is_linear(module) or not heads_first or x.shape[2] != length:
                raise ValueError(f"{name} reads no [B, T, features], but {tuple(x.shape)}")
            yield name


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    """Return whether two tensors are one, or a whole view of one."""
    return (
        first is not None
        and second is not None
        and first.shape == second.shape
        and first.storage_offset() == second.storage_offset()
        and first.untyped_storage()._cdata == second.untyped_storage()._cdata
    )


def _mixes(module: nn.Module, call: Call) -> bool:
    """Return whether what a module writes for a token depends on what it reads of other tokens."""
    if call.read is None or call.read.device.type == "meta":
        return False
    changed = call.read.clone()
    changed[:, :1] = -changed[:, :1]
    args = [changed if each is call.read else each for each in call.args]
    kwargs = {key: changed if x is call.read else x for key, x in call.kwargs.items()}
    with torch.no_grad():
        return not torch.allclose(module(*args, **kwargs)[:, 1:], call.output[:, 1:])
