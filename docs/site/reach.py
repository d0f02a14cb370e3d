"""What a method forms in its backward, and where that stops: asked of the Step that it trains with."""

from dataclasses import dataclass
from functools import cache
from html import escape

from repository import ROOT, address_of

from minipeft import GPT2, Adapter, AdapterFusion, PeftModel, gpt2
from minipeft.files.checkpoint import read_config
from minipeft.methods import METHODS
from minipeft.step import PLACES
from minipeft.teaching.drawing import TRAINED
from minipeft.teaching.site_map import BOXES

FLOWS, INK, GREY, DASHED = "#0055a4", "#202124", "#9aa0a6", 'stroke-dasharray="3 3"'
LINEAR = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
BOTTOM, TOP = ("wte", "wpe", "embed"), ("ln_f", "lm_head")  # before the blocks, and above them


@dataclass
class Reach:
    """Of one method on the embedded model.

    formed   {place: what is formed there, of "x", "weight", "bias", and "own", of the method's own tensors}
    lowest   the lowest place at which something trains
    tensors  {name: shape} of what trains
    """

    formed: dict
    lowest: str
    tensors: dict

    @property
    def lit(self):
        """The sites and the parts of the block at which something trains, as `site_map` names them."""
        return sorted({name for place, kinds in self.formed.items() for name in lit_at(place, kinds)})

    def linear_layers(self, kind):
        """In how many linear layers of the blocks that gradient is formed, and how many there are."""
        kinds = [k for place, k in self.formed.items() if inside(place) in LINEAR]
        return sum(kind in k for k in kinds), len(kinds)

    @property
    def finding(self):
        """What the picture shows, in a sentence."""
        (dx, n), (dW, _) = self.linear_layers("x"), self.linear_layers("weight")
        return (
            f"Of {n} linear layers dx is formed in {dx} and dW in {dW}; the backward stops at {self.lowest}."
        )


@cache
def reach(name):
    """The Reach of the method `name` with its default settings."""
    cls = METHODS[name]
    method = cls() if cls is not AdapterFusion else cls({"a": Adapter(), "b": Adapter()})
    peft = PeftModel(GPT2.random(read_config(ROOT / "weights/tiny/config.json")), method)
    step = peft.step(grad_enabled=True)
    own = {n.rpartition(".")[0] for n in step.tensors if n not in step.trains and method.optimizer_changes(n)}
    blocks = [f"h.{i}.{place}" for i in range(peft.config.n_layer) for place in PLACES]
    formed = {place: set(step.wants(place)) for place in (*BOTTOM, *blocks, *TOP)}
    for place in own:
        kinds = formed[place if place in formed else "embed"]
        if not kinds & {"weight", "bias"}:  # Sparse's own are some of a weight's, and its gradient is formed
            kinds.add("own")
    if peft.config.tie_word_embeddings and "weight" in formed["wte"]:
        formed["lm_head"].add("weight")  # the same tensor, and the sum of both gradients
    trained = [p for p, kinds in formed.items() if kinds - {"x"} and step.depth(p) == step.lowest_trained]
    return Reach(formed, trained[0], {n: t.shape for n, t in peft.trainable.items()})


def inside(place):
    """ "h.3.attn.c_attn" -> "attn.c_attn"; another place as it is."""
    return place.split(".", 2)[2] if place.startswith("h.") else place


def lit_at(place, kinds):
    """What `site_map` lights for the gradients formed at a place."""
    part = inside(place)
    if "own" in kinds:
        sites = {"attn.keys_values": "keys_values", "attn": "sublayer", "mlp": "sublayer", "embed": "embed"}
        yield sites.get(part, "linear")
    if kinds & {"weight", "bias"}:
        box = {"lm_head": "head", "attn.c_attn": "c_attn", "mlp.c_fc": "c_fc"}.get(part, part)
        if box in BOXES:
            yield box


# -------------------------------------------------------------------------------------------- the picture

