"""Steering by one scalar: a concept routed to one residual dimension, beside activation steering.

After Cloud et al. 2024 (arXiv 2410.04332), section 4.2.1 and appendix D. The command is
`python -m lm.steer`.
"""
