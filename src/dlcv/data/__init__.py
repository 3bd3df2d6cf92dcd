"""The assignments' data sets, from their folders into memory."""
