"""OpenAI's completions interface: what may be asked, why it is refused, what is answered."""

import time
import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...config import check_sequences
from ...errors import InputError, counted
from .completions import Request

# --------------------------------------------------------------------------------------- what is asked for


class StreamOptions(BaseModel):
    """include_usage: is the usage sent at the end of a stream?"""

    include_usage: bool = False


def nothing(value):
    """For what is not implemented: only a value that asks for nothing."""
    if value:
        raise ValueError("not implemented here: leave it out")
    return value


Nothing = Annotated[Any, AfterValidator(nothing)]


class Body(BaseModel):
    """The body of POST /v1/completions; null is as if left out."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str
    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int = Field(16, ge=0)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    n: int = Field(1, ge=1)
    stop: str | list[str] = []
    seed: int | None = None
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=5)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: str | None = None  # for the caller's own records

    best_of: int = Field(1, ge=1, le=1)
    presence_penalty: Nothing = None
    frequency_penalty: Nothing = None
    logit_bias: Nothing = None
    suffix: Nothing = None

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, values):
        """Some clients send null for what they leave out."""
        return {k: v for k, v in values.items() if v is not None} if isinstance(values, dict) else values


WANTED = {  # where pydantic's message would be about the first of several types
    "prompt": "a string, a list of strings, a list of token ids, or a list of such lists is wanted",
    "stop": "a string or a list of strings is wanted",
}


class Refused(Exception):
    """An answer with an error status, in the shape that OpenAI's clients read."""

    def __init__(self, status, message, param=None, code=None, headers=None):
        super().__init__(message)
        kinds = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}
        kind = kinds.get(status, "invalid_request_error")
        self.status, self.headers = status, headers
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def checked(content, peft, max_batch):
    """The bytes of a body -> (Body, Request). Raises Refused with the reason where it cannot be served."""
    try:
        body = Body.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        param = str(first["loc"][0]) if first["loc"] else None
        reason = WANTED.get(param) if len(first["loc"]) > 1 else None
        raise Refused(400, f"{param or 'the body'}: {reason or first['msg']}", param) from None
    if body.model not in peft.adapters:
        known = ", ".join(peft.adapters)
        raise Refused(
            404, f"the model {body.model!r} does not exist: there are {known}", "model", "model_not_found"
        )
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)
    if len(stop) > 4 or "" in stop:
        raise Refused(400, "stop: at most 4 strings, and none of them empty", "stop")
    request = Request(
        body.model,
        token_lists(body.prompt, peft.tokenizer),
        n=body.n,
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=None if body.seed is None else body.seed % 2**64,  # NumPy takes none below zero
        stop=stop,
        echo=body.echo,
        logprobs=body.logprobs,
    )
    if not 1 <= request.rows <= max_batch:
        asked = f"{counted(len(request.prompts), 'prompt')} with {counted(request.n, 'choice')} each"
        raise Refused(400, f"{asked}: this server does 1 to {max_batch} at once", "prompt")
    virtual = peft.adapter(request.adapter).method.num_virtual_tokens
    try:
        check_sequences(request.prompts, peft.config, virtual, request.max_tokens)
    except InputError as error:
        raise Refused(400, str(error), "prompt") from None
    return body, request


def token_lists(prompt, tokenizer):
    """A text, texts, token ids, or lists of them -> lists of token ids."""
    if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)):
        prompt = [prompt]
    return [tokenizer.encode(p).ids if isinstance(p, str) else p for p in prompt]


# ---------------------------------------------------------------------------------------- what is answered


def answer_frame(request):
    """What every object of an answer begins with."""
    name = f"cmpl-{uuid.uuid4().hex}"
    return {"id": name, "object": "text_completion", "created": int(time.time()), "model": request.adapter}


def as_choice(index, text, scores, finish_reason, request):
    """One entry of "choices"."""
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
