"""Multiple-choice benchmarks: their questions, how they are asked, and what a model scores."""
