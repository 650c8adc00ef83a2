"""A PDF file of plain lines, as small as the format allows."""


def pdf_of(text: str, lines_a_page: int = 40) -> bytes:
    """Return a PDF that shows a text in one column of Helvetica."""
    lines = [piece for line in text.splitlines() for piece in (_wrapped(line) or [""])]
    pages = [lines[begin : begin + lines_a_page] for begin in range(0, len(lines), lines_a_page)]
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for page in pages:
        shown = "\n".join(f"({_escaped(line)}) Tj T*" for line in page)
        stream = f"BT /F1 11 Tf 14 TL 50 780 Td\n{shown}\nET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        content = len(objects)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>"
    out = "%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{place:010} 00000 n \n" for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n"
    return out.encode("latin-1")


def _wrapped(line: str) -> list[str]:
    found, current = [], ""
    for word in line.split():
        if len(current) + len(word) > 85:
            found.append(current)
            current = ""
        current = f"{current} {word}".strip()
    return [*found, current] if current else found


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
