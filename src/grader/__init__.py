"""Grades a repository as the courses do (python -m grader), and builds what they collect (python -m grader.submit)."""
