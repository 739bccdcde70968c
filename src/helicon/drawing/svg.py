"""What matplotlib writes as SVG, made part of a page: its colours, its font, words on hover.

Colours become the page's variables, so that a drawing follows the theme; links, which stand for
tips, become titles; names that nothing refers to and metadata go.
"""

from __future__ import annotations

import hashlib
import re
from xml.etree import ElementTree

from helicon.drawing.palette import LIGHT, theme_css

#: CSS that every drawing needs beside the colours.
DRAWING_CSS = ".drawing{display:block;width:100%;height:auto;overflow:visible}"

_VARIABLES = {colour: f"var(--{role})" for role, colour in LIGHT.items()}
_LINK = "{http://www.w3.org/1999/xlink}href"


def themed(
    text: str, size: tuple[float, float], alt: str, title: str = "", margin: float = 0
) -> str:
    """An SVG element of a page, or with a `title` the text of a file of its own.

    Args:
        text: as matplotlib writes it, in the colours of the light theme.
        size: width and height in pixels.
        alt: what is shown, in words.
        title: of the file.
        margin: pixels around the drawing.
    """
    # Names of outlines and clips must differ from those of the other drawings of a page.
    mark = hashlib.sha256((text + alt).encode()).hexdigest()[:8]
    root = ElementTree.fromstring(text)
    drawing = ElementTree.Element("svg", {"class": "drawing", "role": "img"})
    drawing.set("aria-label", alt)
    box = (-margin, -margin, size[0] + 2 * margin, size[1] + 2 * margin)
    drawing.set("viewBox", " ".join(map(_number, box)))
    if title:
        drawing.set("xmlns", "http://www.w3.org/2000/svg")
        drawing.set("width", _number(box[2]))
        drawing.set("height", _number(box[3]))
        drawing.set("font-family", "system-ui, sans-serif")
        ElementTree.SubElement(drawing, "title").text = title
        ElementTree.SubElement(drawing, "style").text = theme_css()
        places = dict(zip(("x", "y", "width", "height"), map(_number, box), strict=True))
        ground = places | {"style": "fill:var(--surface)"}
        ElementTree.SubElement(drawing, "rect", ground)
    used = set(re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', text))
    drawing.extend(_children(root, mark, used))
    return ElementTree.tostring(drawing, encoding="unicode")


def _children(parent: ElementTree.Element, mark: str, used: set[str]) -> list[ElementTree.Element]:
    """The children of an element as a page has them."""
    found: list[ElementTree.Element] = []
    for child in parent:
        name = child.tag.split("}")[-1]
        if name in ("metadata", "style"):
            continue
        inside = _children(child, mark, used)
        if name == "a":
            found += [_tipped(element, child.get(_LINK, "")) for element in inside]
            continue
        attributes = _attributes(child, mark, used)
        if name in ("g", "defs") and (not inside or (name == "g" and not attributes)):
            found += inside
            continue
        element = ElementTree.Element(name, attributes)
        element.text = (child.text or "").strip() or None
        element.extend(inside)
        found.append(element)
    return found


def _tipped(element: ElementTree.Element, tip: str) -> ElementTree.Element:
    title = ElementTree.Element("title")
    title.text = tip
    if element.tag == "text":
        title.tail, element.text = element.text, None
    element.insert(0, title)
    return element


def _attributes(element: ElementTree.Element, mark: str, used: set[str]) -> dict[str, str]:
    found = {}
    for key, value in element.attrib.items():
        if key == "id":
            if value in used:
                found["id"] = f"{value}-{mark}"
        elif key == _LINK:
            found["href"] = f"{value}-{mark}"
        elif key == "clip-path":
            found[key] = value.replace(")", f"-{mark})")
        elif key == "style":
            found[key] = _styled(value)
        elif key in ("d", "x", "y", "width", "height"):
            found[key] = re.sub(r"-?\d+\.\d+", lambda m: _number(float(m[0])), value).strip()
            found[key] = re.sub(r"\s+", " ", found[key])
        elif key == "transform" and not value.startswith("rotate(-0 "):
            found[key] = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.4g}", value)
        elif key != "transform":
            found[key] = value
    return {key: value for key, value in found.items() if value}


def _styled(style: str) -> str:
    """Declarations in the page's colours and font."""
    kept = []
    for declaration in filter(None, style.split(";")):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font":
            size = re.search(r"([\d.]+)px", value)
            kept += [f"font-size:{size[1]}px"] if size else []
            kept += ["font-weight:600"] if re.match(r"(bold|[6-9]00)\b", value) else []
        elif (key, value) not in _DEFAULTS and key not in ("font-family", "stroke-miterlimit"):
            kept.append(f"{key}:{_VARIABLES.get(value, value)}")
    return ";".join(kept)


#: Declarations that say what is so without them.
_DEFAULTS = {("text-anchor", "start"), ("stroke-linecap", "butt"), ("stroke-linejoin", "miter")}


def _number(value: float) -> str:
    """Pixels with one decimal, without a trailing zero."""
    return f"{value:.1f}".removesuffix(".0").replace("-0", "0" if abs(value) < 0.05 else "-0")
