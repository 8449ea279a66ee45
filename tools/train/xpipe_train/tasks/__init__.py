"""What is trained: one module a family, each with a class Task (its interface is told in
train.py)."""
