"""A map of what each module of a run learned, as tables, a figure and a page.

It knows neither agents nor language models: `oversight.rl.inspection` and `lm.inspection` fill it.
"""
