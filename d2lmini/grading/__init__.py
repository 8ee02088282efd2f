"""Assignments: grading what students return, and making what they are given.

Student code runs with the rights of whoever grades: it can read and delete their files, use their
network, and read the solutions. Grade in a container that has no network. Processes of their own,
time and memory limits and restored tests keep accidents of one notebook from the others and from
the grader; they do not stop a student who sets out to deceive it.
"""

from d2lmini.grading.assignment import Assignment, SourceCell, read_assignment, read_assignments
from d2lmini.grading.batch import WARNING, grade_folder
from d2lmini.grading.grade import Grade, Result, grade_notebook
from d2lmini.grading.release import release, student_notebook
from d2lmini.grading.run import Limits

__all__ = [
    "Assignment",
    "Grade",
    "Limits",
    "Result",
    "SourceCell",
    "WARNING",
    "grade_folder",
    "grade_notebook",
    "read_assignment",
    "read_assignments",
    "release",
    "student_notebook",
]
