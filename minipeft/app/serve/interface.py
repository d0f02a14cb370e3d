"""OpenAI's interfaces of completions and chats: what may be asked, why it is refused, what is answered."""

import time
import uuid
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...config import check_sequences
from ...errors import InputError, counted, shortened, visible
from .completions import Request

# --------------------------------------------------------------------------------------- what is asked for


class StreamOptions(BaseModel):
    """include_usage: is the usage sent at the end of a stream? null is as if left out."""

    include_usage: bool | None = False


def nothing(value):
    """For what is not implemented: only a value that asks for nothing."""
    if value:
        raise ValueError("not implemented here: leave it out")
    return value


Nothing = Annotated[Any, AfterValidator(nothing)]


class Asked(BaseModel):
    """What a completion and a chat have in common; null is as if left out."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    n: int = Field(1, ge=1)
    stop: str | list[str] = []
    seed: int | None = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: str | None = None  # for the caller's own records

    presence_penalty: Nothing = None
    frequency_penalty: Nothing = None
    logit_bias: Nothing = None

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, values):
        """Some clients send null for what they leave out."""
        return {k: v for k, v in values.items() if v is not None} if isinstance(values, dict) else values


class Body(Asked):
    """The body of POST /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int = Field(16, ge=0)
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=5)
    best_of: int = Field(1, ge=1, le=1)
    suffix: Nothing = None


class TextPart(BaseModel):
    """A piece of a message; there are no pictures and no sound."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """What one side of a chat said."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None  # not shown to the model

    @property
    def text(self):
        """Its content as one text."""
        return self.content if isinstance(self.content, str) else "".join(p.text for p in self.content)


