"""GrammarStories: a seeded world of topics and facts, told as stories, with exact labels."""

from lm.corpus.grammar import END, Grammar, Kind, StoryDistribution, make_grammar
from lm.corpus.questions import Question, blind_accuracy, questions
from lm.corpus.stories import (
    EntropyBound,
    Stories,
    entropy_lower_bound,
    noisy_labels,
    overlaps,
    sample_stories,
)
from lm.corpus.tokens import (
    Tokens,
    cached_tokenizer,
    encode,
    story_ids,
    story_tokenizer,
    train_tokenizer,
)
from lm.corpus.world import HALVES, PARTS, Splits, World, is_topic, make_world, split_topics

__all__ = [
    "END",
    "HALVES",
    "PARTS",
    "EntropyBound",
    "Grammar",
    "Kind",
    "Question",
    "Splits",
    "Stories",
    "StoryDistribution",
    "Tokens",
    "World",
    "blind_accuracy",
    "cached_tokenizer",
    "encode",
    "entropy_lower_bound",
    "is_topic",
    "make_grammar",
    "make_world",
    "noisy_labels",
    "overlaps",
    "questions",
    "sample_stories",
    "split_topics",
    "story_ids",
    "story_tokenizer",
    "train_tokenizer",
]
