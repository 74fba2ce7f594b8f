"""Pictures of trained policies: a map of what each module does, and films of episodes."""

from oversight.pictures.film import film
from oversight.pictures.module_map import module_map

__all__ = ["film", "module_map"]