class ChatBody(Asked):
    """The body of POST /v1/chat/completions. The answer may take all positions that the prompt leaves."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)  # the newer name of the same
    logprobs: Nothing = None
    top_logprobs: Nothing = None
    tools: Nothing = None
    tool_choice: Nothing = None
    response_format: Nothing = None


WANTED = {  # where pydantic's message would be about the first of several types
    "prompt": "a string, a list of strings, a list of token ids, or a list of such lists is wanted",
    "stop": "a string or a list of strings is wanted",
}
MAX_STOP = 256  # characters of a stop string: they are compared after every token


class Refused(Exception):
    """An answer with an error status, in the shape that OpenAI's clients read."""

    def __init__(self, status, message, param=None, code=None, headers=None):
        message = shortened(visible(message))
        super().__init__(message)
        kinds = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}
        kind = kinds.get(status, "invalid_request_error")
        self.status, self.headers = status, headers
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def parsed(content, kind):
    """The bytes of a body -> a Body or a ChatBody. Raises Refused with the reason."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        param = str(first["loc"][0]) if first["loc"] else None
        reason = WANTED.get(param) if len(first["loc"]) > 1 else None
        raise Refused(400, f"{param or 'the body'}: {reason or first['msg']}", param) from None


def checked(content, peft, max_batch):
    """The bytes of a body -> (Body, Request). Raises Refused with the reason where it cannot be served."""
    body = parsed(content, Body)
    prompts = [body.prompt] if one_prompt(body.prompt) else body.prompt
    more = {"max_tokens": body.max_tokens, "echo": body.echo, "logprobs": body.logprobs}
    return body, as_request(body, prompts, peft, max_batch, "prompt", **more)


def checked_chat(content, peft, max_batch):
    """The same of a chat."""
    body = parsed(content, ChatBody)
    most = body.max_completion_tokens or body.max_tokens
    request = as_request(body, [chat_prompt(body.messages)], peft, max_batch, "messages", max_tokens=most)
    request.stop += (NEXT_TURN,)
    return body, request


NEXT_TURN = "\nUser:"  # a model without a sense of turns would go on with the user's
NAMES = {"user": "User", "assistant": "Assistant"}


def chat_prompt(messages):
    r"""The plain template: GPT-2 knows no roles, so a chat is told as a text.

    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}] ->
    "Be brief.\nUser: Hello\nAssistant:"
    """
    lines = [f"{NAMES[m.role]}: {m.text}" if m.role in NAMES else m.text for m in messages]
    return "\n".join([*lines, "Assistant:"])


def one_prompt(prompt):
    """Is it a text or a list of token ids, and no list of such?"""
    return isinstance(prompt, str) or (prompt and isinstance(prompt[0], int))


def as_request(body, prompts, peft, max_batch, param, max_tokens, **more):
    """-> a Request. max_tokens None: as many as there is room for."""
    if body.model not in peft.adapters:
        known = ", ".join(peft.adapters)
        raise Refused(
            404, f"the model {body.model!r} does not exist: there are {known}", "model", "model_not_found"
        )
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)
    if len(stop) > 4 or not all(1 <= len(s) <= MAX_STOP for s in stop):
        reason = f"stop: at most 4 strings, none of them empty or longer than {MAX_STOP} characters"
        raise Refused(400, reason, "stop")
    if not 1 <= len(prompts) * body.n <= max_batch:
        asked = f"{counted(len(prompts), 'prompt')} with {counted(body.n, 'choice')} each"
        raise Refused(400, f"{asked}: this server does 1 to {max_batch} at once", param)
    check_lengths(prompts, peft, param)
    virtual = peft.adapter(body.model).method.num_virtual_tokens
    ids = [peft.tokenizer.encode(p).ids if isinstance(p, str) else p for p in prompts]
    if max_tokens is None:
        max_tokens = max(1, peft.config.n_positions - virtual - max(map(len, ids)))
    request = Request(
        body.model,
        ids,
        n=body.n,
        max_tokens=max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=None if body.seed is None else body.seed % 2**64,  # NumPy takes none below zero
        stop=stop,
        **more,
    )
    try:
        check_sequences(request.prompts, peft.config, virtual, request.max_tokens)
    except InputError as error:
        raise Refused(400, str(error), param) from None
    return request


def check_lengths(prompts, peft, param):
    """Raise Refused for a text that cannot fit, whatever its tokens are, before any are made."""
    most = peft.config.n_positions * longest_token(peft.tokenizer)
    for prompt in prompts:
        if isinstance(prompt, str) and len(prompt) > most:
            reason = f"{len(prompt):,} characters do not fit the model's {peft.config.n_positions} positions"
            raise Refused(400, reason, param)


@cache
def longest_token(tokenizer):
    """Characters of the longest token of a vocabulary; GPT-2 writes a byte as one character there."""
    return max(map(len, tokenizer.get_vocab()))


# ---------------------------------------------------------------------------------------- what is answered


@dataclass
class Interface:
    """How one of the interfaces asks and answers.

    checked  bytes, PeftModel, most rows -> what was asked, Request
    prefix   of an answer's id              whole, piece   the `object` of an answer, and of an event
    choice   an entry of "choices"          delta          the same in an event
    """

    checked: object
    prefix: str
    whole: str
    piece: str
    choice: object
    delta: object

    def frame(self, request, kind):
        """What every object of an answer begins with."""
        name = f"{self.prefix}-{uuid.uuid4().hex}"
        return {"id": name, "object": kind, "created": int(time.time()), "model": request.adapter}


def as_message(index, text, scores, finish_reason, request):
    """One entry of "choices" of a chat. The template ends before the space that begins the answer."""
    message = {"role": "assistant", "content": text.removeprefix(" "), "refusal": None}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish_reason}


def as_delta(index, text, scores, finish_reason, request, first):
    """The same in an event."""
    delta = {"role": "assistant", "content": text.removeprefix(" ")} if first else {"content": text}
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def as_piece(index, text, scores, finish_reason, request, first):
    """An entry of "choices" in an event of a completion: as in the whole."""
    return as_choice(index, text, scores, finish_reason, request)


def as_choice(index, text, scores, finish_reason, request):
    """One entry of "choices" of a completion."""
    logprobs = None
    if request.logprobs is not None:
        logprobs = {
            "tokens": [s.token for s in scores],
            "token_logprobs": [s.logprob for s in scores],
            "top_logprobs": [s.top for s in scores],
            "text_offset": [s.offset for s in scores],
        }
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def usage_of(completion):
    """Tokens read, each prompt once whatever n is, and tokens written."""
    read, written = sum(map(len, completion.request.prompts)), completion.generated
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


TEXT = Interface(checked, "cmpl", "text_completion", "text_completion", as_choice, as_piece)
CHAT = Interface(checked_chat, "chatcmpl", "chat.completion", "chat.completion.chunk", as_message, as_delta)
