from datetime import date

from lending.books import Book
from lending.loans import Library

EMMA = Book("978-0141439587", "Emma", "Jane Austen")


def test_a_book_is_due_after_four_weeks() -> None:
    loan = Library([EMMA]).lend(EMMA.isbn, "ann", date(2026, 1, 1))
    assert loan.due == date(2026, 1, 29)


def test_a_book_that_came_back_can_be_lent_again() -> None:
    library = Library([EMMA])
    library.lend(EMMA.isbn, "ann", date(2026, 1, 1))
    library.give_back(EMMA.isbn)
    assert library.lend(EMMA.isbn, "bob", date(2026, 1, 2)).member == "bob"


def test_a_reminder_names_the_book() -> None:
    library = Library([EMMA])
    loan = library.lend(EMMA.isbn, "ann", date(2026, 1, 1), days=7)
    assert "Emma" in library.reminder(loan)
