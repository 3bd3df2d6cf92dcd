"""The networks. A model's file imports torch and at most another model; table.py, which knows them all, is the
exception."""
