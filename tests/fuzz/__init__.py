"""Hostile inputs: every file and every number that the commands take, damaged in seeded ways.

``python -m tests.fuzz --cases 50000`` runs cases in forks of one process and counts how they end.
"""
