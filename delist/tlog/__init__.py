"""A verifiable log in the formats of C2SP, pure: no I/O, no clock, no settings.

Hashes and proofs are those of RFC 6962, tiles of c2sp.org/tlog-tiles, signatures of
c2sp.org/signed-note, heads of c2sp.org/tlog-checkpoint, a witness's words of
c2sp.org/tlog-cosignature and c2sp.org/tlog-witness, proofs of c2sp.org/tlog-proof.
"""
