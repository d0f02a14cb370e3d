"""Pages and pictures: whole in themselves, the same from the same data, no state left behind."""

import os
import re
import subprocess
import sys
from base64 import b64decode

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from minipeft import InputError
from minipeft.reports.pages import write_page
from minipeft.reports.pictures import COLOURS, bar_style, figure, heat_map, line_style, log_scale, save


def draw(folder):
    with figure(4, 3) as f:
        left, right = f.subplots(1, 2)
        for i in range(3):
            left.plot([1, 2, 4], [i + 1, 2, 30], label=str(i))
        log_scale(left, "y")
        left.bar([1], [2], **bar_style(1))
        left.legend()
        heat_map(right, np.array([[1, np.nan], [3, 4]]), ["a", "b"], ["c", "d"], "{:.1f}", "share (%)")
        return save(f, folder, "example")


@pytest.mark.slow
def test_the_same_data_give_the_same_pictures(tmp_path):
    for folder in ("one", "two"):
        assert draw(tmp_path / folder) == "example.svg"
    for name in ("example.svg", "example.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert {p.name for p in (tmp_path / "one").iterdir()} == {"example.svg", "example.png"}


def settings():
    """matplotlib's, but for the backend: to read that would choose one."""
    return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}


def test_pictures_do_not_heed_or_change_the_settings_of_others(tmp_path):
    draw(tmp_path / "one")
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "red"}):
        before = settings()
        draw(tmp_path / "two")
        assert settings() == before
    assert (tmp_path / "one" / "example.svg").read_bytes() == (tmp_path / "two" / "example.svg").read_bytes()


@pytest.mark.slow
def test_pictures_need_no_pyplot_and_no_display(tmp_path):
    code = (
        "import sys; from minipeft.reports.pictures import figure, save\n"
        f"with figure() as f: f.subplots().plot([1, 2]); save(f, {str(tmp_path)!r}, 'a')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_the_command_line_starts_without_the_libraries_of_pages():
    code = "import sys, minipeft.app.cli; assert not {'matplotlib', 'markdown'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lines_and_bars_differ_without_colour():
    lines = [(str(s["linestyle"]), s["marker"]) for s in map(line_style, range(25))]
    assert len(set(lines)) == 25
    assert len({bar_style(i)["hatch"] for i in range(8)}) == 8
    lightness = [np.dot(to_rgb(c), (0.2126, 0.7152, 0.0722)) for c in COLOURS]
    assert (np.diff(lightness) > 0.05).all()


def test_a_heat_map_has_its_numbers_and_leaves_out_those_that_are_none(tmp_path):
    with figure(4, 3) as f:
        axes = f.subplots()
        heat_map(axes, np.array([[1, np.nan], [3, 4]]), ["a", "b"], ["c", "d"], "{:.1f}")
        assert [t.get_text() for t in axes.texts] == ["1.0", "3.0", "4.0"]
        assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]


TEXT = """
| a | b |
|---|--:|
| 1 | 2 |

```
<script>alert(1)</script> <img alt="" src="evil.svg">
```

And here <script>alert(2)</script>, <img alt="" src="evil.svg">, `<b>`.

![what it shows](example.svg) ![again](example.png)
"""


def test_a_page_is_one_file_with_its_pictures_inside(tmp_path):
    draw(tmp_path)
    write_page(tmp_path, "Loss & <rate>", TEXT)
    page = (tmp_path / "report.html").read_text()
    assert "<title>Loss &amp; &lt;rate&gt;</title>" in page and page.count("<h1>") == 1
    assert "<table>" in page and '<td style="text-align: right;">2</td>' in page
    assert "<script" not in page and page.count("&lt;script&gt;") == 2
    found = re.findall(r'<img alt="(.*?)" src="data:image/(.*?);base64,(.*?)">', page)
    assert [(alt, kind) for alt, kind, _ in found] == [("what it shows", "svg+xml"), ("again", "png")]
    assert b64decode(found[0][2]) == (tmp_path / "example.svg").read_bytes()
    assert page.count("<img") == 2 and "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert (tmp_path / "report.md").read_text() == f"# Loss & <rate>\n\n{TEXT.strip()}\n"


def test_a_page_without_its_picture_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"gone\.svg: no such picture"):
        write_page(tmp_path, "title", "![gone](gone.svg)")
    assert not list(tmp_path.iterdir())
