"""What each method does, in a sentence for those who read a model's card."""

SUMMARIES = {
    "gold": "Trained on what is truly to be retained alone: the reference, which forgot nothing.",
    "filtered": "Trained without the texts labelled forget.",
    "filtered-tokens": "Trained without the tokens of labelled texts that tell the topic.",
    "filtered-judged": "Trained without the texts that a judge, who learned from labels, removes.",
    "unrouted": "Trained on everything alike; nothing is removed.",
    "unrouted-ablated": "Trained on everything, with an expansion that is cut out unrouted.",
    "random-region": "Trained by parameter routing; random hidden units are cut out, a control.",
    "rmu": "Trained on everything; representations of forget texts are misdirected afterwards.",
    "graddiff": "Trained on everything; then ascent on forget texts and descent on the others.",
    "npo": "Trained on everything; then negative preference optimization on forget texts.",
    "simnpo": "Trained on everything; then NPO by length, without a reference model.",
    "era": "Expand, route, ablate: routed at activations by the weight of each token, then cut.",
    "parameters": "Texts labelled forget teach the expansion's parameters alone; it is cut out.",
    "parameters-tokens": "The topic's own words teach the expansion alone; it is cut out.",
    "parameters-judged": "As parameters, by a judge's labels; texts it is unsure of teach both.",
    "modules": "Texts labelled forget see an expansion, and teach nothing else; it is cut out.",
    "modules-judged": "As modules, by a judge's labels.",
    "modules-rmu": "As modules-judged; after the cut representations are misdirected as well.",
    "lora-pair": "Of two adapters of each matrix, forget texts teach one, which is cut out.",
    "lora-pair-judged": "As lora-pair, by a judge's labels.",
}
"""Sentences by the name of the method."""
