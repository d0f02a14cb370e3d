"""Built-in tasks: data sets made by rules, with exact answers and the metrics that go with them.

A task is a module with `NAME`; `rows(split, count, seed=0)`, a list of dicts with at least "prompt" and
"completion", where `split` is "train", "validation" or "test"; `score(rows, outputs)`, a dict of metrics
between 0 and 1 for the texts generated for `rows`, exactly 1 for the completions themselves; `PRIMARY`, the
metric to compare methods by; and `MAX_NEW_TOKENS`, enough for any completion.
"""

from . import data_to_text

TASKS = {data_to_text.NAME: data_to_text}
