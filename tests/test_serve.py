"""The server over HTTP: asked by the `openai` package, as users do, and by httpx where requests are bad."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
from folders import write_adapters, write_model

from minipeft import InputError, PeftModel
from minipeft.app.named_adapters import load_named

openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from minipeft.app.serve import app as serve_app  # noqa: E402
from minipeft.app.serve import completions, connections, interface, queue  # noqa: E402

PROMPT = "name : The Eagle | food : Thai ||"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """-> the folder of a model, {name: folder} of its adapters."""
    folder = tmp_path_factory.mktemp("model")
    return folder, write_adapters(write_model(folder), folder)


@pytest.fixture(scope="module")
def peft(folders):
    from minipeft import GPT2

    return load_named(GPT2.from_pretrained(folders[0]), folders[1], "small")


@contextmanager
def serving(peft, **limits):
    """A server on a free port, in a thread. -> its address and its engine."""
    app = serve_app.make_app(peft, "small", serve_app.LOOPBACK, **limits)
    server, sockets = serve_app.make_server(app, port=0)
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}", app.state.engine
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def url(peft):
    with serving(peft) as (url, _):
        yield url


@pytest.fixture(scope="module")
def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def alone(folders):
    """A function: an adapter's name -> what `generate` says under it, greedily."""
    from minipeft import GPT2

    def under(name, prompt=PROMPT, **options):
        model = GPT2.from_pretrained(folders[0])
        peft = PeftModel(model) if name == "small" else PeftModel.from_pretrained(model, folders[1][name])
        return peft.generate(prompt, **options)

    return under


def post(url, **body):
    return httpx.post(f"{url}/v1/completions", json=body, timeout=60)


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --------------------------------------------------------------------------------- by the openai package


def test_the_base_and_every_adapter_are_models(client):
    names = ["small", "bias", "prefix", "low_rank"]
    assert [model.id for model in client.models.list()] == names
    assert client.models.retrieve("prefix").id == "prefix"
    with pytest.raises(openai.NotFoundError, match="the model 'nobody' does not exist"):
        client.models.retrieve("nobody")


@pytest.mark.parametrize("name", ["small", "bias", "prefix", "low_rank"])
def test_a_completion_is_what_generate_says_and_its_tokens_are_counted(name, client, alone, peft):
    answer = client.completions.create(model=name, prompt=PROMPT, max_tokens=7, temperature=0)
    (choice,) = answer.choices
    assert choice.text == alone(name, max_new_tokens=7) and choice.finish_reason == "length"
    assert answer.usage.prompt_tokens == len(peft.tokenizer.encode(PROMPT).ids)
    assert answer.usage.completion_tokens == 7
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 7
    assert answer.object == "text_completion" and answer.model == name and answer.id.startswith("cmpl-")