WIDE, HIGH, LEFT, UP = 62, 38, 64, 34  # of a cell; where the first one is
CODE = {  # which function of gpt2.py a place belongs to; the others are linear layers
    "ln_1": gpt2.layer_norm_at_backward, "ln_2": gpt2.layer_norm_at_backward,
    "attn.keys_values": gpt2.attn_backward, "attn.attention": gpt2.attn_backward, "attn": gpt2.attn_backward,
    "mlp.gelu": gpt2.mlp_backward, "mlp": gpt2.mlp_backward,
}  # fmt: skip


def drawn(found, link):
    """The backward as SVG: a row for each block, from the head down; gradients flow to the left.

    link: gives the address on this page of an address of the site.
    """
    blocks = sorted({p.split(".")[1] for p in found.formed if p.startswith("h.")}, key=int, reverse=True)
    rows = [("top", TOP), *((f"h.{i}", [f"h.{i}.{p}" for p in PLACES]) for i in blocks), ("bottom", BOTTOM)]
    parts = []
    for i, place in enumerate(PLACES):
        address = escape(link(address_of(CODE.get(place, gpt2.linear_at_backward))), quote=True)
        parts.append(f'<a href="{address}">{heading(LEFT + WIDE * (i + 0.5), UP - 22, *words(place))}</a>')
    for j, (name, places) in enumerate(rows):
        y = UP + j * (HIGH + 8)
        if name.startswith("h."):
            parts.append(text(LEFT - 8, y + 25, name, 14, "end"))
        for i, place in enumerate(places, len(PLACES) - len(TOP) if places is TOP else 0):
            parts.append(cell(LEFT + WIDE * i, y, place, found))
    height = UP + len(rows) * (HIGH + 8)
    key = [
        (TRAINED, INK, "gradients of what trains"),
        ("white", FLOWS, "← dx, passed on"),
        ("white", GREY, "nothing is formed"),
    ]
    for i, (fill, edge, meaning) in enumerate(key):
        x = LEFT + 230 * i
        parts.append(
            f'<rect x="{x}" y="{height}" width="18" height="18" fill="{fill}" stroke="{edge}" '
            f'stroke-width="2" {DASHED if edge == GREY else ""}/>' + text(x + 26, height + 14, meaning, 13)
        )
    return (
        f'<svg role="group" aria-label="{escape(found.finding)}" xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {LEFT + WIDE * len(PLACES) + 10} {height + 24}" '
        f'font-family="DejaVu Sans, Verdana, sans-serif">{"".join(parts)}</svg>'
    )


def cell(x, y, place, found):
    """One place: what is formed there, an arrow where dx goes on, a bar where the backward stops."""
    kinds, part = found.formed[place], inside(place)
    trained = [said for kind, said in {"own": "own", "weight": "dW", "bias": "db"}.items() if kind in kinds]
    edge = INK if trained else FLOWS if kinds else GREY
    drawing = (
        f'<rect x="{x + 2}" y="{y}" width="{WIDE - 4}" height="{HIGH}" rx="3" stroke="{edge}" '
        f'{"" if kinds else DASHED} fill="{TRAINED if trained else "white"}"/>'
    )
    lines = [part] if part in BOTTOM + TOP else []
    lines.append(" ".join([*trained, *(["←"] if "x" in kinds else [])]))
    for i, line in enumerate(lines):
        drawing += text(x + WIDE / 2, y + 23 + 15 * i - 7 * (len(lines) - 1), line, 12, "middle")
    if place == found.lowest:
        drawing += f'<path d="M{x - 1} {y - 5} v{HIGH + 10}" stroke="{INK}" stroke-width="6"/>'
    said = ", ".join([*trained, *(["dx"] if "x" in kinds else [])]) or "nothing"
    return f"<g><title>{escape(f'{place}: {said}')}</title>{drawing}</g>"


def words(place):
    """A place in a line or two: ("c_attn", "input")."""
    first, *more = place.removeprefix("attn.").removeprefix("mlp.").split(".")
    return (first, *more)


def heading(x, y, *lines):
    """Lines of words over a column."""
    return "".join(
        text(x, y + 14 * i + (14 if len(lines) == 1 else 0), line, 10.5, "middle")
        for i, line in enumerate(lines)
    )


def text(x, y, said, size, anchor="start"):
    """Words in the picture."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{INK}" text-anchor="{anchor}">{escape(said)}</text>'
    )
