"""9P2000.L as bytes and typed messages; it knows no files and does no I/O.

``messages`` declares every message once, ``codec`` derives its bytes from the declaration,
``frames`` cuts a stream into frames, ``constants`` has the numbers.  Bytes that break the
protocol are a `ProtocolError`.
"""
