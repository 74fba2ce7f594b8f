"""Presets of `python -m lm.unlearn`, as data.

A preset is a sentence for the help page, and the settings that differ from the defaults, by the
names of their flags. Those that follow publications need documents, which users prepare.

Sources: Cloud et al. 2024 (arXiv 2410.04332), Shilov et al. 2025 (arXiv 2512.05648), Li et al. 2024
(arXiv 2403.03218), Eldan and Li 2023 (arXiv 2305.07759). Where a paper and its code differ, a
comment says which is followed.
"""

from typing import Any

SEEDS = (0, 1, 2, 3, 4)
TENTHS = tuple(k / 10 for k in range(1, 11))

# Cloud et al. 2024, section 4.2.2 and appendix C:
# - architecture of 28M parameters from scratch, 400,000 stories of 256 tokens once: 5,000 steps of
#   80;
# - AdamW 5e-4, warm-up 100, cosine to 5e-5, decay 0.1, betas (0.9, 0.95) as in the code (paper:
#   0.999); the paper names no clipping, ours is 1.0;
# - 64 additional units; paper: layers 0 to 4, here and in the code's widths: all layers;
# - repair: 40 steps at 5e-5; attacks: 40 steps at 5e-5 on 1, 4, 16 and 64 stories;
# - RMU: layer 5, norm 100, retain weight 200, 500 steps at 5e-4.
# Expected: forget loss 1.47 (+-0.02) of the unrouted model; with fewer than all labels `era` above
# `filtered` in robust unlearning, of at most 0.22 nats; `rmu` undone by relearning.
PAPER_TINYSTORIES: dict[str, Any] = {
    "method": ("unrouted", "filtered", "rmu", "era"),
    "seeds": SEEDS,
    "sweep": "labels",
    "recalls": TENTHS,
    "task.stories": 400_000,
    "size": "tinystories-28m",
    "expansion": 64,
    "batch_size": 80,
    "loop.steps": 5000,
    "loop.learning_rate": 5e-4,
    "loop.warmup": 100,
    "loop.checkpoint_every": 1000,
    "rmu.layer": 5,
    "rmu.coefficient": 100,
    "rmu.retain_weight": 200,
    "rmu.steps": 500,
    "rmu.learning_rate": 5e-4,
    "repair.steps": 40,
    "repair.learning_rate": 5e-5,
    "repair.every": 2,
    "repair.stories": 1000,
    "attack.learning_rates": (5e-5,),
    "attack.num_examples": (1, 4, 16, 64),
    "attack.steps": 40,
    "attack.seeds": SEEDS,
}

# Rates that were chosen for SmolLM2-135M on two cores.
PRETRAINED: dict[str, Any] = {
    "label_recall": 1.0,
    "adapters.rank": 32,
    "adapters.alpha": 480.0,
    "loop.learning_rate": 3e-4,
    "loop.weight_decay": 0.0,
    "rmu.layer": 7,
    "rmu.coefficient": 1000.0,
    "rmu.steps": 40,
    "rmu.learning_rate": 3e-3,
    "repair.steps": 12,
    "repair.learning_rate": 3e-5,
    "repair.every": 4,
    "repair.stories": 32,
    "exam.calibration.steps": 30,
    "exam.calibration.batch_tokens": 64,
    "attack.learning_rates": (1e-4,),
    "attack.num_examples": (8,),
    "grid.evaluate_at": (0,),
    "grid.lora.learning_rates": (1e-3,),
}

# More steps. The methods after training have the rates at which their papers unlearn models of this
# kind, or a few times as much: not tuned, so that a user should try some.
TEXTS: dict[str, Any] = {
    **PRETRAINED,
    "method": ("gold", "unrouted", "lora-pair"),
    "loop.steps": 100,
    "loop.warmup": 10,
    "graddiff.learning_rate": 5e-5,
    "npo.learning_rate": 5e-5,
    "simnpo.learning_rate": 5e-5,
    "exam.stories": 32,
    "attack.steps": 10,
}

