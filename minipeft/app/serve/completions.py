"""Completions, as OpenAI's interface defines them: many requests in one batch, each with its own settings.

A request names an adapter and has prompts; each prompt has n choices. Every choice is a row of the batch,
under its request's adapter, and leaves it on its own: at the end token, a stop string, or max_tokens.
"""

from dataclasses import dataclass, field

import numpy as np

from ...backend import to_host
from ...generate import TextStream, decode, log_softmax, sample
from ...mixed_model import changes_base


@dataclass
class Request:
    """What is to be continued, and how. OpenAI's names and meanings.

    adapter      its name in the PeftModel          prompts      lists of token ids
    n            choices for each prompt            max_tokens   new ones, for each choice
    temperature  0: the likeliest token             top_p        the nucleus to draw from
    seed         None: another text each time       stop         strings that end the text, left out of it
    echo         is the prompt part of the text?    logprobs     of so many tokens at each place, or None
    """

    adapter: str
    prompts: list
    n: int = 1
    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple = ()
    echo: bool = False
    logprobs: int | None = None

    @property
    def rows(self):
        """How many sequences it adds to a batch."""
        return self.n * len(self.prompts)


@dataclass
class Part:
    """The next piece of a choice: text, the scores of its tokens if they were asked for, and how it ended.

    finish_reason: None while there is more to come, "stop", or "length" at max_tokens.
    """

    index: int
    text: str
    scores: list
    finish_reason: str | None = None


@dataclass
class Score:
    """A token in a text: where it begins, its log-probability, those of the likeliest ones there.

    The first token of a prompt has none: nothing predicts it.
    """

    token: str
    offset: int
    logprob: float | None = None
    top: dict | None = None


@dataclass
class Completion:
    """A request under way.

    send(part)  called with each Part; the first exception that is sent instead ends it: see `fail`
    generated   tokens so far, over all choices; the end token, which is no text, does not count
    cancelled   set by who asked, from any thread: nobody listens any more
    """

    request: Request
    send: object
    generated: int = 0
    cancelled: bool = False

    def fail(self, error):
        """End all its choices with what went wrong; the rest of the batch goes on."""
        self.cancelled = True
        self.send(error)


@dataclass
class Choice:
    """One continuation as it grows.

    held    text that may turn out to be the beginning of a stop string, and is not sent before that is known
    length  of the text that was sent
    scores  of tokens that begin in `held`
    """

    completion: Completion
    index: int
    prompt: list
    tokenizer: object
    end: int  # the end token
    tokens: int = 0
    held: str = ""
    length: int = 0
    scores: list = field(default_factory=list)
    finished: bool = False

    def __post_init__(self):
        request = self.completion.request
        self.text = TextStream(self.tokenizer, self.prompt)
        # of the choice alone, so that what else is in the batch does not change what it draws
        self.rng = np.random.default_rng(None if request.seed is None else [request.seed, self.index])

    def begin(self, prompt_scores):
        """Send the prompt where it is part of the text."""
        if self.completion.request.echo:
            echoed = self.tokenizer.decode(self.prompt, skip_special_tokens=False)
            self.held, self.scores = echoed, list(prompt_scores)
            self.release(len(self.held))
        if self.completion.request.max_tokens == 0:
            self.finish("length")

    def next(self, z):
        """z (V,): scores of the next token -> the token; the end token where this choice is over.

        What goes wrong here is the fault of this request, and ends it alone.
        """
        if self.completion.cancelled:
            return self.end
        try:
            return self.chosen(z)
        except BaseException as error:  # a panic in Rust is no Exception
            self.completion.fail(error)
            return self.end

    def chosen(self, z):
        """The same, and the text so far is sent."""
        request = self.completion.request
        if not np.isfinite(z.max()):  # the largest of numbers with a NaN is NaN
            raise FloatingPointError(f"the scores of the model {request.adapter!r} are not finite")
        greedy = request.temperature == 0
        token = int(z.argmax()) if greedy else sample(z, request.temperature, 0, request.top_p, self.rng)
        if request.logprobs is not None:  # of the end token, too: it was chosen, though it is no text
            offset = self.length + len(self.held)
            self.scores.append(score(token, z, request.logprobs, offset, self.tokenizer))
        if token == self.end:
            self.finish("stop")
            return self.end
        self.tokens += 1
        self.completion.generated += 1
        self.held += self.text.add(token)
        if self.cut():
            self.finish("stop")
        elif self.tokens == request.max_tokens:
            self.finish("length")
        else:
            self.release(len(self.held) - beginning_of(request.stop, self.held))
        return self.end if self.finished else token

    def cut(self):
        """Is a stop string in what is held? Then what is before it is sent, and nothing more is held."""
        stops = [at for s in self.completion.request.stop if (at := self.held.find(s)) >= 0]
        if stops:
            self.release(min(stops))
            self.held, self.scores = "", []
        return bool(stops)

    def release(self, n):
        """Send the first n characters that are held."""
        text, self.held = self.held[:n], self.held[n:]
        self.length += n
        scores = [s for s in self.scores if s.offset < self.length]
        self.scores = self.scores[len(scores) :]
        if text or scores:
            self.completion.send(Part(self.index, text, scores))

    def finish(self, reason):
        """Send what is left, with a character that never became whole."""
        self.finished = True
        self.held += self.text.rest()
        if self.cut():
            reason = "stop"
        self.completion.send(Part(self.index, self.held, self.scores, reason))


