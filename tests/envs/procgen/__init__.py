"""Tests of Procgen's levels, which need no package, and of its games, which do."""
