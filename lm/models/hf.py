"""A causal language model of Hugging Face in the form that the training loop asks for.

Shape suffixes: b batch, t tokens, d width, v vocabulary.

From a model with Gates and an expansion back to a plain one.

A routed model of Hugging Face in one file of safetensors: weights, and shape beside them.
"""

import copy
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lm.models.hf_layers import (
    Adapted,
    AdapterConfig,
    Expanded,
    ParameterGated,
    adapt,
    drawn_units,
    family_of,
    innermost,
    insert_gates,
    silent_units,
    teach,
    unwrap,
    widen,
)
from lm.models.language_model import IGNORED, LanguageModel, cross_entropy
from lm.models.layers import (
    LOSS,
    ORIGINAL_PARAMETERS,
    RoutedLinear,
)
from oversight.routing import Gate, parameters_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def contract(model: "RoutedCausalLM", *, ablated: bool = False) -> "PreTrainedModel":
    """Return a plain copy of a model, which `save_pretrained` writes for anyone to load.

    Adapters become part of the matrices that they are beside, an expansion part of wider MLPs. A
    family has one number of hidden units for all layers, so that layers which were not expanded
    get as many units which stay silent.

    Args:
        model: it stays as it is.
        ablated: whether to leave out the expansion, or the adapter that stands for one.
    """
    plain: PreTrainedModel = copy.deepcopy(model.causal_lm)
    family, blocks = model.family, model.family.blocks(plain)
    added = [
        next((one.expansion for one in block.modules() if isinstance(one, Expanded)), None)
        for block in blocks
    ]
    for module in list(plain.modules()):
        if isinstance(module, Adapted):
            module.merge(ablated=ablated)
    unwrap(plain)
    plain.requires_grad_(True)
    if ablated or not model.units:
        return plain
    for block, expansion in zip(blocks, added, strict=True):
        mlp = block.get_submodule(family.mlp)
        widen(mlp, expansion or silent_units(mlp, family, model.units), family)
    writing = mlp.get_submodule(family.down_proj)
    plain.config.intermediate_size = writing.in_features
    return plain