# Steps that bring capitals which SmolLM2-135M knows near chance, and an attack that brings back
# what rmu had only hidden, which a rate of 1e-4 in 6 steps did not (LOG.md). Exams are small.
KNOWN: dict[str, Any] = {
    **TEXTS,
    "method": ("unrouted", "npo"),
    "loop.steps": 0,
    "repair.steps": 0,
    "rmu.steps": 24,
    "npo.steps": 24,
    "exam.stories": 16,
    "attack.num_examples": (32,),
    "attack.learning_rates": (3e-4,),
    "attack.evaluate_at": (0, 5),
}

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": (
        "The references, filtering and the best routed method at 90% of labels: five minutes.",
        {},
    ),
    "quick": (
        "An eighth of the default's training, in two minutes: models learn stories, not facts.",
        {
            "loop.steps": 100,
            "loop.warmup": 10,
            "attack.learning_rates": (2e-3,),
            "attack.num_examples": (8,),
            "attack.steps": 5,
        },
    ),
    "smoke": (
        "A study of a minute, to see that everything works; models learn nothing.",
        {
            "task.stories": 64,
            "loop.steps": 2,
            "loop.warmup": 1,
            "rmu.steps": 2,
            "graddiff.steps": 2,
            "npo.steps": 2,
            "simnpo.steps": 2,
            "repair.steps": 1,
            "repair.stories": 8,
            "exam.stories": 4,
            "exam.rounds": 1,
            "attack.learning_rates": (2e-3,),
            "attack.num_examples": (4,),
            "attack.steps": 2,
            "grid.lora.rank": 1,
            "grid.lora.learning_rates": (1e-2,),
            "grid.shots": (0, 1),
            "grid.bits": (4,),
            "grid.probe.ridge": 1.0,
            "grid.probe.rounds": 1,
            "grid.gcg.tokens": 2,
            "grid.gcg.steps": 1,
            "grid.gcg.candidates": 2,
            "grid.gcg.top": 2,
        },
    ),
    "controls": (
        "All labels: every kind of routing, its controls and RMU, five seeds; an hour.",
        {
            "method": (
                *("gold", "unrouted", "unrouted-ablated", "random-region"),
                *("rmu", "era", "parameters", "modules-classified"),
            ),
            "seeds": SEEDS,
            "label_recall": 1.0,
        },
    ),
    "labels": (
        "Half and nine tenths of the labels: filtering, RMU and routing, five seeds; an hour.",
        {
            "method": ("filtered", "rmu", "era", "parameters-classified", "modules-classified"),
            "seeds": SEEDS,
            "sweep": "labels",
            "recalls": (0.5, 0.9),
        },
    ),
    "tax": (
        "The cost of routing: all labels, no attack, and modules of 16, 64 and 256 hidden units in "
        "four methods, 14 runs for each seed; the default where --sweep tax is given.",
        {
            "method": ("gold", "unrouted", "unrouted-ablated", "parameters", "modules", "gram"),
            "sweep": "tax",
            "label_recall": 1.0,
            "attack": "none",
        },
    ),
    # The topics are of two of the three families, so that some topics are neither to be forgotten
    # nor adjacent. With the paper's core_learns of 0.3, the core knows half of the facts of each
    # topic, and without silence modules that are on together disturb each other (LOG.md). Attacks
    # are lighter than by default, as filtering alone takes five runs; at 2e-3 they would raise the
    # loss of the core by more than 10% at once, so that no step would count.
    "profiles": (
        "Four topics with a module each: all 16 profiles of gram, and filtering once for each of "
        "five, by loss, facts and compute; eight minutes.",
        {
            "method": ("unrouted", "filtered", "gram"),
            "forget_topics": ("forest", "garden", "sea", "river"),
            "label_recall": 1.0,
            "profiles": True,
            "expansion": 128,
            "gram.core_learns": 0.03,
            "gram.silence": 3.0,
            "loop.steps": 1200,
            "attack.learning_rates": (5e-4,),
            "attack.num_examples": (32,),
            "attack.evaluate_at": (0, 5, 10, 20),
        },
    ),
    "paper": (
        "The paper's sweep over labels: its methods and attack, five seeds; for a GPU or a night.",
        {
            "method": ("gold", "unrouted", "filtered", "rmu", "era", "parameters"),
            "seeds": SEEDS,
            "sweep": "labels",
            "attack.learning_rates": (5e-5, 5e-4),
            "attack.num_examples": (64,),
            "attack.steps": 40,
        },
    ),
    "pretrained": (
        "A pretrained model is trained on made-up stories, or on the documents of --data, and "
        "forgets a part of them, in half an hour on a laptop; the default where --model and --data "
        "are given.",
        {
            **PRETRAINED,
            "method": ("gold", "unrouted", "rmu", "lora-pair"),
            "batch_size": 8,
            "task.stories": 2000,
            "loop.steps": 40,
            "loop.warmup": 4,
            "exam.stories": 8,
            "exam.rounds": 1,
            "exam.questions": 8,
            "attack.steps": 5,
            "grid.shots": (0, 2),
            "grid.probe.rounds": 1,
            "grid.gcg.steps": 4,
            "grid.gcg.candidates": 8,
        },
    ),
    "texts": (
        "A pretrained model is trained on your texts with gradient routing, and the part that has "
        "learned those to forget is removed; the default where --forget and --retain are given.",
        TEXTS,
    ),
    "known": (
        "What a pretrained model already knows of your texts is removed, without training on them "
        "(--loop.steps 0); the default where --method names only rmu, graddiff, npo or simnpo.",
        KNOWN,
    ),
    # Architecture of Eldan and Li 2023: 8 layers of width 256 with 16 heads. No figures of
    # unlearning are published for it; those of `paper-tinystories` indicate the direction.
    "tinystories-8m": (
        "As paper-tinystories on an architecture of 8M parameters, one seed: minutes on a GPU.",
        {
            **PAPER_TINYSTORIES,
            "size": "tinystories-8m",
            "seeds": (0,),
            "recalls": (0.5, 0.9, 1.0),
            "attack.num_examples": (64,),
            "attack.seeds": (0,),
        },
    ),
    "paper-tinystories": (
        "Expand, route, ablate on TinyStories, by arXiv 2410.04332, section 4.2.2 and appendix C.",
        PAPER_TINYSTORIES,
    ),
    # Cloud et al. 2024, section 4.2.3 and appendix E:
    # - 20 layers of width 1536 with 12 heads as in the code (paper: 16); keys are shared there (2
    #   heads) and not here, so that there are 0.80B parameters and not 0.72B;
    # - batches of 1,280 x 1,024 tokens, 10,000 steps of a cosine over 60,000: AdamW 1.8e-3, warm-up
    #   2,000, decay 0.1, clipping 1.0; the rate ends where that cosine is then;
    # - there 80 units of layers 0 to 7 take 20 target tokens; here as many are added to each layer,
    #   and tokens are weighted by how typical they are;
    # - 32 steps of repair (code: 6e-5), 20 of relearning on 2 documents.
    # Expected (table 1): loss on WMDP-bio 2.596, ablated 4.283, repaired and relearned 2.778; on
    # FineWeb-Edu 2.925, 4.864 and 2.957. One run.
    "paper-virology": (
        "Virology removed from 0.7B parameters, by arXiv 2410.04332, section 4.2.3 and appendix E.",
        {
            "method": ("unrouted", "era"),
            "label_recall": 1.0,
            "task.stories": 12_800_000,
            "size": "virology",
            "expansion": 80,
            "batch_size": 1280,
            "loop.steps": 10_000,
            "loop.learning_rate": 1.8e-3,
            "loop.warmup": 2000,
            "loop.final_share": 0.96,
            "loop.scale.accumulate": 20,
            "loop.scale.checkpoint_activations": True,
            "repair.steps": 32,
            "repair.learning_rate": 6e-5,
            "repair.every": 4,
            "attack.learning_rates": (6e-5,),
            "attack.num_examples": (2,),
            "attack.steps": 20,
        },
    ),
    # Shilov et al. 2025:
    # - 12 layers of width 512 with 32 heads, 512 tokens: 33,120 steps of 128, 2.17B tokens;
    # - 64 units for forget tokens; a quarter of the retain data does without them;
    # - RMU: layer 7, norm 20, retain weight 100, 240 steps.
    # The rate, 5e-4, and the vocabulary, GPT-2's, are ours. Expected: relearning takes 7 times as
    # many steps as after RMU, and general knowledge costs about 6% of compute.
    "sgtm-bilingual": (
        "Spanish removed from bilingual TinyStories, 64M parameters, by arXiv 2512.05648.",
        {
            "method": ("gold", "unrouted", "filtered", "rmu", "parameters-checked"),
            "sweep": "labels",
            "recalls": (0.5, 0.8, 0.9, 0.95, 0.99, 1.0),
            "task.stories": 4_239_360,
            "size": "sgtm-64m",
            "expansion": 64,
            "batch_size": 128,
            "loop.steps": 33_120,
            "loop.learning_rate": 5e-4,
            "loop.warmup": 1000,
            "loop.checkpoint_every": 2000,
            "rmu.layer": 7,
            "rmu.coefficient": 20,
            "rmu.retain_weight": 100,
            "rmu.steps": 240,
            "rmu.learning_rate": 5e-4,
        },
    ),
    # RMU as in Li et al. 2024, for 7B parameters: 150 batches at 5e-5, norm 6.5, retain weight
    # 1,200, at layer 7 of 32, which is 5 of 24 here. Batches of 4 there are of 8 here, a row for
    # each of eight GPUs. Expected, of Zephyr-7B there: biology 63.7% to 31.2%, cyber 44.0% to
    # 28.2%, MMLU 58.1% to 57.1%. A model this small knows less to begin with, so that only the
    # direction is comparable.
    "wmdp-qwen0.5b": (
        "WMDP removed from Qwen2.5-0.5B by RMU and by adapters, after arXiv 2403.03218.",
        {
            "method": ("unrouted", "rmu", "lora-pair"),
            "label_recall": 1.0,
            "task.stories": 4000,
            "model": "Qwen/Qwen2.5-0.5B",
            "batch_size": 8,
            "loop.steps": 500,
            "loop.learning_rate": 1e-5,
            "loop.warmup": 25,
            "rmu.layer": 5,
            "rmu.coefficient": 6.5,
            "rmu.retain_weight": 1200,
            "rmu.steps": 150,
            "rmu.learning_rate": 5e-5,
            "repair.learning_rate": 1e-5,
            "attack.learning_rates": (1e-5, 5e-5),
            "attack.num_examples": (16, 64),
            "attack.steps": 40,
        },
    ),
    # RMU as published (Li et al. 2024): Zephyr-7B as it is, 150 batches of 4 texts to forget and 4
    # of WikiText at 5e-5, norm 6.5 and retain weight 1,200, at layer 7 of 32; it trains the down
    # projections of the MLPs of layers 5, 6 and 7, as here. There biology and cyber are removed in
    # turns, with a direction each; here texts of both have one direction. The length of rows, 512
    # tokens, and all of the repair and the attacks are ours: the paper repairs nothing. Expected
    # before a repair: biology 63.7% to 31.2%, cyber 44.0% to 28.2%, MMLU 58.1% to 57.1%.
    "wmdp-zephyr-7b": (
        "WMDP removed from Zephyr-7B by RMU, with the settings of arXiv 2403.03218.",
        {
            "method": ("unrouted", "rmu"),
            "label_recall": 1.0,
            "task.stories": 4000,
            "model": "HuggingFaceH4/zephyr-7b-beta",
            "context": 512,
            "batch_size": 4,
            "loop.steps": 0,
            "rmu.layer": 7,
            "rmu.coefficient": 6.5,
            "rmu.retain_weight": 1200,
            "rmu.steps": 150,
            "rmu.learning_rate": 5e-5,
            "repair.steps": 0,
            "attack.learning_rates": (1e-5, 5e-5),
            "attack.num_examples": (16, 64),
            "attack.steps": 40,
        },
    ),
}
"""Presets by name."""

