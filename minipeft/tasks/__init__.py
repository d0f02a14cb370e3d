"""Built-in tasks: data sets made by rules, with exact answers and the metrics that go with them.

A task is a module with `NAME`; `rows(split, count, seed=0)`, a list of dicts with at least "prompt" and
"completion", where `split` is "train", "validation" or "test"; `CHOICES`, the only possible completions where
there are so few, or None; `score(rows, outputs)`, a dict of metrics between 0 and 1 for the texts generated
for `rows`, exactly 1 for the completions themselves; `PRIMARY`, the metric to compare methods by; and
`MAX_NEW_TOKENS`, enough for any completion.
"""

from . import data_to_text, dialogue, question_answering, sentiment, summarisation, translation

TASKS = {
    task.NAME: task
    for task in (sentiment, data_to_text, translation, summarisation, question_answering, dialogue)
}
