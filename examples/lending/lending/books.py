"""Books and who wrote them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Book:
    isbn: str
    title: str
    author: str

    def line(self) -> str:
        return "%s, %s" % (self.author, self.title)


def by_author(books: list[Book]) -> dict[str, list[Book]]:
    found: dict[str, list[Book]] = {}
    for book in books:
        found.setdefault(book.author, []).append(book)
    return found
