"""Where sentences end, and which of them a reader can read without what stood around them."""

import re
from typing import Final

from agents.stopwords import FUNCTION_WORDS
from agents.text import words

_END: Final = re.compile(r"""([.!?]["')\]”’]*)\s+(?=["'(\[“‘]?[A-Z0-9_`])""")
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|vs|cf|al|approx|no|fig|eq|sec|ch|vol|pp|p|dr|mr|mrs|ms|prof|st|jr|sr|inc|ltd|resp|[A-Za-z])\.$",
    re.IGNORECASE,
)

#: Bounds of a readable sentence, in characters and words.
SHORTEST: Final = 40
LONGEST: Final = 360
FEWEST_WORDS: Final = 7

_CODE: Final = re.compile(r"[\[\]{}<>|\\=^~`$@#]|\(\)|::|->|https?:|www\.|\w\(\w|\.\.\.|\*\w|\w\*|__|/\w+/")
_OPENING: Final = re.compile(r'^(?:[A-Z0-9"“]|[a-z_][a-z0-9_]*(?:_[a-z0-9_]+)?: [A-Z])')
_DANGLING: Final = re.compile(
    r"^(?:this|that|these|those|it|its|they|their|them|he|she|such|here|otherwise|however|therefore|thus|also|hence|"
    r"moreover|furthermore|additionally|instead|then|but|and|or|so|which|see|both|in this case|in that case|for example|"
    r"for instance|as a result|only|either|by default|currently|the following|the above|the latter|the former|the same|the other|another|if so|if not|"
    r"e\.g|i\.e|note|example|todo|fixme|defaults?|returns?|raises?|args?|usage|yields?|unlike|likewise|similarly|"
    r"equivalent|same as|like|besides|again|still|yet|one such|finally|second|third|next|first|below|above)\b",
    re.IGNORECASE,
)
_LABEL: Final = re.compile(r"^(?:note|notes|warning|important|tip|caution|hint|nb)\s*(?:that\b|:)\s*", re.IGNORECASE)
_NAMED: Final = re.compile(r"^[A-Za-z_]\w*: ")


def split(block: str) -> list[str]:
    """Return the sentences of a block of running text, each stripped; nothing is left out or changed.

    A rule looks only at what stands right around a stop, so a sentence alone is never split further.
    """
    found: list[str] = []
    begin = 0
    for match in _END.finditer(block):
        if match.group(1) == "." and _ABBREVIATION.search(block[max(begin, match.start() - 12) : match.start() + 1]):
            continue
        found.append(block[begin : match.end(1)].strip())
        begin = match.end()
    found.append(block[begin:].strip())
    return [sentence for sentence in found if sentence]


def split_text(text: str) -> list[str]:
    """Return the sentences of a passage, whose lines are blocks of their own."""
    return [sentence for block in text.split("\n") for sentence in split(block)]


def without_label(sentence: str) -> str:
    """Return a sentence without "Note that" and the like before it, beginning with a capital where it may.

    What is left stands word for word in the passage.
    """
    rest = _LABEL.sub("", sentence, count=1)
    return rest[:1].upper() + rest[1:] if rest != sentence else sentence


def is_readable(sentence: str) -> bool:
    """Whether a sentence reads as prose: whole, of a fair length, free of code, mostly plain words."""
    if not SHORTEST <= len(sentence) <= LONGEST or sentence[-1] not in ".!" or not _OPENING.match(sentence):
        return False
    if _CODE.search(sentence) or sentence.count("(") != sentence.count(")") or sentence.count('"') % 2:
        return False
    found = words(sentence)
    if len(found) < FEWEST_WORDS:
        return False
    function = sum(word in FUNCTION_WORDS for word in found)
    letters = sum(letter.isalpha() or letter == " " for letter in sentence)
    return function / len(found) >= 0.2 and letters / len(sentence) >= 0.85 and not sentence.isupper()


def is_dangling(sentence: str) -> bool:
    """Whether a sentence leans on one before it: "This is why …", "However, …"."""
    rest = _NAMED.sub("", sentence, count=1)
    return rest == sentence and _DANGLING.match(sentence) is not None
