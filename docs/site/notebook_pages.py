"""The notebooks as pages: text, code, and what each cell showed."""

import re
from base64 import b64decode

import nbformat
from repository import ROOT

PICTURE = re.compile(r'<img alt="[^"]*" src="data:image/svg\+xml;base64,([^"]*)">')


def notebook_pages():
    """{address: text} of every notebook that there is, and of its pictures."""
    pages = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        pages |= page_of(path)
    return pages


def page_of(path):
    """{address: text}: one notebook's page, and its pictures beside it."""
    parts, pictures = [], {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source.replace("<details>", "<details markdown>"))
            continue
        parts.append(fenced("python", cell.source))
        for output in cell.outputs:
            data = output.get("data", {"text/plain": output.get("text", "")})
            if picture := PICTURE.search(data.get("text/html", "")):
                name = f"{path.stem}-{len(pictures)}.svg"
                pictures[f"notebooks/{name}"] = b64decode(picture[1]).decode()
                finding = data["text/plain"].removeprefix("Picture: ")
                parts.append(f"![{finding}]({name})")
            else:
                parts.append(data.get("text/markdown") or fenced("text", data["text/plain"]))
    return pictures | {f"notebooks/{path.stem}.md": "\n\n".join(parts) + "\n"}


def fenced(language, text):
    """A block of code, or of what code printed, which looks different."""
    shown = " .output" if language == "text" else ""
    return f"``````{{.{language}{shown}}}\n{text.rstrip()}\n``````"
