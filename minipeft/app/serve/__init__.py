"""`minipeft serve`: OpenAI's completions and chats over HTTP; every adapter is a model, and so is the base.

interface.py    what may be asked, why it is refused, what is answered: OpenAI's shapes
queue.py        the requests that wait, and the thread that generates
completions.py  many requests in one batch, each with its own settings; knows nothing of HTTP
connections.py  how long a client may take, and how the server ends
app.py          the routes, and the server
"""