DOCUMENT_TOKENS = {
    "tinystories-8m": 256,
    "paper-tinystories": 256,
    "paper-virology": 1024,
    "sgtm-bilingual": 512,
    "wmdp-qwen0.5b": 512,
    "wmdp-zephyr-7b": 512,
}
"""Presets that need documents, and the tokens of a row: the `--context` of `lm.prepare`."""

# The steps of a pretrained model are for SmolLM2-135M on two cores, where a story takes a second.
# The word noise is in every third story, so that few of them show it.
STEERING_PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("The word forest in made-up stories, one seed: a few minutes on two cores.", {}),
    "quick": (
        "A tenth of the default's training and few measurements, in half a minute: to try a setup.",
        {
            "loop.steps": 80,
            "loop.warmup": 10,
            "held_out_rows": 48,
            "choice_rows": 16,
            "steering.coefficients": (0.1, 0.2, 0.4, 0.8, 1.6, 3.2),
            "steering.samples": 16,
        },
    ),
    "paper": (
        "Gates on the residual stream alone, as in the paper: too little for a model this small.",
        {"route.weight": 1.0, "route.embeddings": False},
    ),
    "pretrained": (
        "A short further training of a pretrained model, named by --model, on stories: a trial.",
        {
            "concept_words": ("noise",),
            "related_words": ("sound", "silence"),
            "train_rows": 200,
            "held_out_rows": 6,
            "choice_rows": 2,
            "batch_size": 2,
            "loop.steps": 24,
            "loop.warmup": 4,
            "loop.learning_rate": 1e-4,
            "loop.weight_decay": 0.0,
            "steering.blocks": (20,),
            "steering.coefficients": (0.1, 0.25, 0.5, 1.0, 2.0),
            "steering.pairs": 8,
            "steering.samples": 0,
        },
    ),
}
"""Presets of `python -m lm.steer`."""