def complete(peft, completions):
    """Decode these requests in one batch, and send their parts.

    Their adapters are all able to share one, or all the same: see `may_share`.
    """
    choices = []
    for completion in completions:
        try:
            choices += begun(peft, completion)
        except BaseException as error:  # as in `Choice.next`
            completion.fail(error)
    choices = [choice for choice in choices if not (choice.finished or choice.completion.cancelled)]
    if not choices:
        return
    names = [choice.completion.request.adapter for choice in choices]
    if len(set(names)) == 1:
        peft.set_adapter(names[0])
        model, adapters = peft, None
    else:
        model = peft.mixed(names)
        choices, adapters = [choices[i] for i in model.order], model.adapters
    most = max(choice.completion.request.max_tokens for choice in choices)
    choose = lambda i, z, _: choices[i].next(z)
    decode(model, [choice.prompt for choice in choices], most, choose, adapters=adapters)


def begun(peft, completion):
    """The choices of a request, their prompts sent where they are part of the text."""
    request, choices = completion.request, []
    for i, prompt in enumerate(request.prompts):
        scored = request.echo and request.logprobs is not None
        scores = prompt_scores(peft, request, prompt) if scored else []
        for j in range(request.n):
            index = i * request.n + j
            choice = Choice(completion, index, prompt, peft.tokenizer, peft.config.eos_token_id)
            choice.begin(scores)
            choices.append(choice)
    return choices


def may_share(peft, one, other):
    """May two adapters be in one batch? Those that change the base's weights only with themselves."""
    return one == other or not any(changes_base(peft.adapter(name), peft.model) for name in (one, other))


def prompt_scores(peft, request, prompt):
    """The Score of each token of a prompt, under the request's adapter."""
    peft.set_adapter(request.adapter)
    logits, text = to_host(peft.logits([prompt])[0]), TextStream(peft.tokenizer)
    if not np.isfinite(logits.max()):
        raise FloatingPointError(f"the scores of the model {request.adapter!r} are not finite")
    scores, offset = [Score(token_text(prompt[0], peft.tokenizer), 0)], len(text.add(prompt[0]))
    for token, z in zip(prompt[1:], logits, strict=False):  # the last row predicts what is not there yet
        scores.append(score(token, z, request.logprobs, offset, peft.tokenizer))
        offset += len(text.add(token))
    return scores


def score(token, z, top, offset, tokenizer):
    """z (V,): what `token` was chosen by, before temperature -> its Score; `token` itself is in its top."""
    logprobs = log_softmax(z[None])[0]
    best = {*np.argsort(-logprobs, kind="stable")[:top].tolist(), token}
    # the likeliest last: it stays where two tokens have the same text, as parts of characters do
    texts = {token_text(t, tokenizer): float(logprobs[t]) for t in sorted(best, key=lambda t: logprobs[t])}
    return Score(token_text(token, tokenizer), offset, float(logprobs[token]), texts)


def token_text(token, tokenizer):
    """One token as text; a part of a character is the replacement character."""
    return tokenizer.decode([token], skip_special_tokens=False)


def beginning_of(stops, text):
    """The length of the longest end of `text` with which a stop string begins."""
    longest = lambda s: range(1, min(len(s), len(text) + 1))
    return max((k for s in stops for k in longest(s) if text.endswith(s[:k])), default=0)
