"""What the agents hand to each other, as it stands in a run's log."""

from pydantic import BaseModel, ConfigDict, Field


class Question(BaseModel):
    """One sub-question of a plan. Only ``question`` need be given; a plan may be written by hand.

    ``terms`` are words of the corpus that the passages must hold one of; without any, the question's own words count.
    ``skip`` are sources that earlier questions have already found. ``want`` is how many passages are asked for.
    """

    model_config = ConfigDict(extra="ignore")

    id: str = ""
    question: str
    topic: str = ""
    terms: list[str] = Field(default_factory=list)
    want: int = Field(default=5, ge=1, le=50)
    skip: list[str] = Field(default_factory=list)


class Passage(BaseModel):
    """One passage that was found for a question. ``source`` is the id of its place, ``path:line``."""

    model_config = ConfigDict(extra="ignore")

    question: str = ""
    about: str = ""
    topic: str = ""
    terms: list[str] = Field(default_factory=list)
    source: str = ""
    path: str = ""
    line: int = 0
    heading: str = ""
    text: str
    score: float = 0.0


class Source(BaseModel):
    """One place in the corpus: a file, a line counted from 1, and what it is called there."""

    model_config = ConfigDict(extra="ignore")

    id: str
    path: str
    line: int
    heading: str = ""


class Plan(BaseModel):
    """What is to be asked. ``note`` says that the corpus hardly speaks of the topic; it is empty where it does."""

    plan: list[Question]
    note: str = ""


class Findings(BaseModel):
    """Passages and where they stand. Both are arrays, so the parts of a spread step are joined."""

    data: list[Passage]
    sources: list[Source]


class Summary(BaseModel):
    summary: str


class Release(BaseModel):
    """A summary as it goes out. ``digest`` is the SHA-256 of what was voted on."""

    document: str
    digest: str


class Finding(BaseModel):
    """One thing that a check found wrong. ``sentence`` counts from 1; 0 is the document as a whole."""

    check: str
    sentence: int = 0
    text: str = ""
    message: str


class Review(BaseModel):
    """A checked summary, handed on as it came. ``score`` lies in [0, 1]; ``parts`` is what it is made of."""

    summary: object
    score: float
    findings: list[Finding]
    parts: dict[str, float]