@pytest.mark.parametrize("name", ["prefix", "bias"])
def test_a_stream_is_the_same_text_piece_by_piece(name, client, alone):
    options = {"model": name, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    stop = alone(name, max_new_tokens=12)[6:8]
    for more in ({}, {"stop": stop}, {"echo": True, "logprobs": 1}):
        whole = client.completions.create(**options, **more)
        usage = {"include_usage": True}
        pieces = list(client.completions.create(**options, **more, stream=True, stream_options=usage))
        choices = [piece.choices[0] for piece in pieces[:-1]]
        assert "".join(choice.text for choice in choices) == whole.choices[0].text
        assert len(choices) >= 2 and len({piece.id for piece in pieces}) == 1
        reasons = [choice.finish_reason for choice in choices]
        assert reasons == [None] * (len(choices) - 1) + [whole.choices[0].finish_reason]
        assert pieces[-1].usage == whole.usage and not pieces[-1].choices
        if "logprobs" in more:
            scored = whole.choices[0].logprobs
            assert [t for c in choices for t in c.logprobs.tokens] == scored.tokens
            assert len(scored.tokens) == whole.usage.total_tokens == len(scored.text_offset)
            assert scored.token_logprobs[0] is None and all(p < 0 for p in scored.token_logprobs[1:])
            assert scored.top_logprobs[0] is None and len(scored.top_logprobs[1]) <= 2


def test_prompts_may_be_texts_token_ids_or_lists_of_them(client, peft):
    texts = ["name :", "food"]
    ids = [peft.tokenizer.encode(text).ids for text in texts]
    ask = lambda prompt, **more: client.completions.create(
        model="low_rank", prompt=prompt, max_tokens=5, temperature=0, **more
    )
    both = [choice.text for choice in ask(texts).choices]
    assert both == [ask(text).choices[0].text for text in texts]
    assert both == [choice.text for choice in ask(ids).choices]
    assert both == [ask(i).choices[0].text for i in ids]
    answer = ask(texts, n=2, echo=True)
    assert [choice.text for choice in answer.choices] == [
        text + new for text, new in zip(texts, both, strict=True) for _ in range(2)
    ]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.usage.prompt_tokens == sum(map(len, ids)) and answer.usage.completion_tokens == 20


def test_sampling_is_repeatable_with_a_seed(client):
    ask = lambda seed: [
        choice.text
        for choice in client.completions.create(
            model="small", prompt=PROMPT, n=3, temperature=1.5, top_p=0.9, seed=seed
        ).choices
    ]
    one, same, other = ask(-4), ask(-4), ask(5)
    assert one == same != other and len(set(one)) == 3


def test_requests_that_wait_together_share_a_batch(peft, alone, monkeypatch):
    gate, batches = threading.Event(), []

    def gated(model, under_way):
        batches.append([completion.request.adapter for completion in under_way])
        gate.wait(30)
        completions.complete(model, under_way)

    monkeypatch.setattr(queue, "complete", gated)
    names = ["prefix", "small", "bias", "low_rank", "bias"]
    with serving(peft) as (url, engine), ThreadPoolExecutor(6) as threads:
        ask = lambda name: post(url, model=name, prompt=PROMPT, max_tokens=6, temperature=0).json()
        first = threads.submit(ask, "small")
        wait_until(lambda: batches)
        answers = []
        for i, name in enumerate(names):
            answers.append(threads.submit(ask, name))
            wait_until(lambda i=i: len(engine.waiting) == i + 1)
        gate.set()
        texts = [answer.result()["choices"][0]["text"] for answer in answers]
        assert first.result()["choices"][0]["text"] == alone("small", max_new_tokens=6)
    assert texts == [alone(name, max_new_tokens=6) for name in names]
    assert batches == [["small"], ["prefix", "small", "low_rank"], ["bias", "bias"]]


def test_a_batch_that_fails_fails_for_the_request_at_fault_alone(peft, alone, monkeypatch):
    """As where there is too little memory for a long prompt, or for all of them together."""
    gate, batches = threading.Event(), []

    def too_little_memory(model, under_way):
        batches.append([completion.request.max_tokens for completion in under_way])
        gate.wait(30)
        if 7 in batches[-1]:
            raise MemoryError
        completions.complete(model, under_way)

    monkeypatch.setattr(queue, "complete", too_little_memory)
    with serving(peft) as (url, engine), ThreadPoolExecutor(4) as threads:
        ask = lambda tokens: post(url, model="small", prompt=PROMPT, max_tokens=tokens, temperature=0)
        first = threads.submit(ask, 5)
        wait_until(lambda: batches)
        answers = []
        for i, tokens in enumerate([6, 7, 8]):
            answers.append(threads.submit(ask, tokens))
            wait_until(lambda i=i: len(engine.waiting) == i + 1)
        gate.set()
        six, seven, eight = (answer.result() for answer in answers)
        assert first.result().status_code == 200
    assert batches == [[5], [6, 7, 8], [6], [7], [8]]
    assert seven.status_code == 500 and "MemoryError" in seven.json()["error"]["message"]
    for tokens, answer in ((6, six), (8, eight)):
        assert answer.json()["choices"][0]["text"] == alone("small", max_new_tokens=tokens)
        assert answer.json()["usage"]["completion_tokens"] == tokens


# ------------------------------------------------------------------------------------------- limits


def test_a_full_queue_is_429_and_who_goes_away_frees_a_place(peft, monkeypatch):
    gate, started = threading.Event(), threading.Event()

    def gated(model, under_way):
        started.set()
        gate.wait(30)
        completions.complete(model, under_way)

    monkeypatch.setattr(queue, "complete", gated)
    body = {"model": "small", "prompt": "name :", "max_tokens": 2}
    with serving(peft, max_waiting=1) as (url, engine), ThreadPoolExecutor(3) as threads:
        first = threads.submit(post, url, **body)
        assert started.wait(30)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/completions", json=body, timeout=0.5)
        wait_until(lambda: not engine.waiting)
        second = threads.submit(post, url, **body)
        wait_until(lambda: engine.waiting)
        refused = post(url, **body)
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert httpx.get(f"{url}/v1/models").status_code == 200  # the event loop is free
        gate.set()
        assert first.result().status_code == second.result().status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_generation_stops_when_the_client_goes_away(stream, peft, monkeypatch):
    under_way = []

    def slowly(model, batch):
        under_way.extend(batch)
        completions.complete(model, batch)

    next_token = completions.Choice.next
    slow_next = lambda choice, z: (time.sleep(0.02), next_token(choice, z))[1]
    monkeypatch.setattr(completions.Choice, "next", slow_next)
    monkeypatch.setattr(queue, "complete", slowly)
    body = {"model": "small", "prompt": "name :", "max_tokens": 250, "temperature": 0, "stream": stream}
    with serving(peft) as (url, _):
        if stream:
            with httpx.stream("POST", f"{url}/v1/completions", json=body) as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                next(response.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/v1/completions", json=body, timeout=0.5)
        wait_until(lambda: under_way[0].cancelled)
        assert post(url, model="small", prompt="food", max_tokens=1).status_code == 200
        assert under_way[0].generated < 200


def test_the_server_ends_while_it_generates(peft, monkeypatch):
    next_token = completions.Choice.next
    slow_next = lambda choice, z: (time.sleep(0.05), next_token(choice, z))[1]
    monkeypatch.setattr(completions.Choice, "next", slow_next)
    body = {"model": "small", "prompt": "name :", "max_tokens": 280, "temperature": 0}
    with ThreadPoolExecutor(1) as threads:
        with serving(peft) as (url, engine):
            asked = threads.submit(post, url, **body)
            wait_until(lambda: engine.running)
            begin = time.monotonic()
        assert time.monotonic() - begin < 10  # 280 tokens take 14 s
        assert asked.exception(timeout=30) or asked.result().status_code >= 400


class Panic(BaseException):
    """No Exception: as libraries written in Rust raise it."""


def test_a_failure_is_500_and_the_server_goes_on(peft, monkeypatch):
    def fails(*_):
        raise Panic

    with serving(peft) as (url, _):
        body = {"model": "small", "prompt": "name :", "max_tokens": 2}
        with monkeypatch.context() as patch:
            patch.setattr(queue, "complete", fails)
            failed = post(url, **body)
            assert failed.status_code == 500 and "Panic" in failed.json()["error"]["message"]
            streamed = post(url, **body, stream=True)  # nothing was sent before: the status says it, too
            assert streamed.status_code == 500 and streamed.json()["error"]["type"] == "server_error"
        assert post(url, **body).status_code == 200


# ---------------------------------------------------------------------------------------- bad requests

GOOD = {"model": "small", "prompt": "name :", "max_tokens": 2}
BAD = {  # what is changed in a good body: status, the parameter, a part of the message
    "unknown model": ({"model": "gpt-4"}, 404, "model", "'gpt-4' does not exist: there are small, bias"),
    "long name": ({"model": "x" * 5000}, 404, "model", "xx ... "),
    "no prompt": ({"prompt": None}, 400, "prompt", "Field required"),
    "empty prompt": ({"prompt": ""}, 400, "prompt", "sequence 0 is empty"),
    "no prompts": ({"prompt": []}, 400, "prompt", "0 prompts with 1 choice each"),
    "empty ids": ({"prompt": [[1], []]}, 400, "prompt", "sequence 1 is empty"),
    "wrong id": ({"prompt": [1, 300]}, 400, "prompt", "token id 300 is not in 0 ... 299"),
    "wrong kind": ({"prompt": {"a": 1}}, 400, "prompt", "a string, a list of strings"),
    "mixed kinds": ({"prompt": ["a", 1]}, 400, "prompt", "a string, a list of strings"),
    "too long": ({"prompt": "name : " * 200}, 400, "prompt", "do not fit the model's 320 positions"),
    "too many tokens": ({"max_tokens": 10**30}, 400, "prompt", "do not fit the model's 320 positions"),
    "negative": ({"max_tokens": -1}, 400, "max_tokens", "greater than or equal to 0"),
    "too many choices": ({"n": 9}, 400, "prompt", "this server does 1 to 8 at once"),
    "no choices": ({"n": 0}, 400, "n", "greater than or equal to 1"),
    "a bool": ({"n": True}, 400, "n", "valid integer"),
    "too hot": ({"temperature": 2.5}, 400, "temperature", "less than or equal to 2"),
    "no nucleus": ({"top_p": 0}, 400, "top_p", "greater than 0"),
    "text": ({"temperature": "hot"}, 400, "temperature", "valid number"),
    "empty stop": ({"stop": ["a", ""]}, 400, "stop", "none of them empty"),
    "many stops": ({"stop": list("abcde")}, 400, "stop", "at most 4 strings"),
    "long stop": ({"stop": "a" * 257}, 400, "stop", "longer than 256 characters"),
    "a stop of ids": ({"stop": [1]}, 400, "stop", "a string or a list of strings"),
    "many scores": ({"logprobs": 6}, 400, "logprobs", "less than or equal to 5"),
    "unknown": ({"min_p": 0.1}, 400, "min_p", "not permitted"),
    "penalty": ({"presence_penalty": 1}, 400, "presence_penalty", "not implemented here: leave it out"),
    "best of": ({"best_of": 4}, 400, "best_of", "less than or equal to 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_refused_with_a_reason(case, url):
    change, status, param, message = BAD[case]
    answer = post(url, **GOOD | change)
    error = answer.json()["error"]
    assert answer.status_code == status and message in error["message"] and "\n" not in error["message"]
    assert len(error["message"]) <= 300
    assert error["param"] == param and error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}


def test_what_asks_for_nothing_is_taken(url):
    more = {
        "presence_penalty": 0.0,
        "logit_bias": {},
        "suffix": None,
        "best_of": 1,
        "stop": None,
        "user": "me",
    }
    assert post(url, **GOOD | more).status_code == 200


@pytest.mark.parametrize(
    "content, message",
    [
        (b"{", "the body: Invalid JSON"),
        (b"[]", "the body: Input should be"),
        (b"", "the body: Invalid JSON"),
        (b'{"model": "small", "prompt": "\\ud800"}', "Invalid JSON"),
        (b'{"model": "small", "prompt": "\xff"}', "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b'{"model": "small", "prompt": "a", "temperature": NaN}', "temperature: Input should be"),
    ],
    ids=range(7),
)
def test_a_body_that_is_no_request_is_refused(content, message, url):
    answer = httpx.post(
        f"{url}/v1/completions", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400 and message in answer.json()["error"]["message"]


def test_other_addresses_methods_types_and_sizes_are_refused(url):
    for answer, status, message in (
        (
            httpx.post(f"{url}/v1/embeddings", json=GOOD),
            404,
            "/v1/embeddings: Not Found; there are /v1/completions",
        ),
        (httpx.get(f"{url}/v1/completions"), 405, "Method Not Allowed"),
        (
            httpx.post(f"{url}/v1/completions", content=json.dumps(GOOD)),
            415,
            "content-type: application/json",
        ),
        (post(url, **GOOD | {"prompt": "a" * (serve_app.MAX_BODY)}), 413, "larger than 1,048,576 bytes"),
    ):
        assert answer.status_code == status and message in answer.json()["error"]["message"]
    assert httpx.get(f"{url}/v1/models", headers={"host": "example.com"}).status_code == 400


def test_what_cannot_be_served_is_one_clear_line(url, peft):
    taken = int(url.rpartition(":")[2])
    for refused, message in (
        (lambda: serve_app.make_server(None, port=taken), f"port {taken}: Address already in use: choose"),
        (
            lambda: serve_app.make_server(None, host="no.such.host.invalid", port=0),
            "port 0: .*: choose another",
        ),
        (lambda: serve_app.make_server(None, port=99_999), "--port 99999: a port is"),
        (lambda: serve_app.make_app(peft, "small", max_batch=0), "--batch .0. and --queue .32. must be"),
    ):
        with pytest.raises(InputError, match=message):
            refused()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_the_command_serves_until_it_is_told_to_end(signal_number, folders):
    folder, adapters = folders
    command = [
        sys.executable, "-m", "minipeft", "serve", "--model", str(folder), "--port", "0",
        "--adapter", f"low={adapters['low_rank']}", "--adapter", str(adapters["prefix"]),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        names, _, address = line.partition(" at ")
        assert names == f"{folder.name}, low, prefix"
        answer = post(address.split("/v1")[0], model="low", prompt="name :", max_tokens=2)
        assert answer.status_code == 200
        stream = {"model": "low", "prompt": "name :", "max_tokens": 300, "temperature": 0, "stream": True}
        with ExitStack() as open_streams:
            lines = []
            for _ in range(8):  # they do not read on: what they are sent waits on both sides
                response = open_streams.enter_context(
                    httpx.stream("POST", f"{address.split('/v1')[0]}/v1/completions", json=stream, timeout=30)
                )
                lines.append(response.iter_lines())
                next(lines[-1])
            process.send_signal(signal_number)
            process.send_signal(signal_number)
            for rest in lines:
                last = [line for line in rest if line][-1].removeprefix("data: ")
                assert last == "[DONE]" or "stopping" in json.loads(last)["error"]["message"]
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()
        process.wait()


# -------------------------------------------------------------------------------------- what goes wrong


@contextmanager
def broken(peft, name):
    """An adapter whose numbers are none."""
    tensors = peft.adapter(name).tensors
    kept = {key: value.copy() for key, value in tensors.items()}
    for value in tensors.values():
        value[...] = float("nan")
    try:
        yield
    finally:
        for key, value in tensors.items():
            value[...] = kept[key]


@pytest.mark.parametrize("worst", ["low_rank", "prefix"])
def test_an_adapter_that_is_broken_harms_no_request_beside_it(worst, peft, alone, monkeypatch):
    gate, batches = threading.Event(), []

    def gated(model, under_way):
        batches.append([completion.request.adapter for completion in under_way])
        gate.wait(30)
        completions.complete(model, under_way)

    monkeypatch.setattr(queue, "complete", gated)
    names = ["low_rank", "prefix", "small", "low_rank", "prefix"]
    body = {"prompt": PROMPT, "max_tokens": 6, "temperature": 0}
    with serving(peft) as (url, engine), ThreadPoolExecutor(6) as threads, broken(peft, worst):
        first = threads.submit(post, url, model="small", **body)
        wait_until(lambda: batches)
        answers = []
        for i, name in enumerate(names):
            answers.append(threads.submit(post, url, model=name, stream=name == worst and i > 2, **body))
            wait_until(lambda i=i: len(engine.waiting) == i + 1)
        gate.set()
        answers = [answer.result() for answer in answers]
        assert first.result().status_code == 200
    assert batches[1] == names
    for name, answer in zip(names, answers, strict=True):
        if name == worst:
            assert answer.status_code == 500
            assert f"{worst!r} are not finite" in answer.json()["error"]["message"]
        else:
            assert answer.json()["choices"][0]["text"] == alone(name, max_new_tokens=6)


def test_a_tiny_temperature_takes_the_likeliest_token(url, alone):
    answer = post(url, model="low_rank", prompt=PROMPT, max_tokens=6, temperature=1e-310)
    assert answer.json()["choices"][0]["text"] == alone("low_rank", max_new_tokens=6)


def test_a_text_that_cannot_fit_is_refused_before_it_is_tokenised(peft, monkeypatch):
    longest = interface.longest_token(peft.tokenizer)
    assert longest == max(len(token) for token in peft.tokenizer.get_vocab())
    most = 320 * longest
    content = lambda n: json.dumps(GOOD | {"prompt": "a" * n}).encode()
    with pytest.raises(interface.Refused, match="2 to come do not fit"):
        interface.checked(content(most), peft, 8)
    monkeypatch.setattr(peft, "tokenizer", None)  # is not asked
    monkeypatch.setattr(interface, "longest_token", lambda _: longest)
    with pytest.raises(interface.Refused, match=f"{most + 1:,} characters do not fit the model's 320"):
        interface.checked(content(most + 1), peft, 8)


def test_connections_that_send_no_request_are_closed_and_leave_room(peft, monkeypatch):
    monkeypatch.setattr(connections, "READ_SECONDS", 1)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 8)
    head = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    begun = [b"", b"POST /v1", head, head + b"content-length: 99\r\n\r\n{"]
    with serving(peft) as (url, _), ExitStack() as idle:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        sockets = [idle.enter_context(socket.create_connection(address, timeout=20)) for _ in range(16)]
        for i, sock in enumerate(sockets):
            with suppress(OSError):  # hung up on already
                sock.sendall(begun[i % 4])
        assert post(url, **GOOD).status_code == 200  # at once, though twice as many as there is room for wait
        for sock in sockets:
            with suppress(ConnectionResetError):
                assert sock.recv(1) == b""


def test_who_does_not_take_the_end_of_a_stream_is_hung_up_on(peft, monkeypatch, caplog):
    next_token = completions.Choice.next
    slow_next = lambda choice, z: (time.sleep(0.05), next_token(choice, z))[1]
    monkeypatch.setattr(completions.Choice, "next", slow_next)
    monkeypatch.setattr(connections, "STOP_SECONDS", 0.5)
    body = {"model": "small", "prompt": "name :", "max_tokens": 280, "temperature": 0, "stream": True}
    with ExitStack() as stream:
        with serving(peft) as (url, engine):
            response = stream.enter_context(httpx.stream("POST", f"{url}/v1/completions", json=body))
            next(response.iter_lines())
            monkeypatch.setattr(engine, "stop", lambda: None)  # as if what it sends did not arrive
            begin = time.monotonic()
        assert time.monotonic() - begin < 10  # 280 tokens take 14 s
    assert not caplog.records


# ------------------------------------------------------------------------------------------------ chats

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "name : The Eagle"}]


def test_a_chat_is_the_plain_template_continued(client, alone, peft):
    told = "Be brief.\nUser: name : The Eagle\nAssistant:"
    text = alone("low_rank", told, max_new_tokens=9).partition("\nUser:")[0].removeprefix(" ")
    ask = lambda **more: client.chat.completions.create(
        model="low_rank", messages=CHAT, max_tokens=9, temperature=0, **more
    )
    answer = ask()
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", text)
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert answer.usage.prompt_tokens == len(peft.tokenizer.encode(told).ids)
    pieces = list(ask(stream=True, stream_options={"include_usage": True}))
    deltas = [piece.choices[0].delta for piece in pieces[:-1]]
    assert "".join(delta.content for delta in deltas) == text
    assert [delta.role for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert {piece.object for piece in pieces} == {"chat.completion.chunk"}
    assert pieces[-1].usage == answer.usage and pieces[-2].choices[0].finish_reason == choice.finish_reason


def test_a_chat_may_take_all_room_and_ends_before_the_users_next_turn(client, monkeypatch, peft):
    messages = [{"role": "user", "content": [{"type": "text", "text": "food"}]}]
    answer = client.chat.completions.create(model="prefix", messages=messages, temperature=0)
    assert answer.choices[0].finish_reason == "stop" or answer.usage.total_tokens == 320 - 3
    turn = peft.tokenizer.encode(" Thai\nUser: more").ids
    said = iter(turn)
    monkeypatch.setattr(completions, "sample", lambda *_: next(said))
    answer = client.chat.completions.create(model="small", messages=messages)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Thai", "stop")


@pytest.mark.parametrize(
    "change, param, message",
    [
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages", "'system', 'developer', 'user'"),
        ({"messages": [{"role": "user", "content": "a " * 9999}]}, "messages", "do not fit the model's 320"),
        ({"tools": [{"type": "function"}]}, "tools", "not implemented here"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    ],
    ids=range(5),
)
def test_a_bad_chat_is_refused_with_a_reason(change, param, message, url):
    body = {"model": "small", "messages": CHAT} | change
    answer = httpx.post(f"{url}/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["param"] == param and message in error["message"]
