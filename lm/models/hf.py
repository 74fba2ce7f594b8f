"""A causal language model of Hugging Face as a `LanguageModel`, and its plain export.

Gates and modules are inserted into the plain model in place. `contract` merges modules back into
plain layers, which `transformers` loads without code of this project.

Shape suffixes: b batch, t tokens, d width, v vocabulary.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lm.models.hf_architecture import architecture_of, few_tokens, logits_of, matrix_of, refuse
from lm.models.hf_layers import (
    Adapted,
    Expanded,
    ParameterGated,
    Wrapper,
    adapt,
    drawn_units,
    gate_plain_parameters,
    hidden_units,
    innermost,
    insert_gates,
    units_setting,
    unwrap,
    widen,
    zero_units,
)
from lm.models.hf_loading import first_line
from lm.models.language_model import (
    IGNORED,
    LanguageModel,
    OutputHead,
    cross_entropy,
    profile_scales,
)
from lm.models.layers import RoutedLinear
from lm.models.shapes import (
    EXPANSION,
    LOSS,
    AdapterConfig,
    require_expansion,
    require_modules,
    targets,
)
from oversight.routing import Gate, RouteTable, parameters_of, routing

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

UNLIMITED = 2048
"""Tokens that a model without a maximum number of them reads at once, such as BLOOM."""


def contract(
    model: "RoutedCausalLM",
    names: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> "PreTrainedModel":
    """Return a plain copy of a model, which can be exported by `save_pretrained`.

    Adapters are merged into the matrices parallel to them, added hidden units into wider MLPs. A
    model type has one number of hidden units for all layers, so layers that are not expanded get as
    many units with zero weights.

    Args:
        model: the model, which is not changed.
        names: the modules to keep; all by default.
        weights: scale of what a module writes, by name; 1 by default.

    Raises:
        ValueError: as `profile_scales`.
    """
    known = model.module_names
    scales = profile_scales(known, known if names is None else names, weights)
    plain: PreTrainedModel = copy.deepcopy(model.causal_lm)
    architecture, blocks = model.architecture, model.architecture.blocks(plain)
    added = [
        next((one.added for one in block.modules() if isinstance(one, Expanded)), None)
        for block in blocks
    ]
    for module in list(plain.modules()):
        if isinstance(module, Adapted):
            module.merge(scales)
    unwrap(plain)
    plain.requires_grad_(True)
    for name, scale in scales.items() if model.units else ():
        for block, units in zip(blocks, added, strict=True):
            mlp = block.get_submodule(architecture.mlp)
            own = zero_units(mlp, architecture, model.units) if units is None else units[name]
            widen(mlp, own, architecture, scale)
        setattr(plain.config, model.units_setting, hidden_units(mlp, architecture))
    return plain


class RoutedCausalLM(LanguageModel):
    """A causal model with the targets of `lm.models.layers`; train it inside `routing`.

    The plain model is changed in place, so that its weights are held once, and put into evaluation
    mode, so that it trains without dropout; `contract` returns a plain copy. The output of added
    units is zero at first, so that the logits stay the same to the last bit, which is checked.

    Args:
        plain: a causal model whose layers `architecture_of` finds. It trains in its own dtype, so
            load it in float32.
        units: hidden units that each module adds to the MLP of each expanded layer.
        layers: indices of the expanded layers.
        seed: seed of the input weights of added units or adapters.
        adapters: the size of the adapters at each linear map of the blocks, one to keep and one for
            each module; the plain weights of the blocks are then frozen. None for no adapters.
            Adapters exclude added units.
        modules: names of the modules, if there are added units or adapters.

    Raises:
        ValueError: if the model lacks the layers that are gated, cannot be expanded so, or has
            other logits with gates; it is then left plain.
    """

    def __init__(
        self,
        plain: "PreTrainedModel",
        units: int = 0,
        layers: Iterable[int] = (),
        seed: int = 0,
        adapters: AdapterConfig | None = None,
        modules: Sequence[str] = (EXPANSION,),
    ) -> None:
        super().__init__()
        if any(isinstance(module, Wrapper) for module in plain.modules()):
            refuse(plain, "it has gates already")
        self.architecture = architecture_of(plain)
        self.units, self.expanded_layers, self.adapters = units, tuple(layers), adapters
        blocks = self.architecture.blocks(plain)
        require_expansion(units, self.expanded_layers, len(blocks))
        require_modules(modules)
        if adapters and units:
            raise ValueError(f"adapters and {units} added hidden units were asked for: choose one")
        self.units_setting = units_setting(plain, self.architecture) if units else ""
        self.causal_lm = plain
        self.module_names = tuple(modules) if units or adapters else ()
        self.vocab_size = int(plain.config.vocab_size)
        self.width = matrix_of(plain.get_submodule(self.architecture.head)).shape[1]
        self.context = int(getattr(plain.config, "max_position_embeddings", None) or UNLIMITED)
        self.loss_gate = Gate(LOSS)
        tokens_bt = few_tokens(plain)
        before_btv = None if plain.device.type == "meta" else logits_of(plain, tokens_bt)
        trained = [parameter for parameter in plain.parameters() if parameter.requires_grad]
        self._insert(seed)
        plain.eval()
        if before_btv is not None and (reason := self._changed(tokens_bt, before_btv)):
            unwrap(plain)
            nn.ParameterList(trained).requires_grad_(True)
            refuse(plain, reason)

    def _insert(self, seed: int) -> None:
        """Insert gates into the plain model, and an expansion or adapters."""
        plain, architecture = self.causal_lm, self.architecture
        blocks = architecture.blocks(plain)
        generator = torch.Generator().manual_seed(seed)
        mlps = [block.get_submodule(architecture.mlp) for block in blocks]
        added = {
            layer: {
                name: drawn_units(mlps[layer], architecture, self.units, generator)
                for name in self.module_names
            }
            for layer in self.expanded_layers
        }
        if self.adapters:
            adapt(plain, blocks, self.adapters, self.module_names, seed)
        else:
            gate_plain_parameters(plain, architecture)
        for layer, block in enumerate(blocks):
            insert_gates(block, architecture, added.get(layer, {}))

    def _changed(self, tokens_bt: Tensor, before_btv: Tensor) -> str | None:
        """Return why gates of weight 1 change logits; None if they are equal to the last bit."""
        names = targets(self.module_names)
        weights = {"on": dict.fromkeys(names, 1.0), "off": dict.fromkeys(names, 0.0)}
        try:  # with a second route, every gate works
            with routing(self, RouteTable(weights).to(self.device), torch.zeros_like(tokens_bt)):
                equal = torch.equal(self(tokens_bt).detach(), before_btv)
        except Exception as error:  # any code of the model may fail
            return f"it cannot be computed with gates inside ({first_line(error)})"
        return None if equal else "its logits are not those of its output head"

    @property
    def shape(self) -> dict[str, Any]:
        """The settings of the plain model, and those of the added parts."""
        return {
            "plain": self.causal_lm.config.to_dict(),
            "attention": self.causal_lm.config._attn_implementation,
            "units": self.units,
            "layers": list(self.expanded_layers),
            "adapters": self.adapters and asdict(self.adapters),
            "modules": list(self.module_names),
        }

    def layers(self) -> list[nn.Module]:
        """Return the blocks in order."""
        return list(self.architecture.blocks(self.causal_lm))

    def freeze_outside_blocks(self) -> None:
        """Freeze embeddings, the last norm and the output head, so that only adapters train."""
        inside = {parameter for block in self.layers() for parameter in block.parameters()}
        for parameter in self.causal_lm.parameters():
            if parameter not in inside:
                parameter.requires_grad_(False)

    def down_proj(self, layer: int) -> nn.Parameter:
        """Return the output matrix of the original hidden units of a layer, [D, hidden]."""
        mlp = innermost(self.layers()[layer].get_submodule(self.architecture.mlp))
        linear = innermost(mlp.get_submodule(self.architecture.down_proj))
        assert isinstance(linear.weight, nn.Parameter)
        return linear.weight

    def output_matrix(self) -> nn.Parameter:
        """Return the matrix of the output head, [V, D]; tied models read their inputs by it."""
        matrix = self._head().matrix_vd
        assert isinstance(matrix, nn.Parameter)
        return matrix

    def copied(self) -> "RoutedCausalLM":
        """Return a copy that shares no weights; only adapters leave parameters frozen."""
        copied = copy.deepcopy(self)
        return copied if self.adapters else copied.requires_grad_(True)

    def profile(self, *names: str, weights: Mapping[str, float] | None = None) -> "RoutedCausalLM":
        """Return a copy that has only some of the modules, merged into its plain layers.

        Raises:
            ValueError: as `profile_scales`.
        """
        return RoutedCausalLM(contract(self, names, weights))

    def features(self, tokens_bt: Tensor) -> Tensor:
        """Return the input of the output head, [B, T, D].

        Raises:
            ValueError: if there are more tokens than the context holds, or, on the CPU, a token
                outside of the vocabulary.
        """
        self.require_room(tokens_bt)
        _check_tokens(tokens_bt, self.vocab_size)
        read = self.causal_lm.base_model(input_ids=tokens_bt, use_cache=False)
        x_btd: Tensor = read.last_hidden_state
        return x_btd

    def last_features(self, tokens_bt: Tensor, cache: object = None) -> tuple[Tensor, object]:
        """Return the features of the last token, [B, 1, D], and the keys and values of all.

        Models that keep none, and texts longer than the context, are read anew for each token.
        """
        name = _cache_argument(self.causal_lm.base_model)
        if name is None or tokens_bt.shape[1] > self.context:
            return super().last_features(tokens_bt)
        _check_tokens(tokens_bt, self.vocab_size)
        new_bt = tokens_bt if cache is None else tokens_bt[:, -1:]
        read = self.causal_lm.base_model(input_ids=new_bt, use_cache=True, **{name: cache})
        return read.last_hidden_state[:, -1:], read.past_key_values

    def embedded(self, tokens_bt: Tensor) -> Tensor:
        """Return the embeddings of tokens, [B, T, D]."""
        _check_tokens(tokens_bt, self.vocab_size)
        x_btd: Tensor = self.causal_lm.get_input_embeddings()(tokens_bt)
        return x_btd

    def features_of(self, x_btd: Tensor) -> Tensor:
        """Return the features of embedded tokens, or of other vectors in their place, [B, T, D].

        Raises:
            ValueError: if there are more tokens than the context holds.
        """
        self.require_room(x_btd)
        read = self.causal_lm.base_model(inputs_embeds=x_btd, use_cache=False)
        features: Tensor = read.last_hidden_state
        return features

    def logits(self, x_btd: Tensor) -> Tensor:
        """Return the logits of features, [..., V]."""
        return self._head().logits(x_btd, self._head_gate().weight_for(x_btd))

    def normed(self, x_btd: Tensor) -> Tensor:
        """Return a residual stream as the output head reads it, after the last norm, [B, T, D]."""
        features: Tensor = self.causal_lm.get_submodule(self.architecture.norm)(x_btd)
        return features

    def token_losses(self, tokens_bt: Tensor, next_bt: Tensor) -> Tensor:
        """Return the cross-entropy of each next token, [B, T]; 0 where it is `IGNORED`.

        Raises:
            ValueError: as `features`.
        """
        _check_tokens(next_bt.where(next_bt != IGNORED, 0), self.vocab_size)
        x_btd = self.features(tokens_bt)
        weight = self._head_gate().weight_for(x_btd)
        gated: Tensor = self.loss_gate(cross_entropy(x_btd, self._head(), weight, next_bt))
        return gated

    def parameter_targets(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each target that has some; together these are all that train."""
        modules: dict[str, list[nn.Module]] = {}
        for module in self.modules():
            if isinstance(module, ParameterGated | RoutedLinear):
                modules.setdefault(module.parameter_gate.targets[0], []).append(module)
        found = {target: parameters_of(part) for target, part in modules.items()}
        if not self.adapters:
            return found
        # what is frozen outside of the blocks is not trained
        return {target: [p for p in some if p.requires_grad] for target, some in found.items()}

    def _head_gate(self) -> Gate:
        head = self.causal_lm.get_submodule(self.architecture.head)
        assert isinstance(head, ParameterGated)
        return head.parameter_gate

    def _head(self) -> OutputHead:
        head = innermost(self.causal_lm.get_submodule(self.architecture.head))
        assert isinstance(head, nn.Linear)
        return OutputHead(head.weight, head.bias, partial(_finished, self.causal_lm.config))


def _finished(config: "PretrainedConfig", logits: Tensor) -> Tensor:
    """Return the logits of a model whose output head is followed by a scale or a soft maximum."""
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits = logits * scale
    if scale := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / scale
    if maximum := getattr(config, "final_logit_softcapping", None):  # Gemma 2 and 3
        logits = torch.tanh(logits / maximum) * maximum
    return logits


def _cache_argument(module: nn.Module) -> str | None:
    """Return the name under which a model takes keys and values, which differs between versions."""
    taken = signature(module.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in taken), None)


def _check_tokens(tokens: Tensor, vocab_size: int) -> None:
    if tokens.device.type != "cpu":
        return  # would wait for the device; the training loop checks tokens on the CPU
    if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < vocab_size):
        raise ValueError(
            f"tokens from {int(tokens.min())} to {int(tokens.max())} were given to a vocabulary "
            f"of {vocab_size}: encode the text by the model's own tokenizer"
        )
