"""The second kind: a bug that a gradient check does not see, because of its model or its batch.

The learner writes the file that finds it: `model()`, `batch()`, or both.
"""

from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError, choose_from
from ...gradcheck import gradcheck
from ..running import Told, explained, load
from .chosen import changed
from .planting import place, planted
from .probe import WRONG

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Unseen:
    """where, old, new: the change, as a Chosen has it.  hint: what to think of.  why: what made it blind.

    Its check that sees nothing is in blind/, under its name, and one that finds it in found/.
    """

    name: str
    title: str
    where: str
    old: str
    new: str
    hint: str
    why: str

    @property
    def blind(self):
        """The file whose model and batch do not show it."""
        return HERE / "blind" / f"{self.name}.py"

    @property
    def found(self):
        """A file whose model or batch does."""
        return HERE / "found" / f"{self.name}.py"


UNSEEN = {one.name: one for one in (
    Unseen("B01", "The rows that all share", "ops prepend_backward", "sum(dx[a : a + P] for a, _ in spans)",
           "dx[:P]", "Over what is the sum, and how many are there?",
           "All sequences have the same rows in front, so what comes back to each is added up, and of one "
           "sequence there is nothing to add. A batch of one is blind to all that is about several."),
    Unseen("B02", "A factor of one", "lora LoRA.linear_backward", "        dh *= self.scaling(name)\n", "",
           "What is s here?",
           "lora_alpha = r makes s = 1. No number of a check may be one that a multiplication leaves as it "
           "is."),
    Unseen("B03", "Nobody below who could complain", "lora LoRA.linear_backward", "return dy, dx, grads",
           "return dy, None, grads", "Who reads the dx of the lowest layer that trains?",
           "The gradient of an input shows in what trains below it. With one layer there is nothing below, "
           "and dx is not even formed."),
    Unseen("B04", "A norm as it is born", "ops layer_norm_backward", "g = dy * w", "g = dy",
           "What is in ln_1.weight before any training?",
           "A fresh layer norm has w = 1 and b = 0. Put noise on the frozen weights, too, not only on what "
           "trains."),
    Unseen("B05", "What the check turns off", "lora LoRA.linear_backward",
           "step.ops.dropout_backward(dh @ A.T, mask)", "dh @ A.T",
           "gradcheck asks for model.loss_and_grads(batch) and model.loss(batch): with which seed?",
           "With dropout off there is no mask. The masks come from a seed, so with the seed held the loss "
           "is a function, and has a derivative: a model whose two functions hold it can be checked."),
    Unseen("B06", "All words different", "ops embedding_backward", 'xp.add.at(grads["weight"], ids, dy)',
           'grads["weight"][ids] += dy', "When do two rows of dy belong to one row of the table?",
           "No word and no position occurs twice in one sequence of different words. Natural text repeats "
           "at once; a text made for a test often does not."),
    Unseen("B07", "A branch that was not entered", "dora DoRA.linear_backward", "(dy - du).sum(0)",
           "(dy + du).sum(0)", "Under which settings does this line run?",
           "The line runs where biases train beside DoRA. A check says nothing of a line that did not run."),
    Unseen("B08", "The rest of the answer", "ops prepend_backward", "dx[a + P : b]",
           "dx[a : b - P]",
           "Who reads the gradient of the text's embeddings?",
           "Under a prompt alone the text's rows are frozen, and their gradient is thrown away. It is "
           "formed rightly or wrongly with nobody to tell, until wte trains, too."),
    Unseen("B09", "The narrowest head", "ops attention_backward", ".sum(2, keepdims=True)) * scale",
           ".sum(2, keepdims=True))", "How wide is one head, and what is the scale then?",
           "As many heads as columns: each is one wide, and 1 / sqrt(1) = 1. Sizes of 1 hide as factors of "
           "1 do."),
    Unseen("B10", "The other activation", "mlp mlp_backward", "1 - f * f", "1 - f",
           "Which methods have a network with tanh?",
           "P-tuning's network has ReLUs, that of a prefix has tanh: one function, two branches, and this "
           "check takes one of them."),
)}  # fmt: skip


def unseen(said):
    """The Unseen of a number (3) or a name ("B03"). Raises InputError."""
    name = f"B{int(said):02d}" if str(said).isdecimal() else str(said).upper()
    if name not in UNSEEN:
        raise InputError(f"no blind puzzle is called {said!r}: {choose_from(name, UNSEEN)}")
    return UNSEEN[name]


def try_file(one, path):
    """(found, what to say): does the gradient check of this file's model and batch find the bug?

    What the file does not define is taken from the blind one. It must pass where there is no bug. Raises
    InputError where the file is not there or its model cannot be checked.
    """
    try:
        given, own = vars(load(one.blind)), vars(load(Path(path)))
        if not {"model", "batch"} & own.keys():
            raise Told("the file defines neither `model` nor `batch`.")
        parts = {name: own.get(name, given[name]) for name in ("model", "batch")}
        right = checked(parts)
    except Told as told:
        return False, "\n".join(told.lines)
    except InputError:
        raise
    except Exception as error:
        return False, "\n".join(explained(error, None, None))
    worst = max(right, key=right.get)
    if not right[worst] < WRONG:
        return False, f"without the bug the check fails, too: {worst} has relative error {right[worst]:.2g}."
    try:
        with planted(place(one.where), changed(one)):
            wrong = checked(parts)
    except Exception as error:  # whatever a changed line can raise
        raised = f"{type(error).__name__}: {error}"
        try:
            checked(parts)
        except Exception:
            return False, f"called again, it raises {raised}, without the bug, too."
        return True, f"found: with the bug it raises {raised}"
    worst = max(wrong, key=wrong.get)
    if wrong[worst] < WRONG:
        return False, f"not found: all {len(wrong)} tensors are right, the worst to {wrong[worst]:.1e}."
    return True, f"found: {worst} has relative error {wrong[worst]:.2g}; without the bug all are right."


def checked(parts):
    """{tensor: error} of the file's own model and batch, made anew. Raises Told where nothing trains."""
    errors = gradcheck(parts["model"](), parts["batch"](), elements=0)
    if not errors:
        raise Told("nothing trains in this model.")
    return errors
