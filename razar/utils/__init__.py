"""Helpers that know nothing of missions: files, times, text that is safe to show."""
