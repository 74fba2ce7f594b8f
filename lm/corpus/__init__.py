"""GrammarStories: a seeded world of topics and facts, told as stories, with exact labels."""

from lm.corpus.grammar import END, Grammar, Kind, Telling, make_grammar
from lm.corpus.questions import Question, blind_accuracy, questions
from lm.corpus.stories import Floor, Stories, floor, noisy_labels, overlaps, tell
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
    "Floor",
    "Grammar",
    "Kind",
    "Question",
    "Splits",
    "Stories",
    "Telling",
    "Tokens",
    "World",
    "blind_accuracy",
    "cached_tokenizer",
    "encode",
    "floor",
    "is_topic",
    "make_grammar",
    "make_world",
    "noisy_labels",
    "overlaps",
    "questions",
    "split_topics",
    "story_ids",
    "story_tokenizer",
    "tell",
    "train_tokenizer",
]
