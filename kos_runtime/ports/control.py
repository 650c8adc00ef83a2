"""How a client speaks to whoever owns a store.

A message is a plain object with ``op`` and what that needs; the answer is a plain object with ``ok``. Values:

=============  =======================================================  ==============================================
op             takes                                                    gives
=============  =======================================================  ==============================================
``ping``                                                                ``pid``, ``kind`` (``ray`` or ``process``)
``create``     ``run``, ``plan`` and ``link`` (digests of stored        ``run``, ``position``, ``existing``
               blobs), ``settings``, ``drivers``, ``inputs``,
               ``author``, ``name``, ``key``, ``start``,
               ``command_id``; ``again``: it was sent before
``start``      ``run``, ``command_id``                                  ``run``, ``position``
``answer``     ``run``, ``step``, ``data``, ``by``, ``command_id``      ``run``, ``position``, ``event``
``many``       ``requests``: a list of the three above          ``answers``: one for each, a refusal among them too
``load``       ``run``: see to it that a run at rest is looked at       ``run``
``agents``                                                              ``agents``: list of objects with ``agent``,
                                                                        ``kind``, ``actor``, ``pid``, ``node``,
                                                                        ``steps``, ``restarts``
``status``                                                              ``idle``, ``kept``, ``active``, ``dashboard``
``keep``       ``keep``: whether the owner stays without work           ``kept``
``stop``                                                                nothing; the owner ends after what is at hand
=============  =======================================================  ==============================================

A refusal is ``{"ok": false, "code": …, "message": …}`` with the codes of ``Rejected``, besides ``bad_request``.
"""

from typing import Any, Protocol

Message = dict[str, Any]


class ControlChannel(Protocol):
    """A way to the owner of a store."""

    def request(self, message: Message, timeout: float = 30.0) -> Message:
        """Send a message and return its answer.

        Raises:
            Unreachable: Nobody is there, or no answer came within ``timeout`` seconds. Whether a command was carried
                out is then unknown; sending it again with the same ``command_id`` is safe.
        """
        ...

    def close(self) -> None: ...
