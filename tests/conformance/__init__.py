"""What the workflow language promises, row by row, on every host that runs it.

One file a row. Each test is given a ``host`` (``hosts.py``): the engine in virtual time, in one process with a real store
and real agents, and on Ray. A host is told what to start, whom to hold, when to lose everything but its log; what came of
it is read from the log and from what agents really executed. Rows about types, sizes and text are given an ``engine``
(``engines.py``) instead, since only real agents check those. Each file names three breaks of the engine that it catches.
"""
