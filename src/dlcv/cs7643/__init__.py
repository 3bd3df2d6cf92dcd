"""CS7643 assignment 2. part1 and part2 are what is submitted: self-contained, with the course's names."""