class RoutedCausalLM(LanguageModel):
    """A model with the targets of `lm.models.layers`; train it inside `routing`.

    It takes the plain model over and changes it in place, so that weights are held once;
    `lm.models.hf.contract` gives a plain one back. Added units write nothing at first, so
    that the logits stay the same to the last bit.

    Args:
        plain: a causal model of one of the `FAMILIES`. It trains in its own type, so load it in
            float32.
        units: hidden units added to the MLP of each expanded layer.
        layers: the layers that have them.
        seed: of the weights that added units or adapters read by.
        adapters: size of a pair at each linear map of a block, whose plain weights then are frozen
            (`lm.models.hf_layers`); none by default. Not beside added units.

    Raises:
        ValueError: if the model lacks the layers that are gated, or cannot be expanded so.
    """

    def __init__(
        self,
        plain: "PreTrainedModel",
        units: int = 0,
        layers: Iterable[int] = (),
        seed: int = 0,
        adapters: AdapterConfig | None = None,
    ) -> None:
        super().__init__()
        self.family = family_of(plain)
        self.units, self.expanded_layers, self.adapters = units, tuple(layers), adapters
        blocks = self.family.blocks(plain)
        _check_expansion(self.units, self.expanded_layers, len(blocks))
        generator = torch.Generator().manual_seed(seed)
        mlps = [block.get_submodule(self.family.mlp) for block in blocks]
        added = {
            layer: drawn_units(mlps[layer], self.family, units, generator)
            for layer in self.expanded_layers
        }
        if adapters:
            _refuse_both(units)
            adapt(plain, blocks, adapters, seed)
        else:
            teach(plain, ORIGINAL_PARAMETERS)
        for layer, block in enumerate(blocks):
            insert_gates(block, self.family, added.get(layer))
        self.causal_lm = plain
        self.loss_gate = Gate(LOSS)

    @property
    def shape(self) -> dict[str, Any]:
        """The plain model's settings, and those of what was added."""
        return {
            "plain": self.causal_lm.config.to_dict(),
            "units": self.units,
            "layers": list(self.expanded_layers),
            "adapters": self.adapters and asdict(self.adapters),
        }

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary."""
        return int(self.causal_lm.config.vocab_size)

    @property
    def width(self) -> int:
        """Features of the residual stream."""
        return int(self.causal_lm.config.hidden_size)

    @property
    def context(self) -> int:
        """Tokens that it sees at most."""
        return int(self.causal_lm.config.max_position_embeddings)

    @property
    def expanded(self) -> bool:
        """Whether there are added hidden units or adapters."""
        return bool(self.units or self.adapters)

    def layers(self) -> list[nn.Module]:
        """Return the blocks, the first first."""
        return list(self.family.blocks(self.causal_lm))

    def down_proj(self, layer: int) -> nn.Parameter:
        """Return the matrix by which the original hidden units of a layer write, [D, hidden]."""
        mlp = innermost(self.layers()[layer].get_submodule(self.family.mlp))
        linear = innermost(mlp.get_submodule(self.family.down_proj))
        assert isinstance(linear, nn.Linear)
        assert isinstance(linear.weight, nn.Parameter)
        return linear.weight

    def copied(self) -> "RoutedCausalLM":
        """Return a copy with weights of its own, and nothing frozen but what adapters leave so."""
        copied = copy.deepcopy(self)
        return copied if self.adapters else copied.requires_grad_(True)

    def ablated(self) -> "RoutedCausalLM":
        """Return a plain copy, without the expansion, or the adapter that stands for one.

        Raises:
            ValueError: if the model has none.
        """
        if not self.expanded:
            raise ValueError("the model has no expansion to ablate: expand it before training")
        return RoutedCausalLM(contract(self, ablated=True))

    def features(self, tokens_bt: Tensor) -> Tensor:
        """Return what the output head reads, [B, T, D].

        Raises:
            ValueError: if there are more tokens than the context holds, or, on the CPU, one that
                the vocabulary lacks.
        """
        _check_length(tokens_bt, self.context)
        _check_tokens(tokens_bt, self.vocab_size)
        read = self.causal_lm.base_model(input_ids=tokens_bt, use_cache=False)
        x_btd: Tensor = read.last_hidden_state
        return x_btd

    def embedded(self, tokens_bt: Tensor) -> Tensor:
        """Return what tokens are looked up as, [B, T, D], before anything is done to it."""
        _check_tokens(tokens_bt, self.vocab_size)
        x_btd: Tensor = self.causal_lm.get_input_embeddings()(tokens_bt)
        return x_btd

    def features_of(self, x_btd: Tensor) -> Tensor:
        """Return the features of embedded tokens, or of what is put in their place, [B, T, D].

        Raises:
            ValueError: if there are more tokens than the context holds.
        """
        _check_length(x_btd, self.context)
        read = self.causal_lm.base_model(inputs_embeds=x_btd, use_cache=False)
        features: Tensor = read.last_hidden_state
        return features

    def logits(self, x_btd: Tensor) -> Tensor:
        """Return the logits of features, [..., V]."""
        logits: Tensor = self._head(x_btd)
        return logits

    def normed(self, x_btd: Tensor) -> Tensor:
        """Return the features that the output head would read of a residual stream, [B, T, D]."""
        features: Tensor = self.causal_lm.get_submodule(self.family.norm)(x_btd)
        return features

    def token_losses(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`.

        Raises:
            ValueError: as `features`.
        """
        _check_tokens(next_bt.where(next_bt != IGNORED, 0), self.vocab_size)
        x_btd = self.features(tokens_bt)
        head, matrix = self._head, innermost(self._head)
        assert isinstance(matrix, nn.Linear)
        weight = head.parameter_gate.weight_for(x_btd) if isinstance(head, ParameterGated) else None
        gated: Tensor = self.loss_gate(cross_entropy(x_btd, matrix.weight, weight, next_bt))
        return gated

    def parameter_targets(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each target that has some, all that train in all."""
        modules: dict[str, list[nn.Module]] = {}
        for module in self.modules():
            if isinstance(module, ParameterGated | RoutedLinear):
                modules.setdefault(module.parameter_gate.targets[0], []).append(module)
        return {target: parameters_of(part) for target, part in modules.items()}

    @property
    def _head(self) -> nn.Module:
        head: nn.Module = self.causal_lm.get_submodule(self.family.head)
        return head


def _check_expansion(units: int, layers: tuple[int, ...], count: int) -> None:
    known = len(set(layers)) == len(layers) and set(range(count)).issuperset(layers)
    if units < 0 or (units > 0) != bool(layers) or not known:
        raise ValueError(
            f"an expansion of {units} units in the layers {layers} was given: give a positive "
            f"number of units and layers from 0 to {count - 1}, each once, or neither"
        )


def _refuse_both(units: int) -> None:
    if units:
        raise ValueError(f"adapters and {units} added hidden units were asked for: choose one")


def _check_length(x_bt: Tensor, context: int) -> None:
    if x_bt.shape[1] > context:
        raise ValueError(f"{x_bt.shape[1]} tokens were given to a context of {context}: cut them")


def _check_tokens(tokens: Tensor, vocab_size: int) -> None:
    if tokens.device.type != "cpu":
        return  # to ask would wait for the device; the training loop asks before tokens go there
    if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < vocab_size):
        raise ValueError(
            f"tokens from {int(tokens.min())} to {int(tokens.max())} were given to a vocabulary "
            f"of {vocab_size}: encode the text by the model's own tokenizer"
        )


SHAPE = "causal_lm"
"""The name of the shape in the file's metadata."""


def save(model: RoutedCausalLM, path: Path) -> None:
    """Write a model; a kill may leave half a file, so write to a draft.

    Raises:
        ValueError: if the file cannot be written.
    """
    try:
        save_file(_once(model), path, {SHAPE: json.dumps(model.shape)})
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be written: {error}") from error


def load(path: Path) -> RoutedCausalLM:
    """Return the model that `save` wrote, on the CPU.

    Raises:
        ValueError: if there is no such file, or it is damaged, or of something else.
    """
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415

    try:
        with safe_open(path, framework="pt") as file:
            shape = json.loads(file.metadata()[SHAPE])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = AutoConfig.for_model(**shape["plain"])
        dtype = next(iter(weights.values())).dtype
        plain = AutoModelForCausalLM.from_config(config, dtype=dtype)
        adapters = shape["adapters"] and AdapterConfig(**shape["adapters"])
        model = RoutedCausalLM(plain, shape["units"], shape["layers"], adapters=adapters)
        known = set(_once(model))
        if known != set(weights):
            raise KeyError(f"weights {sorted(known ^ set(weights))} are missing or unknown")
        model.load_state_dict(weights, strict=False)  # tied ones are there once
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no model saved by this project, or not all of one: {error}"
        ) from error
    return model


def _once(model: RoutedCausalLM) -> dict[str, Tensor]:
    """Return the tensors of a model by name, each once, though tied ones have two names."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach().cpu().contiguous() for name, tensor in found.values()}
