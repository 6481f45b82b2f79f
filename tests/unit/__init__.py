"""Tests of what needs no system: plain pytest, on any Linux, in seconds."""
