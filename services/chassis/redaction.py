"""E-mail addresses, payment cards and keys, taken out of text before it is written anywhere.

A text has none of them nearly always, so that is what is fast: a few substrings are looked for, and patterns
only where one is there.
"""

from __future__ import annotations

import re

EMAIL, CARD, KEY = "[email]", "[card]", "[key]"
# A piece of text that could still become one of them is held back up to this many characters.
LONGEST = 256
# None of the patterns needs more behind it than this to be told from the rest of a long word.
_OVERLAP = 100

_EMAIL = re.compile(r"[\w.%+-]{1,64}@(?:[\w-]{1,63}\.)+[\w-]{2,63}")
_RUN = re.compile(r"(?<![0-9A-Za-z])[0-9](?:[ -]?[0-9]){12,}(?![0-9A-Za-z])")
_GROUP = re.compile("[0-9]+")
# How our own keys and those of OpenAI and Anthropic, Google, xAI, Perplexity and AWS begin, and bearer tokens
# of any kind.
_SIGNS = ("mlk_", "sk-", "AIza", "xai-", "pplx-", "AKIA", "ASIA", "earer ")
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:mlk_[0-9a-z]{12}_[\w-]{8,}|sk-[\w-]{8,}"
    r"|AIza[\w-]{16,}|xai-[A-Za-z0-9]{16,}|pplx-[A-Za-z0-9]{16,}"
    r"|A(?:KIA|SIA)[A-Z0-9]{16,}|(?<=earer )[\w.~+/=-]{8,})"
)
_REST_OF_KEY = re.compile(r"[\w.~+/=-]*")
_UNFINISHED = re.compile(r"\S*(?:[0-9][0-9 -]*|earer )\Z")


def redacted(text: str) -> str:
    """`text` with names in the place of what nobody should read."""
    for sign in _SIGNS:
        if sign in text:
            text = _KEY.sub(KEY, text)
            break
    if "@" in text:
        text = _EMAIL.sub(EMAIL, text)
    return _RUN.sub(_without_cards, text) if _RUN.search(text) else text


def _without_cards(match: re.Match[str]) -> str:
    """A run of digits in groups; each that is a card's, in one group or in several, is replaced."""
    run = match[0]
    groups = [(found.start(), found.end()) for found in _GROUP.finditer(run)]
    done, found, at = 0, [], 0
    while at < len(groups):
        end = _card(run, groups, at)
        if end > at:
            found += [run[done : groups[at][0]], CARD]
            done, at = groups[end - 1][1], end
        else:
            at += 1
    return "".join([*found, run[done:]])


def _card(run: str, groups: list[tuple[int, int]], at: int) -> int:
    """The group behind the longest card number that begins with group `at`; `at` when there is none."""
    digits, best = "", at
    for place in range(at, len(groups)):
        start, end = groups[place]
        digits += run[start:end]
        if len(digits) > 19:
            break
        if len(digits) >= 13 and digits[0] in "23456" and _luhn(digits):
            best = place + 1
    return best


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


class StreamRedactor:
    """The same for text that comes in pieces, wherever they are cut: what could still become part of
    something is held back until that is known.

    Of words longer than LONGEST only the end is held back; text is never kept beyond that.
    """

    def __init__(self) -> None:
        self._held = ""
        self._in_key = False  # the beginning of a long key was replaced, and its rest may come

    def feed(self, piece: str) -> str:
        """What can be told by now."""
        if self._in_key:
            rest = _REST_OF_KEY.match(piece)
            piece = piece[rest.end() :] if rest else piece
            self._in_key = not piece
        text = self._held + piece
        cut = self._safe(text)
        if len(text) - cut > LONGEST:
            return self._forced(text)
        self._held = text[cut:]
        return redacted(text[:cut])

    def end(self) -> str:
        """The rest."""
        text, self._held, self._in_key = self._held, "", False
        return redacted(text)

    def _safe(self, text: str) -> int:
        """Where the last word begins, with numbers before it that it may go on."""
        words = text.rsplit(None, 1)
        cut = len(text) if not words or text[-1].isspace() else len(text) - len(words[-1])
        before = _UNFINISHED.search(text, max(cut - LONGEST, 0), cut)
        return before.start() if before else cut

    def _forced(self, text: str) -> str:
        """Of a word, or a run of digits, that is longer than what is held back."""
        whole = redacted(text)
        key = next((match for match in _KEY.finditer(text) if match.end() == len(text)), None)
        if key:
            self._held, self._in_key = "", True
            return whole
        for cut in range(len(text) - _OVERLAP, len(text) - LONGEST, -1):
            told, held = redacted(text[:cut]), text[cut:]
            if told + redacted(held) == whole:  # nothing lies across
                self._held = held
                return told
        self._held = ""
        return whole
