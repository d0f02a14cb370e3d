"""A formula and the code beside it: what has one name in both has one colour."""

import re
from html import escape

from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES, Comment, Keyword, Token

COLOURS = 8  # classes t0 ... t7 of site.css
LETTER = re.compile(
    r"[^\W\d_]\u0302?\d?(?:_[a-z0-9]\b)?'?(?![\w\u0302])|\b(?:act|relu|softmax|sigma|lambda|wte|wpe|dW)\b"
)
NAME = re.compile(r"[^\W\d]\w*")


class Terms:
    """The letters of a formula, a colour for each, and the names that they have in the code.

    A letter has its own name in the code; its gradient has the name with a d in front. `named` says
    where a letter has others: {"s": ["scaling"]}.
    """

    def __init__(self, formulas, named):
        letters = [m[0] for line in formulas for m in LETTER.finditer(line)]
        self.colour = {x: i % COLOURS for i, x in enumerate(dict.fromkeys([*letters, *named]))}
        self.letter = {x: x for x in self.colour if x not in named}
        self.letter |= {name: x for x, names in named.items() for name in names}

    def in_code(self, name):
        """(letter, is it the gradient?) of a name in the code; (None, False) for one that is in no formula."""
        name = name.strip("_") if name not in self.letter else name
        if name in self.letter:
            return self.letter[name], False
        return self.letter.get(name.removeprefix("d")), True

    def span(self, letter, shown, gradient=False):
        """What is shown, in the letter's colour."""
        kind = " d" if gradient else ""
        return f'<span class="t{self.colour[letter]}{kind}">{escape(shown)}</span>'

    def formula(self, line):
        """A line of the formula; what explains it stands in grey behind."""
        said, gap, words = re.match(r"(.*?)( {5,}|$)(.*)", line).groups()
        parts, end = [], 0
        for m in LETTER.finditer(said):
            parts += [
                escape(said[end : m.start()]),
                self.span(m[0], m[0]) if m[0] in self.colour else escape(m[0]),
            ]
            end = m.end()
        parts.append(escape(said[end:]))
        return "".join(parts) + gap + (f'<span class="said">{escape(words)}</span>' if words else "")

    def lines(self, text):
        """Python, line by line, as HTML: the letters' colours in names and strings, the usual ones elsewhere."""
        html = "".join(self.token(kind, shown) for kind, shown in PythonLexer(stripnl=False).get_tokens(text))
        return html.rstrip("\n").split("\n")

    def token(self, kind, shown):
        """One token; one that goes over several lines is closed and opened again at each."""
        if kind in Comment or kind in Keyword or not (kind in Token.Name or kind in Token.Literal.String):
            inner = escape(shown)
        else:
            inner = NAME.sub(self.name, escape(shown, quote=False))
        css = STANDARD_TYPES.get(kind, "")
        return "\n".join(
            f'<span class="{css}">{part}</span>' if css and part else part for part in inner.split("\n")
        )

    def name(self, m):
        """A name in the code, coloured if it is a letter's."""
        letter, gradient = self.in_code(m[0])
        return self.span(letter, m[0], gradient) if letter in self.colour else m[0]

    def used(self, text):
        """The letters that occur in a piece of code."""
        return {self.in_code(name)[0] for name in NAME.findall(text)} - {None}
