"""A few facts, and a WordNet of a few animals."""

from pathlib import Path

from lm.data.facts import Fact

CAPITALS = [
    Fact("Austria", "Vienna"),
    Fact("Chile", "Santiago"),
    Fact("Egypt", "Cairo"),
    Fact("France", "Paris"),
    Fact("Ghana", "Accra"),
    Fact("Japan", "Tokyo"),
]

NOUNS = """\
  1 This line is of the license.
00000001 05 n 01 animal 0 000 | a living organism
00000002 05 n 01 bird 0 001 @ 00000001 n 0000 | an animal with feathers
00000003 05 n 02 mammal 0 mammalian 0 001 @ 00000001 n 0000 | an animal with hair
00000004 05 n 01 thrush 0 001 @ 00000002 n 0000 | a songbird
00000005 05 n 02 robin 0 redbreast 0 002 @ 00000004 n 0000 #m 00000003 n 0000 | a small thrush
00000006 05 n 01 house_cat 0 001 @ 00000003 n 0000 | a cat at home
00000007 05 n 01 chicken 0 001 @ 00000002 n 0000 | a fowl
00000008 13 n 01 chicken 0 000 | the flesh of a chicken
"""
COUNTS = """\
bird%1:05:00:: 1 9
robin%1:05:00:: 1 4
house_cat%1:05:00:: 1 1
chicken%1:05:00:: 2 2
chicken%1:13:00:: 1 7
"""


def write_wordnet(folder: Path) -> Path:
    """Write the files of a small WordNet to a folder, and return it.

    Of its animals, a robin is a bird and a house cat is a mammal; the redbreast and the thrush are
    not in the counts, and a chicken is food more often.
    """
    (folder / "data.noun").write_text(NOUNS, encoding="utf-8")
    (folder / "cntlist.rev").write_text(COUNTS, encoding="utf-8")
    return folder
