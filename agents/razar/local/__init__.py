"""Agents that are programs on this machine: their process, their masked copy, the edits they make of it."""
