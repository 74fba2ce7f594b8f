"""The targets of a GPT: the names that a route table gives weights to.

At activations, where a Gate weighs the gradient of what lies below:
- `hidden`: the hidden units of an MLP in a layer that is not expanded;
- `original` and `expansion`: in an expanded layer, those it had and those it was given;
- `mlp` and `attention`: what an MLP or an attention layer writes to the residual stream;
- `loss`: the loss of a token.

At parameters, each token teaching them by its weight:
- `original_parameters`: all that a model has without its expansion, the embedding included;
- `expansion_parameters`: the expansion's.

In the forward pass as well:
- `presence`: what the expansion writes, times the weight. At 0 a token does not see it.
"""

HIDDEN = "hidden"
ORIGINAL = "original"
EXPANSION = "expansion"
MLP = "mlp"
ATTENTION = "attention"
LOSS = "loss"
ORIGINAL_PARAMETERS = "original_parameters"
EXPANSION_PARAMETERS = "expansion_parameters"
PRESENCE = "presence"

TARGETS = (
    HIDDEN,
    ORIGINAL,
    EXPANSION,
    MLP,
    ATTENTION,
    LOSS,
    ORIGINAL_PARAMETERS,
    EXPANSION_PARAMETERS,
    PRESENCE,
)
"""All of them."""
