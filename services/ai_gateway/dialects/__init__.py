"""The vendors' JSON, both ways: what callers send and vendors answer, read into `domain.chat` and written
from it.

Pure: bytes in, bytes out. Readers take only what they know and leave the rest alone; what a vendor's own
caller sends to that vendor is passed on member by member, so that no number, order or unknown field changes.
"""
