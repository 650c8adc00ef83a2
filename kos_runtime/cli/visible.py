"""Text that others wrote, for a person's terminal.

What an agent returns may hold anything, the escape sequences that retitle a terminal, recolour it or hide what follows
among it. They are shown, never sent. ``-o json`` and its like are data for programs and stay as they are.
"""

from typing import Final

#: C0 and C1 but for line feed and tab, DEL, and the marks that turn the direction of writing.
_MARKS: Final = {
    code: chr(0x2400 + code) if code < 0x20 else f"<{code:02X}>"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x061C,
        0x200E,
        0x200F,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    )
    if chr(code) not in "\n\t"
}


def visible(text: str) -> str:
    """Return the text with each character that would steer a terminal made visible: escape becomes ␛."""
    return text.translate(_MARKS)
