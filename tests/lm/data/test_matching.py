"""Words and values are found in every form in which they can be written."""

import unicodedata

import pytest

from lm.data.matching import Words, folded, plain, value_form

PLAIN = "caf\u00e9"
FORMS = {
    "composed": "CAF\u00c9",
    "decomposed": unicodedata.normalize("NFD", PLAIN),
    "zero-width space": "ca\u200bf\u00e9",
    "joiner before the accent": "cafe\u200d\u0301",
    "soft hyphen": "caf\u00ad\u00e9",
    "byte-order mark": "\ufeffcaf\u00e9",
    "variation selector": "caf\u00e9\ufe0f",
    "word joiners": "c\u2060\u2060af\u00e9",
    "sign of direction": "\u202acaf\u00e9\u202c",
}


@pytest.mark.parametrize("in_text", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("in_list", [PLAIN, *FORMS.values()])
def test_word_is_found_in_each_form_of_unicode(in_text: str, in_list: str) -> None:
    words = Words([in_list])
    assert words.match(f"the {in_text}, old")
    assert words.within(in_text) == [in_list]
    assert not words.match("cafe")
    assert not words.match(f"{PLAIN}s")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("Stra\u00dfe", "STRASSE"),
        ("file", "\ufb01le"),
        ("\u0130zmir", "\u0130ZMIR"),
        ("\u03c3\u03bf\u03c6\u03cc\u03c2", "\u03a3\u039f\u03a6\u038c\u03a3"),
        ("\uac01", "\u1100\u1161\u11a8"),
        ("\u212bngstr\u00f6m", "\u00e5NGSTR\u00d6M"),
        ("old oak", "an Old\n  oak"),
        ("old  oak", "an old\u00a0OAK"),
        ("old oak", "an old\u200boak"),
        ("forest", "forest\u200bfire"),
        ("forest", "fo\u200brest\u200bfire"),
        ("forest", "the \uff26\uff4f\uff52\uff45\uff53\uff54\uff01"),
        ("\uff26\uff4f\uff52\uff45\uff53\uff54", "the forest"),
        ("forest", "the \U0001d413 \U0001d41f\U0001d428\U0001d42b\U0001d41e\U0001d42c\U0001d42d"),
        ("forest", "Forest\u2122"),
        ("\u30ac\u30b9", "\uff76\uff9e\uff7d"),  # katakana of half the width, its mark apart
        ("\u68ee\u6797", "\u5927\u68ee\u6797\u91cc"),
        ("\u0e1b\u0e48\u0e32", "\u0e43\u0e19\u0e1b\u0e48\u0e32\u0e43\u0e2b\u0e0d\u0e48"),
    ],
)
def test_word_is_found(word: str, text: str) -> None:
    assert Words([word]).within(text) == [word]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("tree", "street"),
        ("cafe", "cafe\u0301"),
        ("x", "x\u0302"),
        ("\u0935\u0928", "\u0935\u0928\u094b\u0902"),  # a vowel sign follows
        ("forest", "forestfire"),
        ("oldoak", "old oak"),
    ],
)
def test_part_of_a_word_is_not_found(word: str, text: str) -> None:
    assert not Words([word]).match(text)


@pytest.mark.parametrize("apostrophe", "'\u2018\u2019\u02bc\uff07")
@pytest.mark.parametrize("hyphen", "-\u2010\u2011\u2013\u2212")
def test_apostrophes_and_hyphens_are_those_of_ascii(apostrophe: str, hyphen: str) -> None:
    text = f"of Crohn{apostrophe}s and COVID{hyphen}19."
    assert Words(["Crohn's", "covid-19", "covid 19"]).within(text) == ["Crohn's", "covid-19"]
    typed = [f"crohn{apostrophe}s", f"covid{hyphen}19"]
    assert Words(typed).within("of Crohn's and COVID-19.") == typed


def test_overlapping_words_are_all_found() -> None:
    words = Words(["oak", "old oak", "ash"])
    assert words.within("an old oak") == ["oak", "old oak"]


@pytest.mark.parametrize(
    ("forms", "form"),
    [
        ((1, 1.0, "1", "1.0", "1e0", " 1", True, "true", "TRUE", "\ufeff1"), "1"),
        ((0, -0.0, "0", "0.0", False, "False"), "0"),
        ((0.5, "0.5", "0.50", "5e-1"), "0.5"),
        ((2**60 + 1, str(2**60 + 1)), str(2**60 + 1)),
        (("caf\u00e9", "cafe\u0301", " caf\u00e9\u200b"), "caf\u00e9"),
        ((None, "", " ", "\u200b", "null", "None", float("nan"), "NaN"), ""),
        (("007",), "007"),
        (("1.2.3",), "1.2.3"),
        (("Bio",), "Bio"),
        (("9" * 400,), "9" * 400),
        (("\u0661",), "\u0661"),
    ],
)
def test_values_are_compared_by_value(forms: tuple[object, ...], form: str) -> None:
    assert {value_form(each) for each in forms} == {form}


@pytest.mark.parametrize("value", [["a"], {"a": 1}, []])
def test_lists_and_objects_are_no_values(value: object) -> None:
    with pytest.raises(TypeError, match="is no single value: give text, a number or true"):
        value_form(value)


def test_huge_numbers_have_a_form() -> None:
    assert value_form(10**400) == str(10**400)
    assert value_form(float("inf")) == value_form("inf") == "inf"


def test_forms_of_texts() -> None:
    assert folded("\u200bABC\ufe0f") == folded("abc")
    assert plain(" a\u200b b\ufeff ") == "a b"
