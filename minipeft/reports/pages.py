"""A page: report.md for editors and report.html for browsers, one file with its pictures inside."""

import html
import re
from base64 import b64encode
from pathlib import Path

from ..errors import InputError
from ..files.json_files import atomic

KINDS = {".svg": "image/svg+xml", ".png": "image/png"}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff;
       max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 0.7rem; } h1 { margin-top: 0.5rem; }
img { display: block; max-width: 100%; height: auto; margin: 1rem auto; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #ccc; white-space: nowrap; }
th { border-bottom: 2px solid #111; text-align: left; }
pre, code { font: 0.9em/1.4 ui-monospace, monospace; background: #f4f4f4; }
pre { padding: 0.7rem; overflow-x: auto; } code { padding: 0.1em 0.25em; } pre code { padding: 0; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } pre { white-space: pre-wrap; }
               img, table, pre { break-inside: avoid; } h2, h3 { break-after: avoid; } }
""".strip()


def write_page(folder, title, markdown):
    """Write folder/report.md and folder/report.html: the title, then `markdown`, with tables and fenced code.

    Pictures are ![what it shows](name.svg), of that folder; the HTML holds them itself. Tags in the text
    are shown, not obeyed: what a model wrote cannot become part of the page.
    Raises InputError for a picture that is not there.
    """
    folder = Path(folder)
    text = f"# {title}\n\n{markdown.strip()}\n"
    picture = r'(<img alt="[^"]*" src=")([^"]+)'
    body = re.sub(picture, lambda found: found[1] + embedded(folder, found[2]), to_html(text))
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    for name, content in (("report.md", text), ("report.html", page)):
        with atomic(folder / name) as temporary:
            Path(temporary).write_text(content, encoding="utf-8")


def to_html(markdown):
    """Markdown -> HTML; tags that the text itself holds are escaped."""
    from markdown import Markdown

    converter = Markdown(extensions=["tables", "fenced_code", "sane_lists"], output_format="html")
    converter.preprocessors.deregister("html_block")
    converter.inlinePatterns.deregister("html")
    return converter.convert(markdown)


def embedded(folder, name):
    """A picture's file as a data: address."""
    path = folder / html.unescape(name)
    if path.suffix not in KINDS or not path.is_file():
        raise InputError(f"{path}: no such picture; a page shows the .svg and .png of its own folder")
    return f"data:{KINDS[path.suffix]};base64,{b64encode(path.read_bytes()).decode()}"
