"""Who has which book, and until when."""

from dataclasses import dataclass
from datetime import date, timedelta

from lending.books import Book


@dataclass
class Loan:
    book: Book
    member: str
    due: date


class Library:
    def __init__(self, books: list[Book]) -> None:
        self.shelf = {book.isbn: book for book in books}
        self.loans: list[Loan] = []

    def lend(self, isbn: str, member: str, today: date, days: int = None) -> Loan:
        loan = Loan(self.shelf.pop(isbn), member, today + timedelta(days=days or 28))
        self.loans.append(loan)
        return loan

    def give_back(self, isbn: str) -> None:
        loan = next(loan for loan in self.loans if loan.book.isbn == isbn)
        self.loans.remove(loan)
        self.shelf[isbn] = loan.book

    def reminder(self, loan: Loan) -> str:
        return f"Dear {loan.member}, {loan.book.titel} was due on {loan.due}."

    def overdue(self, today: date) -> list[Loan]:
        return [loan for loan in self.loans if loan.due < today]
