"""Grades a repository as the courses do: python -m dlcv.grade."""
