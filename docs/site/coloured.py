"""A formula and the code beside it: what has one name in both has one colour."""

import re
from html import escape

from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES, Token

COLOURS = 8  # classes t0 ... t7 of site.css
WORDS = "act|relu|softmax|sigma|lambda|wte|wpe|dW"  # that count as letters
LETTER = re.compile(rf"[^\W\d_]\u0302?\d?(?:_[a-z0-9]\b)?'?(?![\w\u0302])|\b(?:{WORDS})\b")
NAME = re.compile(r"[^\W\d]\w*")
GAP = re.compile(r"(.*?)( {5,}|$)(.*)")  # of a line: what is said in letters, a gap, and what explains it


class Terms:
    """The letters of some formulas, a colour for each, and the names that they have in the code.

    A letter is called the same in the code, and its gradient so with a d in front. `named` has the other
    names of some: {"s": ["scaling"]}.
    """

    def __init__(self, formulas, named):
        letters = [m[0] for line in formulas for m in LETTER.finditer(line)]
        self.colour = {x: i % COLOURS for i, x in enumerate(dict.fromkeys([*letters, *named]))}
        self.letter = {x: x for x in self.colour}
        self.letter |= {name: x for x, names in named.items() for name in names}

    def in_code(self, name):
        """(letter, is it the gradient?) of a name in the code; the letter is None where no formula has it."""
        if name in self.letter:
            return self.letter[name], False
        return self.letter.get(name.removeprefix("d")), True

    def span(self, letter, shown, gradient=False):
        """What is shown, in the letter's colour."""
        kind = " d" if gradient else ""
        return f'<span class="t{self.colour[letter]}{kind}">{escape(shown)}</span>'

    def formula(self, line):
        """A line of the formula as HTML; what explains it stands in grey behind."""
        said, gap, words = GAP.match(line).groups()
        parts, end = [], 0
        for m in LETTER.finditer(said):
            shown = self.span(m[0], m[0]) if m[0] in self.colour else escape(m[0])
            parts += [escape(said[end : m.start()]), shown]
            end = m.end()
        parts += [escape(said[end:]), gap, f'<span class="said">{escape(words)}</span>' if words else ""]
        return "".join(parts)

    def lines(self, text):
        """Python as HTML, line by line: letters in their colours, in names and strings; all else as usual."""
        tokens = PythonLexer(stripnl=False).get_tokens(text)
        return "".join(self.token(kind, shown) for kind, shown in tokens).rstrip("\n").split("\n")

    def token(self, kind, shown):
        """One token; what goes over several lines is closed and opened again at each."""
        inner = escape(shown, quote=False)
        if kind in Token.Name or kind in Token.Literal.String:
            inner = NAME.sub(self.name, inner)
        css = STANDARD_TYPES.get(kind)
        wrapped = lambda part: f'<span class="{css}">{part}</span>' if css and part else part
        return "\n".join(map(wrapped, inner.split("\n")))

    def name(self, m):
        """A name in the code, in colour if it is a letter's."""
        letter, gradient = self.in_code(m[0])
        return self.span(letter, m[0], gradient) if letter else m[0]

    def used(self, text):
        """The letters that occur in a piece of code."""
        return {self.in_code(name)[0] for name in NAME.findall(text)} - {None}
