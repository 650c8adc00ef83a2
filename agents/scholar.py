"""What the agents that work on a corpus have in common: their settings, and how they come to its index."""

from collections.abc import Mapping
from typing import Any, ClassVar

from agents.corpus.building import CorpusChangedError
from agents.corpus.index import Index, open_index
from agents.corpus.place import DEFAULT, canonical, listing_of
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.nearest import nearest
from kos_runtime.ports.agent import ActionFailed, Agent, Context

_SETTINGS = ("corpus", "digest", "corpus_digest")


class Scholar(Agent):
    """An agent that reads a corpus. Its settings are those of kExecutor: one run works on one corpus.

    ``corpus`` is the path of a folder or a file, or ``python:PACKAGE``; ``python:ray`` unless given. ``digest`` is
    what the corpus was when the run was linked.
    """

    shares_settings_of: ClassVar[str] = "kExecutor"

    @classmethod
    def link_settings(cls, settings: Mapping[str, Any], cache_dir: str) -> dict[str, Any]:
        """Return ``corpus``, ``digest``, ``files`` (how many), ``bytes`` (in all) and ``left_out`` (in words).

        Raises:
            ValueError: A setting is unknown, or the corpus is not there or empty.
        """
        del cache_dir
        for name in settings:
            if name not in {*_SETTINGS, "files", "bytes", "left_out"}:
                near = nearest(name, _SETTINGS)
                raise ValueError(
                    f"there is no setting {name!r}; " + (f"did you mean {near!r}?" if near else "there is corpus")
                )
        corpus = settings.get("corpus") or DEFAULT
        if not isinstance(corpus, str):
            raise ValueError(f"corpus must be a path or python:PACKAGE, not {corpus!r:.60}")  # noqa: TRY004 - the port says ValueError
        corpus = canonical(corpus)
        listing = listing_of(corpus)
        recorded: dict[str, Any] = {"corpus": corpus, "digest": listing.digest(), "files": len(listing.files)}
        recorded["bytes"] = sum(file.size for file in listing.files)
        if note := listing.note():
            recorded["left_out"] = note
        return recorded

    def index(self, context: Context) -> Index:
        """Return the corpus's index, built first if nobody has yet.

        Raises:
            ActionFailed: The corpus is gone, has changed, or its index cannot be written.
        """
        corpus = canonical(str(self.settings.get("corpus") or DEFAULT))
        digest = str(self.settings.get("digest") or self.settings.get("corpus_digest") or "")
        try:
            return open_index(corpus, digest, context.cache_dir, context.progress)
        except CorpusChangedError as error:
            raise ActionFailed(ErrorType.PERMANENT, str(error), details={"corpus": corpus}) from error
        except ValueError as error:
            raise ActionFailed(ErrorType.DEPENDENCY, str(error), details={"corpus": corpus}) from error
        except OSError as error:
            message = f"the index of {corpus} cannot be kept in {context.cache_dir}: {error.strerror or error}"
            raise ActionFailed(ErrorType.RESOURCE, message, details={"corpus": corpus}) from error
