"""Ten puzzles with a commentary: what the numbers show, how the line is found, what it teaches."""

from dataclasses import dataclass

from ...errors import InputError, choose_from
from .choosing import Puzzle
from .planting import place


@dataclass(frozen=True)
class Chosen:
    """A change that is described by what it changes, so that other edits of the source leave it as it is.

    where: of `planting.places`.  old, new: what stands there once, and what in its place.  case: of
    `probe.cases`.  what: the change in words.
    """

    name: str
    title: str
    level: int
    where: str
    old: str
    new: str
    case: str
    what: str
    commentary: str

    def puzzle(self):
        """It as a Puzzle. Raises InputError where the source no longer has what it changes."""
        return Puzzle(self.name, place(self.where), changed(self), self.case, self.what)


def changed(change):
    """The text of the function, with `new` for `old`. Raises InputError unless it has `old` once."""
    text = place(change.where).text
    if text.count(change.old) != 1:
        raise InputError(f"{change.name} no longer applies: {change.where} has not one {change.old!r}")
    return text.replace(change.old, change.new)


CHOSEN = {one.name: one for one in (
    Chosen(
        "P01", "A bias that counts too little", 1, "ops linear_backward", "dy.sum(0)", "dy.mean(0)", "bitfit",
        "sum is mean now",
        "Every bias of a linear layer is wrong and every bias of a layer norm is right, from the top of the"
        " model to the bottom. So what flows down is right: a wrong dx would spoil the norms below it. Only"
        " what linear layers do for their biases is left, and that is one line. The error is 0.95 "
        "everywhere, that is 1 - 1/19, and the batch has 19 rows: a factor that is the same for all layers "
        "is a count. b was added to every row, so it hears from every row; nothing in the forward divides "
        "by their number."),
    Chosen(
        "P02", "A scale that does not look at what it scales", 1, "ia3 IA3.linear_backward",
        "(dy * y).sum(0)", "dy.sum(0)", "ia3", "a factor is missing",
        "The scales on what leaves c_attn are wrong; those on what enters c_proj are right, in both layers,"
        " although they lie above and below the wrong ones. So dx is right here, too. What is left is the "
        "gradient of the scale itself. The forward is y l: with respect to l its derivative is y, and the "
        "line has no y. Without it the scale gets the gradient of a bias."),
    Chosen(
        "P03", "Before the scale, or after it", 1, "bottleneck bottleneck_backward", '"up": a.T @ dg',
        '"up": a.T @ df', "adapter, learned scaling", "a name stands for another",
        "One of five tensors of each adapter is wrong, and no other. The bias beside it is right, although "
        "both are formed from the same gradient: so that one is right, and this product has another. The "
        "forward is f = s g, g = a U + e: U meets the gradient of g, and the line has that of f. With s = "
        "1, where a learned scale begins, the two are equal, and no check would see it."),
    Chosen(
        "P04", "A constant on one of two sides", 2, "lora LoRA.linear_backward",
        "        dh *= self.scaling(name)\n", "", "lora on all layers", "a statement is missing",
        "At the top of the model B is right and A is wrong, in the same layer; below, everything is wrong. "
        "Both have their product in one line, so it is what goes in that differs: A gets dh, B does not. "
        "And dh goes on into dx, which spoils all that lies below. The forward has the constant s once, on "
        "h: each path that passes h passes s, backwards too. Here a line is missing, so there is nothing "
        "wrong to be seen: what is not there is found by going through the forward's lines one by one."),
    Chosen(
        "P05", "A word that occurs twice", 2, "ops embedding_backward", 'xp.add.at(grads["weight"], ids, dy)',
        'grads["weight"][ids] += dy', "full", "a call is an assignment now",
        "All blocks are right, so all that flows down to the embeddings is. The two tables are wrong, and "
        "they have one function. `table[ids] += dy` reads as a sum, and it is none: NumPy reads all rows, "
        "adds, and writes them back, so of a row that is named twice the last one remains. Rows of words "
        "that occur once are right. It is the best known bug of hand-written embeddings, and a batch "
        "without a repeated word does not show it; positions repeat in every batch of two sequences."),
    Chosen(
        "P06", "Before the magnitude, or behind it", 2, "dora DoRA.linear_backward", "(du @ B.T)",
        "(dy @ B.T)", "dora", "a name stands for another",
        "In the highest layer B and the magnitude are right, and A is wrong. Two of the three in one line "
        "are right, so du, which B's has, is right, and what A alone has is dh. The forward is y += g u - z,"
        " u = z + h B: h is inside u, so its gradient is made of du, that is dy times g. At the start of a "
        "training g is 1, and du is dy: a check without noise on the magnitudes passes."),
    Chosen(
        "P07", "The way around", 3, "adapter Adapter.sublayer_backward", "return dh + du,", "return du,",
        "adapter", "a term is missing",
        "The upper layer's adapter is right in all its parts, the lower one's is wrong in all. So the "
        "bottleneck, which forms them, is right, and what is wrong happens between the two: what the upper "
        "adapter hands down. h reaches h' by two ways, as it is and through f, and dh is a sum over both. "
        "The way without f has nothing that trains on it, and so no gradient of its own that would be "
        "wrong: it shows in what lies below, and nowhere else."),
    Chosen(
        "P08", "The slope of tanh", 3, "ops gelu_backward", "(1 - t * t)", "(1 - t)", "lora on all layers",
        "a factor is missing",
        "Go from the top: mlp.c_proj of the upper layer is right, c_fc below it is wrong. Between the two "
        "lies GELU, and nothing else. Its formula is long, but its parts can be looked at one by one: value"
        " times slope of u, then u times slope of the tanh, and the tanh's is 1 - t^2. Where t is near 1 or"
        " -1 the mistake is small on one side and large on the other, so the errors are no common factor. "
        "The first tensor that is right and the first that is wrong tell more than the size of any error."),
    Chosen(
        "P09", "What a norm takes out", 3, "ops layer_norm_backward",
        "g - g.mean(1, keepdims=True) - xhat * along", "g - xhat * along",
        "lora on all layers", "a term is missing",
        "Nothing is right, the highest tensor included: so the bug lies above them all. Above the last "
        "block there are the head, its loss, and one layer norm. All rows of a right dx of a norm sum to "
        "zero, because adding a number to a whole row changes nothing; without the mean they do not. The "
        "other term, along xhat, is there for the same reason: stretching a centred row changes almost "
        "nothing. One such invariant is a test by itself, without any differences."),
    Chosen(
        "P10", "A stream that is not passed on", 3, "gpt2 block_backward",
        "    dx = add_dx(dx, dx_mlp)\n", "", "lora on all layers", "a statement is missing",
        "The MLP of the upper block is right, its attention is wrong, and so is all below. Operations and "
        "LoRA are the same in both, so they are right: what differs is what comes to them. Attention's "
        "output goes on in the stream and into the MLP; its gradient is the sum of both ways, and the "
        "second one is missing. Each residual connection is a sum forwards, so it is a sum backwards. The "
        "function has five lines, and no formula that could be wrong: where all parts are right, look at "
        "what joins them."),
)}  # fmt: skip


def chosen(said):
    """The Chosen of a number (3) or a name ("P03"). Raises InputError."""
    name = f"P{int(said):02d}" if str(said).isdecimal() else str(said).upper()
    if name not in CHOSEN:
        raise InputError(f"no puzzle is called {said!r}: {choose_from(name, CHOSEN)}")
    return CHOSEN[name]
